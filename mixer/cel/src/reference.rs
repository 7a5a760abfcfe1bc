//! What expressions read, interned for one set of documents.

use std::collections::HashMap;
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
    whole: HashMap<AttributeId, ReferenceId>,
    keys: HashMap<AttributeId, HashMap<Arc<str>, ReferenceId>>,
}

impl References {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of a reference, when some expression of the set can make it.
    pub fn id(&self, attribute: AttributeId, key: Option<&str>) -> Option<ReferenceId> {
        match key {
            None => self.whole.get(&attribute).copied(),
            Some(key) => self.keys.get(&attribute)?.get(key).copied(),
        }
    }

    pub(crate) fn intern(&mut self, attribute: AttributeId, key: Option<&str>) -> ReferenceId {
        if let Some(id) = self.id(attribute, key) {
            return id;
        }
        let id = ReferenceId(self.list.len() as u32);
        let key: Option<Arc<str>> = key.map(Arc::from);
        match &key {
            None => {
                self.whole.insert(attribute, id);
            }
            Some(key) => {
                self.keys
                    .entry(attribute)
                    .or_default()
                    .insert(Arc::clone(key), id);
            }
        }
        self.list.push(Reference { attribute, key });
        id
    }
}
