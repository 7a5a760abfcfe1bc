//! Real handshakes, in memory, in both directions.

use std::io;
use std::sync::Arc;

use mixer_identity::{
    Bundles, Expected, Identity, Peer, Source, TrustBundle, client_config, peer, server_config,
    untrusted,
};
use rcgen::date_time_ymd;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::issuer::{Authority, Issued, id, now};

const OURS: &str = "/ns/shop/sa/ours";
const THEIRS: &str = "/ns/shop/sa/theirs";

/// What our server and our client said of a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    server: String,
    client: String,
}

impl Refused {
    pub(crate) fn saying(text: &str) -> Self {
        Self {
            server: text.to_owned(),
            client: text.to_owned(),
        }
    }
}

/// Lets a peer with this certificate connect to our server, which takes anyone, and our client connect to it, which expects
/// `expected`; both must refuse.
pub(crate) async fn refused_both_ways(
    trusted: &Authority,
    theirs: &Issued,
    expected: Expected,
) -> Refused {
    let ours = Source::fixed(trusted.identity(OURS, &[]));
    let (server, _) = handshake(server_config(&ours, &[]), careless_client(theirs)).await;
    let (_, client) = handshake(careless_server(theirs), client_config(&ours, expected, &[])).await;
    Refused {
        server: said(server.unwrap_err()),
        client: said(client.unwrap_err()),
    }
}

fn said(error: io::Error) -> String {
    untrusted(&error)
        .unwrap_or_else(|| panic!("failed for another reason: {error}"))
        .to_string()
}

/// What one side knows after a handshake and one byte each way.
#[derive(Debug)]
struct Done {
    peer: Option<Peer>,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
    resumed: bool,
}

/// Both sides to the end: what each saw.
async fn handshake(
    server: ServerConfig,
    client: ClientConfig,
) -> (io::Result<Done>, io::Result<Done>) {
    handshake_with(Arc::new(server), Arc::new(client)).await
}

async fn handshake_with(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> (io::Result<Done>, io::Result<Done>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accept = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        stream.write_all(&byte).await?;
        let (_, connection) = stream.get_ref();
        Ok(Done {
            peer: peer(connection),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: connection.server_name().map(str::to_owned),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    };
    let connect = async {
        let name = ServerName::try_from("products.shop").unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        let mut byte = [7];
        stream.write_all(&byte).await?;
        stream.read_exact(&mut byte).await?;
        let (_, connection) = stream.get_ref();
        Ok(Done {
            peer: peer(connection),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: None,
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    };
    tokio::join!(accept, connect)
}

/// A client that shows this certificate and believes any server.
fn careless_client(issued: &Issued) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believing))
        .with_client_auth_cert(issued.chain.clone(), issued.private_key())
        .unwrap()
}

/// A server that shows this certificate and asks for none.
fn careless_server(issued: &Issued) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain.clone(), issued.private_key())
        .unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[derive(Debug)]
struct Believing;

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[tokio::test]
async fn two_of_ours_learn_each_others_ids_and_agree_on_a_protocol() {
    let root = Authority::new("cluster.local");
    let server = Source::fixed(root.identity(THEIRS, &[]));
    let client = Source::fixed(root.identity(OURS, &[]));
    let expected = Expected::Id(id("spiffe://cluster.local/ns/shop/sa/theirs"));
    let (seen, sees) = handshake(
        server_config(&server, &[b"mixer/1", b"h2"]),
        client_config(&client, expected, &[b"h2", b"mixer/1"]),
    )
    .await;
    let (seen, sees) = (seen.unwrap(), sees.unwrap());
    assert_eq!(
        seen.peer.unwrap().id.as_str(),
        "spiffe://cluster.local/ns/shop/sa/ours"
    );
    assert_eq!(
        sees.peer.unwrap().id.as_str(),
        "spiffe://cluster.local/ns/shop/sa/theirs"
    );
    assert_eq!(seen.alpn.as_deref(), Some(b"mixer/1".as_slice()));
    assert_eq!(sees.alpn, seen.alpn);
    assert_eq!(seen.server_name.as_deref(), Some("products.shop"));
}

#[tokio::test]
async fn a_chain_through_intermediates_holds_and_breaks_without_them() {
    let root = Authority::new("cluster.local");
    let below = root.intermediate(|_| {}).intermediate(|_| {});
    let mut issued = below.issue(THEIRS);
    let ours = Source::fixed(root.identity(OURS, &[]));
    let (seen, _) = handshake(server_config(&ours, &[]), careless_client(&issued)).await;
    assert_eq!(seen.unwrap().peer.unwrap().chain.len(), 3);

    issued.chain.truncate(1);
    let said = refused_both_ways(&root, &issued, Expected::Anyone).await;
    assert_eq!(
        said,
        Refused::saying(
            "the peer says it is spiffe://cluster.local/ns/shop/sa/theirs, but no valid authority in the bundle of cluster.local signed its chain, or an intermediate is missing"
        )
    );
}

