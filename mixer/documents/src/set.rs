//! The compiled set.

use std::sync::Arc;

use mixer_attributes::{AttributeBag, Vocabulary};
use mixer_cel::References;

use crate::{AdapterDocument, Applicable, At, Diagnostics, Mesh, Policy, Scope, Service, Telemetry};

/// One set of documents: checked, compiled, immutable.
#[derive(Debug)]
pub struct PolicySet {
    /// The `mesh` document, or its defaults.
    pub mesh: Mesh,
    /// In decision order.
    pub policies: Vec<Policy>,
    /// In document order; those that are there by themselves last.
    pub adapters: Vec<AdapterDocument>,
    /// In document order.
    pub services: Vec<Arc<Service>>,
    /// In document order.
    pub telemetry: Vec<Telemetry>,
    /// Built-in and custom attributes.
    pub vocabulary: Vocabulary,
    /// What evaluations need.
    pub references: References,
    /// Warnings, and the sources all spans point into.
    pub warnings: Diagnostics,
}

impl PolicySet {
    /// What applies to the request or destination that `bag` describes, by its selector attributes alone. At most 10,000
    /// destinations are kept; computing one is linear in the number of documents.
    pub fn applicable(&self, at: At, bag: &AttributeBag<'_>) -> Arc<Applicable> {
        let _ = (at, bag);
        unimplemented!()
    }

    /// The outbound scopes of services that some `at: outbound` policy or telemetry can select, by service name, and the scope
    /// of every other destination.
    pub fn outbound_scopes(&self) -> (Vec<(Arc<str>, Scope)>, Scope) {
        unimplemented!()
    }
}
