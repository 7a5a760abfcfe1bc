//! `policy` documents.

use mixer_cel::Selector;

use super::document::Document;
use super::{quota, reply, rule};
use crate::context::Context;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{Unique, boolean, end_of_day, list, scalar, timestamp, word};
use crate::yaml::{Node, Value};
use crate::{At, Code, Fail, Mode, Otherwise, Policy, Reply, Rule, RuleKind, Span, Until};

pub(crate) const SHAPE: Shape = Shape {
    what: "a policy",
    keys: &[
        "for",
        "rules",
        "otherwise",
        "quotas",
        "guard",
        "at",
        "fail",
        "mode",
        "until",
        "tests",
    ],
    later: &[],
};

const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];

/// `mode` and `until`.
pub(super) fn mode(fields: &Fields<'_>, problems: &mut Problems) -> (Mode, Option<Until>) {
    let given = fields
        .get("mode")
        .and_then(|node| word(node, "`mode`", &MODES, &[], problems));
    let mode = given.unwrap_or(Mode::Enforce);
    let Some(node) = fields.get("until") else {
        return (mode, None);
    };
    if mode == Mode::Enforce && (given.is_some() || fields.lacks("mode")) {
        let why = "has no meaning without `mode: shadow`: what is enforced has no end";
        fields.refuse("until", why, problems);
        return (mode, None);
    }
    let Some(text) = scalar(node, "`until`", problems).map(|scalar| &scalar.text) else {
        return (mode, None);
    };
    let Some(ends) = timestamp(text).or_else(|| end_of_day(text)) else {
        problems
            .error(
                Code::Time,
                node.span,
                format!("`until` is a date or a time, not `{text}`"),
            )
            .help("such as 2026-12-31, or 2026-12-31T18:00:00Z");
        return (mode, None);
    };
    let until = Until {
        text: text.as_str().into(),
        ends,
        span: node.span,
    };
    (mode, Some(until))
}

/// An `otherwise` that denies with words of its own.
pub(crate) const OTHERWISE_KEYS: Shape = Shape {
    what: "`otherwise`",
    keys: &[
        "deny", "status", "location", "message", "headers", "body", "grpc",
    ],
    later: &[],
};

/// A policy, and the list of its tests, which are read when every policy of the file is known.
pub(super) fn read<'n>(
    document: &Document<'n>,
    context: &mut Context<'_>,
) -> (Policy, Option<&'n Node>) {
    let mut policy = Policy {
        name: document.name.into(),
        at: At::Inbound,
        guard: false,
        mode: Mode::Enforce,
        until: None,
        selector: Selector::always(),
        rules: Vec::new(),
        otherwise: None,
        fail: Fail::Closed,
        quotas: Vec::new(),
        tests: Vec::new(),
        span: document.span,
    };
    let before = context.problems.list.len();
    let Some(fields) = document.fields(SHAPE, &mut context.problems) else {
        return (policy, None);
    };
    if let Some(selector) = context.selector(&fields) {
        policy.selector = selector;
    }
    let problems = &mut context.problems;
    if let Some(node) = fields.get("at") {
        let words = [("inbound", At::Inbound), ("outbound", At::Outbound)];
        policy.at = word(node, "`at`", &words, &[], problems).unwrap_or(policy.at);
    }
    if let Some(node) = fields.get("guard") {
        policy.guard = boolean(node, "`guard`", problems).unwrap_or_default();
    }
    (policy.mode, policy.until) = mode(&fields, problems);
    if let Some(node) = fields.get("fail") {
        let words = [("closed", Fail::Closed), ("open", Fail::Open)];
        policy.fail = word(node, "`fail`", &words, &[], problems).unwrap_or(policy.fail);
    }
    let mut names = Names::default();
    for node in fields
        .get("rules")
        .and_then(|node| list(node, "`rules`", &mut context.problems))
        .unwrap_or_default()
    {
        if let Some(rule) = rule::read(node, context) {
            names.rule(&rule, context);
            policy.rules.push(rule);
        }
    }
    if let Some(node) = fields.get("otherwise") {
        policy.otherwise = otherwise(node, context);
        if let Some(Otherwise::Deny { sentence, span, .. }) = &policy.otherwise
            && &**sentence != OTHERWISE
        {
            names.sentence(sentence, *span, context);
        }
    }
    for node in fields
        .get("quotas")
        .and_then(|node| list(node, "`quotas`", &mut context.problems))
        .unwrap_or_default()
    {
        if let Some(quota) = quota::read(node, document.name, context) {
            names.sentence(&quota.sentence, quota.span, context);
            policy.quotas.push(quota);
        }
    }
    whole(&policy, &fields, before, context);
    (policy, fields.get("tests"))
}

