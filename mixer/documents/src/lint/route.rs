//! Routes: rules behind one that takes everything, tries that may do a thing twice, shares of nothing, services that are not, or
//! have no requests.

use mixer_attributes::vocabulary;

use super::{Reading, warn};
use crate::suggest::nearest;
use crate::{Code, Diagnostic, Protocol, Retry, Route, RouteRule, Service};

pub(super) fn look(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    for route in &read.set.routes {
        reach(route, found);
        for rule in &route.rules {
            twice(rule, found);
            shares(rule, found);
        }
        destination(read, route, found);
    }
}

fn reach(route: &Route, found: &mut Vec<Diagnostic>) {
    let unconditional = route.rules.iter().position(|rule| rule.when.is_always());
    let Some(first) = unconditional else { return };
    for rule in &route.rules[first + 1..] {
        warn(
            found,
            Code::RuleUnreachable,
            rule.span,
            format!(
                "this rule is never reached: `{}` takes every request",
                route.rules[first].name
            ),
            "give that rule a `when`, or put it last",
        );
    }
}

/// Methods that do a thing once more when they are sent once more, where it is not certain that nothing was done.
fn twice(rule: &RouteRule, found: &mut Vec<Diagnostic>) {
    let Some(retry) = &rule.retry else { return };
    if retry.when.iter().all(|condition| condition.is_safe()) {
        return;
    }
    let mut methods = retry.methods.iter();
    if let Some(method) = methods.find(|method| !Retry::METHODS.contains(&&***method)) {
        warn(
            found,
            Code::RetryTwice,
            rule.span,
            format!("a {method} that is tried again may be done twice"),
            "leave the method out, or retry on connect-failure and refused-stream only, after which nothing was done",
        );
    }
}

fn shares(rule: &RouteRule, found: &mut Vec<Diagnostic>) {
    let none = "it does nothing: remove it, or give it a share";
    for _ in rule.faults.iter().filter(|fault| fault.percent == 0.0) {
        let message = "this fault is for 0% of the requests";
        warn(found, Code::ShareOfNone, rule.span, message, none);
    }
    if rule
        .faults
        .iter()
        .any(|fault| fault.percent == 100.0 && fault.abort.is_some() && fault.when.is_always())
        && rule.when.is_always()
    {
        let message = "this fault fails every request";
        let help = "give it a `percent`, or the fault or the rule a `when`";
        warn(found, Code::ShareOfNone, rule.span, message, help);
    }
    if rule
        .mirror
        .as_ref()
        .is_some_and(|mirror| mirror.percent == 0.0)
    {
        let message = "this mirror gets 0% of the requests";
        warn(found, Code::ShareOfNone, rule.span, message, none);
    }
    if rule
        .retry
        .as_ref()
        .is_some_and(|retry| retry.budget == 0.0 && retry.floor == 0)
    {
        let message = "this budget admits no try beyond the first";
        warn(found, Code::ShareOfNone, rule.span, message, none);
    }
}

fn destination(read: &Reading<'_>, route: &Route, found: &mut Vec<Diagnostic>) {
    let declared = &read.set.services;
    let Some(named) = route.selector.only(vocabulary::DESTINATION_SERVICE) else {
        return;
    };
    let service = |name: &str| declared.iter().find(|service| &*service.name == name);
    let is_tcp = |service: &Service| service.protocol == Some(Protocol::Tcp);
    if !named.is_empty()
        && named
            .iter()
            .all(|name| service(name).is_some_and(|one| is_tcp(one)))
    {
        for rule in route.rules.iter().filter(|rule| rule.reads_request) {
            warn(
                found,
                Code::RuleOfTcp,
                rule.span,
                "this rule is never taken: it reads `request.*`, and the service is declared `protocol: tcp`",
                "a connection has `source.ip`, `source.port` and `destination.*`",
            );
        }
    }
    let is_there = |name: &&str| service(name).is_some();
    let Some(name) = named.iter().find(|name| !is_there(name)) else {
        return;
    };
    let message = format!("no `service` document declares `{name}`, which this route is for");
    let help = match nearest(name, declared.iter().map(|service| &*service.name)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            "callers' proxies route to declared services only: add a `service` document".to_owned()
        }
    };
    warn(found, Code::ForUnknown, route.span, message, help);
}
