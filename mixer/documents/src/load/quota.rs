//! The quotas of a policy.

use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::vocabulary::Producer;
use mixer_cel::{Expect, Expression, Kind};

use super::policy::mode;
use super::reply;
use crate::context::Context;
use crate::fields::{Fields, Shape};
use crate::reads::{reads_path, reads_request};
use crate::scalar::{integer, limit, list, name, percent, scalar, word};
use crate::yaml::{Node, Value};
use crate::{Absent, Algorithm, Code, LeaseLimit, Limit, LimitTable, Quota, QuotaOnError, Reply};

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
        "store",
        "lease",
        "on_error",
        "mode",
        "until",
        "status",
        "location",
        "message",
        "headers",
        "body",
        "grpc",
    ],
    later: &["window", "hold"],
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
    let limit = limits(&fields, context);
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
    let algorithm = algorithm(&fields, limit.otherwise, context);
    let lease = lease(&fields, context);
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
        store: store.unwrap_or_default(),
        lease,
        on_error,
        mode,
        until,
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

fn limits(fields: &Fields<'_>, context: &mut Context<'_>) -> LimitTable {
    let nothing = Limit {
        amount: 1,
        window: Duration::from_secs(1),
    };
    let mut limits = LimitTable {
        by: None,
        table: Vec::new(),
        otherwise: nothing,
    };
    let help = "such as `limit: 100 per minute`";
    let Some(node) = fields.need(
        "limit",
        "a quota needs a `limit`",
        help,
        &mut context.problems,
    ) else {
        return limits;
    };
    let Value::Map(_) = &node.value else {
        limits.otherwise = limit(node, &mut context.problems).unwrap_or(nothing);
        return limits;
    };
    let Some(fields) = Fields::of(node, TABLE, &mut context.problems) else {
        return limits;
    };
    let why = "a table of limits needs `by`: an expression that names the row";
    if let Some(by) = fields.need("by", why, "", &mut context.problems) {
        limits.by = context.expression(by, "`by`", Producer::Check, Expect::Kind(Kind::String));
    }
    let why = "a table of limits needs `otherwise`: the limit when no row is named";
    if let Some(node) = fields.need("otherwise", why, "", &mut context.problems) {
        limits.otherwise = limit(node, &mut context.problems).unwrap_or(nothing);
    }
    let table = fields.need(
        "table",
        "a table of limits needs `table`",
        "",
        &mut context.problems,
    );
    match table.map(|table| (&table.value, table.span)) {
        Some((Value::Map(rows), span)) => {
            if rows.is_empty() {
                context
                    .problems
                    .error(Code::LimitTable, span, "the table of limits has no row");
            }
            for row in rows {
                let row_limit = limit(&row.value, &mut context.problems).unwrap_or(nothing);
                limits.table.push((row.key.as_str().into(), row_limit));
            }
        }
        Some((Value::Wrong, _)) | None => {}
        Some((_, span)) => drop(context.problems.error(
            Code::WrongShape,
            span,
            "`table` must be a map from names to limits",
        )),
    }
    limits
}

fn algorithm(fields: &Fields<'_>, limit: Limit, context: &mut Context<'_>) -> Algorithm {
    let problems = &mut context.problems;
    let gcra = fields.get("algorithm").and_then(|node| {
        word(
            node,
            "`algorithm`",
            &[("sliding-window", false), ("gcra", true)],
            &["fixed-window", "concurrency"],
            problems,
        )
    });
    if gcra != Some(true) {
        fields.refuse(
            "burst",
            "has no meaning without `algorithm: gcra`",
            problems,
        );
        return Algorithm::SlidingWindow;
    }
    let burst = fields
        .get("burst")
        .and_then(|node| integer(node, "`burst`", 1..=i64::MAX as u64, problems));
    Algorithm::Gcra {
        burst: burst.unwrap_or(limit.amount),
    }
}

fn lease(fields: &Fields<'_>, context: &mut Context<'_>) -> LeaseLimit {
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
