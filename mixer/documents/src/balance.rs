//! How requests to a service are spread over its endpoints, and when an endpoint, or the service, gets no more.

use std::fmt;
use std::time::Duration;

use mixer_cel::Expression;
use serde_json::{Value, json};

use crate::scalar::span_text;

/// Which endpoint a request goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    /// How it is chosen.
    pub by: BalanceBy,
    /// For how long an endpoint that is new, or well again, gets less than its share; zero: not at all. Not with ring-hash.
    pub slow_start: Duration,
    /// Where fewer than this percentage of the endpoints are well, all are used.
    pub panic: u8,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum BalanceBy {
    /// Of two at random the one with the lower product of latency (a moving average that rises at once and falls slowly) and
    /// requests in flight.
    Ewma,
    /// Of two at random the one with fewer requests in flight.
    LeastRequest,
    /// Each in turn.
    RoundRobin,
    /// By the hash of a value: equal values go to the same endpoint as long as it is well. A request without the value goes to
    /// any.
    RingHash(HashKey),
}

/// What is hashed.
#[derive(Clone, Debug)]
pub struct HashKey(pub Expression);

impl PartialEq for HashKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.source() == other.0.source()
    }
}

impl Balance {
    pub(crate) const WORDS: [(&'static str, BalanceBy); 3] = [
        ("ewma", BalanceBy::Ewma),
        ("least-request", BalanceBy::LeastRequest),
        ("round-robin", BalanceBy::RoundRobin),
    ];

    pub(crate) fn canonical(&self) -> Value {
        let mut balance = json!({ "by": self.by.to_string(), "panic": format!("{}%", self.panic) });
        if !self.slow_start.is_zero() {
            balance["slow_start"] = span_text(self.slow_start).into();
        }
        balance
    }
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            by: BalanceBy::Ewma,
            slow_start: Duration::ZERO,
            panic: 50,
        }
    }
}

/// As documents write it.
impl fmt::Display for BalanceBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BalanceBy::Ewma => f.write_str("ewma"),
            BalanceBy::LeastRequest => f.write_str("least-request"),
            BalanceBy::RoundRobin => f.write_str("round-robin"),
            BalanceBy::RingHash(key) => write!(f, "ring-hash({})", key.0.source()),
        }
    }
}

/// At most so many at once, from one proxy to the service; one more is refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Connections.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests in flight, those that wait among them.
    pub requests: u32,
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            connections: 1_024,
            pending: 1_024,
            requests: 1_024,
        }
    }
}

/// When an endpoint that fails gets no requests for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// After so many failures one after the other: no connection, a connection that was lost, a timeout, a status of 500 or more.
    pub consecutive_errors: u32,
    /// For so long, times how often it happened lately.
    pub eject: Duration,
    /// At most this percentage of the endpoints at once, rounded down.
    pub max_ejected: u8,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            eject: Duration::from_secs(30),
            max_ejected: 50,
        }
    }
}

/// Asking endpoints whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub ask: Probe,
    /// How often.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Failures one after the other that make it unwell.
    pub unhealthy: u32,
    /// Successes one after the other that make it well again.
    pub healthy: u32,
}

/// What a health check asks of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// GET of a path; well is a status from 200 to 299.
    Http(String),
    /// A connection.
    Tcp,
}
