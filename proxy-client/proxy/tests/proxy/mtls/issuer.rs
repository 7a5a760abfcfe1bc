//! An authority that issues identities to proxies, and peers that are none.

use std::sync::Arc;

use mixer_identity::{Bundles, Expected, Identity, Source, Svid, TrustBundle, TrustDomain};
use mixer_runtime::Clock;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One trust domain's authority.
pub(crate) struct Authority {
    trust_domain: TrustDomain,
    pub(crate) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = dated(&format!("spiffe://{trust_domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self {
            trust_domain: TrustDomain::parse(trust_domain).unwrap(),
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A leaf for `path` and its key.
    pub(crate) fn issue(&self, path: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = dated(&format!("spiffe://{}{path}", self.trust_domain));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A new leaf for `path`, and its key.
    pub(crate) fn svid(&self, path: &str) -> Svid {
        let (leaf, key) = self.issue(path);
        let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Svid::new(vec![leaf.der().clone()], key, Clock::system().wall()).unwrap()
    }

    /// A new leaf for `path` that trusts this authority and `others`.
    pub(crate) fn identity(&self, path: &str, others: &[&Authority]) -> Identity {
        let all = others.iter().copied().chain([self]);
        Identity::new(self.svid(path), trusting(all))
    }
}

/// The bundles of these authorities; those of one trust domain together.
pub(crate) fn trusting<'a>(authorities: impl IntoIterator<Item = &'a Authority>) -> Bundles {
    let mut bundles = Bundles::new();
    for authority in authorities {
        let known = bundles.of(&authority.trust_domain).cloned();
        let known = known
            .iter()
            .flat_map(|bundle| bundle.authorities().cloned());
        let all: Vec<_> = known.chain([authority.certificate.der().clone()]).collect();
        bundles.insert(TrustBundle::new(authority.trust_domain.clone(), all).unwrap());
    }
    bundles
}

/// Connects with mutual TLS as `identity`, offering `alpn`, for `products.shop`.
pub(crate) async fn connect(
    identity: Identity,
    to: std::net::SocketAddr,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = mixer_identity::client_config(&Source::fixed(identity), Expected::Anyone, alpn);
    let name = ServerName::try_from("products.shop").unwrap();
    let stream = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn dated(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    params.subject_alt_names = vec![SanType::URI(id.to_owned().try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params
}
