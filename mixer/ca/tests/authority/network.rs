//! The bundle, as other trust domains fetch it.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use mixer_ca::{Config, Rates, Server, StartError, State};
use mixer_identity::{Bundles, Expected, TrustBundle, client_config_of_stranger};
use mixer_proto::ca::v1::{SignRequest, WatchBundleRequest};
use mixer_runtime::{Clock, Random};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fixture::{DAY, Place, domain, signing};

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    path: &str,
) -> (u16, String, String) {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let tasks = mixer_runtime::Tasks::new();
    tasks.spawn("connection", async move { drop(connection.await) });
    let request = Request::builder().method(method).uri(path);
    let request = request.header("host", "localhost");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type");
    let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (status, kind.unwrap_or_default(), body)
}

#[tokio::test]
async fn the_bundle_is_a_spiffe_bundle_over_tls_and_in_plaintext() {
    let place = Place::new(Clock::system());
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let bundle = Some(local);
    let running = place
        .serve(Config {
            bundle,
            ..place.network()
        })
        .await;
    let known = TrustBundle::clone(&running.authority().bundle().borrow());
    let bundles = Arc::new(Bundles::from_iter([known.clone()]));
    let expected = Expected::Id(running.authority().id().clone());
    let tls = client_config_of_stranger(bundles, expected, &[b"http/1.1"]);
    let stream = TcpStream::connect(running.listen().unwrap()).await.unwrap();
    let name = ServerName::try_from("ca.example").unwrap();
    let tls = TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
        .unwrap();
    let plain = TcpStream::connect(running.bundle().unwrap()).await.unwrap();
    let (safe, open) = (
        get(tls, "GET", "/bundle").await,
        get(plain, "GET", "/bundle").await,
    );
    assert_eq!(safe, open);
    let (status, kind, text) = safe;
    assert_eq!((status, &*kind), (200, "application/json"));
    let read = TrustBundle::from_jwks(domain(), text.as_bytes()).unwrap();
    assert!(read.authorities().eq(known.authorities()));
    assert_eq!(read.sequence(), Some(1));
    assert_eq!(read.refresh_hint().unwrap().as_secs(), 300);
}

#[tokio::test]
async fn in_plaintext_there_is_the_bundle_and_nothing_else() {
    let place = Place::new(Clock::system());
    let bundle = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let running = place
        .serve(Config {
            bundle,
            ..Config::default()
        })
        .await;
    let sign = "/mixer.ca.v1.CertificateAuthority/Sign";
    for (method, path, expected) in [
        ("POST", sign, 404),
        ("GET", "/", 404),
        ("POST", "/bundle", 405),
    ] {
        let stream = TcpStream::connect(running.bundle().unwrap()).await.unwrap();
        assert_eq!(
            get(stream, method, path).await.0,
            expected,
            "{method} {path}"
        );
    }
    let open = Some(SocketAddr::from(([0, 0, 0, 0], 0)));
    let config = Config {
        bundle: open,
        ..Config::default()
    };
    let refused = Server::start(place.authority(), config, Arc::new(Random::from_seed(1))).await;
    assert!(matches!(refused, Err(StartError::Plaintext(_))));
}

#[tokio::test]
async fn who_watches_the_bundle_hears_of_a_new_root() {
    let place = Place::new(Clock::system());
    let running = place.serve(place.network()).await;
    let mut client = signing(&running, None).await;
    let stream = client.watch_bundle(WatchBundleRequest {}).await.unwrap();
    let mut stream = stream.into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.roots.len(), first.sequence), (1, 1));
    assert_eq!(first.trust_domain, "spiffe://cluster.local");
    State::rotate(&place.directory(), place.clock.wall(), DAY, DAY).unwrap();
    running.authority().refresh().unwrap();
    let second = stream.message().await.unwrap().unwrap();
    assert_eq!((second.roots.len(), second.sequence), (2, 2));
    assert_eq!(second.roots[0], first.roots[0], "what signs is first");
}

#[tokio::test]
async fn an_address_that_asks_in_a_circle_waits() {
    let place = Place::new(Clock::system());
    let one = std::num::NonZeroU32::MIN;
    let rates = Rates {
        each: (one, one.saturating_add(2)),
        all: (one, one.saturating_add(99)),
    };
    let running = place
        .serve(Config {
            rates,
            ..place.network()
        })
        .await;
    let mut client = signing(&running, None).await;
    let mut codes = Vec::new();
    for _ in 0..50 {
        let refused = client.sign(SignRequest::default()).await.unwrap_err();
        codes.push(refused.code());
    }
    assert_eq!(codes[..3], [tonic::Code::InvalidArgument; 3]);
    assert!(codes.contains(&tonic::Code::ResourceExhausted), "{codes:?}");
}
