//! One rule, evaluated alone: what it would do whatever the others say.

use std::time::Duration;

use mixer_adapter::Instance;
use mixer_cel::{EvalError, Evaluation};
use mixer_documents::{AskAdapter, Condition, Mode, OnError, Rule, RuleKind};
use serde::Serialize;

use super::Line;
use super::teller::Teller;

/// How long an adapter may take: an operator waits, no proxy does.
const LEFT: Duration = Duration::from_secs(5);

/// One rule.
#[derive(Debug, Serialize)]
pub(crate) struct RuleStory {
    /// `deny`, `require` or `allow`.
    pub(crate) kind: &'static str,
    pub(crate) rule: std::sync::Arc<str>,
    pub(crate) place: String,
    pub(crate) shadow: bool,
    /// Its `when` and `that`, line by line.
    pub(crate) lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ask: Option<AskStory>,
    /// What it does alone.
    pub(crate) effect: Effect,
    /// Why, in words: `matches`, `is not met`, `cannot decide: ..`.
    pub(crate) because: String,
}

/// What a rule does alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub(crate) enum Effect {
    Denies,
    Allows,
    Nothing,
}

/// An adapter that was asked.
#[derive(Debug, Serialize)]
pub(crate) struct AskStory {
    pub(crate) adapter: std::sync::Arc<str>,
    pub(crate) inputs: Vec<Line>,
    /// `match`, `no match`, `unavailable: ..` or `not asked: ..`.
    pub(crate) answer: String,
}

/// What became of asking.
enum Answer {
    Matched(bool),
    /// An input has no value, or one the adapter cannot answer for.
    Undetermined(String),
    Unavailable(String),
}

impl Teller<'_> {
    pub(super) async fn rule(&self, rule: &Rule) -> RuleStory {
        let mut lines = self.condition("when", &rule.when);
        if let Some(that) = &rule.that {
            lines.extend(self.condition("that", that));
        }
        let (mut ask, mut answer) = (None, None);
        if let Some(asked) = &rule.ask {
            let (story, found) = self.ask(asked).await;
            (ask, answer) = (Some(story), Some(found));
        }
        let (effect, because) = if self.tcp && rule.reads_request {
            let because = "reads the request, which a tcp service has none of";
            (Effect::Nothing, because.to_owned())
        } else {
            self.effect(rule, answer)
        };
        RuleStory {
            kind: match rule.kind {
                RuleKind::Deny => "deny",
                RuleKind::Require => "require",
                RuleKind::Allow => "allow",
            },
            rule: rule.sentence.clone(),
            place: self.place(rule.span),
            shadow: rule.mode == Mode::Shadow,
            lines,
            ask,
            effect,
            because,
        }
    }

    fn effect(&self, rule: &Rule, answer: Option<Answer>) -> (Effect, String) {
        let acts = match rule.kind {
            RuleKind::Deny | RuleKind::Require => Effect::Denies,
            RuleKind::Allow => Effect::Allows,
        };
        let undetermined = |reason: String| {
            let effect = match rule.kind {
                RuleKind::Deny | RuleKind::Require => Effect::Denies,
                RuleKind::Allow => Effect::Nothing,
            };
            (effect, format!("cannot decide: {reason}"))
        };
        match self.test(&rule.when) {
            Ok(true) => {}
            Ok(false) if rule.kind == RuleKind::Require => {
                return (Effect::Nothing, "is not asked for here".to_owned());
            }
            Ok(false) => return (Effect::Nothing, "does not match".to_owned()),
            Err(error) => return undetermined(error.to_string()),
        }
        let met = match (answer, &rule.that) {
            (Some(Answer::Matched(matched)), _) => matched,
            (Some(Answer::Undetermined(reason)), _) => return undetermined(reason),
            (Some(Answer::Unavailable(reason)), _) => {
                let denies = rule.on_error == OnError::Deny;
                let effect = match (rule.kind, denies) {
                    (RuleKind::Allow, true) | (RuleKind::Deny | RuleKind::Require, false) => {
                        Effect::Nothing
                    }
                    _ => acts,
                };
                let said = if denies { "deny" } else { "allow" };
                return (
                    effect,
                    format!("cannot be asked ({reason}); on_error: {said}"),
                );
            }
            (None, Some(that)) => match self.test(that) {
                Ok(met) => met,
                Err(error) => return undetermined(error.to_string()),
            },
            (None, None) => true,
        };
        match (rule.kind, met) {
            (RuleKind::Require, true) => (Effect::Nothing, "is met".to_owned()),
            (RuleKind::Require, false) => (acts, "is not met".to_owned()),
            (_, true) => (acts, "matches".to_owned()),
            (_, false) => (Effect::Nothing, "does not match".to_owned()),
        }
    }

    fn test(&self, condition: &Condition) -> Result<bool, EvalError> {
        condition.test(&mut Evaluation::new(self.bag, &self.set.references))
    }

    async fn ask(&self, ask: &AskAdapter) -> (AskStory, Answer) {
        let adapter = &self.dispatcher.snapshot().adapters[ask.adapter];
        let declared = &self.set.adapters[ask.adapter].inputs;
        let (mut inputs, mut values, mut missing) = (Vec::new(), Vec::new(), None);
        for (input, expression) in declared.iter().zip(&ask.with) {
            inputs.push(self.line(&input.name, expression, None));
            let mut evaluation = Evaluation::new(self.bag, &self.set.references);
            match expression.evaluate(&mut evaluation) {
                Ok(value) => match value.to_owned_value() {
                    Some(value) => values.push(value),
                    None => missing = Some("it has no value an adapter can take".to_owned()),
                },
                Err(error) => missing = missing.or(Some(error.to_string())),
            }
        }
        let answer = match missing {
            Some(reason) => Answer::Undetermined(reason),
            None => match adapter.check(&Instance { values: &values }, LEFT).await {
                Ok(answer) => Answer::Matched(answer.matched),
                Err(why) if why.refused => {
                    Answer::Undetermined(format!("{}: {}", adapter.name(), why.reason))
                }
                Err(why) => Answer::Unavailable(why.reason.into_owned()),
            },
        };
        let story = AskStory {
            adapter: adapter.name().clone(),
            inputs,
            answer: match &answer {
                Answer::Matched(true) => "match".to_owned(),
                Answer::Matched(false) => "no match".to_owned(),
                Answer::Undetermined(reason) => format!("not asked: {reason}"),
                Answer::Unavailable(reason) => format!("unavailable: {reason}"),
            },
        };
        (story, answer)
    }
}
