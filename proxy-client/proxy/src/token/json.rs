//! JSON of tokens, read strictly: a name given twice is an error (RFC 7519 section 4 lets us choose; who takes the last one, as
//! most parsers do, may read another token than the application).

use std::fmt;

use mixer_attributes::Dynamic;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON text as a tree.
pub(super) fn tree(text: &[u8]) -> Result<Dynamic, serde_json::Error> {
    serde_json::from_slice::<Tree>(text).map(|tree| tree.0)
}

struct Tree(Dynamic);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Grow).map(Tree)
    }
}

struct Grow;

impl<'de> Visitor<'de> for Grow {
    type Value = Dynamic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::Null)
    }

    fn visit_bool<E>(self, bit: bool) -> Result<Dynamic, E> {
        Ok(Dynamic::Bool(bit))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Dynamic, E> {
        Ok(Dynamic::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Dynamic, E> {
        Ok(match i64::try_from(number) {
            Ok(number) => Dynamic::Int(number),
            Err(_) => Dynamic::Double(number as f64),
        })
    }

    fn visit_f64<E>(self, number: f64) -> Result<Dynamic, E> {
        Ok(Dynamic::Double(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Dynamic, E> {
        Ok(Dynamic::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Dynamic, E> {
        Ok(Dynamic::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Dynamic, A::Error> {
        let mut list = Vec::new();
        while let Some(Tree(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Dynamic::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Dynamic, A::Error> {
        let mut members: Vec<(String, Dynamic)> = Vec::new();
        while let Some((name, Tree(value))) = entries.next_entry()? {
            members.push((name, value));
        }
        members.sort_by(|a, b| a.0.cmp(&b.0));
        match members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            true => Err(A::Error::custom("a name is given twice")),
            false => Ok(Dynamic::Map(members)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_the_text_says() {
        let text = r#"{"b":[1,-1,1.0,18446744073709551615,null,true],"a":{"x":"\u00e9"}}"#;
        let number = 18_446_744_073_709_551_615_u64 as f64;
        let list = vec![
            Dynamic::Int(1),
            Dynamic::Int(-1),
            Dynamic::Double(1.0),
            Dynamic::Double(number),
            Dynamic::Null,
            Dynamic::Bool(true),
        ];
        let inner = Dynamic::Map(vec![("x".into(), Dynamic::String("é".into()))]);
        let expected = Dynamic::Map(vec![("a".into(), inner), ("b".into(), Dynamic::List(list))]);
        assert_eq!(tree(text.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_means_two_things_or_nothing_is_refused() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"c":2,"b":3}}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1}{"#,
            r#"{"a":1e999}"#,
            r#"{"a":NaN}"#,
            "",
            &deep,
        ] {
            assert!(tree(text.as_bytes()).is_err(), "{text}");
        }
        assert!(tree(b"{\"a\":\"\xff\"}").is_err());
    }
}
