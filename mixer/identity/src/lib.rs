//! Who a workload is: SPIFFE ids, the certificates that prove them, and the rustls configurations that check a peer's.
//!
//! An [`Identity`] is an [`Svid`] of our own and the [`Bundles`] to check others against; a [`Source`] is where the current one
//! is read. [`server_config`] and [`client_config`] turn a source into mutual TLS, and [`peer`] tells who the other end is.

mod bundle;
mod certificate;
mod describe;
mod files;
mod id;
mod look;
pub mod pem;
mod source;
mod svid;
mod tls;
mod verify;

pub use bundle::{Bundles, InvalidBundle, TrustBundle};
pub use certificate::{
    InvalidCertificate, Leaf, Summary, Timestamp, Validity, certificates_from_der,
    certificates_from_pem,
};
pub use describe::Described;
pub use files::{Files, InvalidFiles};
pub use id::{IdFault, InvalidId, SpiffeId, TrustDomain};
pub use look::look;
pub use source::{
    Identity, InvalidEndpoint, Join, JoinError, NoAnswer, Publisher, Source, Updates, WorkloadApi,
};
pub use svid::{InvalidSvid, Svid};
pub use tls::{
    Peer, client_config, client_config_of_stranger, peer, server_config,
    server_config_for_strangers, untrusted,
};
pub use verify::{Expected, Untrusted};
