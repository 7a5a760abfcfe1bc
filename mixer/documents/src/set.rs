//! The compiled set.

use std::collections::HashMap;
use std::sync::Arc;

use mixer_attributes::{AttributeBag, Value, Vocabulary, vocabulary};
use mixer_cel::{ReferenceId, References};

use crate::applicability::Applicability;
use crate::index::Index;
use crate::plan::Indexing;
use crate::{
    AdapterDocument, Applicable, At, Diagnostics, Jwt, Mesh, Plan, Policy, Route, Scope, Service,
    Telemetry, Workload,
};

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
    pub jwts: Vec<Arc<Jwt>>,
    /// In document order.
    pub routes: Vec<Arc<Route>>,
    /// In document order.
    pub telemetry: Vec<Telemetry>,
    /// In document order.
    pub workloads: Vec<Workload>,
    /// Built-in and custom attributes.
    pub vocabulary: Vocabulary,
    /// What evaluations need.
    pub references: References,
    /// What finding out what applies reads, for [`mixer_cel::Evaluation::touch_reference`]: what `for`s compare, and which side
    /// asks.
    pub consulted: Vec<ReferenceId>,
    /// Warnings, and the sources all spans point into.
    pub warnings: Diagnostics,
    pub(crate) applicability: Applicability,
    /// Of the `for` of routes.
    pub(crate) route_index: Index,
    /// Positions in `services` by name.
    pub(crate) by_name: HashMap<Arc<str>, usize>,
}

impl PolicySet {
    /// Sets `destination.namespace` as the document of `destination.service` says. Documents know where a service belongs;
    /// its proxy may have been told otherwise, and policies would pass it by.
    pub fn locate<'a>(&'a self, bag: &mut AttributeBag<'a>) {
        let Some(Value::String(service)) = bag.value(vocabulary::DESTINATION_SERVICE) else {
            return;
        };
        let declared = self.service(service);
        if let Some(namespace) = declared.and_then(|service| service.namespace.as_deref()) {
            bag.set(vocabulary::DESTINATION_NAMESPACE, Value::String(namespace));
        }
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(name).map(|at| &self.services[*at])
    }

    /// What applies to the request or destination that `bag` describes, by its selector attributes alone; without
    /// `context.reporter`, it is the side that `at` means. At most 10,000 destinations are kept, fewer where many rules apply;
    /// computing one asks only the documents whose `for` may select it.
    pub fn applicable(&self, at: At, bag: &AttributeBag<'_>) -> Arc<Applicable> {
        self.applicability.applicable(self, at, bag)
    }

    /// The same with every rule asked in turn: what the index is compared with, in tests and benches. It is not kept.
    pub fn applicable_unindexed(&self, at: At, bag: &AttributeBag<'_>) -> Applicable {
        self.applicability.compute(self, at, bag, Indexing::Off)
    }

    /// `applicable` with only one of its policies, if it is there: for who asks about that policy alone. What proxies are told
    /// stays the same.
    pub fn alone(&self, applicable: &Applicable, policy: usize) -> Applicable {
        let own = |policies: &[usize]| {
            policies
                .iter()
                .copied()
                .filter(|at| *at == policy)
                .collect()
        };
        let mut alone = Applicable {
            guards: own(&applicable.guards),
            pool: own(&applicable.pool),
            shadow: own(&applicable.shadow),
            telemetry: Vec::new(),
            declared_tcp: applicable.declared_tcp,
            scope: applicable.scope.clone(),
            plan: Plan::default(),
        };
        alone.plan = Plan::new(&self.policies, &alone, Indexing::On);
        alone
    }

    /// Digest of every policy and telemetry document with what they use, and of `mesh`: 16 hex digits, the same for the same
    /// meaning on every Mixer.
    pub fn revision(&self) -> Arc<str> {
        self.applicability.whole_revision()
    }

    /// The outbound scopes of the services that have one of their own, because some `at: outbound` policy or telemetry selects
    /// them, by service name; and the scope of every other destination. They are what [`PolicySet::applicable`] says of a
    /// request whose destination service and namespace are known.
    pub fn outbound_scopes(&self) -> (Vec<(Arc<str>, Scope)>, Scope) {
        let other = self
            .applicable(At::Outbound, &AttributeBag::new())
            .scope
            .clone();
        let scope = |service: &Arc<Service>| {
            let mut bag = AttributeBag::new();
            bag.set(
                vocabulary::DESTINATION_SERVICE,
                Value::String(&service.name),
            );
            if let Some(namespace) = &service.namespace {
                bag.set(vocabulary::DESTINATION_NAMESPACE, Value::String(namespace));
            }
            (
                service.name.clone(),
                self.applicable(At::Outbound, &bag).scope.clone(),
            )
        };
        let scopes = self
            .services
            .iter()
            .map(scope)
            .filter(|(_, scope)| *scope != other)
            .collect();
        (scopes, other)
    }
}
