//! The schema takes what the loader takes. Judged by a validator of the keywords it uses; what else it might use is refused.

use super::*;
use crate::yaml::{self, Node};
use crate::{Sources, load};

/// Why a value does not fit, if it does not.
fn misfit(schema: &Value, value: &Value, root: &Value) -> Option<String> {
    let members = match schema {
        Value::Bool(fits) => return (!fits).then(|| "nothing fits".to_owned()),
        schema => schema.as_object().expect("a schema"),
    };
    let type_of = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    let fits = |schema: &Value| misfit(schema, value, root).is_none();
    members.iter().find_map(|(keyword, rule)| {
        let list = || rule.as_array().expect("a list").iter();
        let wrong = match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().and_then(|to| to.strip_prefix('#'));
                let to = root.pointer(pointer.expect("a local reference"));
                return misfit(to.unwrap_or_else(|| panic!("no {rule}")), value, root);
            }
            "type" if rule.is_string() => !type_of(rule.as_str().expect("a type")),
            "type" => !list().any(|name| type_of(name.as_str().expect("a type"))),
            "const" => rule != value,
            "enum" => !list().any(|one| one == value),
            "anyOf" => !list().any(fits),
            "oneOf" => list().filter(|one| fits(one)).count() != 1,
            "allOf" => return list().find_map(|one| misfit(one, value, root)),
            "if" => {
                return fits(rule)
                    .then(|| misfit(&members["then"], value, root))
                    .flatten();
            }
            "then" | "$schema" | "$defs" | "title" | "description" => false,
            "required" => {
                value.is_object()
                    && list().any(|key| value.get(key.as_str().expect("a key")).is_none())
            }
            "properties" => {
                let rules = rule.as_object().expect("a map");
                return rules
                    .iter()
                    .find_map(|(key, rule)| misfit(rule, value.get(key)?, root));
            }
            "additionalProperties" => {
                let known = members.get("properties").and_then(Value::as_object);
                let more = value.as_object().into_iter().flatten();
                let mut more =
                    more.filter(|(key, _)| known.is_none_or(|known| !known.contains_key(*key)));
                return more.find_map(|(key, value)| {
                    misfit(rule, value, root).map(|why| format!("{key}: {why}"))
                });
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                return items.into_iter().find_map(|item| misfit(rule, item, root));
            }
            "minProperties" => value
                .as_object()
                .is_some_and(|members| (members.len() as u64) < rule.as_u64().expect("a number")),
            "minItems" => value
                .as_array()
                .is_some_and(|items| (items.len() as u64) < rule.as_u64().expect("a number")),
            "minimum" => value
                .as_f64()
                .is_some_and(|number| number < rule.as_f64().expect("a number")),
            "maxLength" => value
                .as_str()
                .is_some_and(|text| text.chars().count() as u64 > rule.as_u64().expect("a number")),
            "pattern" => {
                value
                    .as_str()
                    .is_some_and(|text| match rule.as_str().expect("a pattern") {
                        word if word.starts_with("^calendar") => !text.starts_with("calendar"),
                        _ => !text.starts_with(|c: char| c.is_ascii_digit()),
                    })
            }
            other => panic!("the validator does not know {other}"),
        };
        wrong.then(|| format!("{keyword}: {rule} does not take {value}"))
    })
}

/// As an editor reads YAML.
fn json_of(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Null | yaml::Value::Wrong => Value::Null,
        yaml::Value::Scalar(scalar) => crate::load::plain(scalar).unwrap_or(Value::Null),
        yaml::Value::List(items) => items.iter().map(json_of).collect(),
        yaml::Value::Map(entries) => {
            let members = entries
                .iter()
                .map(|entry| (entry.key.clone(), json_of(&entry.value)));
            Value::Object(members.collect())
        }
    }
}

fn documents(text: &str) -> Vec<Value> {
    let mut problems = crate::diagnostics::Problems::default();
    let trees = yaml::documents(crate::FileId(0), text, &mut problems);
    assert!(problems.list.is_empty(), "{text}");
    trees.iter().map(json_of).collect()
}

#[track_caller]
fn all_fit(text: &str) {
    let schema = schema(None, []).expect("a schema");
    for document in documents(text) {
        let why = misfit(&schema, &document, &schema);
        assert!(why.is_none(), "{why:?}\n{document:#}");
    }
}

/// What each page of a code has under "Right:".
fn right() -> impl Iterator<Item = &'static str> {
    crate::Code::ALL.iter().filter_map(|code| {
        let (_, text) = code.explanation().split_once("Right:\n\n```yaml\n")?;
        text.split_once("```").map(|(text, _)| text)
    })
}

#[test]
fn documents_that_load_fit() {
    all_fit(include_str!("../load/tests/shop.yaml"));
    right().for_each(all_fit);
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");
    let sources = Sources::read(&[policies.into()]).expect("the examples are there");
    assert!(sources.len() >= 4);
    for (path, _, text) in &sources.files {
        println!("{}", path.display());
        all_fit(text);
    }
}

