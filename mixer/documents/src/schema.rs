//! JSON Schema (draft 2020-12) of documents, for editors: completion, descriptions, and a red line below what is unknown.
//!
//! The keys are those the loader reads; [`keys`] adds what they hold and mean. A schema says less than `mixer validate`: it
//! knows no CEL and nothing of other documents.

mod keys;

use serde_json::{Map, Value, json};

use crate::fields::Shape;
use crate::load::SHAPES;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The kinds of documents: the kind key, and the definition of the body.
const KINDS: [(&str, &str); 9] = [
    ("policy", "policy"),
    ("adapter", "adapter"),
    ("mesh", "mesh"),
    ("service", "service"),
    ("route", "route"),
    ("telemetry", "telemetry"),
    ("attributes", "attributes"),
    ("jwt", "jwt"),
    ("workload", "workload"),
];

/// The kinds a schema can be had of.
pub fn schema_kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(kind, _)| *kind)
}

/// The schema of documents, or of those of one kind (`None` for a kind there is not). `adapters` are the types of adapters with
/// the schemas of their configurations.
pub fn schema<'a>(
    kind: Option<&str>,
    adapters: impl IntoIterator<Item = (&'a str, Value)>,
) -> Option<Value> {
    let mut definitions = Map::new();
    for (name, shape) in SHAPES {
        definitions.insert(name.to_owned(), object(name, shape));
    }
    definitions.insert(
        "attributes".to_owned(),
        json!({ "type": "array", "items": reference("attribute") }),
    );
    for (name, definition) in keys::plain() {
        definitions.insert(name.to_owned(), definition);
    }
    configurations(adapters, &mut definitions);
    let mut forms = Vec::new();
    for (one, body) in KINDS
        .iter()
        .filter(|(one, _)| kind.is_none_or(|kind| kind == *one))
    {
        let short = format!("{one}_document");
        definitions.insert(short.clone(), document(one, body, &definitions));
        forms.push(reference(&short));
        let long = format!("{one}_object");
        definitions.insert(long.clone(), kubernetes(one, body));
        forms.push(reference(&long));
    }
    (!forms.is_empty()).then(|| {
        json!({
            "$schema": DRAFT,
            "title": kind.map_or("Documents of Mixer".to_owned(), |kind| format!("Mixer: {kind}")),
            "anyOf": forms,
            "$defs": definitions,
        })
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A map with the keys of a shape.
fn object(name: &str, shape: Shape) -> Value {
    let mut properties = Map::new();
    for key in shape.keys {
        properties.insert(
            (*key).to_owned(),
            keys::property(name, key).unwrap_or(json!(true)),
        );
    }
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    for (member, rule) in keys::demands(name) {
        object[member] = rule;
    }
    object
}

/// A document that says its kind by a key.
fn document(kind: &str, body: &str, definitions: &Map<String, Value>) -> Value {
    let description = keys::property("document", kind).unwrap_or(json!(true));
    // Of `mesh` and `attributes` the body is the key's value.
    if kind == "mesh" || kind == "attributes" {
        let mut value = reference(body);
        value["description"] = description["description"].clone();
        return json!({
            "type": "object",
            "properties": { kind: value },
            "required": [kind],
            "additionalProperties": false,
        });
    }
    let mut whole = definitions[body].clone();
    whole["properties"][kind] = description;
    let mut required = vec![json!(kind)];
    if let Some(Value::Array(more)) = whole.get("required") {
        required.extend(more.iter().cloned());
    }
    whole["required"] = required.into();
    whole
}

/// The same body as the `spec` of a Kubernetes object.
fn kubernetes(kind: &str, body: &str) -> Value {
    let mut letters = kind.chars();
    let capital: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect();
    let spec = match kind {
        "attributes" => json!({ "anyOf": [
            reference(body),
            {
                "type": "object",
                "properties": { "attributes": reference(body) },
                "required": ["attributes"],
                "additionalProperties": false,
            },
        ] }),
        _ => reference(body),
    };
    json!({
        "type": "object",
        "properties": {
            "apiVersion": { "const": "mixer.dev/v1" },
            "kind": { "const": capital },
            "metadata": reference("metadata"),
            "spec": spec,
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
    })
}

/// What `config` holds, by `type`.
fn configurations<'a>(
    adapters: impl IntoIterator<Item = (&'a str, Value)>,
    definitions: &mut Map<String, Value>,
) {
    let mut types = Vec::new();
    let mut rules = Vec::new();
    for (kind, mut config) in adapters {
        let prefix = format!("{kind}_config");
        // Definitions of a configuration's own become definitions of the whole.
        if let Some(Value::Object(own)) = config.as_object_mut().and_then(|all| all.remove("$defs"))
        {
            for (name, mut definition) in own {
                moved(&mut definition, &prefix);
                definitions.insert(format!("{prefix}_{name}"), definition);
            }
        }
        moved(&mut config, &prefix);
        if let Some(members) = config.as_object_mut() {
            members.remove("$schema");
        }
        definitions.insert(prefix.clone(), config);
        rules.push(json!({
            "if": { "properties": { "type": { "const": kind } }, "required": ["type"] },
            "then": { "properties": { "config": reference(&prefix) } },
        }));
        types.push(Value::from(kind));
    }
    if types.is_empty() {
        return;
    }
    let adapter = &mut definitions["adapter"];
    adapter["properties"]["type"]["enum"] = types.into();
    adapter["allOf"] = rules.into();
}

/// Points references to a configuration's own definitions to where they are now.
fn moved(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(to)) = members.get_mut("$ref")
                && let Some(name) = to.strip_prefix("#/$defs/")
            {
                *to = format!("#/$defs/{prefix}_{name}");
            }
            members
                .values_mut()
                .for_each(|member| moved(member, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| moved(item, prefix)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
