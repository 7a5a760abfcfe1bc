//! What a denied caller is told: the keys that rules, `otherwise` and quotas share.

use std::sync::Arc;

use mixer_cel::Kind;

use super::adapter::plain;
use crate::context::Context;
use crate::fields::Fields;
use crate::reply::{Part, json_text};
use crate::scalar::{integer, scalar};
use crate::suggest::nearest;
use crate::yaml::{Entry, Node, Scalar, Value};
use crate::{Body, Code, Reply};

/// The keys.
pub(super) const KEYS: [&str; 6] = ["status", "location", "message", "headers", "body", "grpc"];

const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// grpc-status by name; OK, which is 0, is no denial.
const GRPC: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The most headers of one reply.
const HEADERS: usize = 32;
/// The longest body as written, in bytes.
const BODY: usize = 16 * 1024;

/// Reads the keys; `usual` is what holds where they say nothing.
pub(super) fn read(fields: &Fields<'_>, usual: Reply, context: &mut Context<'_>) -> Reply {
    let status = status(fields, usual.status, context);
    let grpc = fields.get("grpc").and_then(|node| grpc(node, context));
    let location = fields
        .get("location")
        .and_then(|node| context.template(node, "`location`"));
    let message = fields
        .get("message")
        .and_then(|node| context.template(node, "`message`"));
    let mut reply = Reply {
        status,
        grpc: grpc.unwrap_or(usual.grpc),
        location,
        message,
        ..usual
    };
    let declared = headers(fields, &mut reply, context);
    reply.body = fields
        .get("body")
        .and_then(|node| body(node, status, declared, context));
    reply
}

fn status(fields: &Fields<'_>, usual: u16, context: &mut Context<'_>) -> u16 {
    const REDIRECT: &str = "needs a status of 301, 302, 303, 307 or 308";
    let problems = &mut context.problems;
    let Some(node) = fields.get("status") else {
        fields.refuse("location", REDIRECT, problems);
        return usual;
    };
    let Some(status) = integer(node, "a status", 100..=599, problems) else {
        return usual;
    };
    let status = status as u16;
    let redirect = REDIRECTS.contains(&status);
    let located = fields.get("location").is_some();
    if redirect && !located {
        problems.error(
            Code::Status,
            node.span,
            format!("a status of {status} needs a `location`"),
        );
    } else if !redirect && located {
        fields.refuse("location", REDIRECT, problems);
    } else if !redirect && status < 400 {
        problems
            .error(
                Code::Status,
                node.span,
                format!("a denial has a status from 400 to 599, not {status}"),
            )
            .help("or 301, 302, 303, 307 or 308 together with `location`");
    }
    status
}

/// A name, or a number from 1 to 16.
fn grpc(node: &Node, context: &mut Context<'_>) -> Option<u8> {
    let text = &scalar(node, "`grpc`", &mut context.problems)?.text;
    let named = GRPC.iter().position(|name| name == text);
    let numbered = text.parse::<usize>().ok().and_then(|at| at.checked_sub(1));
    if let Some(at) = named.or(numbered).filter(|at| *at < GRPC.len()) {
        return Some(at as u8 + 1);
    }
    let error = context.problems.error(
        Code::GrpcStatus,
        node.span,
        format!("`grpc` is a status by name, or its number from 1 to 16, not `{text}`"),
    );
    match nearest(&text.replace([' ', '-'], "_"), GRPC) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None if matches!(text.as_str(), "OK" | "0") => error.help("0 is OK, which denies nobody"),
        None => error.help("such as `PERMISSION_DENIED`, `UNAUTHENTICATED` or `NOT_FOUND`"),
    };
    None
}

