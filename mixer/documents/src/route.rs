//! Routes: to which part of a service a request goes, and what is done with it on the way.
//!
//! Plain data, as every document. Which rule of which route is meant, a [`crate::RouteTable`] says; who carries them out is the
//! proxy at the caller.

mod canonical;

use std::sync::Arc;
use std::time::Duration;

use mixer_cel::{Evaluation, Expression, Selector, Template};

use crate::{Condition, RouteTest, Span};

/// A checked `route`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, unique among routes.
    pub name: Arc<str>,
    /// Which services it is about.
    pub selector: Selector,
    /// `for`, as written.
    pub selected: Arc<str>,
    /// In document order; the first that matches decides.
    pub rules: Vec<Arc<RouteRule>>,
    /// Its in-file tests.
    pub tests: Vec<RouteTest>,
    /// Its name in the file.
    pub span: Span,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct RouteRule {
    /// Its name in tests and logs: `name:`, else "rule 2".
    pub name: Arc<str>,
    /// Which requests it is about. What has no value is false.
    pub when: Condition,
    /// Where they go, with weights that add to 100, by name; empty: to the service's own endpoints.
    pub to: Vec<(Arc<str>, u8)>,
    /// Requests of which this has the same value go to the same subset.
    pub sticky: Option<Expression>,
    /// How long the response's head may take, all tries together.
    pub timeout: Option<Duration>,
    /// Whether it is tried again.
    pub retry: Option<Retry>,
    /// What is made to go wrong, in this order.
    pub faults: Vec<Fault>,
    /// To which subset a copy goes, and of how many requests.
    pub mirror: Option<Mirror>,
    /// What is done to the request's headers.
    pub request_headers: HeaderChanges,
    /// What is done to the response's headers.
    pub response_headers: HeaderChanges,
    /// Another path or host.
    pub rewrite: Option<Rewrite>,
    /// The caller is sent elsewhere, and nothing else of the rule matters.
    pub redirect: Option<Redirect>,
    /// `when` reads `request.*`: the rule is not about connections that are not HTTP.
    pub reads_request: bool,
    /// Its place in the file.
    pub span: Span,
}

/// When a request is tried again, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// After what.
    pub when: Vec<RetryOn>,
    /// How many tries there are beyond the first.
    pub extra: u8,
    /// Of which methods (gRPC calls, which are all POST, are asked about by `when` alone).
    pub methods: Vec<Arc<str>>,
    /// How long the response's head may take in each try.
    pub per_try: Option<Duration>,
    /// Tries beyond the first, as a percentage of the requests.
    pub budget: f64,
    /// Tries beyond the first that are admitted in any case, per second.
    pub floor: u32,
}

/// What a request is tried again after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection.
    ConnectFailure,
    /// The connection or stream ended, or `per_try` was over, before the response's head came.
    Reset,
    /// The server refused the stream, of which it did nothing.
    RefusedStream,
    /// 409.
    Retriable4xx,
    /// 502, 503 or 504, or no response at all.
    GatewayError,
    /// 500 to 599, or no response at all.
    ServerError,
    /// This status of the server's.
    Status(u16),
    /// This gRPC status, of a response that is nothing but trailers.
    Grpc(u8),
}

/// Something that is made to go wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The request waits first.
    pub delay: Option<Duration>,
    /// It is answered with this HTTP status, and goes nowhere.
    pub abort: Option<u16>,
    /// To how many of the requests, in percent.
    pub percent: f64,
    /// To which requests. What has no value is false.
    pub when: Condition,
}

/// Copies of requests, whose answers nobody waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// The subset that gets them.
    pub to: Arc<str>,
    /// Of how many requests, in percent.
    pub percent: f64,
}

/// Changes of headers: first `remove`, then `set`, then `add`. Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Taken off.
    pub remove: Vec<Arc<str>>,
    /// Put in the place of what is there.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Put beside what is there.
    pub add: Vec<(Arc<str>, Arc<str>)>,
}

/// What the server sees instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The beginning of the path, in whole segments, and what stands in its place.
    pub prefix: Option<(Arc<str>, Arc<str>)>,
    /// The authority.
    pub host: Option<Arc<str>>,
}

/// Where the caller is sent.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The URL.
    pub location: Template,
}

impl RetryOn {
    pub(crate) const WORDS: [(&'static str, RetryOn); 11] = [
        ("connect-failure", RetryOn::ConnectFailure),
        ("reset", RetryOn::Reset),
        ("refused-stream", RetryOn::RefusedStream),
        ("retriable-4xx", RetryOn::Retriable4xx),
        ("gateway-error", RetryOn::GatewayError),
        ("5xx", RetryOn::ServerError),
        ("cancelled", RetryOn::Grpc(1)),
        ("deadline-exceeded", RetryOn::Grpc(4)),
        ("resource-exhausted", RetryOn::Grpc(8)),
        ("internal", RetryOn::Grpc(13)),
        ("unavailable", RetryOn::Grpc(14)),
    ];

    /// It says that the server did nothing of the request.
    pub fn is_safe(self) -> bool {
        matches!(self, RetryOn::ConnectFailure | RetryOn::RefusedStream)
    }
}

/// As documents write it.
impl std::fmt::Display for RetryOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RetryOn::Status(status) => status.fmt(f),
            named => {
                let word = Self::WORDS.iter().find(|(_, one)| one == named);
                f.write_str(word.map_or("", |(word, _)| word))
            }
        }
    }
}

impl Retry {
    /// Methods that are tried again unless `methods` says others: RFC 9110 section 9.2.2, idempotent.
    pub const METHODS: [&'static str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
    /// Percent.
    pub(crate) const BUDGET: f64 = 20.0;
    /// Per second.
    pub(crate) const FLOOR: u32 = 3;
}

impl HeaderChanges {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

impl RouteRule {
    /// Every expression of it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let faults = self
            .faults
            .iter()
            .flat_map(|fault| fault.when.expressions());
        self.when.expressions().chain(faults).chain(&self.sticky)
    }

    /// It has to know the request's path.
    pub(crate) fn reads_path(&self) -> bool {
        let expressions: Vec<&Expression> = self.expressions().collect();
        let redirect = self.redirect.iter().flat_map(|redirect| {
            let reads = redirect.location.reads().into_iter();
            reads.map(|read| read.attribute)
        });
        let rewrites = self.rewrite.iter().any(|rewrite| rewrite.prefix.is_some());
        rewrites
            || crate::reads::reads_path(&expressions)
            || redirect
                .into_iter()
                .any(|read| read == mixer_attributes::vocabulary::REQUEST_PATH)
    }

    /// To which subset it sends: by `number`, any number at all, be it random or the hash of a value. `None`: to the service's
    /// own endpoints.
    pub fn subset(&self, number: u64) -> Option<&Arc<str>> {
        let mut share = ((u128::from(number) * 100) >> 64) as u8;
        self.to.iter().find_map(|(subset, weight)| {
            if share < *weight {
                return Some(subset);
            }
            share -= weight;
            None
        })
    }

    /// Whether the rule is about a request; what has no value is not.
    pub fn matches<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> bool {
        self.when.test(evaluation).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
