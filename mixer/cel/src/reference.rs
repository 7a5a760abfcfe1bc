//! What expressions read, interned for one set of documents.

use std::sync::Arc;

use mixer_attributes::AttributeId;

/// An attribute, or one key of a map attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The attribute.
    pub attribute: AttributeId,
    /// The key of a map attribute; `None` is the whole attribute.
    pub key: Option<Arc<str>>,
}

/// Number of a [`Reference`] within its [`References`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReferenceId(pub(crate) u32);

/// Every reference the expressions of one set can make with a literal key.
#[derive(Clone, Debug, Default)]
pub struct References {
    pub(crate) list: Vec<Reference>,
}
