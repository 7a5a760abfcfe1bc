//! Values in evaluation.

use mixer_attributes::OwnedValue;

/// A value of an evaluation; borrowed from the request or the expression where it was not built.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// Text.
    String(std::borrow::Cow<'a, str>),
}

impl Val<'_> {
    /// As text, for quota keys, labels and messages: strings bare, numbers in decimal, bools as words, addresses and times in
    /// their usual form, lists and maps as JSON.
    pub fn to_text(&self) -> String {
        unimplemented!()
    }

    /// As an integer (int, or uint that fits).
    pub fn as_int(&self) -> Option<i64> {
        unimplemented!()
    }

    /// As a number (int, uint, double; durations in seconds).
    pub fn as_number(&self) -> Option<f64> {
        unimplemented!()
    }

    /// As a typed adapter input; `None` for kinds attributes do not have (uint, null, optional, type, cidr).
    pub fn to_owned_value(&self) -> Option<OwnedValue> {
        unimplemented!()
    }
}
