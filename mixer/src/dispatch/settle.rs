//! The steps of one group of policies: a guard alone, the pool together, or a shadow policy alone.
//!
//! (1) a matching deny denies; (2) an unmet require denies; (3) a matching allow lets pass; (4) an `otherwise` decides; (5) for
//! the pool, the mesh's default does (what comes in; what goes out is `mesh.outbound`'s, and the proxy's). Rules are taken by kind, each kind in document order, so that the first denial is the one
//! reported and rules that cannot matter any more are not evaluated. Rules that ask an adapter stay open: they are asked only
//! where the verdict still depends on them, and [`Deciding::resolve`] goes through the same steps with their answers.

use mixer_cel::{EvalError, Evaluation};
use mixer_documents::{AskAdapter, At, Group, OnError, Otherwise, Rule, RuleKind, Rules};

use super::ask::{Asked, Fault};
use crate::snapshot::Snapshot;

/// What decided.
#[derive(Debug)]
pub(super) enum By {
    /// A rule, by the indices of its policy and of itself in it.
    Rule {
        policy: usize,
        rule: usize,
        why: Why,
    },
    /// The `otherwise` of a policy. `for_want_of` is the asking that could not be made and might have let pass.
    Otherwise {
        policy: usize,
        for_want_of: Option<usize>,
    },
    /// The mesh's default.
    Default { for_want_of: Option<usize> },
}

/// Why a rule did.
#[derive(Debug)]
pub(super) enum Why {
    Matched,
    Undetermined(EvalError),
    /// Its asking, by index.
    Asked(usize),
}

/// How far a group is decided.
#[derive(Debug)]
pub(super) enum Settled {
    Deny(By),
    /// `None`: nothing in it decides.
    Pass(Option<By>),
    Open(Open),
}

/// A group that adapters decide.
#[derive(Debug)]
pub(super) struct Open {
    /// Its askings: a range of [`Deciding::pending`].
    from: usize,
    to: usize,
    /// What holds when none of them changes it.
    denies: bool,
    fall: Option<By>,
}

/// A rule whose adapter may have to be asked; its `when` holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) policy: usize,
    pub(super) rule: usize,
}

/// What decides where no rule and no `otherwise` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The mesh's default: it is the pool.
    Default,
    /// Nothing: it is a guard, or in shadow.
    Nothing,
}

/// The state of deciding one request.
pub(super) struct Deciding<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) evaluation: Evaluation<'a>,
    pub(super) at: At,
    pub(super) pending: Vec<Pending>,
    /// The first allow rule that could not be decided, for the detail of a denial.
    pub(super) doubted: Option<(usize, usize, EvalError)>,
}

impl<'a> Deciding<'a> {
    /// Goes through the steps as far as rules without `ask` decide.
    pub(super) fn settle(&mut self, group: &Group, end: End) -> Settled {
        let from = self.pending.len();
        if let Some(by) = self.first_denial(&group.restrictions) {
            self.pending.truncate(from);
            return Settled::Deny(by);
        }
        let restricting = self.pending.len();
        let (denies, fall) = match self.first_allow(&group.allows) {
            Some(by) => (false, Some(by)),
            None => self.fall(group, end),
        };
        if denies {
            self.open_allows(&group.asking);
            if self.pending.len() == restricting {
                self.pending.truncate(from);
                return match fall {
                    Some(by) => Settled::Deny(by),
                    None => Settled::Pass(None),
                };
            }
        }
        let to = self.pending.len();
        if from == to {
            Settled::Pass(fall)
        } else {
            Settled::Open(Open {
                from,
                to,
                denies,
                fall,
            })
        }
    }

    /// What one shadow rule of an enforced policy would do alone.
    pub(super) fn settle_alone(&mut self, policy: usize, rule: usize) -> Settled {
        let from = self.pending.len();
        let document: &'a Rule = &self.snapshot.set.policies[policy].rules[rule];
        let by = |why| By::Rule { policy, rule, why };
        match (document.kind, self.test(policy, rule)) {
            (_, Tested::No) | (RuleKind::Allow, Tested::Undetermined(_)) => Settled::Pass(None),
            (RuleKind::Allow, Tested::Yes) => Settled::Pass(Some(by(Why::Matched))),
            (_, Tested::Yes) => Settled::Deny(by(Why::Matched)),
            (_, Tested::Undetermined(error)) => Settled::Deny(by(Why::Undetermined(error))),
            (_, Tested::Ask) => {
                self.pending.push(Pending { policy, rule });
                Settled::Open(Open {
                    from,
                    to: self.pending.len(),
                    denies: false,
                    fall: None,
                })
            }
        }
    }