/// Adds the headers to `reply`, but for `content-type`, which is given back.
fn headers(fields: &Fields<'_>, reply: &mut Reply, context: &mut Context<'_>) -> Option<Arc<str>> {
    let node = fields.get("headers")?;
    let entries = match &node.value {
        Value::Map(entries) if entries.len() <= HEADERS => entries.as_slice(),
        Value::Map(_) => {
            let message = format!("a reply has at most {HEADERS} headers");
            context
                .problems
                .error(Code::ReplyHeader, node.span, message);
            return None;
        }
        Value::Wrong => return None,
        _ => {
            context
                .problems
                .error(
                    Code::WrongShape,
                    node.span,
                    format!("`headers` must be a map, this is {}", node.what()),
                )
                .help("such as `headers: { x-policy: products }`");
            return None;
        }
    };
    let mut declared = None;
    for entry in entries {
        let name = entry.key.to_ascii_lowercase();
        if let Some((why, help)) = unfit(&name) {
            let message = format!("`{}` {why}", entry.key);
            context
                .problems
                .error(Code::ReplyHeader, entry.span, message)
                .help(help);
        } else if reply.headers.iter().any(|(held, _)| **held == *name) {
            let message = format!("the header `{name}` is given twice");
            context
                .problems
                .error(Code::ReplyHeader, entry.span, message);
        } else if name == "content-type" {
            declared = content_type(entry, fields.get("body").is_some(), context);
        } else if let Some(value) = header(entry, context) {
            reply.headers.push((name.into(), value));
        }
    }
    declared
}

/// Why a reply cannot have a header of this name, and what to do.
pub(super) fn unfit(name: &str) -> Option<(&'static str, &'static str)> {
    // RFC 9110 section 5.6.2.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    Some(match name {
        _ if name.starts_with(':') => (
            "is a pseudo-header, which only the proxy sets",
            "the status is set by `status:`",
        ),
        _ if name.is_empty() || name.len() > 128 || !name.bytes().all(token) => (
            "is not the name of a header",
            "a name is at most 128 letters, digits and hyphens",
        ),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade"
        | "http2-settings" => (
            "is about one connection, which is the proxy's",
            "leave it out",
        ),
        "content-length" | "transfer-encoding" | "content-encoding" | "content-range" => (
            "says how the body is sent, which is the proxy's to say",
            "leave it out",
        ),
        "location" => (
            "is a key of its own",
            "write `location:` beside `status: 302` (or 301, 303, 307, 308)",
        ),
        _ if name.starts_with("grpc-") => (
            "is set for gRPC callers",
            "write `grpc:` for the status and `message:` for the text",
        ),
        _ => return None,
    })
}

fn header(entry: &Entry, context: &mut Context<'_>) -> Option<mixer_cel::Template> {
    let template = context.template(&entry.value, "the header's value")?;
    let wrong = match () {
        () if template.source().chars().any(char::is_control) => {
            "has a line break or control character"
        }
        () if template.source().len() > 2048 => "is longer than 2048 bytes",
        () => return Some(template),
    };
    let message = format!("the value of `{}` {wrong}", entry.key);
    context
        .problems
        .error(Code::ReplyHeader, entry.value.span, message);
    None
}

fn content_type(entry: &Entry, has_body: bool, context: &mut Context<'_>) -> Option<Arc<str>> {
    let node = &entry.value;
    let text = &scalar(node, "`content-type`", &mut context.problems)?.text;
    let fit = text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !fit || text.contains(['{', '}']) {
        let message = format!("`content-type` is a media type such as text/html, not `{text}`");
        context
            .problems
            .error(Code::ReplyHeader, node.span, message);
    } else if !has_body {
        context
            .problems
            .error(
                Code::ReplyHeader,
                entry.span,
                "`content-type` says what the `body` is",
            )
            .help("add a `body`; the message alone is text/plain");
    } else {
        return Some(text.as_str().into());
    }
    None
}

