//! A service as this proxy reaches it: its endpoints, which of them a request goes to, and what is carried to it at once.
//!
//! All of it belongs to the proxy and not to a thread, and outlives a change of the documents: a new [`Upstream`] takes over the
//! endpoints whose addresses stay, with what is known of them, and the counts of what is carried.

mod circuit;
mod endpoint;
mod health;
mod load;
mod names;
mod ring;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use mixer_attributes::AttributeBag;
use mixer_cel::{Evaluation, References};
use mixer_documents as documents;
use mixer_documents::{BalanceBy, HashKey, Service};
use mixer_runtime::{Instant, Random};

pub(crate) use circuit::{Circuit, Kind, Permit};
pub(crate) use endpoint::{Endpoint, Outcome, Shown};
pub(crate) use health::{Checked, Turns, check_health};
pub(crate) use names::Resolver;
use ring::Ring;
pub(crate) use ring::hash;

use crate::tls::{Dialer, Dialing, Undialed};

/// One service and where it can be reached.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) service: Arc<Service>,
    /// Which part of the service it is; `None`: all of it.
    pub(crate) subset: Option<Arc<str>>,
    pub(crate) circuit: Arc<Circuit>,
    endpoints: ArcSwap<Endpoints>,
    /// Whose turn it is.
    turn: AtomicUsize,
    names: names::Names,
    /// How its proxies are dialed; `None`: in plaintext.
    dialing: Option<Arc<Dialing>>,
}

/// The endpoints of a moment.
#[derive(Debug, Default)]
struct Endpoints {
    list: Vec<Arc<Endpoint>>,
    /// Empty where the service is not balanced by it.
    ring: Ring,
}

/// What is known of a request that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The hash of the value the service is balanced by.
    pub(crate) hash: Option<u64>,
    /// Where it was tried already: these are the last resort.
    pub(crate) tried: &'a [SocketAddr],
}

/// A request that is in flight at an endpoint, until this is dropped.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) endpoint: Arc<Endpoint>,
    upstream: Arc<Upstream>,
    begun: Instant,
}

impl Upstream {
    /// The upstream of `service`; with what `before` knew of the same one.
    pub(crate) fn new(service: Arc<Service>, before: Option<&Self>) -> Self {
        let circuit = before.map_or_else(Arc::default, |before| before.circuit.clone());
        circuit.limit(service.circuit);
        let turn = before.map_or(0, |before| before.turn.load(Ordering::Relaxed));
        Self {
            service,
            subset: None,
            circuit,
            endpoints: ArcSwap::new(
                before.map_or_else(Arc::default, |before| before.endpoints.load_full()),
            ),
            turn: AtomicUsize::new(turn),
            names: before.map_or_else(names::Names::default, |before| before.names.clone()),
            dialing: None,
        }
    }

    /// The same, dialed as `dialing` says.
    pub(crate) fn dialed(self, dialing: Option<Arc<Dialing>>) -> Self {
        Self { dialing, ..self }
    }