    /// The end of an open group, given what became of its askings.
    pub(super) fn resolve(&self, open: Open, asked: &[Asked]) -> Settled {
        let range =
            || (open.from..open.to).map(|at| (at, self.pending[at], self.rule(self.pending[at])));
        for (at, Pending { policy, rule }, document) in range() {
            let denies = match (document.kind, &asked[at].result) {
                (RuleKind::Allow, _) => false,
                (RuleKind::Deny, Ok(answer)) => answer.matched,
                (RuleKind::Require, Ok(answer)) => !answer.matched,
                (_, Err(Fault::Undetermined(_))) => true,
                (_, Err(Fault::Unavailable { .. })) => document.on_error == OnError::Deny,
            };
            if denies {
                return Settled::Deny(By::Rule {
                    policy,
                    rule,
                    why: Why::Asked(at),
                });
            }
        }
        let mut wanted = None;
        for (at, Pending { policy, rule }, document) in range() {
            if document.kind != RuleKind::Allow {
                continue;
            }
            let allows = match &asked[at].result {
                Ok(answer) => answer.matched,
                Err(Fault::Undetermined(_)) => false,
                Err(Fault::Unavailable { .. }) => {
                    wanted = wanted.or(Some(at));
                    document.on_error == OnError::Allow
                }
            };
            if allows {
                return Settled::Pass(Some(By::Rule {
                    policy,
                    rule,
                    why: Why::Asked(at),
                }));
            }
        }
        match (open.denies, open.fall) {
            (true, Some(By::Otherwise { policy, .. })) => Settled::Deny(By::Otherwise {
                policy,
                for_want_of: wanted,
            }),
            (true, Some(By::Default { .. })) => Settled::Deny(By::Default {
                for_want_of: wanted,
            }),
            (true, Some(by)) => Settled::Deny(by),
            (_, fall) => Settled::Pass(fall),
        }
    }

    /// The rule that is asked about.
    pub(super) fn rule(&self, pending: Pending) -> &'a Rule {
        &self.snapshot.set.policies[pending.policy].rules[pending.rule]
    }

    /// What it asks.
    pub(super) fn ask(&self, pending: Pending) -> &'a AskAdapter {
        self.rule(pending)
            .ask
            .as_ref()
            .expect("only rules that ask are pending")
    }

    /// The first deny that matches, or require that is not met; what asks an adapter is put on the list.
    fn first_denial(&mut self, restrictions: &Rules) -> Option<By> {
        let mut candidates = restrictions.candidates();
        while let Some((policy, rule)) = candidates.next(&mut self.evaluation, true) {
            let why = match self.test(policy, rule) {
                Tested::No => continue,
                Tested::Yes => Why::Matched,
                Tested::Undetermined(error) => Why::Undetermined(error),
                Tested::Ask => {
                    self.pending.push(Pending { policy, rule });
                    continue;
                }
            };
            return Some(By::Rule { policy, rule, why });
        }
        None
    }

    /// The first allow that matches without asking anybody.
    fn first_allow(&mut self, allows: &Rules) -> Option<By> {
        let mut candidates = allows.candidates();
        // An allow that is an error does not match; only the first is told.
        while let Some((policy, rule)) =
            candidates.next(&mut self.evaluation, self.doubted.is_none())
        {
            match self.test(policy, rule) {
                Tested::Yes => {
                    let why = Why::Matched;
                    return Some(By::Rule { policy, rule, why });
                }
                Tested::Undetermined(error) => self.doubt(policy, rule, error),
                Tested::No | Tested::Ask => {}
            }
        }
        None
    }

    /// Puts the allow rules that ask on the list.
    fn open_allows(&mut self, asking: &Rules) {
        let mut candidates = asking.candidates();
        while let Some((policy, rule)) =
            candidates.next(&mut self.evaluation, self.doubted.is_none())
        {
            match self.test(policy, rule) {
                Tested::Ask => self.pending.push(Pending { policy, rule }),
                Tested::Undetermined(error) => self.doubt(policy, rule, error),
                Tested::Yes | Tested::No => {}
            }
        }
    }

    /// Steps (4) and (5): whether it denies, and by what.
    fn fall(&self, group: &Group, end: End) -> (bool, Option<By>) {
        let set = &self.snapshot.set;
        match (group.otherwise, end) {
            (Some(policy), _) => {
                let denies = matches!(set.policies[policy].otherwise, Some(Otherwise::Deny { .. }));
                let for_want_of = None;
                (
                    denies,
                    Some(By::Otherwise {
                        policy,
                        for_want_of,
                    }),
                )
            }
            (None, End::Default) => (
                self.at == At::Inbound && !set.mesh.default_allow,
                Some(By::Default { for_want_of: None }),
            ),
            (None, End::Nothing) => (false, None),
        }
    }

    /// Whether a rule acts: a deny denies, a require is not met, an allow matches.
    fn test(&mut self, policy: usize, rule: usize) -> Tested {
        let rule: &'a Rule = &self.snapshot.set.policies[policy].rules[rule];
        match rule.when.test(&mut self.evaluation) {
            Ok(false) => return Tested::No,
            Err(error) => return Tested::Undetermined(error),
            Ok(true) => {}
        }
        if rule.ask.is_some() {
            return Tested::Ask;
        }
        match (rule.kind, &rule.that) {
            (RuleKind::Deny | RuleKind::Allow, _) | (RuleKind::Require, None) => Tested::Yes,
            (RuleKind::Require, Some(that)) => match that.test(&mut self.evaluation) {
                Ok(true) => Tested::No,
                Ok(false) => Tested::Yes,
                Err(error) => Tested::Undetermined(error),
            },
        }
    }

    fn doubt(&mut self, policy: usize, rule: usize, error: EvalError) {
        if self.doubted.is_none() {
            self.doubted = Some((policy, rule, error));
        }
    }
}

enum Tested {
    Yes,
    No,
    Ask,
    Undetermined(EvalError),
}
