//! A real Envoy with its SPIFFE validator, on both sides of us.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use mixer_identity::{Expected, SpiffeId, client_config};
use mixer_tests::http::{Client, get};
use mixer_tests::issuer::{Authority, Issued};
use mixer_tests::mesh::{Documents, Mixer, ProxyConfig};
use mixer_tests::ports;
use mixer_tests::servers::{Envoy, address, spiffe_tls};
use mixer_tests::service::Service;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::issued::{cases, source};
use crate::peers::{Server, ask, exchange};

const OURS: &str = "/ns/shop/sa/ours";
const ENVOYS: &str = "/ns/shop/sa/envoy";

/// A listener that takes mutual TLS and answers 200 with `envoy`.
fn terminating(name: &str, addr: SocketAddr, tls: &str) -> String {
    format!(
        r#"  - name: {name}
    address: {addr}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config: {{
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,
          require_client_certificate: true,
          {tls}}}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: "/"}}, direct_response: {{status: 200, body: {{inline_string: envoy}}}}}}]}}
"#,
        addr = address(addr),
    )
}

/// A cluster that dials `addr` with mutual TLS.
fn originating(name: &str, addr: SocketAddr, tls: &str) -> String {
    format!(
        r#"  - name: {name}
    type: STATIC
    connect_timeout: 5s
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config: {{
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,
        sni: products.shop,
        {tls}}}
    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {addr}}}}}]}}]}}
"#,
        addr = address(addr),
    )
}

/// A plain listener that sends `/NAME` to the cluster `NAME`.
fn choosing(addr: SocketAddr, names: &[&str]) -> String {
    let routes = names.iter().fold(String::new(), |mut routes, name| {
        write!(
            routes,
            r#"{{match: {{path: "/{name}"}}, route: {{cluster: {name}}}}}, "#
        )
        .unwrap();
        routes
    });
    format!(
        r#"  - name: choosing
    address: {addr}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: choosing
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{routes}]}}]}}
"#,
        addr = address(addr),
    )
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn what_envoy_shows_us_is_judged_by_the_rules_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    let authority = root.write(folder.path());
    let ours = source(&root, OURS);
    let server = Server::start(&ours).await;
    let cases = cases(&root, ENVOYS);
    let entry = ports::free();
    let mut listeners = choosing(
        entry,
        &cases.iter().map(|case| case.name).collect::<Vec<_>>(),
    );
    let mut clusters = String::new();
    let mut faces = Vec::new();
    for case in &cases {
        let tls = spiffe_tls(&case.issued.write(folder.path(), case.name), &authority);
        let face = ports::free();
        listeners += &terminating(case.name, face, &tls);
        clusters += &originating(case.name, server.addr, &tls);
        faces.push(face);
    }
    let resources = format!("  listeners:\n{listeners}  clusters:\n{clusters}");
    let _envoy = Envoy::configured(entry, &resources, None).await;

    let envoys = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/envoy").unwrap();
    for (case, face) in cases.iter().zip(faces) {
        // Envoy dials our server.
        let mut client = Client::http1(entry).await.unwrap();
        let answer = client
            .send(get("products.shop", &format!("/{}", case.name)))
            .await
            .unwrap();
        // Our client dials Envoy.
        let asked = ask(&ours, face, Expected::Id(envoys.clone())).await;
        match case.said {
            None => {
                assert_eq!(answer.status, StatusCode::OK, "{}", case.name);
                assert_eq!(answer.text(), envoys.as_str());
                assert!(asked.unwrap().ends_with("envoy"));
            }
            Some(said) => {
                assert_eq!(
                    answer.status,
                    StatusCode::SERVICE_UNAVAILABLE,
                    "{}",
                    case.name
                );
                let refused = server.refused();
                assert!(
                    !refused.is_empty() && refused.iter().all(|text| text.contains(said)),
                    "{}: {refused:?}",
                    case.name
                );
                let refusal = asked.unwrap_err();
                assert!(refusal.contains(said), "{}: {refusal}", case.name);
            }
        }
    }
    let stranger = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/other").unwrap();
    let good = terminating_good(&root, &authority, folder.path()).await;
    assert_eq!(
        ask(&ours, good.addr, Expected::Id(stranger))
            .await
            .unwrap_err(),
        "the peer is spiffe://cluster.local/ns/shop/sa/envoy, and spiffe://cluster.local/ns/shop/sa/other was expected"
    );
}

