//! Claims that are believed whoever made them.
//!
//! Where tokens of several issuers are verified, each can say what the other may not: `"admins" in auth.claims.groups` asks what
//! some issuer says, and every issuer may name its groups as it likes.

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_cel::Expression;

use super::{ReadPolicy, Reading, warn};
use crate::suggest::nearest;
use crate::{Code, Diagnostic, Jwt, Quota, Rule, RuleKind, Span};

/// A service that no document names, for what is about all of them.
const ANY: &str = "any.service.at.all";

pub(super) fn look(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    for jwt in &read.set.jwts {
        destination(read, jwt, found);
    }
    if read.set.jwts.len() < 2 {
        return;
    }
    let places = places(read);
    for policy in &read.policies {
        let trusting: Vec<Span> = trusting(policy).collect();
        if trusting.is_empty() || asks_elsewhere(policy) {
            continue;
        }
        let both = places.iter().find_map(|(bag, issuers)| {
            let selected = policy.policy.selector.selects(bag);
            selected.then_some(issuers)
        });
        let Some([first, second, ..]) = both.map(Vec::as_slice) else {
            continue;
        };
        for span in trusting {
            let message = format!(
                "this reads claims, and does not ask whose: tokens of `{}` and of `{}` are taken there",
                first.name, second.name
            );
            let help = format!("add `auth.issuer == \"{}\"`", first.name);
            warn(found, Code::AnyIssuer, span, message, help);
        }
    }
}

/// Where services are declared, a document for none of them verifies nothing.
fn destination(read: &Reading<'_>, jwt: &Jwt, found: &mut Vec<Diagnostic>) {
    let declared = &read.set.services;
    let Some(named) = jwt.selector.only(vocabulary::DESTINATION_SERVICE) else {
        return;
    };
    let is_there = |name: &&&str| declared.iter().any(|service| &*service.name == **name);
    let Some(name) = named.first().filter(|_| !declared.is_empty()) else {
        return;
    };
    if named.iter().any(|name| is_there(&name)) {
        return;
    }
    let message = format!("no `service` document declares `{name}`, which these tokens are for");
    let help = match nearest(name, declared.iter().map(|service| &*service.name)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "add a `service` document for it".to_owned(),
    };
    warn(found, Code::ForUnknown, jwt.span, message, help);
}

/// Destinations at which tokens of several issuers are taken.
fn places<'s>(read: &Reading<'s>) -> Vec<(AttributeBag<'s>, Vec<&'s Jwt>)> {
    let jwts = read.set.jwts.iter().map(|jwt| &jwt.selector);
    let policies = read.set.policies.iter().map(|policy| &policy.selector);
    let named = jwts
        .chain(policies)
        .filter_map(|selector| selector.only(vocabulary::DESTINATION_SERVICE))
        .flatten();
    let mut names: Vec<&str> = named.chain([ANY]).collect();
    names.extend(read.set.services.iter().map(|service| &*service.name));
    names.sort_unstable();
    names.dedup();
    let several = names.into_iter().filter_map(|name| {
        let mut bag = AttributeBag::new();
        bag.set(vocabulary::DESTINATION_SERVICE, Value::String(name));
        if let Some((_, namespace)) = name.split_once('.') {
            bag.set(vocabulary::DESTINATION_NAMESPACE, Value::String(namespace));
        }
        read.set.locate(&mut bag);
        let jwts = read.set.jwts.iter().map(|jwt| &**jwt);
        let issuers: Vec<&Jwt> = jwts.filter(|jwt| jwt.applies(&bag)).collect();
        (issuers.len() > 1).then_some((bag, issuers))
    });
    several.collect()
}

/// The rules and quotas that read claims and do not ask whose.
fn trusting(policy: &ReadPolicy<'_>) -> impl Iterator<Item = Span> {
    let rules = policy.policy.rules.iter();
    let rules = rules.map(|rule| (of_rule(rule), rule.span));
    let quotas = policy.policy.quotas.iter();
    let quotas = quotas.map(|quota| (of_quota(quota), quota.span));
    rules.chain(quotas).filter_map(|(expressions, span)| {
        let trusts = reads(&expressions, vocabulary::AUTH_CLAIMS) && !asks(&expressions);
        trusts.then_some(span)
    })
}

/// Whether some rule of the policy keeps the tokens of others away from the rest.
fn asks_elsewhere(policy: &ReadPolicy<'_>) -> bool {
    let mut rules = policy.policy.rules.iter();
    rules.any(|rule| rule.kind != RuleKind::Allow && asks(&of_rule(rule)))
}

/// Whether it is asked who made the token. (`auth.principal` begins with the issuer.)
fn asks(expressions: &[&Expression]) -> bool {
    reads(expressions, vocabulary::AUTH_ISSUER) || reads(expressions, vocabulary::AUTH_PRINCIPAL)
}

fn reads(expressions: &[&Expression], attribute: vocabulary::AttributeId) -> bool {
    let mut reads = expressions.iter().flat_map(|one| one.reads());
    reads.any(|read| read.attribute == attribute)
}

fn of_rule(rule: &Rule) -> Vec<&Expression> {
    let that = rule.that.iter().flat_map(|that| that.expressions());
    let given = rule.ask.iter().flat_map(|ask| &ask.with);
    rule.when.expressions().chain(that).chain(given).collect()
}

fn of_quota(quota: &Quota) -> Vec<&Expression> {
    let conditions = quota.when.expressions().chain(&quota.key);
    conditions
        .chain(&quota.cost)
        .chain(&quota.limit.by)
        .collect()
}
