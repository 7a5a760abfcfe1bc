//! `adapter` documents. What is in `config` is the adapter's business; it is kept as JSON, with the place of every value.

use super::document::Document;
use crate::diagnostics::Problems;
use crate::fields::Shape;
use crate::scalar::name;
use crate::yaml::{Node, Scalar, Value};
use crate::{AdapterDocument, Code, Sources, Span};

pub(crate) const SHAPE: Shape = Shape {
    what: "an adapter",
    keys: &["type", "config"],
    later: &[],
};

/// Adapters that are there by themselves, name and type.
const BUILTIN: [(&str, &str); 2] = [("memory", "memory-quota"), ("prometheus", "prometheus")];

pub(super) fn read<'d, 'n: 'd>(
    documents: impl Iterator<Item = &'d Document<'n>>,
    sources: &Sources,
    problems: &mut Problems,
) -> Vec<AdapterDocument> {
    let mut adapters: Vec<AdapterDocument> = documents
        .filter_map(|document| adapter(document, sources, problems))
        .collect();
    for (name, kind) in BUILTIN {
        if !adapters.iter().any(|adapter| &*adapter.name == name) {
            adapters.push(AdapterDocument {
                name: name.into(),
                kind: kind.into(),
                config: serde_json::json!({}),
                inputs: Vec::new(),
                directory: std::path::PathBuf::new(),
                span: None,
                places: Vec::new(),
                first_ask: None,
            });
        }
    }
    adapters
}

fn adapter(
    document: &Document<'_>,
    sources: &Sources,
    problems: &mut Problems,
) -> Option<AdapterDocument> {
    let fields = document.fields(SHAPE, problems)?;
    let kind = fields.need(
        "type",
        "an adapter needs a `type`",
        "such as `type: list`",
        problems,
    );
    let kind = kind
        .and_then(|node| name(node, "`type`", problems))
        .unwrap_or_default();
    let mut places = Vec::new();
    let config = match fields.get("config") {
        Some(node) => json(node, String::new(), &mut places, problems),
        None => serde_json::json!({}),
    };
    let directory = sources
        .path(document.span.file)
        .parent()
        .unwrap_or(std::path::Path::new(""))
        .to_owned();
    Some(AdapterDocument {
        name: document.name.into(),
        kind: kind.into(),
        config,
        inputs: Vec::new(),
        directory,
        span: Some(document.span),
        places,
        first_ask: None,
    })
}

fn json(
    node: &Node,
    path: String,
    places: &mut Vec<(String, Span)>,
    problems: &mut Problems,
) -> serde_json::Value {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    let value = match &node.value {
        Value::Null | Value::Wrong => serde_json::Value::Null,
        Value::Scalar(scalar) => plain(scalar).unwrap_or_else(|| {
            problems.error(
                Code::AdapterNumber,
                node.span,
                format!(
                    "`{}` is not a number that adapters can be given",
                    scalar.text
                ),
            );
            serde_json::Value::Null
        }),
        Value::List(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| json(item, below(&at.to_string()), places, problems))
            .collect(),
        Value::Map(entries) => {
            let member = |entry: &crate::yaml::Entry| {
                (
                    entry.key.clone(),
                    json(&entry.value, below(&entry.key), places, problems),
                )
            };
            serde_json::Value::Object(entries.iter().map(member).collect())
        }
    };
    places.push((path, node.span));
    value
}

/// A scalar by YAML's core schema; quoted ones are texts. `None` for the numbers JSON has not.
pub(crate) fn plain(scalar: &Scalar) -> Option<serde_json::Value> {
    let text = scalar.text.as_str();
    if !scalar.is_plain() {
        return Some(text.into());
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    Some(match text {
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") => return None,
        _ if radix(text, "0x", 16).is_some() => radix(text, "0x", 16)?.into(),
        _ if radix(text, "0o", 8).is_some() => radix(text, "0o", 8)?.into(),
        _ if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = text.strip_prefix('+').unwrap_or(text);
            match (number.parse::<i64>(), number.parse::<u64>()) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => float(number)?,
            }
        }
        _ if is_float(digits) => float(text)?,
        _ => text.into(),
    })
}

fn radix(text: &str, prefix: &str, radix: u32) -> Option<u64> {
    let digits = text
        .strip_prefix(prefix)
        .filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, radix).ok()
}

fn float(text: &str) -> Option<serde_json::Value> {
    text.parse::<f64>()
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map(serde_json::Value::Number)
}

/// `1.5`, `.5`, `1e3`: digits, at most one point, an exponent of digits.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = text
        .split_once(['e', 'E'])
        .map_or((text, None), |(m, e)| (m, Some(e)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa = digits(&format!("{whole}{fraction}"));
    mantissa
        && exponent
            .is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_yaml_1_2_says() {
        let scalar = |text: &str, style| {
            plain(&Scalar {
                text: text.to_owned(),
                style,
            })
        };
        let plain_is = |text: &str, json: serde_json::Value| {
            assert_eq!(
                scalar(text, granit_parser::ScalarStyle::Plain),
                Some(json),
                "{text}"
            );
        };
        plain_is("true", true.into());
        plain_is("yes", "yes".into());
        plain_is("no", "no".into());
        plain_is("8080", 8080.into());
        plain_is("-7", (-7).into());
        plain_is("0x1F", 31.into());
        plain_is("18446744073709551615", u64::MAX.into());
        plain_is("1.5", 1.5.into());
        plain_is("1e3", 1000.0.into());
        plain_is("5m", "5m".into());
        plain_is("1.2.3", "1.2.3".into());
        plain_is("10.0.0.0/8", "10.0.0.0/8".into());
        plain_is("-", "-".into());
        assert_eq!(
            scalar("8080", granit_parser::ScalarStyle::DoubleQuoted),
            Some("8080".into())
        );
        assert_eq!(scalar(".inf", granit_parser::ScalarStyle::Plain), None);
    }
}
