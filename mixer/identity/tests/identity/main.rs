//! Identities as peers see them: good and bad certificates made here, and real handshakes with them in both directions.

#![allow(clippy::unwrap_used)] // A helper of a test fails it like the test itself.

mod bundles;
mod certificates;
mod files;
mod handshakes;
mod hostile;
mod ids;
mod issuer;
