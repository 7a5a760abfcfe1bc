//! Which endpoint gets a request, over real sockets.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::app::App;
use crate::mixer::{TestMixer, nothing};
use crate::raw::{RawApp, body, get, head, send, spawn, status};
use crate::{config, soon, start};

const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// A proxy for callers of `reviews.shop`, which `document` describes.
async fn caller(document: Value) -> (TestMixer, mixer_proxy::Running) {
    let mixer = TestMixer::allowing(nothing(), &[document.to_string()]).await;
    let proxy = start(config(&mixer, ([127, 0, 0, 1], 1).into())).await;
    (mixer, proxy)
}

fn request(path: &str, more: &str) -> String {
    get(path, more).replace("host: products", "host: reviews.shop")
}

async fn ask(proxy: &mixer_proxy::Running) -> String {
    send(proxy.outbound().unwrap(), request("/", "")).await
}

async fn cluster(proxy: &mixer_proxy::Running) -> Value {
    let page = send(proxy.admin().unwrap(), get("/clusters", "")).await;
    let page: Value = serde_json::from_str(body(&page)).unwrap();
    page["reviews.shop"].clone()
}

#[tokio::test]
async fn an_endpoint_that_fails_again_and_again_gets_nothing_for_a_while() {
    let (good, bad) = (App::called("good").await, RawApp::answering(BROKEN).await);
    let (_mixer, proxy) = caller(json!({
        "service": "reviews.shop",
        "endpoints": [good.address.to_string(), bad.address.to_string()],
        "balance": "round-robin",
        "outlier": { "consecutive_errors": 3, "eject": "1h" },
    }))
    .await;
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(status(&ask(&proxy).await));
    }
    let failed = statuses.iter().filter(|status| **status == 500).count();
    assert_eq!(failed, 3, "{statuses:?}");
    assert_eq!(bad.heads().len(), 3);
    let cluster = cluster(&proxy).await;
    let endpoints = cluster["endpoints"].as_array().unwrap();
    let ejected = |address: SocketAddr| {
        let found = endpoints
            .iter()
            .find(|endpoint| endpoint["address"] == address.to_string());
        let found = found.unwrap();
        (
            found["ejected_for_seconds"].as_f64().unwrap() > 3_000.0,
            found["failures"].clone(),
        )
    };
    assert_eq!(ejected(bad.address), (true, json!(3)));
    assert_eq!(ejected(good.address), (false, json!(0)));
}

