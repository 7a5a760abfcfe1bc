//! Routes, carried out between real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{App, empty, frames, http2};
use crate::mixer::{TestMixer, nothing};
use crate::raw::{RawApp, body, get, header, send, spawn, status};
use crate::{config, soon, start};

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A proxy for callers of `reviews.shop`, whose subsets are at `subsets` and whose route has these rules.
pub(crate) async fn caller(
    subsets: &[(&str, std::net::SocketAddr)],
    rules: Value,
) -> (TestMixer, mixer_proxy::Running) {
    let named: serde_json::Map<String, Value> = subsets
        .iter()
        .map(|(name, address)| {
            (
                name.to_string(),
                json!({ "endpoints": [address.to_string()] }),
            )
        })
        .collect();
    let service = json!({
        "service": "reviews.shop",
        "endpoints": [subsets[0].1.to_string()],
        "subsets": named,
    });
    let route = json!({
        "route": "reviews",
        "for": "destination.service == \"reviews.shop\"",
        "rules": rules,
    });
    let mixer = TestMixer::allowing(nothing(), &[service.to_string(), route.to_string()]).await;
    let proxy = start(config(&mixer, ([127, 0, 0, 1], 1).into())).await;
    (mixer, proxy)
}

fn request(path: &str, more: &str) -> String {
    get(path, more).replace("host: products", "host: reviews.shop")
}

pub(crate) async fn ask(proxy: &mixer_proxy::Running, path: &str, more: &str) -> String {
    send(proxy.outbound().unwrap(), request(path, more)).await
}

pub(crate) async fn metric(proxy: &mixer_proxy::Running, name: &str) -> u64 {
    let page = send(proxy.admin().unwrap(), get("/metrics", "")).await;
    let line = body(&page)
        .lines()
        .find_map(|line| line.strip_prefix(&format!("mixer_proxy_{name}_total ")));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .parse()
        .unwrap()
}

/// Asks `count` times on one connection; the statuses, and the values of `x-app`.
async fn many(proxy: &mixer_proxy::Running, count: usize, more: &str) -> Vec<(u16, String)> {
    let mut stream = TcpStream::connect(proxy.outbound().unwrap()).await.unwrap();
    let one = format!("GET / HTTP/1.1\r\nhost: reviews.shop\r\n{more}\r\n");
    let mut answers = Vec::new();
    for _ in 0..count {
        stream.write_all(one.as_bytes()).await.unwrap();
        let head = crate::raw::head(&mut stream).await;
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await.unwrap();
        let called = header(&head, "x-app").unwrap_or_default().to_owned();
        answers.push((status(&head), called));
    }
    answers
}

/// Chi-square of what was seen against the shares in percent.
fn chi_square(seen: &[usize], shares: &[f64]) -> f64 {
    let all: usize = seen.iter().sum();
    let pairs = seen.iter().zip(shares);
    pairs
        .map(|(seen, share)| {
            let expected = all as f64 * share / 100.0;
            (*seen as f64 - expected).powi(2) / expected
        })
        .sum()
}

/// Answers 200 under a name.
async fn named(name: &'static str) -> RawApp {
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-app: {name}\r\n\r\n");
    RawApp::answering(text.leak()).await
}

#[tokio::test]
async fn a_split_is_as_its_weights_say() {
    let (one, two, three) = (named("v1").await, named("v2").await, named("v3").await);
    let subsets = [
        ("v1", one.address),
        ("v2", two.address),
        ("v3", three.address),
    ];
    let (_mixer, proxy) =
        caller(&subsets, json!([{ "to": { "v1": 70, "v2": 25, "v3": 5 } }])).await;
    let answers = many(&proxy, 20_000, "").await;
    let seen = |name: &str| answers.iter().filter(|(_, app)| app == name).count();
    let seen = [seen("v1"), seen("v2"), seen("v3")];
    assert_eq!(seen.iter().sum::<usize>(), 20_000);
    // Two degrees of freedom: one run in 100,000 is above by chance.
    let chi_square = chi_square(&seen, &[70.0, 25.0, 5.0]);
    assert!(chi_square < 23.0, "{seen:?}: {chi_square}");
}

#[tokio::test]
async fn faults_hit_the_share_that_they_are_for() {
    let app = named("v1").await;
    let (_mixer, proxy) = caller(
        &[("v1", app.address)],
        json!([{ "fault": [
            { "abort": 418, "percent": "10%" },
            { "abort": 503, "when": "request.headers[?\"x-drill\"].orValue(\"\") == \"yes\"" },
        ] }]),
    )
    .await;
    let answers = many(&proxy, 20_000, "").await;
    let failed = answers.iter().filter(|(status, _)| *status == 418).count();
    let chi_square = chi_square(&[failed, 20_000 - failed], &[10.0, 90.0]);
    // One degree of freedom: one run in 100,000 is above by chance.
    assert!(chi_square < 19.5, "{failed}: {chi_square}");
    assert_eq!(metric(&proxy, "route_aborts").await, failed as u64);
    assert_eq!(app.heads().len(), 20_000 - failed);
    for (status, _) in many(&proxy, 20, "x-drill: yes\r\n").await {
        assert!(status == 503 || status == 418, "{status}");
    }
    assert!(app.heads().is_empty());
}

