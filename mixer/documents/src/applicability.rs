//! Which documents apply to a destination, computed once for each.
//!
//! `for` reads selector attributes only, which operators configure; there are as many different values as there are
//! destinations. So the answer is kept under the values, and a decision among 10,000 policies costs one lookup more than one
//! among ten. The values are hashed where they lie: a lookup allocates nothing. With the answer goes its [`Plan`], the rules
//! and their index; so what is kept is bounded by their size too.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use mixer_attributes::{AttributeBag, AttributeId, Entry, Value, vocabulary};
use mixer_cel::{Compiler, ReferenceId, Selector};
use quick_cache::Equivalent;

use crate::digest::Digests;
use crate::index::Index;
use crate::plan::Indexing;
use crate::reads::{policy_reads_claims, telemetry_reads_claims};
use crate::{
    Applicable, At, Fail, Mode, Plan, Policy, PolicySet, Protocol, Scope, Service, Telemetry,
};

/// How many destinations are kept.
const MOST: usize = 10_000;
/// How many entries of their plans: about 200 MB.
const MOST_ENTRIES: u64 = 4_000_000;

#[derive(Debug)]
pub(crate) struct Applicability {
    digests: Digests,
    /// Every attribute, or key of one, that decides what applies.
    reads: Vec<(AttributeId, Option<String>)>,
    policies: Index,
    telemetry: Index,
    /// Services declared tcp.
    tcp: HashSet<Arc<str>>,
    kept: Kept,
}

struct Kept(quick_cache::sync::Cache<Key, Arc<Applicable>, Weight>);

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<Key, Arc<Applicable>> for Weight {
    fn weight(&self, _: &Key, applicable: &Arc<Applicable>) -> u64 {
        1 + applicable.plan.weight() as u64
    }
}

impl Applicability {
    pub(crate) fn new(
        digests: Digests,
        policies: &[Policy],
        telemetry: &[Telemetry],
        services: &[Arc<Service>],
    ) -> Self {
        let of_policies = || policies.iter().map(|policy| &policy.selector);
        let of_telemetry = || telemetry.iter().map(|document| &document.selector);
        let index = |selectors: &mut dyn Iterator<Item = &Selector>| {
            Index::new(&selectors.map(Selector::facts).collect::<Vec<_>>())
        };
        let selectors = of_policies().chain(of_telemetry());
        let mut reads: Vec<_> = selectors.flat_map(|selector| selector.reads()).collect();
        // What is declared tcp is told by the service's name.
        reads.push((vocabulary::DESTINATION_SERVICE, None));
        reads.sort();
        reads.dedup();
        let tcp = services
            .iter()
            .filter(|service| service.protocol == Some(Protocol::Tcp));
        let tcp = tcp.map(|service| service.name.clone()).collect();
        Self {
            digests,
            reads,
            policies: index(&mut of_policies()),
            telemetry: index(&mut of_telemetry()),
            tcp,
            kept: Kept(quick_cache::sync::Cache::with_weighter(
                MOST,
                MOST_ENTRIES,
                Weight,
            )),
        }
    }

    /// What decides what applies, as references of the set's expressions.
    pub(crate) fn consulted(&self, compiler: &mut Compiler) -> Vec<ReferenceId> {
        let reporter = (vocabulary::CONTEXT_REPORTER, None);
        let mut consulted: Vec<_> = self.reads.iter().chain([&reporter]).collect();
        consulted.sort();
        consulted.dedup();
        consulted
            .into_iter()
            .map(|(attribute, key)| compiler.reference(*attribute, key.as_deref()))
            .collect()
    }

    /// See [`PolicySet::revision`].
    pub(crate) fn whole_revision(&self) -> Arc<str> {
        self.digests.whole()
    }

    pub(crate) fn applicable(
        &self,
        set: &PolicySet,
        at: At,
        bag: &AttributeBag<'_>,
    ) -> Arc<Applicable> {
        let lookup = Lookup {
            at,
            reads: &self.reads,
            bag,
        };
        if let Some(known) = self.kept.0.get(&lookup) {
            return known;
        }
        let computed = Arc::new(self.compute(set, at, bag, Indexing::On));
        self.kept.0.insert(lookup.key(), computed.clone());
        computed
    }

    pub(crate) fn compute(
        &self,
        set: &PolicySet,
        at: At,
        bag: &AttributeBag<'_>,
        indexing: Indexing,
    ) -> Applicable {
        let mut bag = bag.clone();
        if bag.value(vocabulary::CONTEXT_REPORTER).is_none() {
            bag.set(vocabulary::CONTEXT_REPORTER, Value::String(reporter(at)));
        }
        let service = match bag.value(vocabulary::DESTINATION_SERVICE) {
            Some(Value::String(service)) => Some(service),
            _ => None,
        };
        let declared_tcp = service.is_some_and(|service| self.tcp.contains(service));
        let mut policies = self.policies.candidates(&bag);
        policies.retain(|index| {
            let policy = &set.policies[*index];
            policy.at == at && policy.selector.selects(&bag)
        });
        let mut telemetry = self.telemetry.candidates(&bag);
        telemetry.retain(|index| {
            let document = &set.telemetry[*index];
            document.says_something(at) && document.selector.selects(&bag)
        });
        let scope = Scope {
            revision: self
                .digests
                .revision(at, declared_tcp, &policies, &telemetry),
            ..scope(set, at, declared_tcp, &policies, &telemetry)
        };
        let kind = |index: &usize| (set.policies[*index].mode, set.policies[*index].guard);
        let of = |wanted: (Mode, bool)| {
            policies
                .iter()
                .copied()
                .filter(|index| kind(index) == wanted)
                .collect()
        };
        let mut applicable = Applicable {
            guards: of((Mode::Enforce, true)),
            pool: of((Mode::Enforce, false)),
            shadow: policies
                .iter()
                .copied()
                .filter(|index| set.policies[*index].mode == Mode::Shadow)
                .collect(),
            telemetry,
            declared_tcp,
            scope,
            plan: Plan::default(),
        };
        applicable.plan = Plan::new(&set.policies, &applicable, indexing);
        applicable.scope.shadow = applicable.plan.has_shadow;
        applicable
    }
}

