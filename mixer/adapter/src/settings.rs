//! Kinds of values that the configurations of several adapters hold: spans of time and secrets.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// A span of time as operators write it: a number and a unit (`500ms`, `30s`, `5m`, `24h`, `7d`), or several (`1h30m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// Something that must not be read by who may read documents, logs or dumps: kept outside of the document, or written in it
/// where that is good enough. It is fetched when it is used, so that a rotated file counts and a validation needs no secrets.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub enum Secret {
    /// The value itself.
    Literal(String),
    /// In an environment variable.
    FromEnv {
        /// The variable's name.
        from_env: String,
    },
    /// In a file, without the line break at its end.
    FromFile {
        /// The file's path; relative ones are resolved against the document's directory.
        from_file: String,
    },
}

/// A secret that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NoSecret {
    #[error("the environment variable {0} is not set")]
    Unset(String),
    #[error("cannot read the secret's file {0}: {1}")]
    Unreadable(String, String),
}

impl Secret {
    /// The secret, read now. Reads a file: call it in background work only.
    pub fn reveal(&self, directory: &std::path::Path) -> Result<String, NoSecret> {
        match self {
            Secret::Literal(value) => Ok(value.clone()),
            Secret::FromEnv { from_env } => {
                std::env::var(from_env).map_err(|_| NoSecret::Unset(from_env.clone()))
            }
            Secret::FromFile { from_file } => std::fs::read_to_string(directory.join(from_file))
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| NoSecret::Unreadable(from_file.clone(), error.to_string())),
        }
    }
}

/// Says where it is kept, never what it is.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Literal(_) => f.write_str("Secret(..)"),
            Secret::FromEnv { from_env } => write!(f, "Secret(from_env: {from_env})"),
            Secret::FromFile { from_file } => write!(f, "Secret(from_file: {from_file})"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, {from_env: NAME} or {from_file: PATH}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::Literal(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
                let secret = match map.next_key::<String>()?.as_deref() {
                    Some("from_env") => Secret::FromEnv {
                        from_env: map.next_value()?,
                    },
                    Some("from_file") => Secret::FromFile {
                        from_file: map.next_value()?,
                    },
                    Some(other) => {
                        return Err(de::Error::unknown_field(other, &["from_env", "from_file"]));
                    }
                    None => return Err(de::Error::custom("needs from_env or from_file")),
                };
                match map.next_key::<String>()? {
                    None => Ok(secret),
                    Some(_) => Err(de::Error::custom(
                        "needs from_env or from_file, nothing else",
                    )),
                }
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl std::str::FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no span of time; write it like 500ms, 30s, 5m, 24h or 7d");
        let mut nanos = 0u64;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            let letters = after.len()
                - after
                    .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                    .len();
            let (unit, after) = after.split_at(letters);
            let unit: u64 = match unit {
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "d" => 86_400_000_000_000,
                _ => return Err(wrong()),
            };
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let part = number.checked_mul(unit).ok_or_else(wrong)?;
            nanos = nanos.checked_add(part).ok_or_else(wrong)?;
            rest = after;
        }
        if text.is_empty() {
            Err(wrong())
        } else {
            Ok(Self(Duration::from_nanos(nanos)))
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
            "description": "A span of time: 500ms, 30s, 5m, 24h, 7d, 1h30m.",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_of_time_are_read_as_operators_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(
                text.parse::<Period>().unwrap().0,
                Duration::from_millis(millis),
                "{text}"
            );
        }
        for text in ["", "5", "m", "5 m", "-5m", "5w", "1.5h", "99999999999d"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let literal: Secret = serde_json::from_value(json!("hunter2")).unwrap();
        assert_eq!(format!("{literal:?}"), "Secret(..)");
        assert_eq!(literal.reveal(".".as_ref()).unwrap(), "hunter2");
    }

    #[test]
    fn a_secret_is_read_where_it_is_kept_when_it_is_used() {
        let unset: Secret =
            serde_json::from_value(json!({"from_env": "MIXER_TEST_NO_SUCH_VARIABLE"})).unwrap();
        assert_eq!(
            unset.reveal(".".as_ref()).unwrap_err().to_string(),
            "the environment variable MIXER_TEST_NO_SUCH_VARIABLE is not set"
        );
        let directory = tempfile::tempdir().unwrap();
        let file: Secret = serde_json::from_value(json!({"from_file": "token"})).unwrap();
        assert!(file.reveal(directory.path()).is_err());
        std::fs::write(directory.path().join("token"), "hunter2\n").unwrap();
        assert_eq!(file.reveal(directory.path()).unwrap(), "hunter2");
    }

    #[test]
    fn other_forms_of_a_secret_are_refused_with_the_known_ones() {
        for form in [
            json!({"env": "X"}),
            json!({}),
            json!(7),
            json!({"from_env": "X", "from_file": "Y"}),
        ] {
            let error = serde_json::from_value::<Secret>(form.clone())
                .unwrap_err()
                .to_string();
            assert!(error.contains("from_env"), "{form}: {error}");
        }
    }
}
