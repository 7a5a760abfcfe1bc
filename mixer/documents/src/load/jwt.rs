//! `jwt` documents.

use std::sync::Arc;

use mixer_attributes::{Vocabulary, vocabulary};
use mixer_cel::{Compiler, Selector};

use super::document::Document;
use super::mesh::is_header_name;
use crate::context::Context;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{list, name, scalar, span, word};
use crate::yaml::{Node, Value};
use crate::{Code, Jwt, KeySource, TokenPlace};

pub(crate) const SHAPE: Shape = Shape {
    what: "a jwt document",
    keys: &[
        "for",
        "issuer",
        "audiences",
        "jwks",
        "from",
        "missing",
        "invalid",
        "token",
    ],
    later: &[],
};

/// `jwks`.
pub(crate) const JWKS: Shape = Shape {
    what: "`jwks`",
    keys: &["url", "file", "refresh", "keep"],
    later: &[],
};

/// One place of `from`.
pub(crate) const FROM: Shape = Shape {
    what: "a place of `from`",
    keys: &["header", "prefix", "cookie", "query"],
    later: &[],
};

pub(super) fn read<'d, 'n: 'd>(
    documents: impl Iterator<Item = &'d Document<'n>>,
    context: &mut Context<'_>,
) -> Vec<Arc<Jwt>> {
    // Proxies know no attributes of documents.
    let mut proxy = Compiler::new(Vocabulary::new());
    documents
        .map(|document| Arc::new(jwt(document, &mut proxy, context)))
        .collect()
}

fn jwt(document: &Document<'_>, proxy: &mut Compiler, context: &mut Context<'_>) -> Jwt {
    let directory = context.sources.path(document.span.file).parent();
    let mut jwt = Jwt {
        name: document.name.into(),
        selector: Selector::always(),
        selected: "always".into(),
        issuer: String::new(),
        audiences: Vec::new(),
        keys: KeySource::File(String::new()),
        from: vec![TokenPlace::usual()],
        missing_denied: false,
        strip: false,
        directory: directory.unwrap_or("".as_ref()).to_owned(),
        span: document.span,
        keys_span: document.span,
    };
    let Some(fields) = document.fields(SHAPE, &mut context.problems) else {
        return jwt;
    };
    selector(&fields, &mut jwt, proxy, context);
    let problems = &mut context.problems;
    let why = "a jwt document needs `issuer`: what the `iss` of its tokens is";
    let issuer = fields.need("issuer", why, "", problems);
    if let Some(issuer) = issuer.and_then(|node| name(node, "`issuer`", problems)) {
        jwt.issuer = issuer.to_owned();
    }
    let why =
        "a jwt document needs `audiences`: a token for somebody else is none for this service";
    let help = "such as `audiences: [products]`; the `aud` of a token must have one of them";
    if let Some(node) = fields.need("audiences", why, help, problems) {
        jwt.audiences = audiences(node, problems);
    }
    let why = "a jwt document needs `jwks`: the keys that its tokens are verified with";
    let help = "such as `jwks: { url: \"https://accounts.example/jwks.json\" }` or `jwks: { file: keys.json }`";
    if let Some(node) = fields.need("jwks", why, help, problems)
        && let Some((source, span)) = keys(node, problems)
    {
        (jwt.keys, jwt.keys_span) = (source, span);
    }
    if let Some(node) = fields.get("from") {
        let places = list(node, "`from`", problems).unwrap_or_default();
        if places.is_empty() && matches!(node.value, Value::List(_)) {
            problems
                .error(Code::Empty, node.span, "`from` is empty")
                .help("without it, tokens are in `Authorization: Bearer`");
        }
        jwt.from = places
            .iter()
            .filter_map(|place| token_place(place, problems))
            .collect();
    }
    if let Some(node) = fields.get("missing") {
        let words = [("pass", false), ("deny", true)];
        jwt.missing_denied = word(node, "`missing`", &words, &[], problems).unwrap_or_default();
    }
    if let Some(node) = fields.get("invalid") {
        word(node, "`invalid`", &[("deny", ())], &[], problems);
    }
    if let Some(node) = fields.get("token") {
        let words = [("forward", false), ("strip", true)];
        jwt.strip = word(node, "`token`", &words, &[], problems).unwrap_or_default();
    }
    jwt
}

