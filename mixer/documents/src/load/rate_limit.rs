//! Policies that answer Envoy's rate limit service: those whose `for` names `rate_limit.domain`.
//!
//! That protocol asks about descriptors and knows two answers for each, so that only quotas can answer it, and only of what a
//! descriptor says. Anything else in such a policy would silently never act: it is refused where it is loaded, as is
//! `rate_limit.*` in policies that no descriptor comes to.

use mixer_attributes::AttributeId;
use mixer_attributes::vocabulary::{self, RATE_LIMIT_DOMAIN};
use mixer_cel::{Expression, Read, Selector};

use crate::context::Context;
use crate::diagnostics::Problems;
use crate::fields::Fields;
use crate::{Algorithm, At, Code, LeaseLimit, Policy, Quota, QuotaOnError, Rule, Span, Tell};

const FAMILY: &str = "rate_limit.";

/// Whether a policy is about rate limit descriptors.
pub(super) fn is_meant(selector: &Selector) -> bool {
    let mut reads = selector.reads().into_iter();
    reads.any(|(attribute, _)| attribute == RATE_LIMIT_DOMAIN)
}

/// Refuses what such a policy cannot have.
pub(super) fn check_shape(policy: &Policy, fields: &Fields<'_>, problems: &mut Problems) {
    let others = policy.selector.reads();
    if let Some(node) = fields.get("for")
        && others
            .iter()
            .any(|(attribute, _)| *attribute != RATE_LIMIT_DOMAIN)
    {
        problems
            .error(
                Code::NoMeaning,
                node.span,
                "a `for` that names `rate_limit.domain` can name nothing else",
            )
            .help("the rate limit service is told a domain and descriptors; write two policies");
    }
    let only = "has no meaning here: only quotas answer the rate limit service";
    for key in ["rules", "otherwise", "guard"] {
        fields.refuse(key, only, problems);
    }
    let proxy =
        "has no meaning here: the proxy that asks has its own setting (`failure_mode_deny`)";
    fields.refuse("fail", proxy, problems);
    let side = "has no meaning here: every proxy that asks the rate limit service is meant";
    fields.refuse("at", side, problems);
}

/// Refuses quotas and rules that read what they are never told.
pub(super) fn check(policy: &Policy, context: &mut Context<'_>) {
    for quota in &policy.quotas {
        let read = reads(quota);
        if policy.at == At::RateLimit {
            quota_of_descriptors(quota, &read, context);
        } else {
            unknown_elsewhere(&read, quota.span, context);
        }
    }
    for rule in policy.rules.iter().filter(|_| policy.at != At::RateLimit) {
        unknown_elsewhere(&reads_of_rule(rule), rule.span, context);
    }
}

fn reads(quota: &Quota) -> Vec<Read> {
    let expressions = quota
        .when
        .expressions()
        .chain(&quota.key)
        .chain(&quota.cost)
        .chain(&quota.limit.by);
    let reads = expressions.flat_map(Expression::reads).cloned();
    reads.chain(quota.reply.reads()).collect()
}

fn reads_of_rule(rule: &Rule) -> Vec<Read> {
    let that = rule.that.iter().flat_map(|that| that.expressions());
    let with = rule.ask.iter().flat_map(|ask| &ask.with);
    let expressions = rule.when.expressions().chain(that).chain(with);
    let reads = expressions.flat_map(Expression::reads).cloned();
    reads.chain(rule.reply.reads()).collect()
}

fn quota_of_descriptors(quota: &Quota, read: &[Read], context: &mut Context<'_>) {
    let other = attributes(read, context, |name| !name.starts_with(FAMILY));
    let problems = &mut context.problems;
    if let Some(name) = other {
        problems
            .error(Code::NoMeaning,
                quota.span,
                format!("this quota reads `{name}`, which the rate limit service is not told"),
            )
            .help("it knows `rate_limit.descriptor`, `rate_limit.keys`, `rate_limit.values`, `rate_limit.hits`, `rate_limit.index` and `rate_limit.domain`");
    }
    if (quota.reply.status, quota.reply.grpc) != super::quota::OVER_LIMIT
        || quota.reply.location.is_some()
    {
        problems
            .error(Code::NoMeaning, quota.span, "the status of a refusal is the proxy's here")
            .help("Envoy has `rate_limited_status` and `rate_limited_as_resource_exhausted`; `message`, `headers` and `body` are sent along");
    }
    let held = matches!(quota.algorithm, Algorithm::Concurrency { .. });
    if quota.lease != LeaseLimit::Auto && !held {
        problems.error(
            Code::NoMeaning,
            quota.span,
            "`lease` has no meaning here: nobody who asks the rate limit service holds leases",
        );
    }
    if quota.tell != Tell::Nothing {
        problems
            .error(
                Code::NoMeaning,
                quota.span,
                "`tell` has no meaning here: the response is the proxy's",
            )
            .help("Envoy has `enable_x_ratelimit_headers: DRAFT_VERSION_03`");
    }
    if let Algorithm::Concurrency { .. } = quota.algorithm {
        problems
            .error(
                Code::NoMeaning,
                quota.span,
                "`algorithm: concurrency` has no meaning here: the rate limit service is not told when a request is over",
            )
            .help("write `sliding-window`, `gcra` or `fixed-window`");
    }
    if let QuotaOnError::Local(_) = quota.on_error {
        problems
            .error(
                Code::NoMeaning,
                quota.span,
                "`on_error: { local: .. }` has no meaning here: no proxy of ours could count alone",
            )
            .help("it is `allow` or `deny`");
    }
}

fn unknown_elsewhere(read: &[Read], span: Span, context: &mut Context<'_>) {
    if let Some(name) = attributes(read, context, |name| name.starts_with(FAMILY)) {
        let help = "write `for: rate_limit.domain == \"..\"`; such a policy answers Envoy's rate limit service and nothing else";
        context
            .problems
            .error(
                Code::NoMeaning,
                span,
                format!("`{name}` is known only where `for` names `rate_limit.domain`"),
            )
            .help(help);
    }
}

/// The first built-in attribute among those read whose name is `wanted`. A custom one is judged by what it reads itself.
fn attributes(
    read: &[Read],
    context: &Context<'_>,
    wanted: impl Fn(&str) -> bool,
) -> Option<String> {
    let vocabulary = context.compiler.vocabulary();
    let ids = read.iter().map(|read| read.attribute);
    let names = ids
        .filter(|id: &AttributeId| !id.is_custom())
        .filter_map(|id| vocabulary.by_id(id));
    let names = names.map(|attribute: &vocabulary::Attribute| attribute.name.as_str());
    names
        .into_iter()
        .find(|name| wanted(name))
        .map(str::to_owned)
}
