//! The sidecar: asks Mixer, enforces, carries the traffic.
//!
//! Inbound it takes the requests of one service, asks whether each may pass, and forwards them to the application. Outbound it
//! takes the application's own requests, finds the service their authority means, and spreads them over its endpoints. Both
//! sides report. [`Proxy::start`] turns a [`Config`] into [`Running`].

mod accept;
mod access_log;
mod admin;
mod attributes;
mod body;
pub mod cli;
mod config;
mod connection;
mod detect;
mod exchange;
mod flag;
mod forward;
mod guard;
mod headers;
mod intercept;
mod iptables;
mod logging;
mod metrics;
mod opaque;
mod outside;
mod pace;
mod pool;
mod probe;
mod rate_limit;
mod reply;
mod request;
mod route;
mod routing;
mod shared;
mod start;
mod target;
mod tls;
mod token;
mod trace;
mod upgrade;
mod upstream;
mod vet;
mod worker;

pub use config::{AccessLog, Config, Control, IdentityFrom, Limits, LogFormat, LogTo};
pub use start::{Proxy, Running, StartError};