/// An Envoy with a good certificate.
async fn terminating_good(root: &Authority, authority: &Path, folder: &Path) -> Envoy {
    let own = root.issue(ENVOYS, |_| {}).write(folder, "own");
    let addr = ports::free();
    let listener = terminating("good", addr, &spiffe_tls(&own, authority));
    Envoy::configured(addr, &format!("  listeners:\n{listener}"), None).await
}

/// Shows `issued` to `addr`, whatever is wrong with it.
async fn show(root: &Authority, issued: &Issued, addr: SocketAddr) -> std::io::Result<String> {
    let mut config = client_config(&source(root, OURS), Expected::Anyone, &[]);
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&issued.private_key()).unwrap();
    let shown = rustls::sign::CertifiedKey::new(vec![issued.leaf.der().clone()], key);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(shown));
    let name = ServerName::try_from("products.shop").unwrap();
    let stream = TcpStream::connect(addr).await?;
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    exchange(&mut stream).await
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn envoy_takes_what_we_take_and_refuses_what_we_refuse_but_for_a_second_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    let authority = root.write(folder.path());
    let envoy = terminating_good(&root, &authority, folder.path()).await;
    for case in cases(&root, OURS) {
        let shown = show(&root, &case.issued, envoy.addr).await;
        match case.said {
            None => assert!(shown.unwrap().ends_with("envoy")),
            // Envoy is content with one name of a trust domain it knows. The standard says exactly one, and so do we.
            Some(_) if case.name == "two-uri-names" => assert!(shown.unwrap().ends_with("envoy")),
            Some(_) => {
                let refused = shown.expect_err(case.name).to_string();
                assert!(refused.contains("alert"), "{}: {refused}", case.name);
            }
        }
    }
}

/// What Mixer knows of a proxy of ours and of an Envoy, each a service.
const DOCUMENTS: &str = r#"
mesh: { tls: strict, denials: { show: everyone } }
---
service: products.shop
identity: spiffe://cluster.local/ns/shop/sa/products
endpoints: ["PRODUCTS"]
---
service: envoy.shop
identity: spiffe://cluster.local/ns/shop/sa/envoy
endpoints: ["ENVOY"]
---
policy: products
for: destination.service == "products.shop"
rules:
  - allow: the Envoy reads products
    when: connection.mtls && source.namespace == "shop" && source.service_account == "envoy"
otherwise: { deny: only the Envoy reads products }
"#;

/// A cluster's endpoints speak HTTP/2.
const HTTP2: &str = r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
"#;

#[tokio::test]
#[ignore = "needs envoy"]
async fn a_proxy_of_ours_and_an_envoy_call_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::new("cluster.local");
    let authority = root.write(folder.path());
    let app = Service::echo("products").await;
    let [entry, face, inbound] = [ports::free(), ports::free(), ports::free()];
    let text = DOCUMENTS
        .replace("PRODUCTS", &inbound.to_string())
        .replace("ENVOY", &face.to_string());
    let documents = Documents::new([("mesh.yaml", text)]);
    let mixer = Mixer::serve(&documents).await;
    let mut ours = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    ours.inbound = inbound;
    root.write_identity(&folder.path().join("ours"), "/ns/shop/sa/products");
    ours.identity = Some(folder.path().join("ours"));
    let ours = ours.start().await;

    let own = root.issue(ENVOYS, |_| {}).write(folder.path(), "envoy");
    let plain = spiffe_tls(&own, &authority);
    let offering = |names: &str| {
        let alpn = format!("common_tls_context: {{ alpn_protocols: [{names}],");
        plain.replacen("common_tls_context: {", &alpn, 1)
    };
    let listeners = choosing(entry, &["http1", "http2"])
        + &terminating("face", face, &offering("h2, http/1.1"));
    let http2 = originating("http2", inbound, &offering("h2")).replacen(
        "    connect_timeout",
        &format!("{HTTP2}    connect_timeout"),
        1,
    );
    let clusters = originating("http1", inbound, &offering("http/1.1")) + &http2;
    let resources = format!("  listeners:\n{listeners}  clusters:\n{clusters}");
    let _envoy = Envoy::configured(entry, &resources, None).await;

    // Envoy calls, over either version of HTTP.
    for path in ["/http1", "/http2"] {
        let mut client = Client::http1(entry).await.unwrap();
        let answer = client.send(get("products.shop", path)).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        let seen = answer.json();
        assert_eq!(
            (&seen["path"], &seen["version"]),
            (&path.into(), &"HTTP/1.1".into())
        );
    }
    // We call Envoy.
    let mut client = Client::http1(ours.config.outbound).await.unwrap();
    let answer = client.send(get("envoy.shop", "/")).await.unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::OK, "envoy")
    );
    assert_eq!(app.received(), 2);
}
