//! Behind an ingress: who the caller is, and what may be said of him. Loopback has many addresses, one for each who connects.

use std::net::Ipv4Addr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::app::App;
use crate::mixer::{Attributes, TestMixer, scope};
use crate::raw::{get, status};
use crate::{config, soon, start};

const INGRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

struct Shop {
    mixer: TestMixer,
    app: App,
    proxy: mixer_proxy::Running,
}

impl Shop {
    async fn start(header: &str) -> Self {
        let trusted = [INGRESS, BALANCER].map(|address| format!("{address}/32"));
        let mesh = json!({ "mesh": { "client_ip": { "header": header, "trusted": trusted } } });
        let mixer = TestMixer::allowing(scope(), &[mesh.to_string()]).await;
        let app = App::start().await;
        let proxy = start(config(&mixer, app.address)).await;
        Self { mixer, app, proxy }
    }

    /// Asks on a connection from that address; what Mixer was told, and the application.
    async fn ask(&self, from: Ipv4Addr, more: &str) -> (Attributes, http::HeaderMap) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let to = self.proxy.inbound().unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        stream.write_all(get("/", more).as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(status(&answer), 200, "{answer}");
        let asked = self.mixer.checks().pop().unwrap();
        (asked, self.app.seen().remove(0).headers)
    }
}

#[tokio::test]
async fn the_caller_is_who_the_ingress_says_and_the_source_is_the_ingress() {
    let shop = Shop::start("x-forwarded-for").await;
    let said = "x-forwarded-for: 6.6.6.6, 198.51.100.7\r\nx-forwarded-proto: https\r\nx-forwarded-host: shop.example\r\n\
                x-envoy-original-path: /old\r\n";
    let (asked, got) = shop.ask(INGRESS, said).await;
    assert_eq!(asked["source.ip"], "127.0.0.2");
    assert_eq!(asked["request.client_ip"], "198.51.100.7");
    for (name, value) in [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-envoy-original-path", "/old"),
    ] {
        assert_eq!(asked[&format!("request.headers[{name}]")], value);
        assert_eq!(got[name], value);
    }
    let chain: Vec<_> = got.get_all("x-forwarded-for").iter().collect();
    assert_eq!(chain, ["6.6.6.6, 198.51.100.7", "127.0.0.2"]);

    // A balancer before the ingress: both are passed over.
    let (asked, _) = shop
        .ask(INGRESS, "x-forwarded-for: 198.51.100.7, 127.0.0.3\r\n")
        .await;
    assert_eq!(asked["source.ip"], "127.0.0.2");
    assert_eq!(asked["request.client_ip"], "198.51.100.7");
    // It asks for itself.
    let (asked, _) = shop.ask(INGRESS, "").await;
    assert_eq!(asked["request.client_ip"], "127.0.0.2");
    // It does not know: nobody does.
    let (asked, _) = shop.ask(INGRESS, "x-forwarded-for: unknown\r\n").await;
    assert_eq!(asked.get("request.client_ip"), None);
}

#[tokio::test]
async fn of_a_stranger_nothing_is_believed() {
    let shop = Shop::start("x-forwarded-for").await;
    let said = "x-forwarded-for: 127.0.0.2\r\nx-forwarded-proto: https\r\nforwarded: for=198.51.100.7\r\nx-real-ip: 198.51.100.7\r\n";
    let (asked, got) = shop.ask(STRANGER, said).await;
    assert_eq!(asked["source.ip"], "127.0.0.4");
    assert_eq!(asked["request.client_ip"], "127.0.0.4");
    let chain: Vec<_> = got.get_all("x-forwarded-for").iter().collect();
    assert_eq!(chain, ["127.0.0.4"]);
    for gone in ["x-forwarded-proto", "forwarded", "x-real-ip"] {
        assert!(!got.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn another_header_may_name_the_caller() {
    let shop = Shop::start("cf-connecting-ip").await;
    let said = "cf-connecting-ip: 198.51.100.7\r\n";
    let (asked, got) = shop.ask(INGRESS, said).await;
    assert_eq!(asked["request.client_ip"], "198.51.100.7");
    assert_eq!(got["cf-connecting-ip"], "198.51.100.7");
    let (asked, got) = shop.ask(STRANGER, said).await;
    assert_eq!(asked["request.client_ip"], "127.0.0.4");
    assert!(!got.contains_key("cf-connecting-ip"));
}
