//! Documents: from YAML files to one checked, compiled, immutable set.
//!
//! [`Sources`] are read, parsed into trees whose every node knows its place, checked by hand so that every problem is found at
//! once and shown where it stands, and compiled. What comes out, a [`PolicySet`], cannot be wrong and never changes; what
//! cannot be compiled is refused whole, with [`Diagnostics`].

mod adapter;
mod applicability;
mod balance;
mod calendar;
mod context;
mod diagnostics;
mod digest;
mod directory;
mod fields;
mod fix;
mod format;
pub mod import;
mod index;
mod jwt;
mod key_set;
mod lint;
mod load;
mod mesh;
mod plan;
mod policy;
mod quota;
mod reads;
mod reply;
mod route;
mod routes;
mod scalar;
mod schema;
mod scope;
mod service;
mod set;
mod sources;
mod suggest;
mod telemetry;
mod testcase;
mod tls;
mod until;
mod watch;
mod workload;
mod yaml;

pub use adapter::{AdapterDocument, Input};
pub use balance::{Balance, BalanceBy, Circuit, HashKey, Health, Outlier, Probe};
pub use calendar::{Calendar, CalendarWindow, Period};
pub use diagnostics::{Code, Diagnostic, Diagnostics, Edit, Severity};
pub use directory::Directory;
pub use fix::{Applied, Fixed, fix};
pub use format::{Formatted, format};
pub use jwt::{Jwt, KeySource, TokenPlace};
pub use key_set::{Key, KeySet, NoKeySet, PublicKey, SignatureAlgorithm};
pub use lint::lint;
pub use load::{load, load_checking, request};
pub use mesh::{ClientIp, Denials, Mesh, MeshFail};
pub use plan::{Candidates, Group, Plan, Rules};
pub use policy::{
    AskAdapter, At, Condition, Fail, Mode, OnError, Otherwise, Policy, Rule, RuleKind,
};
pub use quota::{
    Absent, Algorithm, Denied, LeaseLimit, Limit, LimitTable, Quota, QuotaOnError, Tell,
};
pub use reply::{Body, Reply};
pub use route::{
    Fault, HeaderChanges, Mirror, Redirect, Retry, RetryOn, Rewrite, Route, RouteRule,
};
pub use routes::RouteTable;
pub use schema::{schema, schema_kinds};
pub use scope::{Applicable, Scope};
pub use service::{Endpoint, Probes, Protocol, Service, Subset};
pub use set::PolicySet;
pub use sources::{FileId, Sources, Span};
pub use suggest::nearest;
pub use telemetry::{LogSpec, MetricKind, MetricSpec, Telemetry, TraceSpec};
pub use testcase::{Expectation, GivenAnswer, RouteExpectation, RouteTest, Test, TestKind};
pub use tls::{Clients, Originate, Roots, Tls};
pub use until::Until;
pub use watch::Watcher;
pub use workload::{Attest, Workload};
