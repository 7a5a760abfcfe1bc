//! The request a verb is about: a file, and attributes from the command line over it.

use std::io::Read;
use std::path::Path;

use mixer_attributes::{Dynamic, OwnedBag, OwnedValue, Type, Vocabulary};

/// Reads `file` (`-`: standard input) and then sets `attributes`, each `name=value`.
pub(super) fn read(
    file: Option<&Path>,
    attributes: &[String],
    vocabulary: &Vocabulary,
) -> Result<OwnedBag, String> {
    let mut text = String::new();
    let name = match file {
        None => "request".to_owned(),
        Some(path) if path == Path::new("-") => {
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| format!("cannot read standard input: {error}"))?;
            "standard input".to_owned()
        }
        Some(path) => {
            let read = std::fs::read_to_string(path);
            text = read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            path.display().to_string()
        }
    };
    let mut request = parsed(&name, &text, vocabulary)?;
    over(&mut request, attributes, vocabulary)?;
    Ok(request)
}

/// Sets `attributes`, each `name=value`, in `request`. Keys of maps and claims add to those that are there.
pub(super) fn over(
    request: &mut OwnedBag,
    attributes: &[String],
    vocabulary: &Vocabulary,
) -> Result<(), String> {
    for attribute in attributes {
        set(request, attribute, vocabulary)?;
    }
    Ok(())
}

/// Sets one attribute, or one key of a map, given as `name=value`.
pub(super) fn set(
    request: &mut OwnedBag,
    attribute: &str,
    vocabulary: &Vocabulary,
) -> Result<(), String> {
    let given = parsed("-a", &as_yaml(attribute, vocabulary)?, vocabulary)?;
    for (id, value) in given.iter() {
        match (request.value_mut(id), value) {
            (Some(OwnedValue::Map(map)), OwnedValue::Map(more)) => map.extend(more.clone()),
            (
                Some(OwnedValue::Dynamic(Dynamic::Map(claims))),
                OwnedValue::Dynamic(Dynamic::Map(more)),
            ) => {
                claims.retain(|(key, _)| more.iter().all(|(new, _)| new != key));
                claims.extend(more.clone());
                claims.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            _ => drop(request.set(id, value.clone())),
        }
    }
    Ok(())
}

fn parsed(name: &str, text: &str, vocabulary: &Vocabulary) -> Result<OwnedBag, String> {
    mixer_documents::request(name, text, vocabulary).map_err(|problems| problems.lines().join("\n"))
}

/// `name=value` in the form of a request's file.
fn as_yaml(attribute: &str, vocabulary: &Vocabulary) -> Result<String, String> {
    let (name, value) = attribute
        .split_once('=')
        .ok_or_else(|| format!("-a takes NAME=VALUE, not `{attribute}`"))?;
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let found = vocabulary.by_name(name);
    Ok(match found.map(|attribute| attribute.kind) {
        Some(Type::Bool | Type::Int | Type::Double | Type::List | Type::Map | Type::Dynamic) => {
            format!("{name}: {value}\n")
        }
        Some(_) => format!("{name}: {}\n", quoted(value)),
        None => {
            let map = vocabulary.iter().find_map(|attribute| {
                let is_map = matches!(attribute.kind, Type::Map | Type::Dynamic);
                let key = name.strip_prefix(&attribute.name)?.strip_prefix('.')?;
                is_map.then_some((&attribute.name, key, attribute.kind))
            });
            match map {
                Some((map, key, Type::Dynamic)) => {
                    format!("{map}: {{ {}: {value} }}\n", quoted(key))
                }
                Some((map, key, _)) => format!("{map}: {{ {}: {} }}\n", quoted(key), quoted(value)),
                // Not known: what is said about files is said about it.
                None => format!("{name}: {}\n", quoted(value)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_the_command_line_go_over_those_of_the_file() {
        let vocabulary = Vocabulary::new();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("request.yaml");
        std::fs::write(
            &file,
            "request: { method: GET, headers: { a: '1', b: '2' } }",
        )
        .unwrap();
        let given = |attributes: &[&str]| {
            let attributes: Vec<String> = attributes.iter().map(|text| text.to_string()).collect();
            read(Some(&file), &attributes, &vocabulary)
        };
        let set = given(&[
            "request.method=PUT",
            "request.headers.b=it's",
            "connection.mtls=true",
            "auth.claims.sub=me",
            "auth.claims.groups=[a, b]",
        ]);
        let expected = "request: { method: PUT, headers: { a: '1', b: \"it's\" } }\nconnection: { mtls: true }\nauth: { claims: { sub: me, groups: [a, b] } }";
        assert_eq!(
            set.unwrap(),
            mixer_documents::request("x", expected, &vocabulary).unwrap()
        );
        for wrong in [
            "request.method",
            "request.mehtod=PUT",
            "connection.mtls=perhaps",
        ] {
            assert!(given(&[wrong]).is_err(), "{wrong}");
        }
    }
}
