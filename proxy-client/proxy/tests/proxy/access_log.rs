//! The access log, as a process writes it.

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::app::{App, empty, http2};
use crate::mixer::{TestMixer, deny, nothing, scope};
use crate::process::Sidecar;
use crate::raw::{RawApp, get, send, status};
use crate::{config, soon, start};
use mixer_proto::v1::Because;
use mixer_proxy::{AccessLog, LogFormat, LogTo};

/// The log of a proxy in this process.
struct Log {
    directory: TempDir,
}

impl Log {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn config(&self, format: LogFormat) -> Option<AccessLog> {
        let to = LogTo::File(self.directory.path().join("access.log"));
        Some(AccessLog { to, format })
    }

    fn text(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("access.log"));
        text.unwrap_or_default()
    }

    /// Waits until so many lines are there.
    async fn lines(&self, count: usize) -> Vec<Value> {
        soon(async {
            while self.text().lines().count() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let text = self.text();
        assert_eq!(text.lines().count(), count, "{text}");
        let parsed = text.lines().map(serde_json::from_str);
        parsed.collect::<Result<_, _>>().unwrap()
    }
}

#[tokio::test]
async fn both_sides_log_every_request_and_how_it_ended() {
    let log = Log::new();
    let (app, reviews) = (App::start().await, App::start().await);
    let (_held, gone) = crate::raw::refusing();
    let documents = [
        format!(r#"{{"service":"reviews.shop","endpoints":["{}"]}}"#, reviews.address),
        format!(r#"{{"service":"gone.shop","endpoints":["{gone}"]}}"#),
        r#"{"mesh":{"outbound":"deny"}}"#.to_owned(),
        r#"{"route":"calm","for":"destination.service == \"reviews.shop\"","rules":[{"timeout":"1h"}]}"#.to_owned(),
    ];
    let mixer = TestMixer::start(scope(), &documents, |asked| {
        match asked.get("request.path").map(String::as_str) {
            Some("/denied") => deny(Because::Matched, 403, 7, "no"),
            _ => crate::mixer::allow(),
        }
    })
    .await;
    let mut config = config(&mixer, app.address);
    config.access_log = log.config(LogFormat::Json);
    let proxy = start(config).await;
    let (inbound, outbound) = (proxy.inbound().unwrap(), proxy.outbound().unwrap());

    let more = "user-agent: test\r\nx-request-id: r1\r\nx-forwarded-for: 1.2.3.4\r\n";
    let echo = format!(
        "POST /echo?token=s3cret HTTP/1.1\r\nhost: products\r\nconnection: close\r\ncontent-length: 5\r\n{more}\r\nhello"
    );
    assert_eq!(status(&send(inbound, echo).await), 200);
    send(inbound, get("/denied", "")).await;
    send(
        inbound,
        "GET /twice HTTP/1.1\r\nhost: u:s3cret@a\r\nhost: b\r\n\r\n",
    )
    .await;
    for host in ["reviews.shop", "gone.shop", "other"] {
        let asked = format!("GET /{host} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        send(outbound, asked).await;
    }
    let mut client = http2(outbound).await;
    let call = http::Request::post("http://reviews.shop/shop.Products/Get")
        .header("content-type", "application/grpc")
        .body(empty())
        .unwrap();
    let answer = soon(client.send_request(call)).await.unwrap();
    soon(http_body_util::BodyExt::collect(answer.into_body()))
        .await
        .unwrap();

    let lines = log.lines(7).await;
    assert!(!log.text().contains("s3cret"), "{}", log.text());
    let found = |path: &str| {
        let found = lines.iter().find(|line| line["path"] == path);
        found.unwrap_or_else(|| panic!("no {path} in {lines:?}"))
    };
    let brief = |path: &str| {
        let line = found(path);
        let text = |name: &str| line[name].as_str().unwrap_or("null").to_owned();
        (
            text("reporter"),
            line["response_code"].as_u64().unwrap(),
            text("response_flags"),
            text("upstream_cluster"),
            text("upstream_host"),
        )
    };
    let expected =
        |side: &str, code, flags: &str, service: &str, upstream: Option<std::net::SocketAddr>| {
            let upstream = upstream.map_or("null".to_owned(), |upstream| upstream.to_string());
            (
                side.to_owned(),
                code,
                flags.to_owned(),
                service.to_owned(),
                upstream,
            )
        };
    let products = "products.shop";
    assert_eq!(
        brief("/echo"),
        expected("destination", 200, "-", products, Some(app.address))
    );
    assert_eq!(
        brief("/denied"),
        expected("destination", 403, "UAEX", products, None)
    );
    assert_eq!(
        brief("/twice"),
        expected("destination", 400, "DPE", products, None)
    );
    assert_eq!(
        brief("/reviews.shop"),
        expected("source", 200, "-", "reviews.shop", Some(reviews.address))
    );
    assert_eq!(
        brief("/gone.shop"),
        expected("source", 503, "UF", "gone.shop", Some(gone))
    );
    assert_eq!(brief("/other"), expected("source", 403, "NR", "null", None));
    let echo = found("/echo");
    assert_eq!(
        [
            &echo["method"],
            &echo["protocol"],
            &echo["user_agent"],
            &echo["request_id"],
            &echo["authority"]
        ],
        ["POST", "HTTP/1.1", "test", "r1", "products"]
    );
    assert_eq!(
        (&echo["bytes_received"], &echo["bytes_sent"]),
        (&5.into(), &5.into())
    );
    assert_eq!(echo["x_forwarded_for"], Value::Null, "a stranger's word");
    assert!(echo["upstream_service_time"].is_u64());
    assert_eq!(found("/reviews.shop")["route_name"], "calm");
    let call = found("/shop.Products/Get");
    assert_eq!(
        (
            &call["protocol"],
            &call["grpc_status"],
            &call["response_code"]
        ),
        (&"HTTP/2".into(), &0.into(), &200.into())
    );
}

#[tokio::test]
async fn a_connection_that_is_not_http_is_a_line_when_it_is_over() {
    let log = Log::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let service = r#"{"service":"products.shop","protocol":"tcp"}"#.to_owned();
    let mixer = TestMixer::allowing(nothing(), &[service]).await;
    let mut config = config(&mixer, server);
    config.access_log = log.config(LogFormat::Json);
    let proxy = start(config).await;
    let mut caller = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    stream.write_all(b"220 ready\r\n").await.unwrap();
    drop(stream);
    let mut greeting = Vec::new();
    soon(caller.read_to_end(&mut greeting)).await.unwrap();
    let peer = caller.local_addr().unwrap().to_string();
    drop(caller);
    let line = log.lines(1).await.remove(0);
    assert_eq!(line["bytes_sent"], 11);
    assert_eq!(line["upstream_host"], server.to_string());
    assert_eq!(line["downstream_remote_address"], peer);
    assert_eq!(
        (&line["method"], &line["response_code"]),
        (&Value::Null, &0.into())
    );
}

#[tokio::test]
async fn who_broke_off_is_told_apart() {
    let log = Log::new();
    let silent = RawApp::answering("").await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, silent.address);
    config.access_log = log.config(LogFormat::Json);
    config.limits.stalled = std::time::Duration::from_millis(50);
    config.limits.drain = std::time::Duration::from_millis(50);
    let proxy = start(config).await;
    let inbound = proxy.inbound().unwrap();
    let begin = async |path: &str, more: &str| {
        let mut stream = TcpStream::connect(inbound).await.unwrap();
        let asked = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        soon(async {
            while silent.heads().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stream
    };
    drop(begin("/left", "").await);
    log.lines(1).await;
    // It says that a body comes, and sends none.
    let _stalled = begin("/stalled", "content-length: 9\r\n").await;
    log.lines(2).await;
    let _held = begin("/cut", "").await;
    soon(proxy.shutdown()).await;
    let lines = log.lines(3).await;
    let flags: Vec<_> = lines
        .iter()
        .map(|line| (&line["path"], &line["response_flags"]))
        .collect();
    assert_eq!(
        flags,
        [
            (&"/left".into(), &"DC".into()),
            (&"/stalled".into(), &"SI".into()),
            (&"/cut".into(), &"LR".into())
        ]
    );
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_opened_anew_on_a_signal() {
    let app = App::start().await;
    let directory = tempfile::tempdir().unwrap();
    let (file, moved) = (directory.path().join("log"), directory.path().join("log.1"));
    let flags = ["--access-log", file.to_str().unwrap()];
    let mut sidecar = Sidecar::start_with(app.address, "service: products.shop\n", &flags);
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    send(sidecar.inbound, get("/before", "")).await;
    soon(async {
        while !read(&file).contains("\"GET /before HTTP/1.1\" 200 - 0 6 ") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    std::fs::rename(&file, &moved).unwrap();
    sidecar.signal("USR1");
    soon(async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    send(sidecar.inbound, get("/after", "")).await;
    soon(async {
        while !read(&file).contains("GET /after ") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(read(&moved).lines().count(), 1);
    let metrics = send(sidecar.admin, get("/metrics", "")).await;
    for line in [
        "mixer_proxy_access_log_lines_total 2",
        "mixer_proxy_access_log_lines_dropped_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    send(sidecar.inbound, get("/last", "")).await;
    sidecar.terminate();
    assert!(sidecar.wait());
    assert!(read(&file).contains("GET /last "), "the end loses nothing");
}

#[test]
fn a_file_that_cannot_be_had_is_said_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("s.yaml"), "service: a.b\n").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mixer-proxy"))
        .args([
            "--outbound",
            "127.0.0.1:0",
            "--access-log",
            "/nowhere/log",
            "--documents",
        ])
        .arg(directory.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("access log") && error.contains("/nowhere/log"),
        "{error}"
    );
}
