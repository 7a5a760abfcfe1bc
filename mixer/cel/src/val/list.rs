//! Lists: of the request, read where they lie, or built.

use std::sync::Arc;

use mixer_attributes::Dynamic;

use super::Val;

/// A list of values.
#[derive(Clone, Debug)]
pub struct List<'a>(Items<'a>);

#[derive(Clone, Debug)]
enum Items<'a> {
    Strings(&'a [String]),
    Dynamic(&'a [Dynamic]),
    Built(Arc<[Val<'a>]>),
}

impl<'a> List<'a> {
    pub(crate) fn strings(items: &'a [String]) -> Self {
        Self(Items::Strings(items))
    }

    pub(crate) fn dynamic(items: &'a [Dynamic]) -> Self {
        Self(Items::Dynamic(items))
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        match &self.0 {
            Items::Strings(items) => items.len(),
            Items::Dynamic(items) => items.len(),
            Items::Built(items) => items.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    pub fn element(&self, index: usize) -> Option<Val<'a>> {
        match &self.0 {
            Items::Strings(items) => items.get(index).map(|item| Val::text(item)),
            Items::Dynamic(items) => items.get(index).map(Val::from),
            Items::Built(items) => items.get(index).cloned(),
        }
    }

    /// Calls `then` with the text of the element at `index`; `None` when it is no text.
    pub(crate) fn with_text<T>(&self, index: usize, then: impl FnOnce(Option<&str>) -> T) -> T {
        match &self.0 {
            Items::Strings(items) => then(items.get(index).map(String::as_str)),
            Items::Dynamic(items) => then(match items.get(index) {
                Some(Dynamic::String(text)) => Some(text),
                _ => None,
            }),
            Items::Built(items) => then(items.get(index).and_then(Val::as_str)),
        }
    }

    /// Its elements.
    pub fn iter(&self) -> impl Iterator<Item = Val<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.element(index))
    }
}

impl<'a> FromIterator<Val<'a>> for List<'a> {
    fn from_iter<I: IntoIterator<Item = Val<'a>>>(items: I) -> Self {
        Self(Items::Built(items.into_iter().collect()))
    }
}