/// The `for`, which says destinations by what their own proxies know of them.
fn selector(fields: &Fields<'_>, jwt: &mut Jwt, proxy: &mut Compiler, context: &mut Context<'_>) {
    let Some(selector) = context.selector(fields) else {
        return;
    };
    let Some(node) = fields.get("for") else {
        return;
    };
    let known = [
        vocabulary::DESTINATION_SERVICE,
        vocabulary::DESTINATION_NAMESPACE,
        vocabulary::DESTINATION_LABELS,
    ];
    let mut reads = selector.reads().into_iter();
    if reads.any(|(read, _)| !known.contains(&read)) {
        let why = "the `for` of a jwt document compares `destination.service`, `.namespace` or `.labels[\"x\"]`: tokens are verified at the destination";
        context.problems.error(Code::NoMeaning, node.span, why);
    } else if let Value::Scalar(text) = &node.value {
        if proxy.selector(&text.text).is_err() {
            let why = "proxies verify tokens, and know no attributes of `attributes` documents: write the literals";
            context.problems.error(Code::NoMeaning, node.span, why);
        }
        jwt.selected = text.text.as_str().into();
    }
    jwt.selector = selector;
}

fn audiences(node: &Node, problems: &mut Problems) -> Vec<String> {
    let Some(items) = list(node, "`audiences`", problems) else {
        return Vec::new();
    };
    if items.is_empty() {
        problems
            .error(
                Code::Empty,
                node.span,
                "`audiences` is empty: it would take no token",
            )
            .help("the `aud` of a token must have one of them");
    }
    let names = items
        .iter()
        .filter_map(|item| name(item, "an audience", problems));
    names.map(str::to_owned).collect()
}

fn keys(node: &Node, problems: &mut Problems) -> Option<(KeySource, crate::Span)> {
    let fields = Fields::of(node, JWKS, problems)?;
    let (key, entry) = fields.one_of(&["url", "file"], "`jwks`", problems)?;
    let place = entry.value.span;
    if key == "file" {
        for key in ["refresh", "keep"] {
            fields.refuse(
                key,
                "has no meaning with `file`, which is read as it changes",
                problems,
            );
        }
        let path = name(&entry.value, "`file`", problems)?;
        return Some((KeySource::File(path.to_owned()), place));
    }
    let url = scalar(&entry.value, "`url`", problems)?.text.clone();
    let plain = url.strip_prefix("http://");
    let host = plain.or_else(|| url.strip_prefix("https://"));
    let host = host.and_then(|rest| rest.split(['/', '?', '#']).next());
    let Some(host) = host.filter(|host| !host.is_empty() && !url.contains(char::is_whitespace))
    else {
        problems.error(
            Code::KeysAddress,
            place,
            format!("keys are fetched from an http or https address, not from `{url}`"),
        );
        return None;
    };
    if plain.is_some() && !is_this_machine(host) {
        problems
            .warning(
                Code::KeysInPlaintext,
                place,
                "these keys come in plaintext: who can change them on their way can make tokens",
            )
            .help("use https");
    }
    let mut time = |key: &str, usual| match fields.get(key) {
        Some(node) => span(node, &format!("`{key}`"), problems).unwrap_or(usual),
        None => usual,
    };
    let (refresh, keep) = (
        time("refresh", KeySource::REFRESH),
        time("keep", KeySource::KEEP),
    );
    if keep < refresh {
        let node = fields.get("keep").or(fields.get("refresh"));
        problems
            .error(
                Code::KeysDropped,
                node.map_or(place, |node| node.span),
                "`keep` is shorter than `refresh`: keys would be dropped before they are fetched again",
            )
            .help("`keep` is for how long tokens are verified while the provider cannot be reached");
    }
    Some((KeySource::Url { url, refresh, keep }, place))
}

fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        match port.bytes().all(|byte| byte.is_ascii_digit()) {
            true => name,
            false => host,
        }
    });
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn token_place(node: &Node, problems: &mut Problems) -> Option<TokenPlace> {
    let fields = Fields::of(node, FROM, problems)?;
    let kinds = ["header", "cookie", "query"];
    let (key, entry) = fields.one_of(&kinds, "a place of `from`", problems)?;
    if key != "header" {
        fields.refuse("prefix", "is for headers", problems);
    }
    let called = name(&entry.value, &format!("`{key}`"), problems)?.to_owned();
    match key {
        "cookie" => Some(TokenPlace::Cookie(called)),
        "query" => Some(TokenPlace::Query(called)),
        _ => {
            if !is_header_name(&called) {
                problems.error(
                    Code::HeaderName,
                    entry.value.span,
                    format!("a header name is written in lower case, with letters, digits and dashes, not `{called}`"),
                );
                return None;
            }
            let prefix = match fields.get("prefix") {
                Some(node) => scalar(node, "`prefix`", problems)?.text.clone(),
                None if called == "authorization" => "Bearer ".to_owned(),
                None => String::new(),
            };
            Some(TokenPlace::Header {
                name: called,
                prefix,
            })
        }
    }
}
