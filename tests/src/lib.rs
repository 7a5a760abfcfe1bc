//! The harness: real processes and real servers for the promise tests beside it, and the checks of [`tidy`].
//!
//! Mixer and its proxy are used as users have them, as processes behind their command lines: what a test sees is what an
//! operator sees. Nothing here knows a type of theirs but the wire.

pub mod binaries;
pub mod http;
pub mod issuer;
pub mod measure;
pub mod mesh;
pub mod netns;
pub mod ports;
pub mod process;
pub mod servers;
pub mod service;
pub mod session;
pub mod tidy;
pub mod wait;
