//! The protocols Mixer speaks, and the listeners they are spoken on.
//!
//! One file per protocol. [`wire`] alone knows the messages of `mixer.v1`, [`rate_limit`] and [`rate_limit_quota`] those of Envoy's
//! two rate limit services; an answer to a proxy is encoded there from one [`crate::dispatch::Decision`], so that no protocol can
//! allow by leaving something out.

pub(crate) mod admin;
mod clients;
pub(crate) mod listen;
pub mod metrics;
pub(crate) mod mixer;
mod process;
pub(crate) mod rate_limit;
pub(crate) mod rate_limit_quota;
pub(crate) mod reports;
pub(crate) mod trials;
pub(crate) mod watch;
pub mod wire;
