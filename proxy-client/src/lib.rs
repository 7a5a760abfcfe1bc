//! The library that asks Mixer, for proxies and for applications that ask by themselves.
//!
//! A [`Client`] keeps what it needs to answer without asking: what applies where (Watch), decisions by what they read (the
//! check cache), quota in advance (leases). What it must ask it asks under a deadline, twice at most, with a deduplication id;
//! what cannot be asked is answered by the declared failure mode and counted under its own name.

mod answer;
mod cache;
mod call;
mod client;
mod config;
mod in_flight;
mod lease;
mod place;
mod report;
mod standing;
mod state;
mod stats;
mod wire;

pub use answer::{
    Answer, Because, Body, Failure, HeaderOperation, RateLimit, Shadow, Tell, Verdict,
};
pub use client::{Asking, Client, NotCounted, Reservation};
pub use config::{Config, Tls};
pub use in_flight::InFlight;
pub use report::{DecisionSample, Reporter, StandardSample, TraceContext};
pub use state::{At, Keys, Scope, State};
pub use stats::Stats;
