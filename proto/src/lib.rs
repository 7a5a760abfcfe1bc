//! The wire: `mixer.v1`, compiled from `mixer/v1/mixer.proto`, and nothing else. Who holds these types is at an edge: one
//! `wire.rs` per crate turns them into what the crate works with, with an error that names the field.

/// `mixer.v1`: Check, Quota, Report, Watch.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("mixer.v1");
}