#[tokio::test]
async fn a_sticky_split_sends_a_value_to_one_subset_and_keeps_the_weights() {
    let (one, two) = (named("v1").await, named("v2").await);
    let (_mixer, proxy) = caller(
        &[("v1", one.address), ("v2", two.address)],
        json!([{ "to": { "v1": 70, "v2": 30 }, "sticky": "request.headers[\"x-user\"]" }]),
    )
    .await;
    let mut seen = [0, 0];
    for user in 0..400 {
        let answers = many(&proxy, 3, &format!("x-user: u{user}\r\n")).await;
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
        seen[usize::from(answers[0].1 == "v2")] += 1;
    }
    let chi_square = chi_square(&seen, &[70.0, 30.0]);
    assert!(chi_square < 19.5, "{seen:?}: {chi_square}");
}

#[tokio::test]
async fn the_first_rule_that_matches_decides() {
    let (one, two) = (named("v1").await, named("v2").await);
    let (_mixer, proxy) = caller(
        &[("v1", one.address), ("v2", two.address)],
        json!([
            { "when": "request.headers[?\"x-tester\"].orValue(\"\") == \"yes\"", "to": { "v2": 100 } },
            { "when": "request.path.startsWith(\"/old/\")",
              "redirect": { "location": "https://{request.host}/new", "status": 308 } },
            { "to": { "v1": 100 } },
        ]),
    )
    .await;
    let called = async |path: &str, more: &str| {
        let answer = ask(&proxy, path, more).await;
        header(&answer, "x-app").map(str::to_owned)
    };
    assert_eq!(
        called("/", "x-tester: yes\r\n").await.as_deref(),
        Some("v2")
    );
    assert_eq!(called("/", "").await.as_deref(), Some("v1"));
    let moved = ask(&proxy, "/old/x", "").await;
    assert_eq!(status(&moved), 308);
    assert_eq!(header(&moved, "location"), Some("https://reviews.shop/new"));
    // Rules read the path: an ambiguous one is refused.
    assert_eq!(status(&ask(&proxy, "/old%2fx", "").await), 400);
}

#[tokio::test]
async fn retries_stay_within_their_budget() {
    let broken = RawApp::answering(UNAVAILABLE).await;
    let (_mixer, proxy) = caller(
        &[("v1", broken.address)],
        json!([{ "retry": { "when": ["503"], "extra": 3, "budget": { "share": "20%", "floor": 0 } } }]),
    )
    .await;
    for (status, _) in many(&proxy, 500, "").await {
        assert_eq!(status, 503);
    }
    let sent = broken.heads().len();
    assert!((501..=600).contains(&sent), "{sent}");
    assert_eq!(metric(&proxy, "route_retries").await, sent as u64 - 500);
    assert!(metric(&proxy, "route_retries_refused").await >= 400);
}

#[tokio::test]
async fn a_server_that_fails_now_and_then_is_asked_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let (address, counted) = (flaky(count.clone(), 1).await, count);
    let (_mixer, proxy) = caller(
        &[("v1", address)],
        json!([{ "retry": { "when": ["gateway-error"], "extra": 1 } }]),
    )
    .await;
    assert_eq!(status(&ask(&proxy, "/", "").await), 200);
    assert_eq!(counted.load(Ordering::Relaxed), 2);
    // POST is not among the methods.
    counted.store(0, Ordering::Relaxed);
    let post = request("/", "content-length: 0\r\n").replace("GET ", "POST ");
    assert_eq!(status(&send(proxy.outbound().unwrap(), post).await), 503);
    assert_eq!(counted.load(Ordering::Relaxed), 1);
}