    /// What its endpoints are dialed with now, for the host that `host` tells if it is asked; `None`: plaintext.
    pub(crate) fn dialer<'h>(
        &self,
        host: impl FnOnce() -> Option<&'h str>,
    ) -> Result<Option<&Arc<Dialer>>, Undialed> {
        match &self.dialing {
            Some(dialing) => dialing.now(host),
            None => Ok(None),
        }
    }

    /// The id that its endpoints prove; `None`: they are asked for none now.
    pub(crate) fn principal(&self) -> Option<&str> {
        match &**self.dialing.as_ref()? {
            dialing @ Dialing::Mesh { .. } => dialing.now(|| None).ok()??.id(),
            Dialing::Outside(_) => None,
        }
    }

    /// How its endpoints are dialed.
    pub(crate) fn dialing(&self) -> Option<&Arc<Dialing>> {
        self.dialing.as_ref()
    }

    /// The upstream of a part of `whole`, with what `before` knew of the same one. What is carried counts for the whole.
    pub(crate) fn part(whole: &Self, subset: &documents::Subset, before: Option<&Self>) -> Self {
        let mut service = Service::clone(&whole.service);
        service.endpoints.clone_from(&subset.endpoints);
        Self {
            subset: Some(subset.name.clone()),
            circuit: whole.circuit.clone(),
            dialing: whole.dialing.clone(),
            ..Self::new(Arc::new(service), before)
        }
    }

    /// Its name on pages and in messages: `products.shop`, or `products.shop/v2` of a part.
    pub(crate) fn label(&self) -> String {
        match &self.subset {
            Some(subset) => format!("{}/{subset}", self.service.name),
            None => self.service.name.to_string(),
        }
    }

    /// Where a request goes now; `None`: the service has no endpoint.
    pub(crate) fn pick(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        now: Instant,
        random: &Random,
    ) -> Option<Attempt> {
        let endpoints = self.endpoints.load();
        let index = self.choose(&endpoints, wanted, now, random)?;
        let endpoint = endpoints.list[index].clone();
        endpoint.load.begin();
        Some(Attempt {
            endpoint,
            upstream: self.clone(),
            begun: now,
        })
    }

    /// The hash of the value that it is balanced by, if it is and the value is there. `describe` tells what is known, if it is asked.
    pub(crate) fn hash_for<'a>(
        &self,
        references: &References,
        describe: impl FnOnce(&mut AttributeBag<'a>),
    ) -> Option<u64> {
        let BalanceBy::RingHash(HashKey(key)) = &self.service.balance.by else {
            return None;
        };
        let mut bag = AttributeBag::new();
        describe(&mut bag);
        let value = key.evaluate(&mut Evaluation::new(&bag, references)).ok()?;
        Some(hash(&value.to_text()))
    }

    /// How many endpoints there are.
    pub(crate) fn len(&self) -> usize {
        self.endpoints.load().list.len()
    }

    /// Where its endpoints are now.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let endpoints = self.endpoints.load();
        endpoints
            .list
            .iter()
            .map(|endpoint| endpoint.address)
            .collect()
    }

    /// Every endpoint, for the admin pages.
    pub(crate) fn show(&self, now: Instant) -> Vec<Shown> {
        let endpoints = self.endpoints.load();
        endpoints
            .list
            .iter()
            .map(|endpoint| endpoint.show(now))
            .collect()
    }

    fn choose(
        &self,
        endpoints: &Endpoints,
        wanted: Wanted<'_>,
        now: Instant,
        random: &Random,
    ) -> Option<usize> {
        let list = &*endpoints.list;
        let well = list.iter().filter(|endpoint| endpoint.is_well(now)).count();
        // Too few are well for all the requests: then it is better to spread them over all than to overrun the rest.
        let panic = well * 100 < usize::from(self.service.balance.panic) * list.len();
        let is_good = |index: usize| panic || list[index].is_well(now);
        let is_new = |index: usize| !wanted.tried.contains(&list[index].address);
        if wanted.tried.is_empty() && (well == list.len() || panic) {
            return self.best(endpoints, wanted.hash, now, random, |_| true);
        }
        self.best(endpoints, wanted.hash, now, random, |index| {
            is_good(index) && is_new(index)
        })
        .or_else(|| self.best(endpoints, wanted.hash, now, random, is_good))
    }

    /// The best of those that `may` be chosen.
    fn best(
        &self,
        endpoints: &Endpoints,
        hash: Option<u64>,
        now: Instant,
        random: &Random,
        may: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let list = &*endpoints.list;
        let count = list.len();
        if count <= 1 {
            return (0..count).find(|index| may(*index));
        }
        let slow_start = self.service.balance.slow_start;
        let share = |index: usize| list[index].share(slow_start, now);
        match (&self.service.balance.by, hash) {
            (BalanceBy::RingHash(_), Some(hash)) => {
                endpoints.ring.from(hash).find(|index| may(*index))
            }
            (BalanceBy::RingHash(_), None) | (BalanceBy::RoundRobin, _) => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                let turns = || (0..count).map(|step| (turn.wrapping_add(step)) % count);
                let mut willing = turns().filter(|index| may(*index));
                let first = willing.next()?;
                if slow_start.is_zero() {
                    return Some(first);
                }
                // One that is new lets some of its turns pass.
                let mut willing = std::iter::once(first).chain(willing);
                willing
                    .find(|index| random.unit() < share(*index))
                    .or(Some(first))
            }
            (BalanceBy::Ewma, _) => two(count, random, may).min_by(|a, b| {
                cheaper(
                    list[*a].load.cost(now) / share(*a),
                    list[*b].load.cost(now) / share(*b),
                )
            }),
            (BalanceBy::LeastRequest, _) => two(count, random, may).min_by(|a, b| {
                let cost =
                    |index: usize| f64::from(list[index].load.in_flight() + 1) / share(index);
                cheaper(cost(*a), cost(*b))
            }),
        }
    }

    /// Puts `addresses` into force: endpoints that stay keep what is known of them.
    fn adopt(&self, addresses: &[SocketAddr], now: Instant) {
        let before = self.endpoints.load();
        let known: HashMap<SocketAddr, &Arc<Endpoint>> = before
            .list
            .iter()
            .map(|endpoint| (endpoint.address, endpoint))
            .collect();
        let mut list: Vec<Arc<Endpoint>> = Vec::new();
        for address in addresses {
            if list.iter().any(|endpoint| endpoint.address == *address) {
                continue;
            }
            list.push(match known.get(address) {
                Some(endpoint) => (*endpoint).clone(),
                None => Arc::new(Endpoint::new(*address, now)),
            });
        }
        let ring = match self.service.balance.by {
            BalanceBy::RingHash(_) => Ring::new(list.iter().map(|endpoint| endpoint.address)),
            _ => Ring::default(),
        };
        self.endpoints.store(Arc::new(Endpoints { list, ring }));
    }

    /// Ejects `endpoint`, if no more than the service says are ejected then.
    fn eject(&self, endpoint: &Endpoint, outlier: &documents::Outlier, now: Instant) {
        let endpoints = self.endpoints.load();
        let list = &endpoints.list;
        let ejected = list
            .iter()
            .filter(|endpoint| endpoint.is_ejected(now))
            .count();
        if (ejected + 1) * 100 > usize::from(outlier.max_ejected) * list.len() {
            return;
        }
        endpoint.eject(outlier, now);
        tracing::info!(
            service = %self.service.name, endpoint = %endpoint.address, seconds = outlier.eject.as_secs_f64(),
            "ejected after {} failures in a row", outlier.consecutive_errors
        );
    }
}

