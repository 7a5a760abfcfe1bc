//! The rules of a policy.

use mixer_attributes::vocabulary::Producer;
use mixer_cel::Expression;

use super::policy::mode;
use super::reply;
use crate::context::Context;
use crate::fields::{Fields, Shape};
use crate::reads::{reads_path, reads_request};
use crate::scalar::{name, word};
use crate::yaml::{Node, Value};
use crate::{Code, Condition, OnError, Reply, Rule, RuleKind};

pub(crate) const SHAPE: Shape = Shape {
    what: "a rule",
    keys: &[
        "deny", "require", "allow", "when", "that", "ask", "with", "on_error", "status",
        "location", "message", "headers", "body", "grpc", "id", "mode", "until", "absent",
    ],
    later: &[],
};

/// The statuses of a denial that names none, for HTTP and gRPC callers.
pub(super) const DENIED: (u16, u8) = (403, 7);

pub(super) fn read(node: &Node, context: &mut Context<'_>) -> Option<Rule> {
    let fields = Fields::of(node, SHAPE, &mut context.problems)?;
    let kinds = ["deny", "require", "allow"];
    let (kind, key) = fields.one_of(&kinds, "a rule", &mut context.problems)?;
    let kind = match kind {
        "deny" => RuleKind::Deny,
        "require" => RuleKind::Require,
        _ => RuleKind::Allow,
    };
    let sentence = context
        .sentence(&key.value, "the sentence")
        .unwrap_or_default();
    let id = fields
        .get("id")
        .and_then(|id| name(id, "`id`", &mut context.problems))
        .map(Into::into);

    let absent_matches = absent_matches(&fields, kind, context);
    let when = context.condition(
        fields.get("when"),
        "`when`",
        Producer::Check,
        kind == RuleKind::Deny && !absent_matches,
    );
    let that = fields
        .get("that")
        .map(|that| context.condition(Some(that), "`that`", Producer::Check, false));
    let ask = fields
        .get("ask")
        .and_then(|ask| context.ask(ask, fields.get("with")));
    demands(&fields, kind, context);

    let problems = &mut context.problems;
    let mut on_error = OnError::Deny;
    if let Some(node) = fields.get("on_error") {
        let words = [("deny", OnError::Deny), ("allow", OnError::Allow)];
        on_error = word(node, "`on_error`", &words, &[], problems).unwrap_or(on_error);
    }
    let (mode, until) = mode(&fields, problems);
    let usual = Reply::plain(DENIED.0, DENIED.1);
    let reply = match kind {
        RuleKind::Deny | RuleKind::Require => reply::read(&fields, usual, context),
        RuleKind::Allow => usual,
    };

    let read: Vec<&Expression> = when
        .expressions()
        .chain(that.iter().flat_map(Condition::expressions))
        .chain(ask.iter().flat_map(|ask| &ask.with))
        .collect();
    let (reads_request, reads_path) = (
        reads_request(&read, context.compiler.vocabulary()),
        reads_path(&read),
    );
    Some(Rule {
        kind,
        id: id.unwrap_or_else(|| sentence.clone()),
        sentence,
        when,
        that,
        ask,
        on_error,
        reply,
        absent_matches,
        mode,
        until,
        reads_request,
        reads_path,
        span: key.value.span,
    })
}

/// `absent: match`: a deny rule that cannot be decided is meant to match.
fn absent_matches(fields: &Fields<'_>, kind: RuleKind, context: &mut Context<'_>) -> bool {
    let Some(node) = fields.get("absent") else {
        return false;
    };
    if kind != RuleKind::Deny {
        fields.refuse("absent", "is for deny rules", &mut context.problems);
    } else if fields.get("when").is_none() {
        fields.refuse(
            "absent",
            "has no meaning without `when`",
            &mut context.problems,
        );
    }
    word(
        node,
        "`absent`",
        &[("match", true)],
        &[],
        &mut context.problems,
    )
    .unwrap_or_default()
}

/// Which keys go with which kind of rule.
fn demands(fields: &Fields<'_>, kind: RuleKind, context: &mut Context<'_>) {
    let problems = &mut context.problems;
    let has = |key: &str| fields.get(key).is_some();
    match kind {
        RuleKind::Require if has("that") && has("ask") => {
            fields.refuse(
                "ask",
                "and `that` are two demands: write two rules",
                problems,
            );
        }
        RuleKind::Require if fields.lacks("that") && fields.lacks("ask") => {
            problems
                .error(
                    Code::NoDemand,
                    fields.span,
                    "a require rule needs `that` (what must hold) or `ask` (who says so)",
                )
                .help("`when` only says for which requests it is required");
        }
        RuleKind::Require => {}
        RuleKind::Deny | RuleKind::Allow => {
            fields.refuse("that", "is for require rules; here it is `when`", problems)
        }
    }
    if kind == RuleKind::Allow {
        for key in reply::KEYS {
            fields.refuse(
                key,
                "has no meaning in an allow rule: nobody is denied",
                problems,
            );
        }
    }
    if !has("ask") {
        for key in ["with", "on_error"] {
            fields.refuse(key, "has no meaning without `ask`", problems);
        }
    }
    if let Some(Value::Null) = fields.get("ask").map(|node| &node.value) {
        fields.refuse("ask", "names an adapter", problems);
    }
}