/// Answers 503 to the first `failures` requests, 200 to others.
async fn flaky(count: Arc<AtomicUsize>, failures: usize) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            spawn(async move {
                loop {
                    let head = crate::raw::head(&mut stream).await;
                    if head.is_empty() {
                        return;
                    }
                    let length: usize =
                        header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                    let mut content = vec![0; length];
                    stream.read_exact(&mut content).await.unwrap();
                    let before = count.fetch_add(1, Ordering::Relaxed);
                    let answer = if before < failures { UNAVAILABLE } else { FINE };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_body_is_sent_again_up_to_a_bound() {
    for (size, code, tries) in [(60 << 10, 200, 2), (80 << 10, 503, 1)] {
        let count = Arc::new(AtomicUsize::new(0));
        let address = flaky(count.clone(), 1).await;
        let (_mixer, proxy) = caller(
            &[("v1", address)],
            json!([{ "retry": { "when": ["5xx"], "methods": ["PUT"] } }]),
        )
        .await;
        let put = request("/", &format!("content-length: {size}\r\n")).replace("GET ", "PUT ");
        let put = put + &"x".repeat(size);
        assert_eq!(status(&send(proxy.outbound().unwrap(), put).await), code);
        assert_eq!(count.load(Ordering::Relaxed), tries, "{size}");
    }
}

#[tokio::test]
async fn no_connection_and_no_answer_are_retried_where_the_route_says_so() {
    let (_held, down) = crate::raw::refusing();
    let up = named("up").await;
    let service = json!({
        "service": "reviews.shop",
        "endpoints": [down.to_string()],
        "subsets": { "v1": { "endpoints": [up.address.to_string()] } },
    });
    let route = json!({ "route": "r", "for": "always", "rules": [
        { "when": "request.path == \"/mute\"", "timeout": "50ms" },
        { "retry": { "when": ["connect-failure"], "extra": 2, "budget": { "floor": 100 } } },
    ] });
    let mixer = TestMixer::allowing(nothing(), &[service.to_string(), route.to_string()]).await;
    let proxy = start(config(&mixer, ([127, 0, 0, 1], 1).into())).await;
    assert_eq!(status(&ask(&proxy, "/", "").await), 503);
    assert_eq!(metric(&proxy, "route_retries").await, 2);
}

#[tokio::test]
async fn a_server_that_is_silent_is_given_up_at_the_timeout() {
    // Accepts, and never answers.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let (_mixer, proxy) = caller(
        &[("v1", address)],
        json!([
            { "when": "request.path == \"/again\"", "retry": { "when": ["reset"], "per_try": "30ms" } },
            { "timeout": "50ms" },
        ]),
    )
    .await;
    let late = ask(&proxy, "/", "").await;
    assert_eq!(status(&late), 504, "{late}");
    assert_eq!(metric(&proxy, "route_timeouts").await, 1);
    assert_eq!(status(&ask(&proxy, "/again", "").await), 504);
    assert_eq!(metric(&proxy, "route_retries").await, 1);
    let mut sender = http2(proxy.outbound().unwrap()).await;
    let call = Request::post("http://reviews.shop/a.B/C")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "20m")
        .body(empty())
        .unwrap();
    let answer = soon(sender.send_request(call)).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &"4".parse().unwrap())
    );
}

/// A gRPC server that answers `answers` in turn, as trailers only; what the calls said of earlier tries.
async fn grpc(
    answers: Vec<Vec<(&'static str, &'static str)>>,
) -> (
    std::net::SocketAddr,
    Arc<std::sync::Mutex<Vec<(String, usize)>>>,
) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<std::sync::Mutex<Vec<(String, usize)>>> = Arc::default();
    let noted = seen.clone();
    let answers = Arc::new(answers);
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (noted, answers) = (noted.clone(), answers.clone());
            spawn(async move {
                let service =
                    hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                        let (noted, answers) = (noted.clone(), answers.clone());
                        async move {
                            let before = request.headers().get("grpc-previous-rpc-attempts");
                            let before = before
                                .map_or("", |before| before.to_str().unwrap())
                                .to_owned();
                            let content = request.into_body().collect().await.unwrap().to_bytes();
                            let mut noted = noted.lock().unwrap();
                            let mut response =
                                http::Response::new(http_body_util::Empty::<Bytes>::new());
                            for (name, value) in &answers[noted.len().min(answers.len() - 1)] {
                                response.headers_mut().insert(*name, value.parse().unwrap());
                            }
                            noted.push((before, content.len()));
                            Ok::<_, std::convert::Infallible>(response)
                        }
                    });
                let _ =
                    hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                        .await;
            });
        }
    });
    (address, seen)
}

const KIND: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn grpc_calls_are_retried_by_status_and_servers_may_push_back() {
    let answer = |status, push_back: Option<&'static str>| {
        let mut answer = vec![KIND, ("grpc-status", status)];
        answer.extend(push_back.map(|after| ("grpc-retry-pushback-ms", after)));
        answer
    };
    let (first, again) = ((String::new(), 5), |before: &str| (before.to_owned(), 5));
    for (answers, code, tries) in [
        (
            vec![
                answer("14", None),
                answer("14", Some("1")),
                answer("0", None),
            ],
            "0",
            vec![first.clone(), again("1"), again("2")],
        ),
        (vec![answer("14", Some("-1"))], "14", vec![first.clone()]),
        (vec![answer("5", None)], "5", vec![first.clone()]),
    ] {
        let (address, seen) = grpc(answers).await;
        let (_mixer, proxy) = caller(
            &[("v1", address)],
            json!([{ "retry": { "when": ["unavailable"], "extra": 3 } }]),
        )
        .await;
        let mut sender = http2(proxy.outbound().unwrap()).await;
        let call = Request::post("http://reviews.shop/a.B/C")
            .header("content-type", "application/grpc")
            .body(frames(vec![Frame::data(Bytes::from_static(b"12345"))]))
            .unwrap();
        let answer = soon(sender.send_request(call)).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], code);
        assert_eq!(*seen.lock().unwrap(), tries, "{code}");
    }
}