#[tokio::test]
async fn an_authority_may_not_sign_below_the_depth_it_was_given() {
    let root = Authority::new("cluster.local");
    let shallow = root.intermediate(|authority| {
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    });
    let issued = shallow.intermediate(|_| {}).issue(THEIRS);
    let said = refused_both_ways(&root, &issued, Expected::Anyone).await;
    assert!(
        said.client.starts_with("the peer says it is spiffe://cluster.local/ns/shop/sa/theirs, but its chain does not hold: "),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_peer_of_a_trust_domain_without_a_bundle_is_refused() {
    let root = Authority::new("cluster.local");
    let issued = Authority::new("partner.example").issue(THEIRS);
    let said = refused_both_ways(&root, &issued, Expected::Anyone).await;
    assert_eq!(
        said,
        Refused::saying(
            "the peer is spiffe://partner.example/ns/shop/sa/theirs, and there is no trust bundle of partner.example"
        )
    );
}

#[tokio::test]
async fn another_authority_with_our_name_is_refused() {
    let root = Authority::new("cluster.local");
    let issued = Authority::new("cluster.local").issue(THEIRS);
    let said = refused_both_ways(&root, &issued, Expected::Anyone).await;
    assert!(said.client.contains("the peer says it is"), "{said:?}");
    assert!(said.server.contains("the peer says it is"), "{said:?}");
}

#[tokio::test]
async fn a_federated_authority_vouches_for_its_own_trust_domain_only() {
    let root = Authority::new("cluster.local");
    let partner = Authority::changed("partner.example", |root| root.subject_alt_names.clear());
    let ours = Source::fixed(root.identity(OURS, &[&partner]));
    let accepted = partner.issue(THEIRS);
    let (seen, _) = handshake(server_config(&ours, &[]), careless_client(&accepted)).await;
    assert_eq!(
        seen.unwrap().peer.unwrap().id.as_str(),
        "spiffe://partner.example/ns/shop/sa/theirs"
    );

    // The partner's authority signs one of our names.
    let forged = partner.issue_changed(THEIRS, |leaf| {
        leaf.subject_alt_names = vec![crate::issuer::uri(
            "spiffe://cluster.local/ns/shop/sa/admin",
        )];
    });
    let (server, _) = handshake(server_config(&ours, &[]), careless_client(&forged)).await;
    let (_, client) = handshake(
        careless_server(&forged),
        client_config(&ours, Expected::Anyone, &[]),
    )
    .await;
    let text = "the peer says it is spiffe://cluster.local/ns/shop/sa/admin, but no valid authority in the bundle of cluster.local signed its chain, or an intermediate is missing";
    assert_eq!(said(server.unwrap_err()), text);
    assert_eq!(said(client.unwrap_err()), text);
}

#[tokio::test]
async fn the_wrong_peer_is_refused_however_well_it_is_trusted() {
    let root = Authority::new("cluster.local");
    let issued = root.issue(THEIRS);
    let ours = Source::fixed(root.identity(OURS, &[]));
    let theirs = "spiffe://cluster.local/ns/shop/sa/theirs";
    let (other, another) = (
        id("spiffe://cluster.local/a"),
        id("spiffe://cluster.local/b"),
    );
    let cases = [
        (Expected::Id(other.clone()), "spiffe://cluster.local/a"),
        (
            Expected::OneOf(vec![other.clone(), another]),
            "one of spiffe://cluster.local/a spiffe://cluster.local/b",
        ),
        (
            Expected::Member("partner.example".parse().unwrap()),
            "a member of partner.example",
        ),
    ];
    for (expected, wanted) in cases {
        let (_, client) = handshake(
            careless_server(&issued),
            client_config(&ours, expected, &[]),
        )
        .await;
        assert_eq!(
            said(client.unwrap_err()),
            format!("the peer is {theirs}, and {wanted} was expected")
        );
    }
    for expected in [
        Expected::Anyone,
        Expected::Id(id(theirs)),
        Expected::OneOf(vec![other, id(theirs)]),
        Expected::Member("cluster.local".parse().unwrap()),
    ] {
        let (_, client) = handshake(
            careless_server(&issued),
            client_config(&ours, expected, &[]),
        )
        .await;
        assert_eq!(client.unwrap().peer.unwrap().id.as_str(), theirs);
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let root = Authority::new("cluster.local");
    let ours = Source::fixed(root.identity(OURS, &[]));
    let nameless = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believing))
        .with_no_client_auth();
    let (server, client) = handshake(server_config(&ours, &[]), nameless).await;
    assert!(server.unwrap_err().to_string().contains("no certificates"));
    client.unwrap_err();
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let root = Authority::new("cluster.local");
    let ours = Source::fixed(root.identity(OURS, &[]));
    let issued = root.issue(THEIRS);
    let old = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believing))
        .with_client_auth_cert(issued.chain.clone(), issued.private_key())
        .unwrap();
    let (server, client) = handshake(server_config(&ours, &[]), old).await;
    server.unwrap_err();
    assert_eq!(
        client.unwrap_err().to_string(),
        "received fatal alert: ProtocolVersion"
    );
}

