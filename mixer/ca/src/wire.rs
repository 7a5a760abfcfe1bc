//! What the authority has, as its two protocols say it.

use mixer_identity::{Bundles, Svid, TrustBundle};
use mixer_proto::ca::v1 as ca;
use mixer_proto::spiffe;

use crate::Issued;

/// An answer of the Workload API: everything a caller has, and whom it should trust.
pub(crate) fn svids<'a>(
    svids: impl IntoIterator<Item = &'a Svid>,
    own: &TrustBundle,
    others: &Bundles,
) -> spiffe::X509svidResponse {
    let bundle = own.to_der();
    let svid = |svid: &Svid| spiffe::X509svid {
        spiffe_id: svid.id().to_string(),
        x509_svid: svid
            .chain()
            .iter()
            .flat_map(|der| der.iter().copied())
            .collect(),
        x509_svid_key: svid.key().secret_der().to_vec(),
        bundle: bundle.clone(),
        hint: String::new(),
    };
    spiffe::X509svidResponse {
        svids: svids.into_iter().map(svid).collect(),
        crl: Vec::new(),
        federated_bundles: others
            .iter()
            .filter(|bundle| bundle.trust_domain() != own.trust_domain())
            .map(|bundle| (bundle.trust_domain().id().to_string(), bundle.to_der()))
            .collect(),
    }
}

/// The bundles of the Workload API.
pub(crate) fn bundles(own: &TrustBundle, others: &Bundles) -> spiffe::X509BundlesResponse {
    let mut bundles = svids([], own, others).federated_bundles;
    bundles.insert(own.trust_domain().id().to_string(), own.to_der());
    spiffe::X509BundlesResponse {
        crl: Vec::new(),
        bundles,
    }
}

/// A certificate that was signed.
pub(crate) fn signed(issued: &Issued, bundle: &TrustBundle) -> ca::SignResponse {
    ca::SignResponse {
        spiffe_id: issued.leaf.id.to_string(),
        chain: issued.chain.iter().map(|der| der.to_vec()).collect(),
        bundle: Some(roots(bundle)),
    }
}

/// The roots of the trust domain.
pub(crate) fn roots(bundle: &TrustBundle) -> ca::Bundle {
    ca::Bundle {
        trust_domain: bundle.trust_domain().id().to_string(),
        roots: bundle.authorities().map(|der| der.to_vec()).collect(),
        sequence: bundle.sequence().unwrap_or_default(),
    }
}
