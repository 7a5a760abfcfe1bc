//! What was loaded: a compiled set of documents and the adapters it names.
//!
//! A snapshot is built whole or not at all and never changes; a reload builds another and swaps. Building does no I/O beyond the
//! documents' own directory and runs no task, so that `mixer validate` builds exactly what `mixer serve` would serve; adapters
//! begin their work when the snapshot comes into force ([`Snapshot::start`]).

mod build;
mod revision;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::{HttpClient, Keep, MetricDefinition, Registry};
use mixer_attributes::AttributeBag;
use mixer_documents::{Applicable, At, Diagnostics, PolicySet, Scope, Sources};
use mixer_runtime::{Clock, Random};

use crate::dispatch::tally::Tally;
use crate::dispatch::{Installed, Ledger, Tallies};
use crate::keys::Checked;

pub(crate) use build::env;

/// One set of documents, with its adapters.
#[derive(Debug)]
pub struct Snapshot {
    /// The documents.
    pub set: Arc<PolicySet>,
    /// The adapters, in the order of [`PolicySet::adapters`].
    pub adapters: Vec<Arc<Installed>>,
    /// What the metrics of each telemetry document are, in the order of [`PolicySet::telemetry`] and of its `metrics`; their
    /// adapters know them.
    pub metrics: Vec<Vec<MetricDefinition>>,
    pub(crate) index: Arc<Index>,
    /// Where the keys of [`PolicySet::jwts`] come from, in their order.
    pub(crate) keys: Vec<Checked>,
}

/// What is worked out of a set once.
#[derive(Debug)]
pub(crate) struct Index {
    /// Policy and quota indices by id.
    quotas: HashMap<Arc<str>, (usize, usize)>,
    /// What counts for each quota, by policy and quota.
    tallies: Vec<Vec<Arc<Tally>>>,
    /// Adapters that outbound policies ask.
    asked_outbound: Vec<usize>,
}

/// What snapshots share and outlives them: time, randomness, the network, what adapters keep over a reload, and who holds quota.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Arc<Random>,
    /// HTTP for adapters.
    pub http: HttpClient,
    /// What adapters keep over a reload.
    pub keep: Keep,
    /// Who holds quota in advance.
    pub ledger: Arc<Ledger>,
    /// What became of asks for quota.
    pub tallies: Arc<Tallies>,
    /// Where adapters' tasks run.
    pub handle: tokio::runtime::Handle,
}

impl Surroundings {
    /// Of a Mixer that starts, on the tokio runtime of `handle`.
    pub fn new(clock: Clock, random: Random, handle: tokio::runtime::Handle) -> Self {
        let http = HttpClient::new(clock.clone());
        Self {
            clock,
            random: Arc::new(random),
            http,
            keep: Keep::default(),
            ledger: Arc::default(),
            tallies: Arc::default(),
            handle,
        }
    }
}

impl Snapshot {
    /// Loads documents and builds the adapters they name. `Err` holds every problem found in either.
    pub fn build(
        sources: Sources,
        registry: &Registry,
        surroundings: &Surroundings,
    ) -> Result<Self, Diagnostics> {
        let configs = |adapters: &[_]| build::configs(adapters, registry, surroundings);
        let mut set = mixer_documents::load_checking(sources, configs)?;
        set.warn_overdue(surroundings.clock.wall());
        Self::of(Arc::new(set), registry, surroundings)
    }

    /// Builds the adapters that a loaded set names.
    pub(crate) fn of(
        set: Arc<PolicySet>,
        registry: &Registry,
        surroundings: &Surroundings,
    ) -> Result<Self, Diagnostics> {
        build::build(set, registry, surroundings)
    }

    /// Lets the adapters begin their background work; once, when it comes into force and before it is shared.
    pub fn start(&mut self) {
        for adapter in &mut self.adapters {
            let adapter = Arc::get_mut(adapter).expect("a snapshot is started before it is shared");
            adapter.start();
        }
    }

    /// Lets the adapters send what they buffered and end their work, when it is no longer in force; each within `deadline`.
    pub async fn stop(&self, deadline: Duration) {
        for adapter in &self.adapters {
            adapter.stop(deadline).await;
        }
    }

    /// The same documents with other adapters, in the same order: what tests of policies ask instead.
    pub(crate) fn with_adapters(&self, adapters: Vec<Arc<Installed>>) -> Self {
        Self {
            set: self.set.clone(),
            adapters,
            metrics: Vec::new(),
            index: self.index.clone(),
            keys: self.keys.clone(),
        }
    }

    /// The adapter of that name.
    pub fn adapter(&self, name: &str) -> Option<&Arc<Installed>> {
        self.adapters
            .iter()
            .find(|adapter| &**adapter.name() == name)
    }

    /// The policy and quota indices of the quota with this id.
    pub fn quota(&self, id: &str) -> Option<(usize, usize)> {
        self.index.quotas.get(id).copied()
    }

    /// What counts for the quota there.
    pub(crate) fn tally(&self, (policy, quota): (usize, usize)) -> &Tally {
        &self.index.tallies[policy][quota]
    }

    /// What counts for each of its quotas.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = &Arc<Tally>> {
        self.index.tallies.iter().flatten()
    }

    /// What a proxy must know before it asks about the destination that `bag` describes; its revision is the one that decisions
    /// carry.
    pub fn scope(&self, at: At, bag: &AttributeBag<'_>) -> Scope {
        let applicable = self.set.applicable(at, bag);
        Scope {
            revision: self.revision(at, &applicable),
            ..applicable.scope.clone()
        }
    }

    /// [`PolicySet::outbound_scopes`], with the revisions that decisions carry.
    pub fn outbound_scopes(&self) -> (Vec<(Arc<str>, Scope)>, Scope) {
        let (mut scopes, mut rest) = self.set.outbound_scopes();
        for (_, scope) in &mut scopes {
            scope.revision = self.outbound_revision(&scope.revision);
        }
        rest.revision = self.outbound_revision(&rest.revision);
        (scopes, rest)
    }

    /// The revision of a decision; see [`mod@revision`].
    pub(crate) fn revision(&self, at: At, applicable: &Applicable) -> Arc<str> {
        revision::revision(self, at, applicable)
    }

    fn outbound_revision(&self, base: &Arc<str>) -> Arc<str> {
        revision::combined(self, base, &self.index.asked_outbound)
    }
}
