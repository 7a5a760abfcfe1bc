//! The rules that apply to a destination, in the order in which they are decided.
//!
//! Each step of a decision is a list of rules with an [`Index`] over their `when`s, made once per destination. What no request
//! can change (which `otherwise` falls, which adapters are asked at all) is worked out here too, so that a decision among
//! thousands of policies does not walk over them.

use mixer_cel::{Evaluation, Fact};

use crate::index::{Index, Walk};
use crate::{Applicable, Condition, Mode, Otherwise, Policy, RuleKind};

/// What is decided for a destination, in order.
#[derive(Debug, Default)]
pub struct Plan {
    /// Guards, each alone. Neighbours that can only restrict are one group: it comes to the same.
    pub guards: Vec<Group>,
    /// The other enforced policies.
    pub pool: Group,
    /// Quotas, those in shadow included.
    pub quotas: Rules,
    /// Shadow rules of enforced policies: the indices of the policy, and of the rule in it.
    pub trials: Vec<(usize, usize)>,
    /// Each shadow policy, as if it were enforced alone.
    pub shadow: Vec<Group>,
    /// Something is in shadow: a rule, a policy or a quota.
    pub has_shadow: bool,
    /// Adapters that enforced rules ask, each once.
    pub asked: Vec<usize>,
}

/// Policies that are decided together.
#[derive(Debug, Default)]
pub struct Group {
    /// Deny rules, then require rules; of several guards, one guard after the other.
    pub restrictions: Rules,
    /// Allow rules that ask nobody.
    pub allows: Rules,
    /// Allow rules that ask an adapter.
    pub asking: Rules,
    /// The policy whose `otherwise` decides when no rule does.
    pub otherwise: Option<usize>,
}

/// Rules, or quotas, in the order in which they count.
#[derive(Debug, Default)]
pub struct Rules {
    /// The indices of the policy and of the rule in it.
    places: Vec<(u32, u32)>,
    index: Index,
}

/// The rules that can act on one request, in order.
#[derive(Debug)]
pub struct Candidates<'r> {
    rules: &'r Rules,
    walk: Walk<'r>,
}

/// Whether rules are found by what the request says, or asked one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indexing {
    On,
    Off,
}

impl Rules {
    /// Those whose `when` is not known to be false.
    pub fn candidates(&self) -> Candidates<'_> {
        Candidates {
            rules: self,
            walk: self.index.walk(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn new<'p>(
        rules: impl Iterator<Item = (usize, usize, &'p Condition)>,
        indexing: Indexing,
    ) -> Self {
        let (places, whens): (Vec<_>, Vec<_>) = rules
            .map(|(policy, rule, when)| ((policy as u32, rule as u32), when))
            .unzip();
        let index = match indexing {
            Indexing::On => {
                let facts =
                    |when: &&Condition| when.expressions().flat_map(|line| line.facts()).collect();
                Index::new(&whens.iter().map(facts).collect::<Vec<Vec<Fact>>>())
            }
            Indexing::Off => Index::list(places.len()),
        };
        Self { places, index }
    }

    fn weight(&self) -> usize {
        self.places.len() + self.index.entries()
    }
}

impl Candidates<'_> {
    /// The indices of the next policy and of the rule in it. What finding it read is noted in `evaluation`. Without `errors`,
    /// those whose `when` is an error or false may be left out.
    #[inline]
    pub fn next(
        &mut self,
        evaluation: &mut Evaluation<'_>,
        errors: bool,
    ) -> Option<(usize, usize)> {
        let at = self.walk.next(evaluation, errors)?;
        let (policy, rule) = self.rules.places[at];
        Some((policy as usize, rule as usize))
    }
}

impl Plan {
    /// For a destination to which these policies apply.
    pub(crate) fn new(policies: &[Policy], applicable: &Applicable, indexing: Indexing) -> Self {
        let planner = Planner {
            policies,
            tcp: applicable.declared_tcp,
            indexing,
        };
        let enforced = || applicable.guards.iter().chain(&applicable.pool).copied();
        let every = || enforced().chain(applicable.shadow.iter().copied());
        let asks = enforced().flat_map(|policy| &policies[policy].rules);
        let mut asked: Vec<usize> = asks
            .filter(|rule| rule.mode == Mode::Enforce)
            .filter_map(|rule| rule.ask.as_ref())
            .map(|ask| ask.adapter)
            .collect();
        asked.sort_unstable();
        asked.dedup();
        let quotas = every().flat_map(|policy| {
            let quotas = policies[policy].quotas.iter().enumerate();
            quotas
                .filter(|(_, quota)| planner.is_heard(quota.reads_request))
                .map(move |(at, quota)| (policy, at, &quota.when))
        });
        let trials = enforced().flat_map(|policy| {
            let rules = policies[policy].rules.iter().enumerate();
            rules
                .filter(|(_, rule)| {
                    rule.mode == Mode::Shadow && planner.is_heard(rule.reads_request)
                })
                .map(move |(at, _)| (policy, at))
        });
        let trials: Vec<_> = trials.collect();
        let mut enforced_quotas = enforced().flat_map(|policy| &policies[policy].quotas);
        let has_shadow = !trials.is_empty()
            || !applicable.shadow.is_empty()
            || enforced_quotas.any(|quota| quota.mode == Mode::Shadow);
        Self {
            has_shadow,
            guards: planner.guards(&applicable.guards),
            pool: planner.group(&applicable.pool, Mode::Enforce),
            quotas: Rules::new(quotas, indexing),
            trials,
            shadow: applicable
                .shadow
                .iter()
                .map(|policy| planner.group(std::slice::from_ref(policy), Mode::Shadow))
                .collect(),
            asked,
        }
    }

