//! Mixer: the policy and telemetry service of a service mesh.
//!
//! [`snapshot`] is what was loaded: a compiled set of documents and the adapters it names. [`dispatch`] decides Check, Quota
//! and Report against one snapshot; [`testing`] runs the tests that stand beside policies. [`live`] holds the snapshot in force
//! and replaces it. [`server`] speaks the protocols; [`serve`] puts all of it together, and [`cli`] is the command line.

mod answers;
pub mod cli;
pub mod dispatch;
mod explanation;
mod keys;
pub mod latency;
pub mod live;
pub mod serve;
pub mod server;
pub mod snapshot;
pub mod testing;
