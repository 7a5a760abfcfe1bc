//! What loads and is hardly what was meant: rules that decide nothing, comparisons that cannot hold, labels without bound.
//!
//! A lint speaks only where it is certain of what it says: it concludes from the text of conditions, never guesses at traffic,
//! and has nothing to say of a term it does not understand. It costs another parse of every expression, so a Mixer that serves
//! does not run it; `mixer validate` does.

mod absence;
mod caching;
mod cardinality;
mod contradiction;
mod coverage;
mod destination;
mod issuer;
mod literal;
mod overlap;
mod probes;
mod reach;
mod route;

use mixer_cel::{Clause, Compiler, Expression};

use crate::yaml::located;
use crate::{Condition, Diagnostic, Diagnostics, Mode, Policy, PolicySet, Rule, Span};

/// Everything worth a warning in a set, in the order of places; with the warnings it loaded with.
pub fn lint(set: &PolicySet) -> Diagnostics {
    let read = Reading::of(set);
    let mut found = set.warnings.list.clone();
    for policy in &read.policies {
        reach::look(policy, &mut found);
        contradiction::look(&read, policy, &mut found);
        literal::look(&read, policy, &mut found);
        absence::look(&read, policy, &mut found);
        destination::look(&read, policy, &mut found);
    }
    overlap::look(&read, &mut found);
    cardinality::look(&read, &mut found);
    caching::look(&read, &mut found);
    route::look(&read, &mut found);
    issuer::look(&read, &mut found);
    probes::look(&read, &mut found);
    Diagnostics::new(set.warnings.sources.clone(), found)
}

/// A set with its conditions taken apart.
struct Reading<'s> {
    set: &'s PolicySet,
    policies: Vec<ReadPolicy<'s>>,
}

struct ReadPolicy<'s> {
    policy: &'s Policy,
    rules: Vec<ReadRule<'s>>,
    /// The `when` of each quota.
    quotas: Vec<ReadCondition<'s>>,
}

struct ReadRule<'s> {
    rule: &'s Rule,
    /// It and its policy are enforced.
    enforced: bool,
    when: ReadCondition<'s>,
    that: Option<ReadCondition<'s>>,
}

/// Lines that must all hold.
#[derive(Default)]
struct ReadCondition<'s> {
    lines: Vec<Line<'s>>,
}

struct Line<'s> {
    expression: &'s Expression,
    span: Span,
    clause: Clause,
}

impl<'s> Reading<'s> {
    fn of(set: &'s PolicySet) -> Self {
        let mut compiler = Compiler::new(set.vocabulary.clone());
        let policies = set
            .policies
            .iter()
            .map(|policy| ReadPolicy {
                policy,
                rules: policy
                    .rules
                    .iter()
                    .map(|rule| ReadRule {
                        rule,
                        enforced: policy.mode == Mode::Enforce && rule.mode == Mode::Enforce,
                        when: ReadCondition::of(&rule.when, &mut compiler),
                        that: rule
                            .that
                            .as_ref()
                            .map(|that| ReadCondition::of(that, &mut compiler)),
                    })
                    .collect(),
                quotas: policy
                    .quotas
                    .iter()
                    .map(|quota| ReadCondition::of(&quota.when, &mut compiler))
                    .collect(),
            })
            .collect();
        Self { set, policies }
    }

    /// The place of `range` of a line's text in its file.
    fn place(&self, line: &Line<'_>, range: std::ops::Range<usize>) -> Span {
        located(
            &self.set.warnings.sources,
            line.span,
            line.expression.source(),
            range,
        )
    }
}

impl<'s> ReadCondition<'s> {
    fn of(condition: &'s Condition, compiler: &mut Compiler) -> Self {
        let lines = condition.lines.iter().filter_map(|(expression, span)| {
            // It was parsed before.
            let clause = compiler.clause(expression.source()).ok()?;
            Some(Line {
                expression,
                span: *span,
                clause,
            })
        });
        Self {
            lines: lines.collect(),
        }
    }

    fn is_always(&self) -> bool {
        self.lines.is_empty()
    }

    /// What must hold, each with its line.
    fn terms(&self) -> impl Iterator<Item = (&Line<'s>, &Clause)> {
        self.lines
            .iter()
            .flat_map(|line| line.clause.terms().iter().map(move |term| (line, term)))
    }

    /// Whether all that `other` demands is demanded here too, in the same words: then it holds only where `other` does, and has
    /// no value only where `other` has none or holds.
    fn demands_all_of(&self, other: &Self) -> bool {
        other
            .terms()
            .all(|(_, term)| self.terms().any(|(_, here)| here.text == term.text))
    }
}

impl ReadRule<'_> {
    /// It decides every request it is asked about, whatever the request says.
    fn is_unconditional(&self) -> bool {
        self.enforced && self.when.is_always() && self.that.is_none() && self.rule.ask.is_none()
    }

    /// Its conditions.
    fn conditions(&self) -> impl Iterator<Item = &ReadCondition<'_>> {
        std::iter::once(&self.when).chain(&self.that)
    }
}

impl ReadPolicy<'_> {
    /// Every condition of its rules and quotas.
    fn conditions(&self) -> impl Iterator<Item = &ReadCondition<'_>> {
        self.rules
            .iter()
            .flat_map(ReadRule::conditions)
            .chain(&self.quotas)
    }
}

/// Adds a warning with what to do about it.
fn warn(
    found: &mut Vec<Diagnostic>,
    code: crate::Code,
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> &mut Diagnostic {
    let mut warning = Diagnostic::warning(code, span, message);
    warning.help(help);
    found.push(warning);
    let last = found.len() - 1;
    &mut found[last]
}

#[cfg(test)]
mod tests;
