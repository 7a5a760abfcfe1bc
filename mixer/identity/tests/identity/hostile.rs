//! Whatever bytes a peer or a file has: an answer, never a panic, and trust only in what was signed.

use std::sync::LazyLock;

use mixer_identity::{
    Bundles, Leaf, Peer, SpiffeId, Summary, TrustBundle, TrustDomain, certificates_from_der,
    certificates_from_pem,
};
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;

use crate::issuer::{Authority, now};

/// A good peer, and the bundles it is good under.
static GOOD: LazyLock<(Peer, Bundles)> = LazyLock::new(|| {
    let root = Authority::new("cluster.local");
    let chain = root.intermediate(|_| {}).issue("/ns/shop/sa/a").chain;
    let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/a").unwrap();
    (Peer { id, chain }, [root.bundle()].into_iter().collect())
});

#[test]
fn the_peer_that_is_changed_below_is_good() {
    let (peer, bundles) = &*GOOD;
    peer.still_trusted(bundles, now()).unwrap();
}

fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_chain_of_which_one_byte_is_another_is_not_trusted(
        certificate in 0_usize..2, at in any::<prop::sample::Index>(), change in 1_u8..=255,
    ) {
        let (peer, bundles) = &*GOOD;
        let mut changed = peer.clone();
        let mut der = changed.chain[certificate].to_vec();
        let at = at.index(der.len());
        der[at] ^= change;
        changed.chain[certificate] = CertificateDer::from(der);
        prop_assert!(changed.still_trusted(bundles, now()).is_err());
    }

    #[test]
    fn a_chain_that_is_cut_off_is_not_trusted(certificate in 0_usize..2, at in any::<prop::sample::Index>()) {
        let (peer, bundles) = &*GOOD;
        let mut changed = peer.clone();
        let der = changed.chain[certificate].to_vec();
        changed.chain[certificate] = CertificateDer::from(der[..at.index(der.len())].to_vec());
        prop_assert!(changed.still_trusted(bundles, now()).is_err());
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let der = CertificateDer::from(bytes.clone());
        let _ = (Leaf::parse(&der).is_ok(), Summary::read(&der).is_ok());
        let _ = (certificates_from_der(&bytes).is_ok(), certificates_from_pem(&bytes).is_ok());
        let _ = TrustBundle::from_jwks(domain(), &bytes).is_ok();
    }

    #[test]
    fn what_is_an_id_is_written_as_it_was_read(text in "(spiffe://)?[a-zA-Z0-9._:@?#%/-]{0,40}") {
        if let Ok(id) = SpiffeId::parse(&text) {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
            prop_assert!(!id.path().ends_with('/') && !id.path().contains("//"));
        }
    }
}
