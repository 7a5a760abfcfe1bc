//! What routes say about one request, decided before anything of it is sent.
//!
//! The decision is plain and made at once: which rule, which part of the service, which faults, whether a copy goes elsewhere. It
//! is carried out by [`carry`], which sends and sends again, and by `request.rs`, which changes the head.

mod budget;
mod carry;
mod changes;
mod mirror;
mod replay;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mixer_attributes::AttributeBag;
use mixer_cel::{Evaluation, References};
use mixer_documents::{Retry, RouteRule, RouteTable};
use mixer_runtime::Random;

pub(crate) use budget::Budget;
pub(crate) use carry::{Asked, Carried, carry, elapse, same_head};
pub(crate) use changes::{change, rewritten};
pub(crate) use mirror::mirror;
pub(crate) use replay::{Reader, Replay};

use crate::attributes::{Facts, Head};
use crate::exchange::Exchange;
use crate::routing::Routing;
use crate::upstream::{self, Upstream};

/// A service as routes see it.
#[derive(Debug)]
pub(crate) struct Routed {
    /// Its own endpoints.
    pub(crate) whole: Arc<Upstream>,
    pub(crate) subsets: HashMap<Arc<str>, Arc<Upstream>>,
    /// `None`: no route is about it.
    pub(crate) table: Option<RouteTable>,
    /// Of tries beyond the first, to all of it.
    pub(crate) budget: Arc<Budget>,
}

/// What is to be done with one request.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) rule: Arc<RouteRule>,
    /// The route's name.
    pub(crate) route: Arc<str>,
    /// Where it goes.
    pub(crate) target: Arc<Upstream>,
    pub(crate) delay: Option<Duration>,
    /// The status it is answered with.
    pub(crate) abort: Option<u16>,
    /// Where a copy goes.
    pub(crate) mirror: Option<Arc<Upstream>>,
    /// Where the caller is sent.
    pub(crate) redirect: Option<String>,
    budget: Arc<Budget>,
}

impl Chosen {
    /// How it is tried again, if it is.
    pub(crate) fn retry(&self, method: &str, grpc: bool) -> Option<&Retry> {
        let retry = self.rule.retry.as_ref()?;
        let may = grpc || retry.methods.iter().any(|one| **one == *method);
        may.then_some(retry)
    }
}

/// What routes say; `None`: nothing. Not async, so that the attributes live on the stack and not in every request's future.
pub(crate) fn choose(
    exchange: &Exchange,
    routing: &Routing,
    routed: &Routed,
    head: &Head<'_>,
) -> Option<Chosen> {
    let table = routed.table.as_ref()?;
    let random = &exchange.connection.worker.shared.random;
    let mut bag = AttributeBag::new();
    exchange.facts().fill(&mut bag);
    head.fill(exchange.protocol, &mut bag);
    let mut evaluation = Evaluation::new(&bag, &routing.references);
    let (route, rule) = table.first(&mut evaluation)?;
    let target = split(routed, rule, &mut evaluation, random);
    let mut chosen = Chosen {
        target: target.clone(),
        route: route.name.clone(),
        delay: None,
        abort: None,
        mirror: None,
        redirect: None,
        budget: routed.budget.clone(),
        rule: rule.clone(),
    };
    for fault in &rule.faults {
        if hit(fault.percent, random) && fault.when.test(&mut evaluation).unwrap_or(false) {
            chosen.delay = chosen.delay.or(fault.delay);
            chosen.abort = chosen.abort.or(fault.abort);
        }
    }
    if let Some(mirror) = &rule.mirror
        && hit(mirror.percent, random)
    {
        chosen.mirror = routed.subsets.get(&mirror.to).cloned();
    }
    if let Some(redirect) = &rule.redirect {
        chosen.redirect = Some(redirect.location.render(&mut evaluation));
    }
    Some(chosen)
}

/// Where a connection that is not HTTP goes, and the route that says so, if one does.
pub(crate) fn choose_for_connection(
    routed: &Routed,
    facts: &Facts<'_>,
    references: &References,
    random: &Random,
) -> (Arc<Upstream>, Option<Arc<str>>) {
    let Some(table) = &routed.table else {
        return (routed.whole.clone(), None);
    };
    let mut bag = AttributeBag::new();
    facts.fill(&mut bag);
    let mut evaluation = Evaluation::new(&bag, references);
    match table.of_connection(&mut evaluation) {
        Some((route, rule)) => {
            let target = split(routed, rule, &mut evaluation, random);
            (target.clone(), Some(route.name.clone()))
        }
        None => (routed.whole.clone(), None),
    }
}

/// The part of the service that a rule sends to this time.
fn split<'r, 'a>(
    routed: &'r Routed,
    rule: &'a RouteRule,
    evaluation: &mut Evaluation<'a>,
    random: &Random,
) -> &'r Arc<Upstream> {
    let sticky = rule.sticky.as_ref();
    let sticky = sticky.and_then(|sticky| sticky.evaluate(evaluation).ok());
    let number = match sticky {
        // Salted, so that who is first in one split need not be first in the next; the same on every proxy.
        Some(value) => upstream::hash(&format!("{}\0{}", rule.name, value.to_text())),
        None => random.next(),
    };
    let subset = rule.subset(number);
    let part = subset.and_then(|subset| routed.subsets.get(subset));
    part.unwrap_or(&routed.whole)
}

fn hit(percent: f64, random: &Random) -> bool {
    percent >= 100.0 || (percent > 0.0 && random.unit() * 100.0 < percent)
}

#[cfg(test)]
mod tests;