fn body(
    node: &Node,
    status: u16,
    declared: Option<Arc<str>>,
    context: &mut Context<'_>,
) -> Option<Body> {
    let mut parts = Vec::new();
    let usual = match &node.value {
        Value::Map(entries) => {
            json(node, &mut parts, context);
            if declared.is_none() && is_problem(entries) {
                same_status(entries, status, context);
                "application/problem+json"
            } else {
                "application/json"
            }
        }
        Value::List(_) => {
            json(node, &mut parts, context);
            "application/json"
        }
        _ => {
            parts.push(Part::Text(context.template(node, "`body`")?));
            "text/plain; charset=utf-8"
        }
    };
    let body = Body {
        content_type: declared.unwrap_or_else(|| usual.into()),
        parts,
    };
    if body.source().len() > BODY {
        context.problems.error(
            Code::ReplyBody,
            node.span,
            format!("a body is at most {} KiB as written", BODY / 1024),
        );
    }
    Some(body)
}

/// RFC 9457: a title, and a type or a status. A `type` alone is many things.
fn is_problem(entries: &[Entry]) -> bool {
    let has = |key: &str| entries.iter().any(|entry| entry.key == key);
    has("title") && (has("type") || has("status"))
}

/// RFC 9457 section 3.1.2: the member is the status that is sent.
fn same_status(entries: &[Entry], status: u16, context: &mut Context<'_>) {
    let member = entries.iter().find(|entry| entry.key == "status");
    if let Some(entry) = member
        && let Value::Scalar(scalar) = &entry.value.value
        && plain(scalar).is_some_and(|said| said != serde_json::json!(status))
        && !scalar.text.contains('{')
    {
        context
            .problems
            .error(
                Code::ReplyBody,
                entry.value.span,
                format!(
                    "the problem's status is {}, and {status} is sent",
                    scalar.text
                ),
            )
            .help(format!("write `status: {status}` here, or beside `body`"));
    }
}

/// Adds a node as JSON.
fn json(node: &Node, parts: &mut Vec<Part>, context: &mut Context<'_>) {
    match &node.value {
        Value::Null | Value::Wrong => fixed(parts, "null"),
        Value::Scalar(scalar) => leaf(node, scalar, parts, context),
        Value::List(items) => {
            fixed(parts, "[");
            for (at, item) in items.iter().enumerate() {
                fixed(parts, if at > 0 { "," } else { "" });
                json(item, parts, context);
            }
            fixed(parts, "]");
        }
        Value::Map(entries) => {
            fixed(parts, "{");
            for (at, entry) in entries.iter().enumerate() {
                if entry.value.flow && entry.value.span.start == entry.value.span.end {
                    let message = "YAML reads these braces as a map, not as a template";
                    let help = format!("quote the text: \"{{{}}}\"", entry.key);
                    context
                        .problems
                        .error(Code::ReplyBody, node.span, message)
                        .help(help);
                }
                fixed(parts, if at > 0 { "," } else { "" });
                fixed(parts, &json_text(&entry.key));
                fixed(parts, ":");
                json(&entry.value, parts, context);
            }
            fixed(parts, "}");
        }
    }
}

fn leaf(node: &Node, scalar: &Scalar, parts: &mut Vec<Part>, context: &mut Context<'_>) {
    match plain(scalar) {
        None => {
            let message = format!("`{}` is not a number that JSON has", scalar.text);
            context.problems.error(Code::ReplyBody, node.span, message);
        }
        Some(serde_json::Value::String(text)) if text.is_empty() => fixed(parts, "\"\""),
        Some(serde_json::Value::String(_)) => {
            let Some(template) = context.template(node, "the text") else {
                return;
            };
            let value = template.sole().filter(|expression| {
                matches!(
                    expression.kind(),
                    Kind::Int | Kind::Uint | Kind::Double | Kind::Bool
                )
            });
            match (template.literal(), value) {
                (Some(literal), _) => fixed(parts, &json_text(literal)),
                (None, Some(value)) => parts.push(Part::JsonValue(value.clone())),
                (None, None) => parts.push(Part::JsonText(template)),
            }
        }
        Some(value) => fixed(parts, &value.to_string()),
    }
}

fn fixed(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Fixed(last)) => last.push_str(text),
        _ => parts.push(Part::Fixed(text.to_owned())),
    }
}
