//! What routes do with calls of gRPC and their streams: refused ones are tried again, deadlines are told; and how many copies of
//! requests there may be.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use serde_json::{Value, json};

use crate::app::{empty, http2};
use crate::mixer::{TestMixer, nothing};
use crate::raw::{RawApp, spawn, status};
use crate::routes::{ask, caller, metric};
use crate::{config, soon, start};

/// A gRPC server that refuses the first `refused` streams; the deadlines that calls came with.
async fn server(refused: usize) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = seen.clone();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = noted.clone();
            spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let deadline = request.headers().get("grpc-timeout");
                    let deadline = deadline.map_or("none", |value| value.to_str().unwrap());
                    let before = {
                        let mut noted = noted.lock().unwrap();
                        noted.push(deadline.to_owned());
                        noted.len() - 1
                    };
                    if before < refused {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                        continue;
                    }
                    let response = Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "0")
                        .body(())
                        .unwrap();
                    let _ = respond.send_response(response, true);
                }
            });
        }
    });
    (address, seen)
}

/// The `grpc-status` of a call, with a deadline of its own or none.
async fn call(proxy: &mixer_proxy::Running, deadline: Option<&str>) -> String {
    let mut sender = http2(proxy.outbound().unwrap()).await;
    let mut call =
        Request::post("http://reviews.shop/a.B/C").header("content-type", "application/grpc");
    if let Some(deadline) = deadline {
        call = call.header("grpc-timeout", deadline);
    }
    let answer = soon(sender.send_request(call.body(empty()).unwrap())).await;
    answer.unwrap().headers()["grpc-status"]
        .to_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_where_the_route_says_so() {
    let retried = |when: &str| json!([{ "retry": { "when": [when], "extra": 2 } }]);
    for (rules, refused, expected, tries) in [
        (retried("refused-stream"), 2, "0", 3),
        (retried("reset"), 1, "0", 2),
        (retried("refused-stream"), 3, "14", 3),
        (retried("connect-failure"), 1, "14", 1),
        (json!([{ "timeout": "1h" }]), 1, "14", 1),
    ] {
        let (address, seen) = server(refused).await;
        let (_mixer, proxy) = caller(&[("v1", address)], rules.clone()).await;
        assert_eq!(call(&proxy, None).await, expected, "{rules}");
        assert_eq!(seen.lock().unwrap().len(), tries, "{rules}");
        let retries = metric(&proxy, "route_retries").await;
        assert_eq!(retries, tries as u64 - 1, "{rules}");
    }
}

#[tokio::test]
async fn the_server_is_told_the_shorter_of_the_routes_time_and_the_callers() {
    let (address, seen) = server(0).await;
    let (_mixer, proxy) = caller(&[("v1", address)], json!([{ "timeout": "1h" }])).await;
    for deadline in [None, Some("2H"), Some("30M"), Some("nonsense")] {
        assert_eq!(call(&proxy, deadline).await, "0");
    }
    let told = ["3600000m", "3600000m", "30M", "3600000m"];
    assert_eq!(*seen.lock().unwrap(), told);

    // Without a route the caller's own word is passed on.
    let (address, seen) = server(0).await;
    let (_mixer, proxy) = caller(&[("v1", address)], json!([{ "to": { "v1": 100 } }])).await;
    for deadline in [None, Some("2H")] {
        assert_eq!(call(&proxy, deadline).await, "0");
    }
    assert_eq!(*seen.lock().unwrap(), ["none", "2H"]);
}

#[tokio::test]
async fn so_many_copies_are_in_flight_and_others_are_left_out() {
    let app = RawApp::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    // It never answers.
    let silent = RawApp::answering("").await;
    let service = json!({
        "service": "reviews.shop",
        "endpoints": [app.address.to_string()],
        "subsets": { "copies": { "endpoints": [silent.address.to_string()] } },
    });
    let route: Value =
        json!({ "route": "r", "for": "always", "rules": [{ "mirror": { "to": "copies" } }] });
    let documents = [service.to_string(), route.to_string()];
    let mixer = TestMixer::allowing(nothing(), &documents).await;
    let mut config = config(&mixer, ([127, 0, 0, 1], 1).into());
    config.limits.mirrors = 2;
    let proxy = start(config).await;
    for _ in 0..5 {
        assert_eq!(status(&ask(&proxy, "/", "").await), 200);
    }
    assert_eq!(metric(&proxy, "route_mirrors_dropped").await, 3);
    let mut copies = 0;
    soon(async {
        while copies < 2 {
            copies += silent.heads().len();
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(copies, 2);
    assert_eq!(app.heads().len(), 5);
}
