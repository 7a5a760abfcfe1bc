//! rustls configurations that prove our identity and check the peer's, over a [`Source`] that changes under them.
//!
//! A configuration is made once. Certificate and bundles are taken from the source at each handshake, so a rotation needs no new
//! configuration and disturbs no connection. TLS 1.3 only: what speaks SPIFFE speaks it, and below it the certificates would
//! travel in the clear. There is no session resumption: a resumed handshake verifies no certificate, so that a peer whose
//! authority was removed could come back with a ticket; connections between proxies are few and long, so tickets would save
//! nothing. The provider is aws-lc-rs and said so: no process-wide default is needed or read.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, Error,
    OtherError, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::Leaf;
use crate::verify::{Expected, Untrusted, last_valid, verify};
use crate::{Bundles, Identity, Source, SpiffeId};

pub(crate) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// A peer whose certificate was verified in a handshake.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub id: SpiffeId,
    /// What it proved that with, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// For a server: clients must show a certificate of a trust domain we have a bundle of. What they may do is for policies.
///
/// `alpn` in order of preference; empty, no protocol is negotiated.
pub fn server_config(source: &Source, alpn: &[&[u8]]) -> ServerConfig {
    serving(source, alpn, Trust::new(source, Expected::Anyone))
}

/// The same, but a client may show no certificate at all: for who has none yet. One that it shows is verified, or refused.
pub fn server_config_for_strangers(source: &Source, alpn: &[&[u8]]) -> ServerConfig {
    let mut trust = Trust::new(source, Expected::Anyone);
    trust.mandatory = false;
    serving(source, alpn, trust)
}

fn serving(source: &Source, alpn: &[&[u8]], trust: Trust) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs has cipher suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(trust))
        .with_cert_resolver(Arc::new(Own(source.clone())));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// For a client: the server must be one of `expected`. Without an identity yet no certificate is sent, and the handshake fails.
pub fn client_config(source: &Source, expected: Expected, alpn: &[&[u8]]) -> ClientConfig {
    let trust = Arc::new(Trust::new(source, expected));
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs has cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_client_cert_resolver(Arc::new(Own(source.clone())));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config
}

/// For a client that has no identity yet, and bundles that it was given: it shows no certificate.
pub fn client_config_of_stranger(
    bundles: Arc<Bundles>,
    expected: Expected,
    alpn: &[&[u8]],
) -> ClientConfig {
    let trust = Trust {
        bundles: Trusted::Given(bundles),
        expected,
        mandatory: true,
        algorithms: PROVIDER.signature_verification_algorithms,
    };
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs has cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config
}

/// The peer of a connection whose handshake is done; `None` before that.
pub fn peer(connection: &CommonState) -> Option<Peer> {
    let chain = connection.peer_certificates()?;
    let leaf = Leaf::parse(chain.first()?).ok()?;
    Some(Peer {
        id: leaf.id,
        chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
    })
}

/// Why we refused the peer, from the error a handshake ended with. `None` when it failed for another reason.
pub fn untrusted(error: &io::Error) -> Option<&Untrusted> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            cause.downcast_ref::<Untrusted>()
        }
        _ => None,
    }
}

impl Peer {
    /// Whether a handshake with this peer would still succeed under `bundles`: what to ask about open connections when the
    /// bundles have changed. A certificate that was valid when the connection was made and has run out since is no reason to
    /// close it (leaves are short, connections are long); an authority that was removed is.
    pub fn still_trusted(&self, bundles: &Bundles, now: SystemTime) -> Result<(), Untrusted> {
        let then = last_valid(&self.chain).map_or(now, |last| now.min(last));
        let algorithms = &PROVIDER.signature_verification_algorithms;
        let expected = Expected::Id(self.id.clone());
        verify(&self.chain, bundles, &expected, algorithms, then).map(drop)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({})", self.id)
    }
}

/// Shows our certificate of the moment.
#[derive(Debug)]
struct Own(Source);

impl Own {
    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        let identity: Arc<Identity> = self.0.current()?;
        Some(identity.svid().certified().clone())
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn has_certs(&self) -> bool {
        self.0.current().is_some()
    }
}

/// Checks the peer against our bundles of the moment.
#[derive(Debug)]
struct Trust {
    bundles: Trusted,
    expected: Expected,
    /// Whether a client must show a certificate.
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Which bundles.
#[derive(Debug)]
enum Trusted {
    /// Those of the moment.
    Of(Source),
    /// These.
    Given(Arc<Bundles>),
}

impl Trusted {
    fn current(&self) -> Option<Arc<Bundles>> {
        match self {
            Self::Of(source) => Some(source.current()?.bundles().clone()),
            Self::Given(bundles) => Some(bundles.clone()),
        }
    }
}

impl Trust {
    fn new(source: &Source, expected: Expected) -> Self {
        Self {
            bundles: Trusted::Of(source.clone()),
            expected,
            mandatory: true,
            algorithms: PROVIDER.signature_verification_algorithms,
        }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let checked = self
            .bundles
            .current()
            .ok_or(Untrusted::NotReady)
            .and_then(|bundles| {
                let chain: Vec<_> = std::iter::once(end_entity)
                    .chain(intermediates)
                    .map(|der| CertificateDer::from(der.as_ref()))
                    .collect();
                let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
                verify(&chain, &bundles, &self.expected, &self.algorithms, now)
            });
        checked
            .map(drop)
            .map_err(|untrusted| CertificateError::Other(OtherError(Arc::new(untrusted))).into())
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Trust {
    /// No hints: they would tell every stranger whom we trust, and peers have one certificate to choose from.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
