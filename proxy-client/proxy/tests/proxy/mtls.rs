//! Mutual TLS between two proxies: `near`, before `frontend.shop`, whose outbound side calls `products.shop`, before which is
//! `far`. Each has an identity that the test issues and takes away.

mod carried;
mod issuer;
mod originate;
mod refused;
mod rotation;
mod sources;
mod streams;

use mixer_identity::{Publisher, Source};
use mixer_proxy::{IdentityFrom, Running};
use serde_json::json;

use self::issuer::Authority;
use crate::app::App;
use crate::mixer::{Attributes, TestMixer, nothing, scope};
use crate::raw::{body, get, send, status};
use crate::{config, start};

const FRONTEND: &str = "/ns/shop/sa/frontend";
const PRODUCTS: &str = "/ns/shop/sa/products";

/// The two proxies, and what stands around them.
struct Pair {
    root: Authority,
    near: Running,
    far: Running,
    _near_mixer: TestMixer,
    far_mixer: TestMixer,
    near_identity: Publisher,
    far_identity: Publisher,
}

/// What differs from test to test.
struct Setup {
    mesh: serde_json::Value,
    /// Fields of `products.shop`, for both proxies.
    service: serde_json::Value,
    /// The id that callers of `products.shop` expect.
    expected: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mesh: json!({"mesh": {"tls": "strict"}}),
            service: json!({}),
            expected: "spiffe://cluster.local/ns/shop/sa/products",
        }
    }
}

impl Setup {
    fn document(&self, endpoints: &[String]) -> String {
        let mut service =
            json!({"service": "products.shop", "identity": self.expected, "endpoints": endpoints});
        let fields = self.service.as_object().unwrap().clone();
        service.as_object_mut().unwrap().extend(fields);
        service.to_string()
    }
}

impl Pair {
    /// Both with identities of one authority.
    async fn start(app: std::net::SocketAddr, setup: Setup) -> Self {
        let pair = Self::nameless(app, setup).await;
        let (near, far) = (
            pair.root.identity(FRONTEND, &[]),
            pair.root.identity(PRODUCTS, &[]),
        );
        pair.near_identity.publish(near);
        pair.far_identity.publish(far);
        pair
    }

    /// Both without an identity yet.
    async fn nameless(app: std::net::SocketAddr, setup: Setup) -> Self {
        let root = Authority::new("cluster.local");
        let ((near_identity, near_source), (far_identity, far_source)) =
            (Source::updated(), Source::updated());
        let mesh = setup.mesh.to_string();
        let far_mixer = TestMixer::allowing(scope(), &[mesh.clone(), setup.document(&[])]).await;
        let mut far = config(&far_mixer, app);
        far.identity = IdentityFrom::Published(far_source);
        let far = start(far).await;
        let endpoints = [far.inbound().unwrap().to_string()];
        let near_mixer = TestMixer::allowing(nothing(), &[mesh, setup.document(&endpoints)]).await;
        let mut near = config(&near_mixer, app);
        near.service = Some("frontend.shop".to_owned());
        near.identity = IdentityFrom::Published(near_source);
        let near = start(near).await;
        Self {
            root,
            near,
            far,
            _near_mixer: near_mixer,
            far_mixer,
            near_identity,
            far_identity,
        }
    }

    /// Asks `near` for `products.shop`.
    async fn ask(&self, path: &str, more: &str) -> String {
        let request = get(path, more).replace("host: products", "host: products.shop");
        send(self.near.outbound().unwrap(), request).await
    }
}

/// The attributes of the one check that was made.
fn only(mut checks: Vec<Attributes>) -> Attributes {
    assert_eq!(checks.len(), 1, "{checks:?}");
    checks.remove(0)
}

/// A count of `proxy`.
async fn count(proxy: &Running, name: &str) -> u64 {
    let metrics = send(proxy.admin().unwrap(), get("/metrics", "")).await;
    let line = body(&metrics)
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .parse()
        .unwrap()
}

/// Waits until a count of `proxy` is `expected`: what a caller sees may come before it.
async fn reaches(proxy: &Running, name: &str, expected: u64) {
    crate::soon(async { while count(proxy, name).await != expected {} }).await;
}

#[tokio::test]
async fn who_the_caller_is_is_read_from_its_certificate_and_nothing_else() {
    let app = App::start().await;
    let pair = Pair::start(app.address, Setup::default()).await;
    let spoofed = "x-mixer-principal: spiffe://cluster.local/ns/admin/sa/root\r\n\
                   x-forwarded-client-cert: URI=spiffe://cluster.local/ns/admin/sa/root\r\n";
    let response = pair.ask("/a?b=c", spoofed).await;
    assert_eq!((status(&response), body(&response)), (200, "hello\n"));
    let asked = only(pair.far_mixer.checks());
    for (name, value) in [
        (
            "source.principal",
            "spiffe://cluster.local/ns/shop/sa/frontend",
        ),
        ("source.trust_domain", "cluster.local"),
        ("source.namespace", "shop"),
        ("source.service_account", "frontend"),
        (
            "destination.principal",
            "spiffe://cluster.local/ns/shop/sa/products",
        ),
        ("connection.mtls", "true"),
        ("connection.requested_server_name", "products.shop"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name}");
    }
    let seen = app.seen().remove(0);
    assert_eq!(
        (seen.version, seen.headers["host"].to_str().unwrap()),
        (http::Version::HTTP_11, "products.shop")
    );
    for name in ["x-mixer-principal", "x-forwarded-client-cert"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn plaintext_proves_nothing() {
    let app = App::start().await;
    let permissive = Setup {
        mesh: json!({"mesh": {}}),
        ..Setup::default()
    };
    let pair = Pair::start(app.address, permissive).await;
    let spoofed = get(
        "/",
        "x-mixer-principal: spiffe://cluster.local/ns/admin/sa/root\r\n",
    );
    let response = send(pair.far.inbound().unwrap(), spoofed).await;
    assert_eq!(status(&response), 200);
    let asked = only(pair.far_mixer.checks());
    assert_eq!(asked["connection.mtls"], "false");
    for name in [
        "source.principal",
        "source.trust_domain",
        "source.namespace",
        "source.service_account",
        "connection.requested_server_name",
        "destination.principal",
    ] {
        assert!(!asked.contains_key(name), "{name}: {asked:?}");
    }
}

#[tokio::test]
async fn a_namespace_means_something_in_trust_domains_that_count_as_ours() {
    for (federated, namespace) in [
        (json!([]), None),
        (json!(["partner.example"]), Some("shop")),
    ] {
        let app = App::start().await;
        let mesh = json!({"mesh": {"tls": "strict", "federated": federated}});
        let pair = Pair::start(
            app.address,
            Setup {
                mesh,
                ..Setup::default()
            },
        )
        .await;
        let partner = Authority::new("partner.example");
        pair.far_identity
            .publish(pair.root.identity(PRODUCTS, &[&partner]));
        pair.near_identity
            .publish(partner.identity(FRONTEND, &[&pair.root]));
        assert_eq!(status(&pair.ask("/", "").await), 200);
        let asked = only(pair.far_mixer.checks());
        assert_eq!(
            asked["source.principal"],
            "spiffe://partner.example/ns/shop/sa/frontend"
        );
        assert_eq!(asked["source.trust_domain"], "partner.example");
        assert_eq!(asked.get("source.namespace").map(String::as_str), namespace);
        assert_eq!(
            asked.get("source.service_account").map(String::as_str),
            namespace.and(Some("frontend"))
        );
    }
}
