//! The request a test gives: a tree of attributes, typed by the vocabulary.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mixer_attributes::{Dynamic, OwnedBag, OwnedValue, Type, Vocabulary, vocabulary};

use super::{adapter::plain, mesh::is_header_name};
use crate::Code;
use crate::diagnostics::Problems;
use crate::scalar::{boolean, list, scalar, span, timestamp};
use crate::suggest::{is_clear, nearest};
use crate::yaml::{Node, Value};

/// Attributes by their dotted names, nested or not. Null unsets what another test gave. In a request that is not tcp, headers,
/// query and cookies are present though perhaps empty, as they are in traffic.
pub(super) fn read(
    node: &Node,
    vocabulary: &Vocabulary,
    defined: &[(String, String)],
    problems: &mut Problems,
) -> OwnedBag {
    let given = Given {
        vocabulary,
        defined,
    };
    let mut bag = OwnedBag::new();
    if !matches!(node.value, Value::Map(_) | Value::Wrong) {
        problems
            .error(
                Code::WrongShape,
                node.span,
                format!(
                    "`given` must be a map of attributes, this is {}",
                    node.what()
                ),
            )
            .help("such as { source: { namespace: shop }, request: { method: GET } }");
    }
    given.below(node, "", &mut bag, problems);
    let tcp = bag.value(vocabulary::API_PROTOCOL) == Some(&OwnedValue::String("tcp".to_owned()));
    let request = |(id, _): (vocabulary::AttributeId, &OwnedValue)| {
        vocabulary
            .by_id(id)
            .is_some_and(|attribute| attribute.name.starts_with("request."))
    };
    if !tcp && bag.iter().any(request) {
        for id in [
            vocabulary::REQUEST_HEADERS,
            vocabulary::REQUEST_QUERY,
            vocabulary::REQUEST_COOKIES,
        ] {
            if bag.value(id).is_none() {
                bag.set(id, OwnedValue::Map(BTreeMap::new()));
            }
        }
    }
    bag
}

struct Given<'a> {
    vocabulary: &'a Vocabulary,
    /// Attributes that are computed, with how.
    defined: &'a [(String, String)],
}

impl Given<'_> {
    fn below(&self, node: &Node, prefix: &str, bag: &mut OwnedBag, problems: &mut Problems) {
        let vocabulary = self.vocabulary;
        let Value::Map(entries) = &node.value else {
            return;
        };
        for entry in entries {
            let path = if prefix.is_empty() {
                entry.key.clone()
            } else {
                format!("{prefix}.{}", entry.key)
            };
            if let Some(attribute) = vocabulary.by_name(&path) {
                if matches!(entry.value.value, Value::Null) {
                    continue;
                }
                if self.defined.iter().any(|(name, _)| *name == path) {
                    problems
                        .error(
                            Code::GivenComputed,
                            entry.span,
                            format!("`{path}` is computed"),
                        )
                        .help("give what its `from` reads");
                    continue;
                }
                if let Some(value) = value(&entry.value, attribute, problems) {
                    bag.set(attribute.id, value);
                }
                continue;
            }
            let family = format!("{path}.");
            let is_family = vocabulary
                .iter()
                .any(|attribute| attribute.name.starts_with(&family));
            match &entry.value.value {
                Value::Map(_) | Value::Wrong | Value::Null if is_family => {
                    self.below(&entry.value, &path, bag, problems)
                }
                _ if is_family => {
                    problems.error(
                        Code::GivenValue,
                        entry.value.span,
                        format!(
                            "`{path}` is a family of attributes: a map, not {}",
                            entry.value.what()
                        ),
                    );
                }
                _ => {
                    let error = problems.error(
                        Code::GivenUnknown,
                        entry.span,
                        format!("unknown attribute `{path}`"),
                    );
                    let attributes = vocabulary.iter();
                    let names: Vec<&str> = attributes.map(|known| known.name.as_str()).collect();
                    let families = names.iter().filter_map(|name| name.split('.').next());
                    let known: Vec<&str> = names.iter().copied().chain(families).collect();
                    if let Some(near) = nearest(&path, known.iter().copied()) {
                        error.help(format!("did you mean `{near}`?"));
                        let same_family = near.strip_prefix(prefix).map(|rest| match prefix {
                            "" => rest,
                            _ => rest.trim_start_matches('.'),
                        });
                        if let Some(text) = same_family
                            && is_clear(&path, known.iter().copied())
                        {
                            error.fix(entry.span, text);
                        }
                    }
                }
            }
        }
    }
}