#[tokio::test]
async fn an_endpoint_whose_health_check_fails_gets_nothing() {
    let (good, bad) = (
        RawApp::answering("HTTP/1.1 204 No Content\r\n\r\n").await,
        RawApp::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await,
    );
    let (_mixer, proxy) = caller(json!({
        "service": "reviews.shop",
        "endpoints": [good.address.to_string(), bad.address.to_string()],
        "balance": "round-robin",
        "health": { "http": "/healthz?deep=1", "every": "10ms" },
    }))
    .await;
    let healthy = |cluster: Value| {
        let endpoints = cluster["endpoints"].as_array().unwrap().clone();
        endpoints
            .iter()
            .map(|endpoint| endpoint["healthy"] == true)
            .collect::<Vec<_>>()
    };
    soon(async { while healthy(cluster(&proxy).await) != [true, false] {} }).await;
    bad.heads();
    for _ in 0..10 {
        assert_eq!(status(&ask(&proxy).await), 204);
    }
    for asked in bad.heads() {
        assert!(
            asked.starts_with("GET /healthz?deep=1 HTTP/1.1\r\n")
                && asked.contains("host: reviews.shop\r\n"),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn one_more_than_the_circuit_admits_is_refused_at_once() {
    for kind in ["requests", "connections"] {
        // It never answers.
        let silent = RawApp::answering("").await;
        let (_mixer, proxy) = caller(json!({
            "service": "reviews.shop",
            "endpoints": [silent.address.to_string()],
            "circuit": { kind: 1 },
        }))
        .await;
        let mut held = TcpStream::connect(proxy.outbound().unwrap()).await.unwrap();
        held.write_all(request("/", "").as_bytes()).await.unwrap();
        soon(async {
            while silent.heads().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let refused = ask(&proxy).await;
        let expected = format!("reviews.shop has all the {kind} it may have\n");
        assert_eq!((status(&refused), body(&refused)), (503, &*expected));
        let grpc = request("/shop.Reviews/List", "content-type: application/grpc\r\n");
        let refused = send(proxy.outbound().unwrap(), grpc).await;
        assert!(refused.contains("grpc-status: 14\r\n"), "{refused}");
        let counted = cluster(&proxy).await["circuit"][kind].clone();
        assert_eq!(counted, json!({ "now": 1, "most": 1, "refused": 2 }));
        drop(held);
        // Its caller is gone: so is its place.
        soon(async { while cluster(&proxy).await["circuit"][kind]["now"] != 0 {} }).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_never_answers_its_check_holds_up_no_other_service() {
    let dead = RawApp::answering("").await;
    let good = RawApp::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let service = |name: &str, app: &RawApp| {
        json!({
            "service": name,
            "endpoints": [app.address.to_string()],
            "health": { "http": "/healthz", "every": "1ms", "timeout": "1h" },
        })
        .to_string()
    };
    // Whatever the order in which they are seen to.
    let documents = [
        service("a.shop", &dead),
        service("reviews.shop", &good),
        service("z.shop", &dead),
    ];
    let mixer = TestMixer::allowing(nothing(), &documents).await;
    let _proxy = start(config(&mixer, ([127, 0, 0, 1], 1).into())).await;
    let (mut asked, mut of_dead) = (0, 0);
    soon(async {
        while asked < 4 || of_dead < 2 {
            asked += good.heads().len();
            of_dead += dead.heads().len();
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(of_dead, 2, "each of them is still being asked");
}

#[tokio::test]
async fn equal_values_go_to_one_endpoint() {
    let names = ["one", "two", "three"];
    let mut apps = Vec::new();
    for name in names {
        apps.push(App::called(name).await);
    }
    let endpoints: Vec<String> = apps.iter().map(|app| app.address.to_string()).collect();
    let (_mixer, proxy) = caller(json!({
        "service": "reviews.shop",
        "endpoints": endpoints,
        "balance": "ring-hash(request.headers[\"x-user\"])",
    }))
    .await;
    let mut used = Vec::new();
    for user in 0..30 {
        let mut answers = Vec::new();
        for _ in 0..3 {
            let more = format!("x-user: user-{user}\r\n");
            let answer = send(proxy.outbound().unwrap(), request("/", &more)).await;
            answers.push(body(&answer).trim().to_owned());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "user {user}");
        used.append(&mut answers);
    }
    assert!(
        names
            .iter()
            .all(|name| used.iter().any(|used| used == name)),
        "{used:?}"
    );
}

/// A DNS server that answers every question for an address with `127.0.0.N`, which holds for a second; nothing before so many names
/// were asked for.
async fn dns(last: Arc<AtomicU8>, names: usize) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    spawn(async move {
        let mut message = [0; 512];
        let (mut asked, mut waiting) = (HashSet::new(), Vec::new());
        while let Ok((length, from)) = socket.recv_from(&mut message).await {
            // The question ends with the name's empty label, the type and the class; what follows is of no concern here.
            let name = 12
                + message[12..length]
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap();
            asked.insert(message[12..name].to_vec());
            let end = name + 5;
            let is_a = message[end - 3] == 1;
            let mut answer = message[..end].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                let address = Ipv4Addr::new(127, 0, 0, last.load(Ordering::SeqCst)).octets();
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                answer.extend(address);
            }
            waiting.push((answer, from));
            if asked.len() >= names {
                for (answer, from) in waiting.drain(..) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn names_are_asked_for_together() {
    let app = App::called("here").await;
    let port = app.address.port();
    let service = |name: &str, hosts: &[&str]| {
        let endpoints: Vec<String> = hosts
            .iter()
            .map(|host| format!("dns:{host}:{port}"))
            .collect();
        json!({ "service": name, "endpoints": endpoints }).to_string()
    };
    let documents = [
        service("reviews.shop", &["one.example", "two.example"]),
        service("ratings.shop", &["three.example"]),
    ];
    let mixer = TestMixer::allowing(nothing(), &documents).await;
    let mut config = config(&mixer, ([127, 0, 0, 1], 1).into());
    config.dns = Some(dns(Arc::new(AtomicU8::new(1)), 3).await);
    let proxy = start(config).await;
    // Ready means resolved: had one waited for another, its time would have been over without an answer.
    for host in ["reviews.shop", "ratings.shop"] {
        let asked = get("/", "").replace("host: products", &format!("host: {host}"));
        assert_eq!(
            body(&send(proxy.outbound().unwrap(), asked).await),
            "here\n",
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_name_is_asked_for_again_when_its_time_is_over_and_nothing_is_dropped() {
    let old = App::called("old").await;
    let port = old.address.port();
    let new = App::listening("new", ([127, 0, 0, 2], port).into()).await;
    let last = Arc::new(AtomicU8::new(1));
    let document = json!({
        "service": "reviews.shop",
        "endpoints": [format!("dns:reviews.example:{port}")],
    });
    let mixer = TestMixer::allowing(nothing(), &[document.to_string()]).await;
    let mut config = config(&mixer, ([127, 0, 0, 1], 1).into());
    config.dns = Some(dns(last.clone(), 1).await);
    let proxy = start(config).await;
    assert_eq!(body(&ask(&proxy).await), "old\n");

    // A request whose body is on its way while the address changes.
    let mut held = TcpStream::connect(proxy.outbound().unwrap()).await.unwrap();
    let begun = "POST /echo HTTP/1.1\r\nhost: reviews.shop\r\nconnection: close\r\ncontent-length: 6\r\n\r\nbeg";
    held.write_all(begun.as_bytes()).await.unwrap();
    assert_eq!(status(&head(&mut held).await), 200);
    last.store(2, Ordering::SeqCst);
    soon(async { while body(&ask(&proxy).await) != "new\n" {} }).await;
    held.write_all(b"un!").await.unwrap();
    let mut rest = Vec::new();
    soon(tokio::io::AsyncReadExt::read_to_end(&mut held, &mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b"begun!");
    assert!(!new.seen().is_empty());
}
