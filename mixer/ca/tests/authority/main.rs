//! The authority as its callers see it: over its sockets, with real keys, on real files.
#![allow(clippy::unwrap_used)]

mod fixture;
mod issuing;
mod joining;
mod local;
mod network;
mod rotation;
