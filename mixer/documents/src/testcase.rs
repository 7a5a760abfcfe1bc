//! In-file tests, as data. Who runs them holds decisions; documents only check their form.

use std::sync::Arc;

use mixer_attributes::OwnedBag;

use crate::Span;

/// One test of a policy, `like` already merged in.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is claimed.
    pub kind: TestKind,
    /// By what.
    pub expect: Expectation,
    /// `name:`.
    pub name: Option<Arc<str>>,
    /// The request.
    pub given: OwnedBag,
    /// What adapters answer, by adapter name.
    pub answers: Vec<(Arc<str>, GivenAnswer)>,
    /// For [`TestKind::Limit`]: the request that is refused, counting from 1.
    pub times: u64,
    /// Its place.
    pub span: Span,
}

/// One test of a route, `like` already merged in.
#[derive(Clone, Debug)]
pub struct RouteTest {
    /// Where the request goes.
    pub to: Option<RouteExpectation>,
    /// The rule that says so.
    pub by: Option<Arc<str>>,
    /// `name:`.
    pub name: Option<Arc<str>>,
    /// The request.
    pub given: OwnedBag,
    /// Its place.
    pub span: Span,
}

/// Where a request goes in a test of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteExpectation {
    /// To this subset, always.
    Subset(Arc<str>),
    /// To these with these weights, by name.
    Weights(Vec<(Arc<str>, u8)>),
    /// To the endpoints of the service.
    Service,
}

/// What a test claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestKind {
    /// The request passes.
    Allow,
    /// The request is denied, for whatever reason.
    Deny,
    /// The first `times - 1` requests pass and the next is refused by the quota.
    Limit,
}

/// What decides in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The rule, `otherwise` or quota with this sentence.
    Sentence(Arc<str>),
    /// An `otherwise`.
    Otherwise,
    /// The mesh's default.
    Default,
    /// Anything.
    Any,
}

/// What an adapter answers in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GivenAnswer {
    Match,
    NoMatch,
    Unavailable,
}