fn scope(
    set: &PolicySet,
    at: At,
    declared_tcp: bool,
    policies: &[usize],
    telemetry: &[usize],
) -> Scope {
    let policies: Vec<&Policy> = policies.iter().map(|index| &set.policies[*index]).collect();
    let telemetry: Vec<&Telemetry> = telemetry
        .iter()
        .map(|index| &set.telemetry[*index])
        .collect();
    let heard = |reads_request: bool| !(declared_tcp && reads_request);
    let enforced: Vec<&&Policy> = policies
        .iter()
        .filter(|policy| policy.mode == Mode::Enforce)
        .collect();
    let default_denies = at == At::Inbound && !set.mesh.default_allow;
    let rules = |policy: &&Policy| {
        policy.otherwise.is_some() || policy.rules.iter().any(|rule| heard(rule.reads_request))
    };
    let reads_path = |policy: &&&Policy| {
        let rules = policy.rules.iter().map(|rule| (rule.mode, rule.reads_path));
        rules
            .chain(
                policy
                    .quotas
                    .iter()
                    .map(|quota| (quota.mode, quota.reads_path)),
            )
            .any(|read| read == (Mode::Enforce, true))
    };
    let fail = match enforced.is_empty() {
        true if default_denies => Fail::Closed,
        true => Fail::Open,
        false if enforced.iter().all(|policy| policy.fail == Fail::Open) => Fail::Open,
        false => Fail::Closed,
    };
    Scope {
        revision: "".into(),
        rules: default_denies || policies.iter().any(rules),
        quotas: policies
            .iter()
            .any(|policy| policy.quotas.iter().any(|quota| heard(quota.reads_request))),
        fail,
        reads_path: !declared_tcp && enforced.iter().any(reads_path),
        reads_claims: policies.iter().any(|policy| policy_reads_claims(policy))
            || telemetry
                .iter()
                .any(|document| telemetry_reads_claims(document)),
        records: telemetry.iter().any(|document| document.records(at)),
        trace_sample: telemetry
            .iter()
            .filter_map(|document| document.traces)
            .map(|traces| traces.sample)
            .fold(0.0, f64::max),
        standard_metrics: !telemetry.iter().any(|document| document.drop_standard),
        shadow: false,
    }
}

fn reporter(at: At) -> &'static str {
    match at {
        At::Inbound => "destination",
        At::Outbound => "source",
        At::RateLimit => "none",
    }
}

/// The values a destination is kept under.
#[derive(PartialEq, Eq)]
struct Key {
    at: At,
    values: Box<[Option<Box<str>>]>,
}

/// The same values where a request has them.
struct Lookup<'a, 'b> {
    at: At,
    reads: &'a [(AttributeId, Option<String>)],
    bag: &'a AttributeBag<'b>,
}

impl<'a> Lookup<'a, '_> {
    fn values(&self) -> impl Iterator<Item = Option<Cow<'a, str>>> + '_ {
        self.reads
            .iter()
            .map(|(attribute, key)| match (self.bag.value(*attribute), key) {
                (Some(Value::String(text)), None) => Some(Cow::Borrowed(text)),
                (Some(Value::Map(map)), Some(key)) => match map.lookup(key) {
                    Entry::Value(text) => Some(text),
                    Entry::Absent | Entry::Ambiguous => None,
                },
                (None, None) if *attribute == vocabulary::CONTEXT_REPORTER => {
                    Some(Cow::Borrowed(reporter(self.at)))
                }
                _ => None,
            })
    }

    fn key(&self) -> Key {
        Key {
            at: self.at,
            values: self
                .values()
                .map(|value| value.map(|text| text.as_ref().into()))
                .collect(),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.at.hash(state);
        self.values
            .iter()
            .for_each(|value| value.as_deref().hash(state));
    }
}

impl Hash for Lookup<'_, '_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.at.hash(state);
        self.values().for_each(|value| value.as_deref().hash(state));
    }
}

impl Equivalent<Key> for Lookup<'_, '_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.at == key.at
            && self.values().eq(key
                .values
                .iter()
                .map(|value| value.as_deref().map(Cow::Borrowed)))
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of at most {MOST}", self.0.len())
    }
}

impl Telemetry {
    /// Whether it has anything to do with requests on this side.
    fn says_something(&self, at: At) -> bool {
        self.drop_standard || self.traces.is_some() || self.records(at)
    }

    /// Whether it needs a record of each request on this side.
    fn records(&self, at: At) -> bool {
        self.metrics.iter().any(|metric| metric.at == at)
            || self.logs.iter().any(|logs| logs.at == at)
    }
}
