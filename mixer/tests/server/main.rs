//! Mixer as proxies see it: a real gRPC client over real sockets, documents in real directories.

#![allow(clippy::unwrap_used)]

mod admin;
mod check;
mod client;
mod identity;
mod leases;
mod mesh;
mod quotas;
mod rate_limit;
mod rate_limit_quota;
mod reload;
mod report;
mod shadow;
mod shutdown;
