//! What a denied caller is told: statuses, words, headers and a body, as templates over the request.
//!
//! Nothing here can change a verdict. What a template reads and cannot have is `-` (`null` where JSON has a number or a bool); a
//! value is made fit for the place it goes to, or left out. A body is flattened at load to its fixed texts and the places
//! between them, so that rendering one escapes what it must and walks no tree.

use std::fmt::Write as _;
use std::sync::Arc;

use mixer_cel::{Evaluation, Expression, Read, Template, Val};

/// The longest value of a header, in bytes; a longer one is left out.
const HEADER: usize = 4 * 1024;
/// The longest message, in bytes; a longer one is cut.
const MESSAGE: usize = 4 * 1024;
/// The longest body, in bytes; a longer one is left out, and the message told instead.
const BODY: usize = 64 * 1024;

/// What a caller is told who is denied by a rule, an `otherwise` or a quota.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status for HTTP callers: 400 to 599, or a redirect with `location`.
    pub status: u16,
    /// grpc-status for gRPC callers.
    pub grpc: u8,
    /// Target of a redirect.
    pub location: Option<Template>,
    /// What the caller is told; default the sentence.
    pub message: Option<Template>,
    /// Headers of the response, lower case, in document order.
    pub headers: Vec<(Arc<str>, Template)>,
    /// Its body; default the message.
    pub body: Option<Body>,
}

/// A body for HTTP callers.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its `content-type`.
    pub content_type: Arc<str>,
    pub(crate) parts: Vec<Part>,
}

/// A piece of a body.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Taken as it stands.
    Fixed(String),
    /// A text.
    Text(Template),
    /// A text within JSON: quoted and escaped.
    JsonText(Template),
    /// An int, double or bool within JSON.
    JsonValue(Expression),
}

impl Reply {
    /// With nothing but its statuses.
    pub(crate) fn plain(status: u16, grpc: u8) -> Self {
        Self {
            status,
            grpc,
            location: None,
            message: None,
            headers: Vec::new(),
            body: None,
        }
    }

    /// What its templates read.
    pub(crate) fn reads(&self) -> impl Iterator<Item = Read> {
        let headers = self.headers.iter().map(|(_, template)| template);
        let templates = self.location.iter().chain(&self.message).chain(headers);
        let body = self.body.iter().flat_map(|body| &body.parts);
        let body = body.flat_map(|part| match part {
            Part::Fixed(_) => Vec::new(),
            Part::Text(template) | Part::JsonText(template) => template.reads(),
            Part::JsonValue(expression) => expression.reads().to_vec(),
        });
        templates.flat_map(Template::reads).chain(body)
    }

    /// The message for one request; without one, `sentence`.
    pub fn message<'a>(&'a self, sentence: &str, evaluation: &mut Evaluation<'a>) -> String {
        let Some(template) = &self.message else {
            return sentence.to_owned();
        };
        let mut message = template.render(evaluation);
        if message.len() > MESSAGE {
            message.truncate(message.floor_char_boundary(MESSAGE));
        }
        message
    }

    /// The headers for one request, each of visible ASCII: control characters are left out, what is not ASCII is
    /// percent-encoded. One that is empty or too long is left out.
    pub fn headers<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Vec<(Arc<str>, String)> {
        let rendered = self.headers.iter().map(|(name, template)| {
            let value = header_value(&template.render(evaluation));
            (name.clone(), value)
        });
        rendered
            .filter(|(_, value)| (1..=HEADER).contains(&value.len()))
            .collect()
    }
}

impl Body {
    /// The text for one request; `None` when it is too long.
    pub fn render<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Fixed(fixed) => text.push_str(fixed),
                Part::Text(template) => text.push_str(&template.render(evaluation)),
                Part::JsonText(template) => {
                    text.push_str(&json_text(&template.render(evaluation)));
                }
                Part::JsonValue(expression) => {
                    text.push_str(&json_value(expression, evaluation));
                }
            }
            if text.len() > BODY {
                return None;
            }
        }
        Some(text)
    }

    /// The text as written, expressions in braces.
    pub fn source(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Fixed(fixed) => text.push_str(fixed),
                Part::Text(template) => text.push_str(template.source()),
                Part::JsonText(template) => text.push_str(&json_text(template.source())),
                Part::JsonValue(expression) => {
                    text.push_str(&json_text(&format!("{{{}}}", expression.source())));
                }
            }
        }
        text
    }
}

/// A text as JSON has it.
pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn json_value<'a>(expression: &'a Expression, evaluation: &mut Evaluation<'a>) -> String {
    match expression.evaluate(evaluation) {
        Ok(Val::Bool(bit)) => bit.to_string(),
        Ok(Val::Int(number)) => number.to_string(),
        Ok(Val::Uint(number)) => number.to_string(),
        // JSON has no number for those that are none.
        Ok(Val::Double(number)) => serde_json::Value::from(number).to_string(),
        Ok(_) | Err(_) => "null".to_owned(),
    }
}

/// What of a text can be in a header.
fn header_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if c.is_ascii() {
            value.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                write!(value, "%{byte:02X}").expect("a String takes all that is written");
            }
        }
    }
    // RFC 9113 section 8.2.1: no white space at the ends.
    value.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use mixer_attributes::{AttributeBag, Value, vocabulary};
    use proptest::prelude::*;

    use super::*;
    use crate::{Sources, load};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn whatever_a_caller_sends_json_is_json_and_a_header_one_header(sent in "\\PC{0,40}|[\"\\\\\r\n\t\0{}:,\u{7f}\u{85}\u{2028}]{0,8}") {
            let document = "policy: p\nfor: always\nrules:\n  - deny: x\n    headers: { x-a: '{request.host}' }\n    body: { a: '{request.host}', b: ['<{request.host}>'] }\n";
            let set = load(Sources::from_texts([("f.yaml", document)])).unwrap();
            let reply = &set.policies[0].rules[0].reply;
            let mut bag = AttributeBag::new();
            bag.set(vocabulary::REQUEST_HOST, Value::String(&sent));
            let mut evaluation = Evaluation::new(&bag, &set.references);
            let body = reply.body.as_ref().unwrap().render(&mut evaluation).unwrap();
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(body, serde_json::json!({ "a": &sent, "b": [format!("<{sent}>")] }));
            for (_, value) in reply.headers(&mut evaluation) {
                prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{:?}", value);
                prop_assert_eq!(value.trim(), &*value);
            }
        }
    }

    #[test]
    fn a_value_of_a_header_ends_no_header_and_loses_no_letter() {
        for (text, value) in [
            ("plain text", "plain text"),
            ("a\r\nset-cookie: b", "aset-cookie: b"),
            (" \0 \u{7f}tab\tnul\0 ", "tabnul"),
            ("Müller 50%", "M%C3%BCller 50%"),
            ("\u{85}next\u{2028}one", "next%E2%80%A8one"),
        ] {
            assert_eq!(header_value(text), value, "{text:?}");
        }
    }
}
