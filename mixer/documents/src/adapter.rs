//! Adapters as configured. Their configuration is checked by the adapter itself, which documents do not know.

use std::sync::Arc;

use mixer_cel::Kind;

use crate::Span;

/// A checked `adapter`, or one that is there by itself (`memory`, a memory-quota, and `prometheus`, unless a document has the
/// name).
#[derive(Clone, Debug)]
pub struct AdapterDocument {
    /// Its name.
    pub name: Arc<str>,
    /// `type`.
    pub kind: Arc<str>,
    /// `config`, as JSON.
    pub config: serde_json::Value,
    /// The inputs its users give it with `with`, sorted by name; users that differ in names or kinds were refused.
    pub inputs: Vec<Input>,
    /// Directory of its file, against which paths in `config` are resolved.
    pub directory: std::path::PathBuf,
    /// Its name in the file; `None` when it is there by itself.
    pub span: Option<Span>,
    /// Place of each value in `config`, by dotted path such as `headers.authorization` or `entries.3`; `""` is `config` itself.
    pub places: Vec<(String, Span)>,
    /// Where it is first asked.
    pub(crate) first_ask: Option<Span>,
}

/// One input.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name in `with`.
    pub name: Arc<str>,
    /// Its static type.
    pub kind: Kind,
    /// Where it is first given.
    pub span: Span,
}

impl AdapterDocument {
    /// The place of `field` (a dotted path), or of the nearest thing around it.
    pub fn place(&self, field: &str) -> Option<Span> {
        let mut field = field;
        loop {
            if let Some((_, span)) = self.places.iter().find(|(path, _)| path == field) {
                return Some(*span);
            }
            if field.is_empty() {
                return self.span;
            }
            field = field.rsplit_once('.').map_or("", |(around, _)| around);
        }
    }
}
