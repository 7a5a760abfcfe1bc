//! The certificate authority of a mesh that has no other: it signs workloads' certificates and rotates its own.
//!
//! [`Directory`] is what it keeps on disk, [`Authority`] what signs. Who asks is recognised in one of three ways: by the kernel,
//! over the SPIFFE Workload API on a Unix socket ([`Entry`], [`Caller`]); by a join token that is good once ([`Tokens`]); or by
//! the certificate it has. What a certificate says follows from that alone, never from what was asked for. [`Server`] puts all
//! of it on sockets.

mod attest;
mod authority;
mod certificate;
mod directory;
mod federation;
mod listener;
mod requests;
mod roots;
mod serve;
mod signing;
mod throttle;
mod tokens;
mod wire;
mod workload_api;

pub use attest::{Caller, Entry, Selectors};
pub use authority::{Attested, Authority, IssueError, Issued, LEAF_LIFE, ROOT_LIFE};
pub use certificate::{Key, Root, SigningFailed, UnusableRoot};
pub use directory::{Directory, DirectoryError};
pub use requests::{BadRequest, PublicKey, REQUEST_BYTES};
pub use roots::{RootState, RotateError, Rotated, Stage, State};
pub use serve::{Config, Listen, Running, Server, StartError};
pub use throttle::Rates;
pub use tokens::{JoinToken, Refused, TokenError, Tokens};
