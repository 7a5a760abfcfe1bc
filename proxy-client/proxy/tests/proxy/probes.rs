//! Requests that are answered before policy, and what is not one of them.

use mixer_proto::v1::Because;
use serde_json::json;

use crate::app::{App, empty, http2};
use crate::mixer::{TestMixer, deny, scope};
use crate::raw::{RawApp, body, get, send, status};
use crate::{config, soon, start};

/// A proxy whose Mixer denies everything; probes come `from` there.
async fn shop(app: std::net::SocketAddr, from: &[&str]) -> (TestMixer, mixer_proxy::Running) {
    let service = json!({
        "service": "products.shop",
        "probes": { "paths": ["/healthz", "/ready/"], "from": from },
    });
    let mesh = json!({
        "mesh": { "client_ip": { "header": "x-forwarded-for", "trusted": ["127.0.0.0/8"] } },
    });
    let documents = [service.to_string(), mesh.to_string()];
    let mixer = TestMixer::start(scope(), &documents, |_| {
        deny(Because::Matched, 403, 7, "no")
    });
    let mixer = mixer.await;
    let proxy = start(config(&mixer, app)).await;
    (mixer, proxy)
}

#[tokio::test]
async fn a_probe_is_passed_on_without_a_check_and_counted() {
    let app = App::start().await;
    let (mixer, proxy) = shop(app.address, &["127.0.0.0/8"]).await;
    let to = proxy.inbound().unwrap();
    assert_eq!(status(&send(to, get("/healthz", "")).await), 200);
    assert_eq!(status(&send(to, get("/ready/", "")).await), 200);
    assert_eq!(
        status(&send(to, get("/healthz", "").replace("GET", "HEAD")).await),
        200
    );
    let mut client = http2(to).await;
    let asked = http::Request::get("http://products/healthz").body(empty());
    let answer = soon(client.send_request(asked.unwrap())).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(mixer.checks(), Vec::new());
    assert_eq!(app.seen().len(), 4);
    let metrics = send(proxy.admin().unwrap(), get("/metrics", "")).await;
    assert!(
        body(&metrics)
            .lines()
            .any(|line| line == "mixer_proxy_probes_total 4"),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_only_looks_like_a_probe_is_decided_as_always() {
    let app = RawApp::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let (mixer, proxy) = shop(app.address, &["127.0.0.0/8"]).await;
    let to = proxy.inbound().unwrap();
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    let long = "content-length: 2\r\n";
    let cases = [
        get("/healthz", "").replace("GET", "POST"),
        get("/healthz", "").replace("GET", "OPTIONS"),
        get("/healthz/", ""),
        get("/ready", ""),
        get("/healthz?x=1", ""),
        get("/healthz?", ""),
        get("//healthz", ""),
        get("/./healthz", ""),
        get("/x/../healthz", ""),
        get("/%68ealthz", ""),
        get("/Healthz", ""),
        get("/healthz/../admin", ""),
        get("/healthz", upgrade).replace("connection: close\r\n", ""),
        get("/healthz", long) + "ab",
        get("/healthz", "content-type: application/grpc\r\n"),
        // An ingress passes on what anybody asks.
        get("/healthz", "x-forwarded-for: 10.9.9.9\r\n"),
        get("/healthz", "x-forwarded-for: 127.0.0.1\r\n"),
    ];
    for (count, asked) in cases.iter().enumerate() {
        let answer = soon(async {
            let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, asked.as_bytes())
                .await
                .unwrap();
            crate::raw::head(&mut stream).await
        })
        .await;
        let refused = status(&answer) == 403 || answer.contains("grpc-status: 7");
        assert!(refused, "{asked}: {answer}");
        assert_eq!(mixer.checks().len(), count + 1, "{asked}");
    }
    // What has no one reading is no probe either; no rule here reads paths, so rules get the bytes as they came.
    for path in ["/healthz%2f", "/healthz;x", "/%2e/healthz%00"] {
        let answer = send(to, get(path, "")).await;
        assert!(matches!(status(&answer), 400 | 403), "{path}: {answer}");
    }
    assert_eq!(app.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stranger_is_no_probe_whatever_he_says_of_himself() {
    let app = App::start().await;
    let (mixer, proxy) = shop(app.address, &["10.0.0.0/8", "2001:db8::/32"]).await;
    let to = proxy.inbound().unwrap();
    for more in [
        "",
        "x-forwarded-for: 10.0.0.1\r\n",
        "forwarded: for=10.0.0.1\r\n",
        "x-real-ip: 10.0.0.1\r\n",
    ] {
        assert_eq!(
            status(&send(to, get("/healthz", more)).await),
            403,
            "{more}"
        );
    }
    assert_eq!((mixer.checks().len(), app.seen().len()), (4, 0));
}

#[tokio::test]
async fn a_probe_is_answered_while_no_mixer_is() {
    let app = App::start().await;
    let (mixer, proxy) = shop(app.address, &["127.0.0.1"]).await;
    drop(mixer);
    let to = proxy.inbound().unwrap();
    assert_eq!(status(&send(to, get("/healthz", "")).await), 200);
}
