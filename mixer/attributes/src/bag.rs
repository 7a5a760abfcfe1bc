//! One request's attributes in slots.
//!
//! Reading a built-in attribute is an array access, which is what lets a compiled condition run in tens of nanoseconds. The
//! array is sized by the vocabulary (about 50 slots of 24 bytes), cleared once per request and never allocated. Custom
//! attributes are few and sit in a short vector beside it.

use crate::Value;
use crate::vocabulary::{self, AttributeId};

/// The attributes of one request. Values are borrowed; unset is unset.
///
/// ```
/// use mixer_attributes::{vocabulary, AttributeBag, Value};
/// let mut bag = AttributeBag::new();
/// bag.set(vocabulary::REQUEST_METHOD, Value::String("GET"));
/// assert_eq!(bag.value(vocabulary::REQUEST_METHOD), Some(Value::String("GET")));
/// assert_eq!(bag.value(vocabulary::SOURCE_NAMESPACE), None);
/// ```
#[derive(Clone, Debug)]
pub struct AttributeBag<'a> {
    builtin: [Option<Value<'a>>; vocabulary::SLOTS],
    custom: Vec<(AttributeId, Value<'a>)>,
}

impl<'a> AttributeBag<'a> {
    /// A bag with nothing set.
    pub fn new() -> Self {
        Self {
            builtin: [None; vocabulary::SLOTS],
            custom: Vec::new(),
        }
    }

    /// Sets an attribute, replacing what it had. The caller vouches for the type: bags are filled from typed sources
    /// (a wire decoder, a proxy's extraction) that check it against the vocabulary.
    pub fn set(&mut self, id: AttributeId, value: Value<'a>) {
        match self.builtin.get_mut(id.slot()) {
            Some(slot) => *slot = Some(value),
            None => {
                self.custom.retain(|(held, _)| *held != id);
                self.custom.push((id, value));
            }
        }
    }

    /// The attribute's value, `None` when it is unset.
    #[inline]
    pub fn value(&self, id: AttributeId) -> Option<Value<'a>> {
        match self.builtin.get(id.slot()) {
            Some(slot) => *slot,
            None => self
                .custom
                .iter()
                .find(|(held, _)| *held == id)
                .map(|(_, value)| *value),
        }
    }

    /// Unsets an attribute.
    pub fn unset(&mut self, id: AttributeId) {
        match self.builtin.get_mut(id.slot()) {
            Some(slot) => *slot = None,
            None => self.custom.retain(|(held, _)| *held != id),
        }
    }

    /// Every attribute that is set, built-in ones in id order, then custom ones.
    pub fn iter(&self) -> impl Iterator<Item = (AttributeId, Value<'a>)> + '_ {
        let builtin = self.builtin.iter().enumerate();
        builtin
            .filter_map(|(slot, value)| value.map(|value| (AttributeId::from_slot(slot), value)))
            .chain(self.custom.iter().copied())
    }
}

impl Default for AttributeBag<'_> {
    fn default() -> Self {
        Self::new()
    }
}
