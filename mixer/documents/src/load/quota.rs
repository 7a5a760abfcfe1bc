//! The quotas of a policy.

mod counting;

use std::sync::Arc;

use mixer_attributes::vocabulary::Producer;
use mixer_cel::{Expect, Expression, Kind};

use super::policy::mode;
use super::reply;
use crate::context::Context;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::reads::{reads_path, reads_request};
use crate::scalar::{integer, list, name, percent, scalar, word};
use crate::yaml::{Node, Value};
use crate::{Absent, Algorithm, Code, LeaseLimit, Quota, QuotaOnError, Reply, Tell};

pub(crate) const SHAPE: Shape = Shape {
    what: "a quota",
    keys: &[
        "quota",
        "id",
        "when",
        "key",
        "absent",
        "limit",
        "cost",
        "algorithm",
        "burst",
        "window",
        "hold",
        "denied",
        "store",
        "lease",
        "on_error",
        "mode",
        "until",
        "tell",
        "status",
        "location",
        "message",
        "headers",
        "body",
        "grpc",
    ],
    later: &[],
};

/// The statuses of a refusal that names none, for HTTP and gRPC callers.
pub(super) const OVER_LIMIT: (u16, u8) = (429, 8);

/// A table of limits.
pub(crate) const TABLE: Shape = Shape {
    what: "a limit",
    keys: &["by", "table", "otherwise"],
    later: &[],
};

/// An `on_error` with a share.
pub(crate) const ON_ERROR: Shape = Shape {
    what: "`on_error`",
    keys: &["local"],
    later: &[],
};

/// The adapter that counts when a quota names none.
const STORE: &str = "memory";

pub(super) fn read(node: &Node, policy: &str, context: &mut Context<'_>) -> Option<Quota> {
    let fields = Fields::of(node, SHAPE, &mut context.problems)?;
    let (_, key) = fields.one_of(&["quota"], "a quota", &mut context.problems)?;
    let sentence = context
        .sentence(&key.value, "the sentence")
        .unwrap_or_default();
    let id = id(&fields, policy, &sentence, context);
    let when = context.condition(fields.get("when"), "`when`", Producer::Check, false);
    let keys = keys(&fields, context);
    let (limit, algorithm) = counting::read(&fields, context);
    let cost = fields.get("cost").and_then(|node| {
        context.expression(node, "`cost`", Producer::Check, Expect::Kind(Kind::Int))
    });
    let store = match fields.get("store") {
        Some(node) => context.adapter(node, "`store`"),
        None => context.adapter_names.get(STORE).copied(),
    };
    let problems = &mut context.problems;
    let mut absent = Absent::Share;
    if let Some(node) = fields.get("absent") {
        let words = [
            ("share", Absent::Share),
            ("deny", Absent::Deny),
            ("skip", Absent::Skip),
        ];
        absent = word(node, "`absent`", &words, &[], problems).unwrap_or(absent);
    }
    let (mode, until) = mode(&fields, problems);
    let reply = reply::read(&fields, Reply::plain(OVER_LIMIT.0, OVER_LIMIT.1), context);
    let denied = counting::denied(&fields, algorithm, &mut context.problems);
    let lease = lease(&fields, algorithm, context);
    let tell = tell(&fields, algorithm, &mut context.problems);
    let on_error = on_error(&fields, context);
    let read: Vec<&Expression> = when
        .expressions()
        .chain(&keys)
        .chain(&cost)
        .chain(&limit.by)
        .collect();
    let (reads_request, reads_path) = (
        reads_request(&read, context.compiler.vocabulary()),
        reads_path(&read),
    );
    Some(Quota {
        sentence,
        id,
        when,
        key: keys,
        absent,
        limit,
        cost,
        algorithm,
        denied,
        store: store.unwrap_or_default(),
        lease,
        on_error,
        mode,
        until,
        tell,
        reply,
        reads_request,
        reads_path,
        span: key.value.span,
    })
}

fn id(fields: &Fields<'_>, policy: &str, sentence: &str, context: &mut Context<'_>) -> Arc<str> {
    let node = fields.get("id");
    let given = node.and_then(|node| name(node, "`id`", &mut context.problems));
    let id: Arc<str> = given.map_or_else(|| format!("{policy}/{sentence}").into(), Into::into);
    let span = node.map_or(fields.span, |node| node.span);
    if !sentence.is_empty()
        && let Err(first) = context.quota_ids.add(&id, span)
        && given.is_some()
    {
        context
            .problems
            .error(
                Code::CounterTaken,
                span,
                format!("the id `{id}` names another counter already"),
            )
            .help(format!("the first is at {}", context.sources.place(first)));
    }
    id
}

