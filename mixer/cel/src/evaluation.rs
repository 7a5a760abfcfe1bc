//! The state of deciding one request: its attributes, and what was read of them.

use mixer_attributes::{AttributeBag, AttributeId};

use crate::{Reference, References};

/// Evaluates expressions against one request and keeps what they read.
#[derive(Debug)]
pub struct Evaluation<'a> {
    pub(crate) _bag: &'a AttributeBag<'a>,
}

impl<'a> Evaluation<'a> {
    /// For the request that `bag` describes and expressions compiled with `references`.
    pub fn new(bag: &'a AttributeBag<'a>, references: &'a References) -> Self {
        let _ = references;
        Self { _bag: bag }
    }

    /// The request.
    pub fn bag(&self) -> &'a AttributeBag<'a> {
        self._bag
    }

    /// Adds an attribute to the referenced set without evaluating anything (an index consulted it).
    pub fn touch(&mut self, attribute: AttributeId, key: Option<&str>) {
        let _ = (attribute, key);
        unimplemented!()
    }

    /// Everything read so far, each once and sorted, with whether the request has it. Keys found ambiguous count as present.
    pub fn referenced(&self) -> Vec<(Reference, bool)> {
        unimplemented!()
    }
}