    /// How much memory it takes, in entries of about 50 bytes.
    pub(crate) fn weight(&self) -> usize {
        let groups = self.guards.iter().chain(&self.shadow).chain([&self.pool]);
        let rules = groups.flat_map(|group| [&group.restrictions, &group.allows, &group.asking]);
        rules
            .chain([&self.quotas])
            .map(Rules::weight)
            .sum::<usize>()
            + self.trials.len()
    }
}

struct Planner<'p> {
    policies: &'p [Policy],
    tcp: bool,
    indexing: Indexing,
}

impl Planner<'_> {
    fn guards(&self, guards: &[usize]) -> Vec<Group> {
        let restricts = |guard: &usize| {
            let policy = &self.policies[*guard];
            policy.otherwise.is_none()
                && policy
                    .rules
                    .iter()
                    .all(|rule| rule.kind != RuleKind::Allow || rule.mode == Mode::Shadow)
        };
        guards
            .chunk_by(|a, b| restricts(a) && restricts(b))
            .map(|group| self.group(group, Mode::Enforce))
            .collect()
    }

    /// `mode` is that of the policies: the rules of one in shadow are taken as if they were enforced. Of several guards, each
    /// one's restrictions come before the next one's.
    fn group(&self, members: &[usize], mode: Mode) -> Group {
        let guards = members.iter().all(|member| self.policies[*member].guard);
        let runs = members.chunks(if guards { 1 } else { members.len().max(1) });
        let restrictions = runs.flat_map(|run| {
            let of = move |kind| self.rules(run, mode, kind);
            of(RuleKind::Deny).chain(of(RuleKind::Require))
        });
        let allows = |asks| {
            let allows = self.rules(members, mode, RuleKind::Allow);
            let allows = allows.filter(move |(policy, rule, _)| {
                self.policies[*policy].rules[*rule].ask.is_some() == asks
            });
            Rules::new(allows, self.indexing)
        };
        let otherwise = |denies: bool| {
            members
                .iter()
                .copied()
                .find(|member| match self.policies[*member].otherwise {
                    Some(Otherwise::Deny { .. }) => denies,
                    Some(Otherwise::Allow { .. }) => !denies,
                    None => false,
                })
        };
        Group {
            restrictions: Rules::new(restrictions, self.indexing),
            allows: allows(false),
            asking: allows(true),
            otherwise: otherwise(true).or_else(|| otherwise(false)),
        }
    }

    fn rules(
        &self,
        members: &[usize],
        mode: Mode,
        kind: RuleKind,
    ) -> impl Iterator<Item = (usize, usize, &Condition)> {
        members.iter().flat_map(move |policy| {
            let rules = self.policies[*policy].rules.iter().enumerate();
            rules
                .filter(move |(_, rule)| {
                    rule.kind == kind
                        && (rule.mode == Mode::Enforce || mode == Mode::Shadow)
                        && self.is_heard(rule.reads_request)
                })
                .map(move |(at, rule)| (*policy, at, &rule.when))
        })
    }

    fn is_heard(&self, reads_request: bool) -> bool {
        !(self.tcp && reads_request)
    }
}
