//! TLS to services outside the mesh, for applications that speak plaintext.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::count;
use crate::app::App;
use crate::mixer::{TestMixer, nothing};
use crate::raw::{body, send, spawn, status};
use crate::{config, start};

/// A web server called `api.example`, and the file of the authority that says so. It answers with what it was asked.
async fn partner(folder: &std::path::Path) -> (std::net::SocketAddr, String) {
    let key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = root.self_signed(&key).unwrap();
    let issuer = Issuer::new(root, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["api.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                let service = service_fn(move |request: Request<Incoming>| {
                    let scheme = request.uri().scheme_str().unwrap_or("-");
                    let text = format!("{name:?} {:?} {scheme}", request.version());
                    async {
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(
                            text,
                        ))))
                    }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let file = folder.join("partner.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    (address, file.to_str().unwrap().to_owned())
}

/// What a request for `host` is answered where the service says this.
async fn asked(service: serde_json::Value, host: &str) -> (u16, String, u64) {
    let mixer = TestMixer::allowing(nothing(), &[service.to_string()]).await;
    let proxy = start(config(&mixer, App::start().await.address)).await;
    let request = format!("GET /x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let response = send(proxy.outbound().unwrap(), request).await;
    let untrusted = count(&proxy, "mixer_proxy_upstream_tls_untrusted_total").await;
    (status(&response), body(&response).to_owned(), untrusted)
}

#[tokio::test]
async fn an_application_in_plaintext_reaches_a_server_that_speaks_tls_and_is_who_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let (address, file) = partner(folder.path()).await;
    let service = |more: serde_json::Value| {
        let mut service = json!({"service": "partner", "hosts": ["api.example", "www.example"],
            "external": true, "endpoints": [address.to_string()]});
        let fields = more.as_object().unwrap().clone();
        service.as_object_mut().unwrap().extend(fields);
        service
    };
    let roots = json!({"file": file});
    let by_host = service(json!({"originate": {"roots": roots}}));
    let answer = |text: &str| (200, text.to_owned(), 0);
    assert_eq!(
        asked(by_host.clone(), "api.example:80").await,
        answer("Some(\"api.example\") HTTP/1.1 -")
    );
    let by_sni = service(json!({"originate": {"roots": roots, "sni": "api.example"}}));
    assert_eq!(
        asked(by_sni, "partner").await,
        answer("Some(\"api.example\") HTTP/1.1 -")
    );
    let http2 = service(json!({"originate": {"roots": roots}, "protocol": "http2"}));
    assert_eq!(
        asked(http2, "api.example").await,
        answer("Some(\"api.example\") HTTP/2.0 https")
    );

    // Its certificate is for another of the names, or signed by somebody else.
    let (code, text, untrusted) = asked(by_host, "www.example").await;
    assert_eq!((code, untrusted), (503, 1), "{text}");
    let system = service(json!({"originate": {"roots": "system", "sni": "api.example"}}));
    let (code, text, _) = asked(system, "partner").await;
    assert_eq!(code, 503, "{text}");
    let nowhere = folder.path().join("nowhere.pem");
    let nowhere = service(json!({"originate": {"roots": {"file": nowhere.to_str()}}}));
    let (code, text, untrusted) = asked(nowhere, "api.example").await;
    assert_eq!((code, untrusted), (503, 0));
    assert!(
        text.starts_with("whom to trust for the service is not known: "),
        "{text}"
    );
}