#[test]
fn an_unknown_key_does_not_fit_wherever_it_stands() {
    fn with_key(value: &Value, found: &mut Vec<Value>, around: &dyn Fn(Value) -> Value) {
        match value {
            Value::Object(members) => {
                let mut more = members.clone();
                more.insert("unknwon".to_owned(), json!(1));
                found.push(around(Value::Object(more)));
                for (key, value) in members {
                    // What these hold is named by its author.
                    let free = [
                        "given",
                        "answers",
                        "config",
                        "with",
                        "labels",
                        "table",
                        "fields",
                        "headers",
                        "body",
                        "annotations",
                        "value",
                    ];
                    if !free.contains(&key.as_str()) {
                        with_key(value, found, &|value| {
                            let mut members = members.clone();
                            members.insert(key.clone(), value);
                            around(Value::Object(members))
                        });
                    }
                }
            }
            Value::Array(items) => {
                for at in 0..items.len() {
                    with_key(&items[at], found, &|value| {
                        let mut items = items.clone();
                        items[at] = value;
                        around(Value::Array(items))
                    });
                }
            }
            _ => {}
        }
    }
    let schema = schema(None, []).expect("a schema");
    let mut wrong = Vec::new();
    for document in documents(include_str!("../load/tests/shop.yaml")) {
        with_key(&document, &mut wrong, &|value| value);
    }
    assert!(wrong.len() > 40, "{}", wrong.len());
    for document in wrong {
        assert!(
            misfit(&schema, &document, &schema).is_some(),
            "{document:#}"
        );
    }
}

/// The words of every key with words: the loader takes each, and so does the schema.
#[test]
fn the_words_of_the_schema_are_those_of_the_loader() {
    for (text, key, words) in [
        (
            "policy: p\nfor: always\notherwise: deny\nKEY: WORD\n",
            "at",
            &["inbound", "outbound"][..],
        ),
        (
            "policy: p\nfor: always\notherwise: deny\nKEY: WORD\n",
            "mode",
            &["enforce", "shadow"],
        ),
        (
            "policy: p\nfor: always\notherwise: deny\nKEY: WORD\n",
            "fail",
            &["closed", "open"],
        ),
        (
            "policy: p\nfor: always\nquotas: [{ quota: q, key: [], limit: 1 per day, KEY: WORD }]\n",
            "absent",
            &["share", "deny", "skip"],
        ),
        (
            "policy: p\nfor: always\nquotas: [{ quota: q, key: [], limit: 1 per day, KEY: WORD }]\n",
            "algorithm",
            &["sliding-window", "gcra", "fixed-window"],
        ),
        (
            "policy: p\nfor: always\nquotas: [{ quota: q, key: [], limit: 20, hold: 30s, KEY: WORD }]\n",
            "algorithm",
            &["concurrency"],
        ),
        (
            "policy: p\nfor: always\nquotas: [{ quota: q, key: [], limit: 1 per day, algorithm: fixed-window, KEY: WORD }]\n",
            "window",
            &["calendar", "calendar Europe/Berlin", "calendar Etc/GMT+5"],
        ),
        (
            "policy: p\nfor: always\nquotas: [{ quota: q, key: [], limit: 1 per day, KEY: WORD }]\n",
            "denied",
            &["free", "counts"],
        ),
        (
            "policy: p\nfor: always\nquotas: [{ quota: q, key: [], limit: 1 per day, KEY: WORD }]\n",
            "lease",
            &["auto", "0", "5"],
        ),
        (
            "policy: p\nfor: always\nquotas: [{ quota: q, key: [], limit: 1 per day, KEY: WORD }]\n",
            "on_error",
            &["allow", "deny", "{ local: 10% }"],
        ),
        ("mesh: { KEY: WORD }\n", "default", &["allow", "deny"]),
        (
            "mesh: { denials: { KEY: WORD } }\n",
            "show",
            &["mesh", "everyone", "nobody"],
        ),
        (
            "service: s\nKEY: WORD\n",
            "protocol",
            &["http", "http2", "grpc", "tcp"],
        ),
        (
            "service: s\npaths: { KEY: WORD }\n",
            "encoded_slash",
            &["keep", "refuse"],
        ),
        (
            "telemetry: t\nfor: always\nKEY: WORD\n",
            "standard",
            &["keep", "drop"],
        ),
        (
            "telemetry: t\nfor: always\nmetrics: [{ metric: m, kind: counter, KEY: WORD }]\n",
            "at",
            &["destination", "source"],
        ),
    ] {
        for word in words {
            let text = text.replace("KEY", key).replace("WORD", word);
            load(Sources::from_texts([("f", text.as_str())])).expect("it is a word");
            all_fit(&text);
        }
        let text = text.replace("KEY", key).replace("WORD", "qwertz");
        load(Sources::from_texts([("f", text.as_str())])).expect_err("it is no word");
        let schema = schema(None, []).expect("a schema");
        let document = &documents(&text)[0];
        assert!(misfit(&schema, document, &schema).is_some(), "{text}");
    }
}

#[test]
fn configurations_are_by_type_and_their_definitions_move() {
    let config = json!({
        "$schema": DRAFT,
        "type": "object",
        "properties": { "kind": { "$ref": "#/$defs/Kind" } },
        "additionalProperties": false,
        "$defs": { "Kind": { "enum": ["a"] } },
    });
    let schema =
        schema(Some("adapter"), [("list", config), ("log", json!(true))]).expect("a schema");
    let fits = |text: &str| misfit(&schema, &documents(text)[0], &schema).is_none();
    assert!(fits("adapter: x\ntype: list\nconfig: { kind: a }"));
    assert!(fits("adapter: x\ntype: log\nconfig: { other: b }"));
    assert!(!fits("adapter: x\ntype: list\nconfig: { kind: b }"));
    assert!(!fits("adapter: x\ntype: list\nconfig: { kidn: a }"));
    assert!(!fits("adapter: x\ntype: lst"));
    assert!(!fits("policy: p\nfor: always"));
    assert!(super::schema(Some("polcy"), []).is_none());
}
