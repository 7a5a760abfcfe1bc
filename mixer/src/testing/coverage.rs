//! What tests reach of policies: which rules decided, and which condition lines were true and which false.
//!
//! A rule that never decided, or a line that was never false, may say anything: no test would notice. Lines count as the engine
//! goes through them: the second line of a list is only reached where the first is not false, `that` only where `when` holds.

use std::sync::Arc;

use mixer_attributes::AttributeBag;
use mixer_cel::Evaluation;
use mixer_documents::{
    Applicable, Condition, Otherwise, Policy, PolicySet, Route, RouteRule, RouteTable, RuleKind,
    Span,
};
use serde::Serialize;

use crate::dispatch::{Decision, ShadowVerdict};

/// Of all policies and routes of a set.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// Policies in decision order, then routes.
    pub policies: Vec<PolicyCoverage>,
}

/// Of one policy or route.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyCoverage {
    /// `policy` or `route`.
    pub kind: &'static str,
    /// Its name.
    pub policy: Arc<str>,
    /// `path:line:column`.
    pub place: String,
    /// Its rules, then its quotas, then its `otherwise`.
    pub parts: Vec<PartCoverage>,
}

/// Of a rule, quota, `otherwise` or rule of a route.
#[derive(Clone, Debug, Serialize)]
pub struct PartCoverage {
    /// `deny`, `require`, `allow`, `quota`, `otherwise` or `rule`.
    pub kind: &'static str,
    /// Its sentence.
    pub sentence: Arc<str>,
    /// `path:line:column`.
    pub place: String,
    /// Whether it decided some test (in shadow: would have).
    pub decided: bool,
    /// Its condition lines.
    pub lines: Vec<LineCoverage>,
}

/// Of one line of a condition.
#[derive(Clone, Debug, Serialize)]
pub struct LineCoverage {
    /// `when` or `that`.
    pub role: &'static str,
    /// As written.
    pub expression: String,
    /// `path:line:column`.
    pub place: String,
    /// Some test made it true.
    pub was_true: bool,
    /// Some test made it false.
    pub was_false: bool,
    /// Some test made it undecidable.
    pub was_undetermined: bool,
}

/// How much of what could be reached was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Rules, quotas and `otherwise`s that decided a test.
    pub decided: usize,
    /// All of them.
    pub parts: usize,
    /// Values (true, false) that condition lines had.
    pub outcomes: usize,
    /// Two for each line.
    pub possible: usize,
}

impl Reached {
    /// Of everything, rounded down; 100 where there is nothing.
    pub fn percent(self) -> u8 {
        let all = self.parts + self.possible;
        let percent = (100 * (self.decided + self.outcomes)).checked_div(all);
        percent.map_or(100, |percent| u8::try_from(percent).unwrap_or(100))
    }
}

impl Coverage {
    /// Nothing reached yet.
    pub(super) fn of(set: &PolicySet) -> Self {
        Self {
            policies: set
                .policies
                .iter()
                .map(|policy| policy_coverage(policy, set))
                .chain(set.routes.iter().map(|route| route_coverage(route, set)))
                .collect(),
        }
    }

    /// Of everything.
    pub fn reached(&self) -> Reached {
        let mut reached = Reached::default();
        for part in self.policies.iter().flat_map(|policy| &policy.parts) {
            reached.parts += 1;
            reached.decided += usize::from(part.decided);
            for line in &part.lines {
                reached.possible += 2;
                reached.outcomes += usize::from(line.was_true) + usize::from(line.was_false);
            }
        }
        reached
    }

    /// Adds what one test reached.
    pub(super) fn note(
        &mut self,
        set: &PolicySet,
        applicable: &Applicable,
        bag: &AttributeBag<'_>,
        decision: &Decision,
        shadows: &[ShadowVerdict],
    ) {
        let Applicable {
            guards,
            pool,
            shadow,
            declared_tcp,
            ..
        } = applicable;
        for at in guards.iter().chain(pool).chain(shadow) {
            let policy = &set.policies[*at];
            let covered = &mut self.policies[*at];
            let mut parts = covered.parts.iter_mut();
            for (rule, part) in policy.rules.iter().zip(parts.by_ref()) {
                if *declared_tcp && rule.reads_request {
                    continue;
                }
                let mut evaluation = Evaluation::new(bag, &set.references);
                let (when, that) = part.lines.split_at_mut(rule.when.lines.len());
                if walk(&rule.when, when, &mut evaluation)
                    && let Some(required) = &rule.that
                {
                    walk(required, that, &mut evaluation);
                }
            }
            for (quota, part) in policy.quotas.iter().zip(parts) {
                if *declared_tcp && quota.reads_request {
                    continue;
                }
                let mut evaluation = Evaluation::new(bag, &set.references);
                walk(&quota.when, &mut part.lines, &mut evaluation);
            }
            let enforced = (&decision.policy, &decision.rule);
            let watched = shadows.iter().filter(|shadow| shadow.would.is_some());
            let watched = watched.map(|shadow| (&shadow.policy, &shadow.rule));
            for (_, sentence) in watched
                .chain([enforced])
                .filter(|(name, _)| **name == policy.name)
            {
                for part in covered.parts.iter_mut() {
                    part.decided |= part.sentence == *sentence;
                }
            }
        }
    }
}

