//! The wire, compiled from the `.proto` files of this crate, and nothing else. Who holds these types is at an edge: one
//! `wire.rs` per crate turns them into what the crate works with, with an error that names the field.

/// `mixer.v1`: Check, Quota, Report, Watch.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("mixer.v1");
}

/// `mixer.ca`: certificates for workloads on other machines.
pub mod ca {
    use std::fmt;

    /// `mixer.ca.v1`: Sign, WatchBundle.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("mixer.ca.v1");
    }

    /// Without the token.
    impl fmt::Debug for v1::SignRequest {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("SignRequest")
                .field("spiffe_id", &self.spiffe_id)
                .finish_non_exhaustive()
        }
    }
}

/// The SPIFFE Workload API: X.509-SVIDs and bundles over a local socket.
pub mod spiffe {
    use std::fmt;

    pub use workload::*;

    #[allow(missing_docs, unreachable_pub, clippy::all)]
    mod workload {
        tonic::include_proto!("_");
    }

    /// Without the key.
    impl fmt::Debug for X509svid {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("X509Svid")
                .field("spiffe_id", &self.spiffe_id)
                .field("hint", &self.hint)
                .finish_non_exhaustive()
        }
    }

    /// Without the keys.
    impl fmt::Debug for X509svidResponse {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("X509SvidResponse")
                .field("svids", &self.svids)
                .finish_non_exhaustive()
        }
    }
}
