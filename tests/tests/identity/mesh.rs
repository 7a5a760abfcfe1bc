//! Mixer, two proxies and two applications as processes: policies about who calls, decided by certificates that applications
//! never see.

use http::StatusCode;
use mixer_tests::http::{Client, get, raw, with};
use mixer_tests::issuer::Authority;
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::service::Service;
use mixer_tests::wait;

const DOCUMENTS: &str = r#"
mesh: { tls: strict, denials: { show: everyone } }
---
service: products.shop
identity: spiffe://cluster.local/ns/shop/sa/products
endpoints: ["INBOUND"]
---
policy: products
for: destination.service == "products.shop"
rules:
  - require: callers use mutual TLS
    that: connection.mtls
  - allow: the frontend reads products
    when: source.namespace == "shop" && source.service_account == "frontend" && request.method == "GET"
otherwise: { deny: only the frontend reads products }
"#;

/// A caller's proxy with an identity for `path`.
async fn caller(root: &Authority, folder: &std::path::Path, path: &str, mixer: &Mixer) -> Proxy {
    let name = path.rsplit('/').next().unwrap();
    let identity = folder.join(name);
    root.write_identity(&identity, path);
    let app = mixer_tests::ports::free();
    let mut config = ProxyConfig::new(&format!("{name}.shop"), app, mixer.grpc);
    config.identity = Some(identity);
    config.start().await
}

#[tokio::test]
async fn callers_are_known_by_their_certificates_and_by_nothing_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    let app = Service::echo("products").await;
    let inbound = mixer_tests::ports::free();
    let text = DOCUMENTS.replace("INBOUND", &inbound.to_string());
    let documents = Documents::new([("mesh.yaml", text)]);
    let mixer = Mixer::serve(&documents).await;
    let mut products = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    products.inbound = inbound;
    let identity = folder.path().join("products");
    root.write_identity(&identity, "/ns/shop/sa/products");
    products.identity = Some(identity);
    let products = products.start().await;

    let frontend = caller(&root, folder.path(), "/ns/shop/sa/frontend", &mixer).await;
    let cart = caller(&root, folder.path(), "/ns/shop/sa/cart", &mixer).await;
    for (proxy, status) in [(&frontend, StatusCode::OK), (&cart, StatusCode::FORBIDDEN)] {
        let mut client = Client::http1(proxy.config.outbound).await.unwrap();
        for claim in ["x-mixer-principal", "x-forwarded-client-cert"] {
            let spoofed = "spiffe://cluster.local/ns/shop/sa/frontend";
            let request = with(get("products.shop", "/products/1"), claim, spoofed);
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status, status, "{}", answer.text());
            if status == StatusCode::OK {
                let seen = answer.json();
                assert_eq!(seen["version"], "HTTP/1.1");
                assert!(!seen["headers"].to_string().contains("spiffe://"), "{seen}");
            } else {
                assert!(answer.text().contains("only the frontend reads products"));
            }
        }
    }
    assert_eq!(app.received(), 2);

    // Who goes round the proxy is not heard.
    let plain = raw(
        inbound,
        b"GET /products/1 HTTP/1.1\r\nhost: products.shop\r\n\r\n",
    )
    .await;
    // It may also be a reset: what was sent is not read.
    assert!(plain.unwrap_or_default().is_empty());
    assert_eq!(app.received(), 2);

    // A new authority, a new certificate everywhere: the same rules, and no process starts again.
    let next = Authority::new("cluster.local");
    for (name, path) in [
        ("products", "/ns/shop/sa/products"),
        ("frontend", "/ns/shop/sa/frontend"),
    ] {
        next.write_identity(&folder.path().join(name), path);
    }
    let certs = async |proxy: &Proxy| proxy.admin("/certs").await.json();
    let serial = next_serial(&next);
    wait::until("both proxies have the new authority", async || {
        let has = async |proxy| {
            let certs = certs(proxy).await;
            certs["bundles"]["cluster.local"]["authorities"][0]["serial"] == *serial
        };
        (has(&products).await && has(&frontend).await).then_some(())
    })
    .await;
    let mut client = Client::http1(frontend.config.outbound).await.unwrap();
    let answer = client
        .send(get("products.shop", "/products/1"))
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    // The old authority vouches for nobody any more.
    let mut client = Client::http1(cart.config.outbound).await.unwrap();
    let answer = client
        .send(get("products.shop", "/products/1"))
        .await
        .unwrap();
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        answer.text()
    );
}

/// The serial number of an authority's certificate, as proxies show it.
fn next_serial(authority: &Authority) -> String {
    let summary = mixer_identity::Summary::read(authority.certificate.der());
    summary.unwrap().serial
}
