//! Literals that the attribute they are compared with never has.

use mixer_attributes::vocabulary;
use mixer_cel::{ClauseKind, Comparison, Constant};

use super::{Line, ReadPolicy, Reading, warn};
use crate::{Code, Diagnostic};

/// RFC 9110 section 9.1, RFC 5789: methods are compared case by case.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

pub(super) fn look(read: &Reading<'_>, policy: &ReadPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for line in policy.conditions().flat_map(|condition| &condition.lines) {
        line.clause.visit(&mut |part| {
            if let ClauseKind::Compare(place, comparison) = &part.kind
                && place.key.is_none()
            {
                let (whole, constants) = match comparison {
                    Comparison::OneOf(of) => (true, of.as_slice()),
                    Comparison::IsNot(one) => (true, std::slice::from_ref(one)),
                    Comparison::StartsWith(one) => (false, std::slice::from_ref(one)),
                    Comparison::EndsWith(_) | Comparison::Contains(_) => return,
                };
                for constant in constants {
                    compared(read, line, place.attribute, constant, whole, found);
                }
            }
        });
    }
}

/// A constant that is compared with all (or only with the beginning) of an attribute.
fn compared(
    read: &Reading<'_>,
    line: &Line<'_>,
    attribute: vocabulary::AttributeId,
    constant: &Constant,
    whole: bool,
    found: &mut Vec<Diagnostic>,
) {
    let Some(text) = constant.as_text() else {
        return;
    };
    let span = read.place(line, constant.span.clone());
    let mut say = |message: String, help: String, meant: Option<&str>| {
        let warning = warn(found, Code::LiteralNeverHad, span, message, help).label("never equal");
        let written = read.set.warnings.sources.slice(span);
        if let Some(meant) = meant
            && written.matches(text).count() == 1
        {
            warning.fix(span, written.replace(text, meant));
        }
    };
    match attribute {
        vocabulary::REQUEST_METHOD if whole => {
            let upper = text.to_ascii_uppercase();
            if upper != text && METHODS.contains(&upper.as_str()) {
                say(
                    format!("methods are written in capitals: no request has `{text}`"),
                    format!("write \"{upper}\""),
                    Some(&upper),
                );
            }
        }
        vocabulary::REQUEST_PATH => {
            if let Some(why) = path(text) {
                let help = "`request.path` begins with `/`, has no query, is percent-decoded once, and its `.`, `..` and `//` are resolved";
                say(
                    format!("no path is written so: {why}"),
                    help.to_owned(),
                    None,
                );
            }
        }
        vocabulary::REQUEST_HOST if whole => {
            let port = text.rsplit_once(':').filter(|(host, port)| {
                !port.is_empty()
                    && port.bytes().all(|byte| byte.is_ascii_digit())
                    && (!host.contains(':') || host.ends_with(']'))
            });
            if let Some((host, _)) = port {
                say(
                    "`request.host` has no port".to_owned(),
                    format!("write \"{host}\""),
                    Some(host),
                );
            } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                say(
                    "`request.host` is in lower case".to_owned(),
                    format!("write \"{}\"", text.to_ascii_lowercase()),
                    Some(&text.to_ascii_lowercase()),
                );
            }
        }
        _ => {}
    }
}

/// What of a text no normalised path (or beginning of one) has.
fn path(text: &str) -> Option<&'static str> {
    let escaped = text.as_bytes().windows(3).any(|escape| {
        escape[0] == b'%' && escape[1].is_ascii_hexdigit() && escape[2].is_ascii_hexdigit()
    });
    // `*` is the target of OPTIONS.
    match () {
        () if !text.is_empty() && !text.starts_with('/') && text != "*" => {
            Some("it does not begin with `/`")
        }
        () if text.contains('?') => Some("it has a query"),
        () if escaped => Some("it is percent-encoded"),
        () if text.contains("//") => Some("it has an empty segment"),
        () if text.contains("/./") || text.contains("/../") => Some("it has a dot segment"),
        () => None,
    }
}