#[tokio::test]
async fn a_mirror_gets_copies_and_its_failures_are_nobodys() {
    let (one, copies) = (App::called("one").await, App::called("copies").await);
    let (_held, down) = crate::raw::refusing();
    let (_mixer, proxy) = caller(
        &[("v1", one.address), ("v2", copies.address), ("down", down)],
        json!([
            { "when": "request.path == \"/down\"", "to": { "v1": 100 }, "mirror": { "to": "down" } },
            { "to": { "v1": 100 }, "mirror": { "to": "v2" } },
        ]),
    )
    .await;
    let post = request("/echo", "content-length: 5\r\n").replace("GET ", "POST ") + "hello";
    let answer = send(proxy.outbound().unwrap(), post).await;
    assert_eq!((status(&answer), body(&answer)), (200, "hello"));
    soon(async {
        while metric(&proxy, "route_mirrors").await < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let seen = copies.seen();
    assert_eq!(
        (seen.len(), &*seen[0].method, &*seen[0].uri),
        (1, "POST", "/echo")
    );
    assert_eq!(seen[0].headers["x-mirrored"], "1");
    assert_eq!(seen[0].headers["host"], "reviews.shop");
    assert!(!one.seen()[0].headers.contains_key("x-mirrored"));
    assert_eq!(body(&ask(&proxy, "/down", "").await), "one\n");
    soon(async {
        while metric(&proxy, "route_mirrors_failed").await < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn heads_are_changed_as_the_route_says() {
    let app = App::called("one").await;
    let (_mixer, proxy) = caller(
        &[("v1", app.address)],
        json!([{
            "headers": { "set": { "x-mesh": "1" }, "remove": ["x-debug"],
                         "response": { "set": { "x-served": "v1" }, "remove": ["x-app"] } },
            "rewrite": { "from": "/api", "prefix": "/v2", "host": "other.shop" },
            "fault": { "delay": "1ms" },
        }]),
    )
    .await;
    let answer = ask(&proxy, "/api/a%20b?q=%41", "x-debug: 1\r\nx-mesh: 0\r\n").await;
    assert_eq!(header(&answer, "x-served"), Some("v1"));
    assert_eq!(header(&answer, "x-app"), None);
    let seen = app.seen();
    assert_eq!(seen[0].uri, "/v2/a%20b?q=%41");
    assert_eq!(seen[0].headers["host"], "other.shop");
    assert_eq!(seen[0].headers["x-mesh"], "1");
    assert!(!seen[0].headers.contains_key("x-debug"));
    assert_eq!(metric(&proxy, "route_delays").await, 1);
}

#[tokio::test]
async fn a_try_that_fails_before_its_body_is_sent_leaves_the_whole_body_to_the_next() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let got: Arc<std::sync::Mutex<Vec<u8>>> = Arc::default();
    let noted = got.clone();
    spawn(async move {
        // The first connection answers the head alone, and is left to the proxy to close.
        let (mut first, _) = listener.accept().await.unwrap();
        crate::raw::head(&mut first).await;
        first.write_all(UNAVAILABLE.as_bytes()).await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        crate::raw::head(&mut second).await;
        let mut content = vec![0; 40_000];
        second.read_exact(&mut content).await.unwrap();
        *noted.lock().unwrap() = content;
        second.write_all(FINE.as_bytes()).await.unwrap();
        // Cut off, not ended: what the first got is less than the body.
        let mut rest = Vec::new();
        let _ = first.read_to_end(&mut rest).await;
        assert!(rest.len() < 40_000);
    });
    let (_mixer, proxy) = caller(
        &[("v1", address)],
        json!([{ "retry": { "when": ["503"], "methods": ["PUT"] } }]),
    )
    .await;
    let mut stream = TcpStream::connect(proxy.outbound().unwrap()).await.unwrap();
    let head = request("/", "content-length: 40000\r\n").replace("GET ", "PUT ");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'a'; 20_000]).await.unwrap();
    soon(async {
        while metric(&proxy, "route_retries").await < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stream.write_all(&[b'b'; 20_000]).await.unwrap();
    assert_eq!(status(&crate::raw::head(&mut stream).await), 200);
    let whole = [vec![b'a'; 20_000], vec![b'b'; 20_000]].concat();
    assert!(*got.lock().unwrap() == whole);
}