fn value(
    node: &Node,
    attribute: &vocabulary::Attribute,
    problems: &mut Problems,
) -> Option<OwnedValue> {
    let what = format!("`{}`", attribute.name);
    let text =
        |problems: &mut Problems| scalar(node, &what, problems).map(|scalar| scalar.text.as_str());
    let mut parsed = |parse: &dyn Fn(&str) -> Option<OwnedValue>, shape: &str| {
        let text = text(problems)?;
        let value = parse(text);
        if value.is_none() {
            problems.error(
                Code::GivenValue,
                node.span,
                format!("{what} is {shape}, not `{text}`"),
            );
        }
        value
    };
    match attribute.kind {
        Type::String => parsed(&|text| Some(OwnedValue::String(text.to_owned())), "a text"),
        Type::Int => parsed(
            &|text| text.parse().ok().map(OwnedValue::Int),
            "a whole number",
        ),
        Type::Double => parsed(
            &|text| text.parse().ok().map(OwnedValue::Double),
            "a number",
        ),
        Type::Bytes => parsed(&|text| Some(OwnedValue::Bytes(text.into())), "a text"),
        Type::Timestamp => parsed(
            &|text| timestamp(text).map(OwnedValue::Timestamp),
            "a time such as 2026-01-31T12:00:00Z",
        ),
        Type::Ip => {
            let parse = |text: &str| {
                text.parse::<IpAddr>()
                    .ok()
                    .map(|address| OwnedValue::Ip(address.to_canonical()))
            };
            parsed(&parse, "an address")
        }
        Type::Bool => boolean(node, &what, problems).map(OwnedValue::Bool),
        Type::Duration => span(node, &what, problems).map(|span| OwnedValue::Duration(span.into())),
        Type::List => {
            let items = list(node, &what, problems)?;
            let texts = items
                .iter()
                .filter_map(|item| scalar(item, "an item", problems))
                .map(|item| item.text.clone());
            Some(OwnedValue::List(texts.collect()))
        }
        Type::Map => map(node, &what, attribute.id, problems).map(OwnedValue::Map),
        Type::Dynamic => match &node.value {
            Value::Map(_) => Some(OwnedValue::Dynamic(dynamic(node))),
            Value::Wrong => None,
            _ => {
                problems.error(
                    Code::GivenValue,
                    node.span,
                    format!("{what} is a map, this is {}", node.what()),
                );
                None
            }
        },
    }
}

fn map(
    node: &Node,
    what: &str,
    id: vocabulary::AttributeId,
    problems: &mut Problems,
) -> Option<BTreeMap<String, String>> {
    let entries = match &node.value {
        Value::Map(entries) => entries,
        Value::Wrong => return None,
        _ => {
            problems.error(
                Code::GivenValue,
                node.span,
                format!("{what} is a map, this is {}", node.what()),
            );
            return None;
        }
    };
    let headers = [vocabulary::REQUEST_HEADERS, vocabulary::RESPONSE_HEADERS].contains(&id);
    let mut map = BTreeMap::new();
    for entry in entries {
        if headers && !is_header_name(&entry.key) {
            let error = problems.error(
                Code::HeaderName,
                entry.span,
                format!("`{}` is no header name in lower case", entry.key),
            );
            if is_header_name(&entry.key.to_ascii_lowercase()) {
                let lower = entry.key.to_ascii_lowercase();
                error.help(format!("write {lower}"));
                error.fix(entry.span, lower);
            }
        }
        if matches!(entry.value.value, Value::Null) {
            continue;
        }
        if let Some(value) = scalar(&entry.value, "a value", problems) {
            map.insert(entry.key.clone(), value.text.clone());
        }
    }
    Some(map)
}

/// A claim as JSON would have it.
fn dynamic(node: &Node) -> Dynamic {
    match &node.value {
        Value::Null | Value::Wrong => Dynamic::Null,
        Value::List(items) => Dynamic::List(items.iter().map(dynamic).collect()),
        Value::Map(entries) => {
            let mut members: Vec<(String, Dynamic)> = entries
                .iter()
                .map(|entry| (entry.key.clone(), dynamic(&entry.value)))
                .collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Dynamic::Map(members)
        }
        Value::Scalar(scalar) => match plain(scalar) {
            Some(serde_json::Value::Bool(bit)) => Dynamic::Bool(bit),
            Some(serde_json::Value::Number(number)) => match number.as_i64() {
                Some(number) => Dynamic::Int(number),
                None => Dynamic::Double(number.as_f64().unwrap_or_default()),
            },
            _ => Dynamic::String(scalar.text.clone()),
        },
    }
}
