//! SPIFFE ids, `tls`, `originate` and `clients`.

use std::sync::Arc;

use mixer_attributes::host;

use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{list, name, scalar, word};
use crate::yaml::{Node, Value};
use crate::{Clients, Code, Mesh, Originate, Roots, Service, Span, Tls};

/// `originate`.
pub(crate) const ORIGINATE: Shape = Shape {
    what: "`originate`",
    keys: &["roots", "sni"],
    later: &[],
};

/// `roots` as a map.
pub(crate) const ROOTS: Shape = Shape {
    what: "`roots`",
    keys: &["file"],
    later: &[],
};

/// `clients` of the mesh.
pub(crate) const CLIENTS: Shape = Shape {
    what: "`clients`",
    keys: &["check", "report", "watch"],
    later: &[],
};

pub(super) fn tls(node: &Node, problems: &mut Problems) -> Option<Tls> {
    word(node, "`tls`", &Tls::WORDS, &[], problems)
}

/// A SPIFFE id of a workload: it has a path.
pub(super) fn id(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = &scalar(node, "a SPIFFE id", problems)?.text;
    match fault(text) {
        None => Some(text.clone()),
        Some(fault) => refused(node, text, fault, problems),
    }
}

/// An id, or what ids begin with: `spiffe://domain/*`, `spiffe://domain/ns/shop/*`.
fn pattern(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = &scalar(node, "a SPIFFE id", problems)?.text;
    let fault = match text.strip_suffix("/*") {
        // With any last segment it must be an id.
        Some(start) => fault(&format!("{start}/x")),
        None => fault(text),
    };
    match fault {
        None => Some(text.clone()),
        Some(fault) => refused(node, text, fault, problems),
    }
}

fn refused<T>(node: &Node, text: &str, fault: &str, problems: &mut Problems) -> Option<T> {
    problems
        .error(
            Code::SpiffeId,
            node.span,
            format!("`{text}` is no SPIFFE id: {fault}"),
        )
        .help("such as spiffe://cluster.local/ns/shop/sa/products");
    None
}

/// What the SPIFFE-ID standard, section 2, has against a text.
fn fault(text: &str) -> Option<&'static str> {
    let Some(rest) = text.strip_prefix("spiffe://") else {
        return Some("it begins with `spiffe://`");
    };
    let Some((domain, path)) = rest.split_once('/') else {
        return Some("a workload's has a path behind the trust domain");
    };
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match () {
        () if text.len() > 2_048 => Some("it is longer than 2048 bytes"),
        () if !is_trust_domain(domain) => {
            Some("its trust domain has lower-case letters, digits, `.`, `-` and `_`")
        }
        () if path.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            Some("no segment of its path is empty, `.` or `..`")
        }
        () if !path.split('/').all(|part| part.bytes().all(in_path)) => {
            Some("its path has letters, digits, `.`, `-` and `_`")
        }
        () => None,
    }
}

/// SPIFFE-ID section 2.1: lower-case letters, digits, dots, dashes and underscores, at most 255.
fn is_trust_domain(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(allowed)
}

pub(super) fn trust_domain(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = name(node, "a trust domain", problems)?;
    if !is_trust_domain(text) {
        problems.error(
            Code::TrustDomain,
            node.span,
            format!(
                "a trust domain has lower-case letters, digits, `.`, `-` and `_`, not `{text}`"
            ),
        );
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn originate(node: &Node, problems: &mut Problems) -> Option<Originate> {
    let fields = Fields::of(node, ORIGINATE, problems)?;
    let sni = fields.get("sni").and_then(|node| {
        let text = &scalar(node, "`sni`", problems)?.text;
        let is_name = host::normalize(text).as_deref() == Some(text.as_str())
            && !text.contains(':')
            && text.parse::<std::net::IpAddr>().is_err();
        if !is_name {
            problems.error(
                Code::Host,
                node.span,
                format!("`sni` is a host name in lower case, not `{text}`"),
            );
        }
        is_name.then(|| text.clone())
    });
    let roots = match fields.get("roots") {
        None => Roots::System,
        Some(node) => roots(node, problems)?,
    };
    Some(Originate { roots, sni })
}

fn roots(node: &Node, problems: &mut Problems) -> Option<Roots> {
    if let Value::Map(_) = node.value {
        let file = Fields::of(node, ROOTS, problems)?.get("file")?;
        return Some(Roots::File(name(file, "`file`", problems)?.to_owned()));
    }
    word(node, "`roots`", &[("system", ())], &[], problems).map(|()| Roots::System)
}

pub(super) fn clients(node: &Node, problems: &mut Problems) -> Clients {
    let Some(fields) = Fields::of(node, CLIENTS, problems) else {
        return Clients::default();
    };
    let mut ids = |key: &str| {
        let node = fields.get(key)?;
        let ids = list(node, &format!("`{key}`"), problems)?;
        Some(
            ids.iter()
                .filter_map(|node| pattern(node, problems))
                .collect(),
        )
    };
    Clients {
        check: ids("check"),
        report: ids("report"),
        watch: ids("watch"),
    }
}

/// What cannot be together on a service.
pub(super) fn check(service: &Service, fields: &Fields<'_>, problems: &mut Problems) {
    if service.external {
        let why = "is for services of the mesh: `originate` is how TLS is spoken outside";
        fields.refuse("tls", why, problems);
        fields.refuse("identity", why, problems);
    } else {
        let why = "is for services outside the mesh (`external: true`)";
        fields.refuse("originate", why, problems);
    }
}

/// Under `strict` callers must know whom to expect.
pub(super) fn need_identities(services: &[Arc<Service>], mesh: &Mesh, problems: &mut Problems) {
    for service in services {
        let strict = service.tls(mesh) == Tls::Strict && !service.external;
        if strict && service.identity.is_none() && !service.name.is_empty() {
            missing(service.span, &service.name, problems);
        }
    }
}

fn missing(span: Span, service: &str, problems: &mut Problems) {
    problems
        .error(
            Code::IdentityMissing,
            span,
            format!("`{service}` takes mutual TLS only, and does not say its `identity`"),
        )
        .help("its callers check that they speak to it: give it such as identity: spiffe://cluster.local/ns/shop/sa/products");
}