impl Coverage {
    /// Adds what one test of a route reached: the rules up to the one that decided.
    pub(super) fn note_route(
        &mut self,
        set: &PolicySet,
        table: &RouteTable,
        bag: &AttributeBag<'_>,
        found: Option<(&Arc<Route>, &Arc<RouteRule>)>,
    ) {
        for (route, rule) in table.rules() {
            let at = set
                .routes
                .iter()
                .position(|known| Arc::ptr_eq(known, route));
            let number = route.rules.iter().position(|one| Arc::ptr_eq(one, rule));
            let (Some(at), Some(number)) = (at, number) else {
                continue;
            };
            let part = &mut self.policies[set.policies.len() + at].parts[number];
            let mut evaluation = Evaluation::new(bag, &set.references);
            walk(&rule.when, &mut part.lines, &mut evaluation);
            if found.is_some_and(|(_, decided)| Arc::ptr_eq(decided, rule)) {
                part.decided = true;
                return;
            }
        }
    }
}

/// Notes the values of lines as far as the engine goes through them; whether all hold.
fn walk<'a>(
    condition: &'a Condition,
    covered: &mut [LineCoverage],
    evaluation: &mut Evaluation<'a>,
) -> bool {
    let mut holds = true;
    for ((line, _), covered) in condition.lines.iter().zip(covered) {
        match line.test(evaluation) {
            Ok(true) => covered.was_true = true,
            Ok(false) => {
                covered.was_false = true;
                return false;
            }
            Err(_) => {
                covered.was_undetermined = true;
                holds = false;
            }
        }
    }
    holds
}

fn policy_coverage(policy: &Policy, set: &PolicySet) -> PolicyCoverage {
    let place = |span: Span| set.warnings.sources.place(span);
    let lines = |role, condition| lines(role, condition, set);
    let part = |kind, sentence: &Arc<str>, span, lines| PartCoverage {
        kind,
        sentence: sentence.clone(),
        place: place(span),
        decided: false,
        lines,
    };
    let rules = policy.rules.iter().map(|rule| {
        let kind = match rule.kind {
            RuleKind::Deny => "deny",
            RuleKind::Require => "require",
            RuleKind::Allow => "allow",
        };
        let mut all = lines("when", &rule.when);
        all.extend(rule.that.iter().flat_map(|that| lines("that", that)));
        part(kind, &rule.sentence, rule.span, all)
    });
    let quotas = policy.quotas.iter().map(|quota| {
        let lines = lines("when", &quota.when);
        part("quota", &quota.sentence, quota.span, lines)
    });
    let otherwise = policy.otherwise.iter().map(|otherwise| match otherwise {
        Otherwise::Allow { span } => part("otherwise", &"otherwise".into(), *span, Vec::new()),
        Otherwise::Deny { sentence, span, .. } => part("otherwise", sentence, *span, Vec::new()),
    });
    PolicyCoverage {
        kind: "policy",
        policy: policy.name.clone(),
        place: place(policy.span),
        parts: rules.chain(quotas).chain(otherwise).collect(),
    }
}

fn route_coverage(route: &Route, set: &PolicySet) -> PolicyCoverage {
    let place = |span: Span| set.warnings.sources.place(span);
    let parts = route.rules.iter().map(|rule| PartCoverage {
        kind: "rule",
        sentence: rule.name.clone(),
        place: place(rule.span),
        decided: false,
        lines: lines("when", &rule.when, set),
    });
    PolicyCoverage {
        kind: "route",
        policy: route.name.clone(),
        place: place(route.span),
        parts: parts.collect(),
    }
}

fn lines(role: &'static str, condition: &Condition, set: &PolicySet) -> Vec<LineCoverage> {
    let lines = condition.lines.iter().map(|(line, span)| LineCoverage {
        role,
        expression: line.source().to_owned(),
        place: set.warnings.sources.place(*span),
        was_true: false,
        was_false: false,
        was_undetermined: false,
    });
    lines.collect()
}