/// What may name a counter: anything with one text for each value.
fn keys(fields: &Fields<'_>, context: &mut Context<'_>) -> Vec<Expression> {
    let help = "each value of the key has a counter: `key: [source.service_account]`; `key: []` is one counter for all";
    let Some(node) = fields.need("key", "a quota needs a `key`", help, &mut context.problems)
    else {
        return Vec::new();
    };
    if let Value::Scalar(scalar) = &node.value {
        context
            .problems
            .error(
                Code::WrongShape,
                node.span,
                "`key` must be a list, this is a text",
            )
            .help(format!("write [{}]", scalar.text));
        return Vec::new();
    }
    let items = list(node, "`key`", &mut context.problems).unwrap_or_default();
    let kinds = || Expect::OneOf(SCALARS.to_vec());
    items
        .iter()
        .filter_map(|item| context.expression(item, "a key", Producer::Check, kinds()))
        .collect()
}

/// Kinds whose values have one text each.
pub(super) const SCALARS: [Kind; 9] = [
    Kind::String,
    Kind::Int,
    Kind::Uint,
    Kind::Double,
    Kind::Bool,
    Kind::Ip,
    Kind::Bytes,
    Kind::Timestamp,
    Kind::Duration,
];

fn lease(fields: &Fields<'_>, algorithm: Algorithm, context: &mut Context<'_>) -> LeaseLimit {
    if let Algorithm::Concurrency { .. } = algorithm {
        let zero =
            |node: &&Node| matches!(&node.value, Value::Scalar(scalar) if scalar.text == "0");
        if fields.get("lease").filter(zero).is_none() {
            let why = "has no meaning with `algorithm: concurrency`: what is in flight is not held in advance";
            fields.refuse("lease", why, &mut context.problems);
        }
        return LeaseLimit::AtMost(0);
    }
    match fields.get("lease").map(|node| (node, &node.value)) {
        None => LeaseLimit::Auto,
        Some((_, Value::Scalar(scalar))) if scalar.text == "auto" => LeaseLimit::Auto,
        Some((node, _)) => {
            let most = integer(
                node,
                "`lease` is `auto` or a number; it",
                0..=u64::MAX,
                &mut context.problems,
            );
            LeaseLimit::AtMost(most.unwrap_or_default())
        }
    }
}

fn tell(fields: &Fields<'_>, algorithm: Algorithm, problems: &mut Problems) -> Tell {
    if let Algorithm::Concurrency { .. } = algorithm {
        let why =
            "has no meaning with `algorithm: concurrency`: the headers tell of limits over time";
        fields.refuse("tell", why, problems);
        return Tell::Nothing;
    }
    fields
        .get("tell")
        .and_then(|node| word(node, "`tell`", &Tell::WORDS, &[], problems))
        .unwrap_or(Tell::Nothing)
}

fn on_error(fields: &Fields<'_>, context: &mut Context<'_>) -> QuotaOnError {
    let Some(node) = fields.get("on_error") else {
        return QuotaOnError::Allow;
    };
    let problems = &mut context.problems;
    if let Value::Map(_) = &node.value {
        let local = Fields::of(node, ON_ERROR, problems).and_then(|fields| fields.get("local"));
        let Some(local) = local else {
            problems.error(
                Code::MissingKey,
                node.span,
                "`on_error` is `allow`, `deny` or `{ local: 10% }`",
            );
            return QuotaOnError::Allow;
        };
        let share = percent(local, "`local`", problems);
        if share.is_some_and(|share| share < 1.0 || share.fract() != 0.0) {
            let text = scalar(local, "`local`", problems).map_or("", |scalar| scalar.text.as_str());
            problems.error(
                Code::Share,
                local.span,
                format!("`local` is a whole percentage from 1% to 100%, not `{text}`"),
            );
        }
        return QuotaOnError::Local(share.unwrap_or(1.0) as u8);
    }
    let words = [("allow", QuotaOnError::Allow), ("deny", QuotaOnError::Deny)];
    word(node, "`on_error`", &words, &[], problems).unwrap_or(QuotaOnError::Allow)
}
