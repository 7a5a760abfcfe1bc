//! Who a workload is: SPIFFE ids, the certificates that prove them, and the rustls configurations that check a peer's.

mod bundle;
mod certificate;
mod id;
pub mod pem;
mod source;
mod svid;

pub use bundle::{Bundles, InvalidBundle, TrustBundle};
pub use certificate::{
    InvalidCertificate, Leaf, Timestamp, Validity, certificates_from_der, certificates_from_pem,
};
pub use id::{IdFault, InvalidId, SpiffeId, TrustDomain};
pub use source::{Identity, Publisher, Source, Updates};
pub use svid::{InvalidSvid, Svid};