#[tokio::test]
async fn nothing_is_accepted_before_there_is_an_identity() {
    let root = Authority::new("cluster.local");
    let (publisher, source) = Source::updated();
    let server = Arc::new(server_config(&source, &[]));
    let client = Arc::new(careless_client(&root.issue(THEIRS)));
    let (seen, _) = handshake_with(server.clone(), client.clone()).await;
    seen.unwrap_err();
    publisher.publish(root.identity(OURS, &[]));
    let (seen, _) = handshake_with(server, client).await;
    seen.unwrap();
}

#[tokio::test]
async fn the_same_configurations_follow_a_rotation_and_never_resume() {
    let (old, new) = (
        Authority::new("cluster.local"),
        Authority::new("cluster.local"),
    );
    let (publisher, source) = Source::updated();
    publisher.publish(old.identity(OURS, &[]));
    let peer_source = Source::fixed(old.identity(THEIRS, &[]));
    let server = Arc::new(server_config(&source, &[]));
    let client = Arc::new(client_config(&peer_source, Expected::Anyone, &[]));
    for _ in 0..3 {
        let (seen, sees) = handshake_with(server.clone(), client.clone()).await;
        assert!(!seen.unwrap().resumed);
        assert!(!sees.unwrap().resumed);
    }

    // A new leaf of the same authority: the client sees another certificate.
    let (_, before) = handshake_with(server.clone(), client.clone()).await;
    publisher.publish(old.identity(OURS, &[]));
    let (_, after) = handshake_with(server.clone(), client.clone()).await;
    assert_ne!(
        before.unwrap().peer.unwrap().chain,
        after.unwrap().peer.unwrap().chain
    );

    // The old authority is taken away from our bundle: its client is a stranger now.
    let bundles: Bundles = [new.bundle()].into_iter().collect();
    publisher.publish(Identity::new(old.issue(OURS).svid(), bundles));
    let (seen, _) = handshake_with(server, client).await;
    assert_eq!(
        said(seen.unwrap_err()),
        "the peer says it is spiffe://cluster.local/ns/shop/sa/theirs, but its chain does not hold: invalid peer certificate: BadSignature"
    );
}

#[tokio::test]
async fn an_open_connection_is_trusted_for_as_long_as_its_authority_is() {
    let (old, new) = (
        Authority::new("cluster.local"),
        Authority::new("cluster.local"),
    );
    let brief = old.issue_changed(THEIRS, |leaf| leaf.not_after = date_time_ymd(2085, 1, 1));
    let ours = Source::fixed(old.identity(OURS, &[]));
    let (seen, _) = handshake(server_config(&ours, &[]), careless_client(&brief)).await;
    let peer = seen.unwrap().peer.unwrap();

    let both = TrustBundle::new(
        old.trust_domain.clone(),
        [old.certificate.der().clone(), new.certificate.der().clone()],
    )
    .unwrap();
    let both: Bundles = [both].into_iter().collect();
    peer.still_trusted(&both, now()).unwrap();
    // The leaf has run out: the connection outlives it.
    peer.still_trusted(&both, crate::issuer::year(2086))
        .unwrap();
    // Its authority is gone: it does not outlive that.
    let only_new: Bundles = [new.bundle()].into_iter().collect();
    peer.still_trusted(&only_new, now()).unwrap_err();
    peer.still_trusted(&Bundles::new(), now()).unwrap_err();
}

#[tokio::test]
async fn an_authority_that_ran_out_vouches_for_nobody() {
    let root = Authority::new("cluster.local");
    let old = Authority::changed("cluster.local", |root| {
        root.not_after = date_time_ymd(2022, 1, 1);
    });
    let bundle = TrustBundle::new(
        root.trust_domain.clone(),
        [
            old.certificate.der().clone(),
            root.certificate.der().clone(),
        ],
    )
    .unwrap();
    let bundles: Bundles = [bundle].into_iter().collect();
    let ours = Source::fixed(Identity::new(root.issue(OURS).svid(), bundles));
    let accept = |issued: Issued| {
        let server = server_config(&ours, &[]);
        async move { handshake(server, careless_client(&issued)).await.0 }
    };
    accept(root.issue(THEIRS)).await.unwrap();
    accept(old.issue(THEIRS)).await.unwrap_err();
}
