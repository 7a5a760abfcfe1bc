//! The steps of each guard and of the pool, told from what each rule does alone, and everything that denies in them.

use std::sync::Arc;

use mixer_documents::{At, PolicySet};
use serde::Serialize;

use super::rule::Effect;
use super::{PolicyStory, RuleStory};
use crate::dispatch::{Decision, Verdict};

/// One step of one group.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// `guard NAME` or `pool`.
    pub(crate) group: String,
    /// `deny`, `require`, `allow`, `otherwise` or `default`.
    pub(crate) step: &'static str,
    /// What denies or lets pass in it; empty: nothing does.
    pub(crate) by: Vec<String>,
    /// What it does.
    pub(crate) effect: Effect,
    /// The first of its group that does anything: later ones do not count.
    pub(crate) decides: bool,
}

/// Something that denies.
#[derive(Debug, Serialize)]
pub(crate) struct Denial {
    pub(crate) policy: Arc<str>,
    pub(crate) rule: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    pub(crate) because: String,
}

/// Both, of what is enforced.
pub(super) fn steps(
    policies: &[PolicyStory],
    at: At,
    set: &PolicySet,
    decision: &Decision,
) -> (Vec<Step>, Vec<Denial>) {
    let (mut steps, mut denials) = (Vec::new(), Vec::new());
    for guard in policies.iter().filter(|policy| policy.group == "guard") {
        let group = Group {
            name: format!("guard {}", guard.policy),
            members: vec![guard],
            default: None,
        };
        group.walk(&mut steps, &mut denials);
    }
    let default_denies = at == At::Inbound && !set.mesh.default_allow;
    let pool = policies.iter().filter(|policy| policy.group == "policy");
    let pool = Group {
        name: "pool".to_owned(),
        members: pool.collect(),
        default: Some(default_denies),
    };
    pool.walk(&mut steps, &mut denials);
    let told = |denial: &Denial| denial.policy == decision.policy && denial.rule == decision.rule;
    // A quota, or a defect of ours.
    if decision.verdict == Verdict::Deny && !denials.iter().any(told) {
        denials.push(Denial {
            policy: decision.policy.clone(),
            rule: decision.rule.clone(),
            place: super::place(set, decision),
            because: decision
                .detail
                .clone()
                .unwrap_or_else(|| super::because(decision.because).to_owned()),
        });
    }
    (steps, denials)
}

/// What is decided together.
struct Group<'p> {
    name: String,
    members: Vec<&'p PolicyStory>,
    /// Whether the mesh's default denies, for the pool.
    default: Option<bool>,
}

impl Group<'_> {
    fn walk(&self, steps: &mut Vec<Step>, denials: &mut Vec<Denial>) {
        let mut decided = false;
        let mut step = |step, effect, by: Vec<String>| {
            let decides = !decided && effect != Effect::Nothing;
            decided |= decides;
            steps.push(Step {
                group: self.name.clone(),
                step,
                by,
                effect,
                decides,
            });
        };
        let mut allowed = false;
        for kind in ["deny", "require", "allow"] {
            let acting: Vec<(&PolicyStory, &RuleStory)> = self.acting(kind).collect();
            let effect = acting
                .first()
                .map_or(Effect::Nothing, |(_, rule)| rule.effect);
            allowed |= effect == Effect::Allows;
            let by = acting.iter().map(|(_, rule)| rule.rule.to_string());
            step(kind, effect, by.collect());
            denials.extend(
                acting
                    .iter()
                    .filter(|(_, rule)| rule.effect == Effect::Denies)
                    .map(|(policy, rule)| Denial {
                        policy: policy.policy.clone(),
                        rule: rule.rule.clone(),
                        place: Some(rule.place.clone()),
                        because: rule.because.clone(),
                    }),
            );
        }
        let ends = || {
            let members = self.members.iter();
            members.filter_map(|policy| Some((policy, policy.otherwise.as_ref()?)))
        };
        let denying = ends().find(|(_, end)| end.denies);
        let passing = ends().find(|(_, end)| !end.denies);
        if let Some((_, end)) = denying.or(passing) {
            let effect = if end.denies {
                Effect::Denies
            } else {
                Effect::Allows
            };
            step("otherwise", effect, vec![end.sentence.to_string()]);
        } else if let Some(denies) = self.default {
            let effect = if denies {
                Effect::Denies
            } else {
                Effect::Allows
            };
            step("default", effect, Vec::new());
        }
        if allowed {
            return;
        }
        match (denying, passing, self.default) {
            (Some((policy, end)), _, _) => denials.push(Denial {
                policy: policy.policy.clone(),
                rule: end.sentence.clone(),
                place: Some(end.place.clone()),
                because: "nothing allows it".to_owned(),
            }),
            (None, None, Some(true)) => denials.push(Denial {
                policy: Arc::default(),
                rule: Arc::default(),
                place: None,
                because: "the mesh's default denies".to_owned(),
            }),
            _ => {}
        }
    }

    /// The enforced rules of one kind that do something.
    fn acting<'s>(
        &'s self,
        kind: &'s str,
    ) -> impl Iterator<Item = (&'s PolicyStory, &'s RuleStory)> {
        self.members.iter().flat_map(move |policy| {
            let rules = policy.rules.iter();
            rules
                .filter(move |rule| {
                    rule.kind == kind && !rule.shadow && rule.effect != Effect::Nothing
                })
                .map(move |rule| (*policy, rule))
        })
    }
}