impl Attempt {
    /// What became of the request; the endpoint has it in flight until this is dropped.
    pub(crate) fn ended(&self, outcome: Outcome, now: Instant) {
        let outlier = self.upstream.service.outlier.as_ref();
        let took = now.since(self.begun);
        if self.endpoint.ended(outcome, took, now, outlier)
            && let Some(outlier) = outlier
        {
            self.upstream.eject(&self.endpoint, outlier, now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.endpoint.load.end();
    }
}

/// Two different ones of `0..count` that may be chosen, at random; fewer where there are not two.
fn two(count: usize, random: &Random, may: impl Fn(usize) -> bool) -> impl Iterator<Item = usize> {
    /// Where nearly none may be chosen, looking is better than guessing.
    const GUESSES: usize = 8;
    let bits = random.next();
    let (first, second) = (
        (bits >> 32) as usize % count,
        (bits as u32) as usize % (count - 1),
    );
    let second = if second >= first { second + 1 } else { second };
    let mut pair = [Some(first), Some(second)];
    if !(may(first) && may(second)) {
        let mut found = (0..GUESSES)
            .map(|_| random.next() as usize % count)
            .filter(|index| may(*index));
        let one = found.next();
        let other = found.find(|index| Some(*index) != one);
        pair = [one, other];
        if other.is_none() {
            let start = random.next() as usize % count;
            let mut all = (0..count)
                .map(|step| (start + step) % count)
                .filter(|index| may(*index));
            pair = [all.next(), all.next()];
        }
    }
    pair.into_iter().flatten()
}

fn cheaper(a: f64, b: f64) -> std::cmp::Ordering {
    a.total_cmp(&b)
}
