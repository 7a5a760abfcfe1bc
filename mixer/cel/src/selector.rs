//! `for`: which destinations a document is about.

use mixer_attributes::{AttributeBag, AttributeId};

/// A compiled `for`. A comparison with an absent attribute is false.
#[derive(Clone, Debug)]
pub struct Selector {}

impl Selector {
    /// Selects everything.
    pub fn always() -> Self {
        Self {}
    }

    /// Whether it selects the request.
    pub fn selects(&self, bag: &AttributeBag<'_>) -> bool {
        let _ = bag;
        unimplemented!()
    }

    /// The attributes (and literal keys of `destination.labels`) it compares.
    pub fn reads(&self) -> Vec<(AttributeId, Option<String>)> {
        unimplemented!()
    }

    /// Whether some request with these attributes can be selected, the attributes it lacks being free: `None` in the bag
    /// means "any value".
    pub fn can_select(&self, bag: &AttributeBag<'_>) -> bool {
        let _ = bag;
        unimplemented!()
    }

    /// A text that is equal for selectors that mean the same comparison tree, for digests.
    pub fn canonical(&self) -> String {
        unimplemented!()
    }
}