fn usual() -> Reply {
    Reply::plain(rule::DENIED.0, rule::DENIED.1)
}

/// The sentence of an `otherwise` that has none.
const OTHERWISE: &str = "otherwise";

fn otherwise(node: &Node, context: &mut Context<'_>) -> Option<Otherwise> {
    let span = node.span;
    if let Value::Map(_) = &node.value {
        let shape = OTHERWISE_KEYS;
        let fields = Fields::of(node, shape, &mut context.problems)?;
        let Some(deny) = fields.get("deny") else {
            context.problems.error(
                Code::MissingKey,
                span,
                "`otherwise` is `allow`, `deny` or `{ deny: a sentence }`",
            );
            return None;
        };
        let reply = Box::new(reply::read(&fields, usual(), context));
        let sentence = context.sentence(deny, "the sentence")?;
        return Some(Otherwise::Deny {
            sentence,
            reply,
            span: deny.span,
        });
    }
    let words = [("allow", true), ("deny", false)];
    Some(
        match word(node, "`otherwise`", &words, &[], &mut context.problems)? {
            true => Otherwise::Allow { span },
            false => Otherwise::Deny {
                sentence: OTHERWISE.into(),
                reply: Box::new(usual()),
                span,
            },
        },
    )
}

/// What holds for a policy as a whole; there were `before` problems when it was begun.
fn whole(policy: &Policy, fields: &Fields<'_>, before: usize, context: &mut Context<'_>) {
    let problems = &mut context.problems;
    let enforced = |mode: Mode| policy.mode == Mode::Enforce && mode == Mode::Enforce;
    let allow = policy
        .rules
        .iter()
        .find(|rule| rule.kind == RuleKind::Allow && enforced(rule.mode));
    if let Some(rule) = allow
        && fields.get("otherwise").is_none()
    {
        problems
            .error(
                Code::OtherwiseMissing,
                rule.span,
                "a policy with an allow rule must say what happens otherwise",
            )
            .help("add `otherwise: { deny: a sentence for the caller }`, or `otherwise: allow`");
    }
    let has = |key: &str| fields.get(key).is_some();
    let sound = problems.list.len() == before;
    if sound && !has("rules") && !has("quotas") && !has("otherwise") {
        problems.warning(
            Code::EmptyPolicy,
            policy.span,
            "this policy has no rules, no `otherwise` and no quotas",
        );
    }
}

/// Sentences and ids, unique within a policy.
#[derive(Default)]
struct Names {
    sentences: Unique,
    ids: Unique,
}

impl Names {
    fn rule(&mut self, rule: &Rule, context: &mut Context<'_>) {
        let new = self.sentence(&rule.sentence, rule.span, context);
        if let Err(first) = self.ids.add(&rule.id, rule.span)
            && new
        {
            context
                .problems
                .error(
                    Code::SentenceTaken,
                    rule.span,
                    format!("the id `{}` is given twice in the policy", rule.id),
                )
                .help(format!("the first is at {}", context.sources.place(first)));
        }
    }

    /// Whether it is new.
    fn sentence(&mut self, sentence: &str, span: Span, context: &mut Context<'_>) -> bool {
        let added = self.sentences.add(sentence, span);
        if let Err(first) = added {
            context
                .problems
                .error(
                    Code::SentenceTaken,
                    span,
                    "this sentence is given twice in the policy",
                )
                .help(format!("the first is at {}", context.sources.place(first)));
        }
        added.is_ok()
    }
}
