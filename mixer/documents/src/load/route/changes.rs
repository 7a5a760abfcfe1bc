//! `headers`, `rewrite` and `redirect`.

use std::sync::Arc;

use mixer_attributes::host;

use super::Checks;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::load::reply::unfit;
use crate::scalar::{list, scalar};
use crate::yaml::{Node, Value};
use crate::{Code, HeaderChanges, Redirect, Rewrite, Span};

/// `headers`.
pub(crate) const HEADERS: Shape = Shape {
    what: "`headers`",
    keys: &["set", "add", "remove", "response"],
    later: &[],
};

/// `response` of `headers`.
pub(crate) const RESPONSE_HEADERS: Shape = Shape {
    what: "`response`",
    keys: &["set", "add", "remove"],
    later: &[],
};

/// `rewrite`.
pub(crate) const REWRITE: Shape = Shape {
    what: "`rewrite`",
    keys: &["from", "prefix", "host"],
    later: &[],
};

/// `redirect`.
pub(crate) const REDIRECT: Shape = Shape {
    what: "`redirect`",
    keys: &["location", "status"],
    later: &[],
};

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

impl Checks<'_, '_> {
    /// Of the request and of the response.
    pub(super) fn headers(&mut self, node: &Node) -> (HeaderChanges, HeaderChanges) {
        let problems = &mut self.context.problems;
        let Some(fields) = Fields::of(node, HEADERS, problems) else {
            return Default::default();
        };
        let response = fields
            .get("response")
            .and_then(|node| Fields::of(node, RESPONSE_HEADERS, problems));
        let of_response = response.map(|fields| changes(&fields, problems));
        (changes(&fields, problems), of_response.unwrap_or_default())
    }

    pub(super) fn rewrite(&mut self, node: &Node) -> Option<Rewrite> {
        let problems = &mut self.context.problems;
        let fields = Fields::of(node, REWRITE, problems)?;
        if fields.lacks("prefix") && fields.lacks("host") {
            let message = "`rewrite` needs `prefix`, `host` or both";
            problems.error(Code::MissingKey, fields.span, message);
        }
        if fields.lacks("prefix") {
            let why = "is what `prefix` replaces, which is missing";
            fields.refuse("from", why, problems);
        }
        let prefix = fields.get("prefix").and_then(|node| path(node, problems));
        let from = match fields.get("from") {
            Some(node) => path(node, problems)?,
            None => "/".into(),
        };
        let host = fields
            .get("host")
            .and_then(|node| authority(node, problems));
        Some(Rewrite {
            prefix: prefix.map(|prefix| (from, prefix)),
            host,
        })
    }

    pub(super) fn redirect(&mut self, node: &Node) -> Option<Redirect> {
        let fields = Fields::of(node, REDIRECT, &mut self.context.problems)?;
        let mut status = 302;
        if let Some(node) = fields.get("status") {
            let problems = &mut self.context.problems;
            let text = &scalar(node, "`status`", problems)?.text;
            match text.parse().ok().filter(|one| REDIRECTS.contains(one)) {
                Some(one) => status = one,
                None => {
                    let message = format!(
                        "the status of a redirect is 301, 302, 303, 307 or 308, not `{text}`"
                    );
                    problems.error(Code::Status, node.span, message);
                }
            }
        }
        let help = "such as `location: \"https://{request.host}{request.path}\"`";
        let problems = &mut self.context.problems;
        let location = fields.need("location", "`redirect` needs `location`", help, problems)?;
        let location = self.template(location, "`location`")?;
        Some(Redirect { status, location })
    }
}

fn changes(fields: &Fields<'_>, problems: &mut Problems) -> HeaderChanges {
    let mut changes = HeaderChanges::default();
    for node in fields
        .get("remove")
        .and_then(|node| list(node, "`remove`", problems))
        .unwrap_or_default()
    {
        if let Some(text) = scalar(node, "a header", problems)
            && let Some(name) = header_name(&text.text, node.span, problems)
        {
            changes.remove.push(name);
        }
    }
    changes.set = pairs(fields.get("set"), "`set`", problems);
    changes.add = pairs(fields.get("add"), "`add`", problems);
    changes
}

fn pairs(node: Option<&Node>, what: &str, problems: &mut Problems) -> Vec<(Arc<str>, Arc<str>)> {
    let Some(node) = node else { return Vec::new() };
    let entries = match &node.value {
        Value::Map(entries) => entries,
        Value::Wrong => return Vec::new(),
        _ => {
            let message = format!("{what} must be a map of headers, this is {}", node.what());
            problems
                .error(Code::WrongShape, node.span, message)
                .help("such as `set: { x-canary: \"1\" }`");
            return Vec::new();
        }
    };
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for entry in entries {
        let name = header_name(&entry.key, entry.span, problems);
        let Some(value) = scalar(&entry.value, "a header's value", problems) else {
            continue;
        };
        let value = &value.text;
        if value.len() > 2048 || !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            let message = format!(
                "the value of `{}` is not a line of at most 2048 ASCII characters",
                entry.key
            );
            problems.error(Code::RouteHeader, entry.value.span, message);
        } else if let Some(name) = name {
            if pairs.iter().any(|(held, _)| *held == name) {
                let message = format!("the header `{name}` is given twice");
                problems.error(Code::RouteHeader, entry.span, message);
            }
            pairs.push((name, value.as_str().into()));
        }
    }
    pairs.sort();
    pairs
}

/// In lower case; those that are the proxy's own to set are refused.
fn header_name(text: &str, span: Span, problems: &mut Problems) -> Option<Arc<str>> {
    let name = text.to_ascii_lowercase();
    let (why, help) = match &*name {
        // A response may be sent elsewhere, a call may be told anything: these two are not the connection's.
        "location" => return Some(name.into()),
        "host" => ("is the authority", "write `rewrite: { host: .. }`"),
        _ if name.starts_with("x-mixer-") || name == "x-forwarded-client-cert" => (
            "is a claim of identity, which only the mesh makes",
            "choose another name",
        ),
        _ => match unfit(&name) {
            Some((why, _)) if name.starts_with("grpc-") => (why, "leave it out"),
            Some(unfit) => unfit,
            None => return Some(name.into()),
        },
    };
    let message = format!("`{text}` {why}");
    problems.error(Code::RouteHeader, span, message).help(help);
    None
}

/// A path as it is sent, without a slash at its end: `/`, `/api/v1`.
fn path(node: &Node, problems: &mut Problems) -> Option<Arc<str>> {
    let text = &scalar(node, "a path", problems)?.text;
    let ok = text.starts_with('/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#\\\"<>^`{|}%;".contains(&byte))
        && !text.split('/').any(|part| part == "." || part == "..")
        && !text.contains("//");
    if !ok {
        let message = format!("this is a path such as /api/v1, not `{text}`");
        problems
            .error(Code::RoutePath, node.span, message)
            .help("without query, dot segments, double slashes and what would have to be encoded");
        return None;
    }
    let trimmed = text.strip_suffix('/').filter(|rest| !rest.is_empty());
    Some(trimmed.unwrap_or(text).into())
}

/// A host, with a port if wanted.
fn authority(node: &Node, problems: &mut Problems) -> Option<Arc<str>> {
    let text = &scalar(node, "`host`", problems)?.text;
    let is_host = host::normalize(text).is_some();
    if !is_host || !text.is_ascii() {
        let message = format!("`host` is a host name, with a port if wanted, not `{text}`");
        problems.error(Code::Host, node.span, message);
        return None;
    }
    Some(text.as_str().into())
}
