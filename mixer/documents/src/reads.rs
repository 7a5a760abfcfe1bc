//! What expressions read, as far as it changes how they are applied.

use mixer_attributes::{Vocabulary, vocabulary};
use mixer_cel::{Expression, Read};

use crate::{Condition, Otherwise, Policy, Quota, Reply, Rule, Telemetry};

/// Some of them reads `request.*`, which a tcp service does not have.
pub(crate) fn reads_request(expressions: &[&Expression], vocabulary: &Vocabulary) -> bool {
    let mut reads = expressions.iter().flat_map(|expression| expression.reads());
    reads.any(|read| {
        vocabulary
            .by_id(read.attribute)
            .is_some_and(|attribute| attribute.name.starts_with("request."))
    })
}

/// Some of them reads `request.path`, or what is cut from it.
pub(crate) fn reads_path(expressions: &[&Expression]) -> bool {
    expressions
        .iter()
        .flat_map(|expression| expression.reads())
        .any(|read| {
            [
                vocabulary::REQUEST_PATH,
                vocabulary::API_SERVICE,
                vocabulary::API_OPERATION,
            ]
            .contains(&read.attribute)
        })
}

/// Something of the policy reads `auth.claims`, be it in what a denied caller is told.
pub(crate) fn policy_reads_claims(policy: &Policy) -> bool {
    let rule = |rule: &Rule| {
        let that = rule.that.iter().flat_map(Condition::expressions);
        let given = rule.ask.iter().flat_map(|ask| &ask.with);
        let expressions = rule.when.expressions().chain(that).chain(given);
        expressions.flat_map(Expression::reads).any(is_claims) || reply_reads_claims(&rule.reply)
    };
    let quota = |quota: &Quota| {
        let limit = quota.cost.iter().chain(&quota.limit.by);
        let expressions = quota.when.expressions().chain(&quota.key).chain(limit);
        expressions.flat_map(Expression::reads).any(is_claims) || reply_reads_claims(&quota.reply)
    };
    let otherwise = || match &policy.otherwise {
        Some(Otherwise::Deny { reply, .. }) => reply_reads_claims(reply),
        Some(Otherwise::Allow { .. }) | None => false,
    };
    policy.rules.iter().any(rule) || policy.quotas.iter().any(quota) || otherwise()
}

/// The same of telemetry.
pub(crate) fn telemetry_reads_claims(telemetry: &Telemetry) -> bool {
    let metrics = telemetry.metrics.iter().flat_map(|metric| {
        let labels = metric.labels.iter().map(|(_, label)| label);
        metric.when.expressions().chain(&metric.value).chain(labels)
    });
    let logs = telemetry.logs.iter().flat_map(|logs| {
        let fields = logs.fields.iter().map(|(_, field)| field);
        logs.when.expressions().chain(fields)
    });
    metrics
        .chain(logs)
        .flat_map(Expression::reads)
        .any(is_claims)
}

fn reply_reads_claims(reply: &Reply) -> bool {
    reply.reads().any(|read| is_claims(&read))
}

fn is_claims(read: &Read) -> bool {
    read.attribute == vocabulary::AUTH_CLAIMS
}
