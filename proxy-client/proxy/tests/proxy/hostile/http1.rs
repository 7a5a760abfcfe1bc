//! HTTP/1: the table of `http1.txt`, limits, and pieces.

use mixer_runtime::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::Wire;
use crate::mixer::{TestMixer, nothing};
use crate::raw::{get, send, status};
use crate::{config, soon, start};

const NEXT: &str = "GET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    answer: &'static str,
    seen: &'static str,
}

fn rows() -> Vec<Row> {
    include_str!("http1.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            let [name, bytes, answer, seen] = cells[..] else {
                panic!("four cells: {line}");
            };
            Row {
                name,
                bytes: unescape(bytes),
                answer,
                seen,
            }
        })
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'"' => b'"',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("no escape: {}", char::from(other)),
            },
            byte => byte,
        });
    }
    bytes
}

/// The statuses of all responses on a connection, or that it was closed without one.
fn answers(response: &str) -> String {
    let statuses: Vec<&str> = response
        .match_indices("HTTP/1.1 ")
        .map(|(at, found)| &response[at + found.len()..][..3])
        .collect();
    if statuses.is_empty() {
        return "close".to_owned();
    }
    statuses.join(" ")
}

/// What is wrong, if anything.
fn judge(row: &Row, answer: &str, wire: &Wire) -> Option<String> {
    let seen = wire.seen();
    let lines: Vec<String> = seen.iter().map(|request| request.line()).collect();
    let lines = if lines.is_empty() {
        "-".to_owned()
    } else {
        lines.join(", ")
    };
    println!("{:45} {answer:8} {lines}", row.name);
    let arrived = format!("{seen:?}").contains("evil");
    (answer != row.answer || lines != row.seen || arrived).then(|| {
        format!(
            "{}: {answer}, not {}; the application saw {lines}, not {}: {seen:?}",
            row.name, row.answer, row.seen
        )
    })
}

#[tokio::test]
async fn hostile_requests_are_one_request_or_none() {
    let wire = Wire::start().await;
    let mixer = TestMixer::allowing(crate::mixer::scope(), &[]).await;
    let proxy = start(config(&mixer, wire.address)).await;
    let mut wrong = Vec::new();
    let rows = rows();
    assert!(rows.len() >= 60, "{}", rows.len());
    println!(
        "{} hostile HTTP/1 requests: answer, what the application saw",
        rows.len()
    );
    for row in &rows {
        let sent = [&*row.bytes, NEXT.as_bytes()].concat();
        let response = send(proxy.inbound().unwrap(), sent).await;
        wrong.extend(judge(row, &answers(&response), &wire));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn it_is_the_same_in_however_small_pieces_they_come() {
    let wire = Wire::start().await;
    let mixer = TestMixer::allowing(crate::mixer::scope(), &[]).await;
    let proxy = start(config(&mixer, wire.address)).await;
    let mut wrong = Vec::new();
    for row in &rows() {
        let stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let sent = [&*row.bytes, NEXT.as_bytes()].concat();
        let write = async move {
            for piece in sent.chunks(1) {
                // The proxy may have closed it by now.
                if writer.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            writer
        };
        let read = async move {
            let mut response = Vec::new();
            let _ = reader.read_to_end(&mut response).await;
            String::from_utf8_lossy(&response).into_owned()
        };
        let both = async { tokio::join!(write, read) };
        let both = tokio::time::timeout(std::time::Duration::from_secs(30), both);
        let Ok((_writer, response)) = both.await else {
            wrong.push(format!("{}: hangs", row.name));
            continue;
        };
        let answer = answers(&response);
        // Bytes that came after the answer make a reset, which may overtake it.
        let reset = answer == "close" && row.answer.starts_with('4');
        let judged = if reset { row.answer } else { &answer };
        wrong.extend(judge(row, judged, &wire));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Requests of which bytes are taken away, doubled, or replaced by those that end lines, names and sizes.
fn mutated(random: &Random) -> Vec<u8> {
    const SEEDS: [&str; 4] = [
        "GET /seed HTTP/1.1\r\nhost: a\r\nx: b\r\n\r\n",
        "POST /seed HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\nhello hello",
        "POST /seed HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\nx\r\n0\r\nx: y\r\n\r\n",
        "POST /seed HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    ];
    const NASTY: &[u8] = b"\r\n\n\r \t\0:;,-+0159afx\x0b\x7f\xff_#\"";
    let below = |count: usize| (random.next() % count as u64) as usize;
    let mut bytes = SEEDS[below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=below(3) {
        let at = below(bytes.len());
        match below(4) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, bytes[at]),
            2 => bytes.insert(at, NASTY[below(NASTY.len())]),
            _ => bytes[at] = NASTY[below(NASTY.len())],
        }
    }
    bytes
}

#[tokio::test]
async fn whatever_the_bytes_each_request_of_the_application_is_one_of_the_caller() {
    let wire = Wire::start().await;
    let mixer = TestMixer::allowing(crate::mixer::scope(), &[]).await;
    let proxy = start(config(&mixer, wire.address)).await;
    let random = Random::from_seed(7);
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..1_500 {
        let bytes = mutated(&random);
        let sent = [&*bytes, NEXT.as_bytes()].concat();
        let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        // Or a length that promises more than comes would wait for it.
        stream.shutdown().await.unwrap();
        let mut response = Vec::new();
        let _ = soon(stream.read_to_end(&mut response)).await;
        let response = String::from_utf8_lossy(&response);
        let answered = response.matches("HTTP/1.1 200 OK").count();
        let seen = wire.seen();
        assert!(
            seen.len() <= 2 && (seen.len() == answered || response.is_empty()),
            "{}: {response}, {seen:?}",
            bytes.escape_ascii()
        );
        passed += seen.len();
        refused += usize::from(response.contains("HTTP/1.1 400"));
    }
    println!("{passed} requests passed, {refused} callers refused");
    assert!(passed > 100 && refused > 100, "{passed}, {refused}");
}

#[tokio::test]
async fn heads_have_their_bounds() {
    let wire = Wire::start().await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, wire.address);
    config.limits.headers = 20;
    let proxy = start(config).await;
    let to = proxy.inbound().unwrap();
    let fields = |count: usize| "x: 1\r\n".repeat(count);
    for (name, request, code) in [
        ("as many headers", get("/", &fields(18)), 200),
        ("one header more", get("/", &fields(19)), 431),
        (
            "a long value",
            get("/", &format!("x: {}\r\n", "a".repeat(65 << 10))),
            431,
        ),
        (
            "a long name",
            get("/", &format!("{}: x\r\n", "a".repeat(65 << 10))),
            431,
        ),
        (
            "a long target",
            get(&format!("/{}", "a".repeat(65_534)), ""),
            431,
        ),
        (
            "a longer target",
            get(&format!("/{}", "a".repeat(70 << 10)), ""),
            431,
        ),
        (
            "a target below",
            get(&format!("/{}", "a".repeat(60 << 10)), ""),
            200,
        ),
    ] {
        let sent = request + NEXT;
        // What is not read any more makes a reset, which may overtake the answer.
        let answered = async {
            loop {
                let response = send(to, &sent).await;
                if !response.is_empty() {
                    return response;
                }
            }
        };
        let response = soon(answered).await;
        println!("{name:45} {}", answers(&response));
        assert_eq!(status(&response), code, "{name}");
        let seen = wire.seen();
        assert_eq!(seen.len(), usize::from(code == 200), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_the_origin_is_passed_on() {
    let wire = Wire::start().await;
    let mesh = r#"{"mesh":{"client_ip":{"header":"x-forwarded-for","trusted":["127.0.0.0/8"]}}}"#;
    let mixer = TestMixer::allowing(nothing(), &[mesh.to_owned()]).await;
    let proxy = start(config(&mixer, wire.address)).await;
    let claims = "x-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\nforwarded: for=1.2.3.4\r\nx-mixer-a: b\r\n";
    assert_eq!(
        status(&send(proxy.inbound().unwrap(), get("/", claims)).await),
        200
    );
    let head = wire.seen().remove(0).head;
    for kept in [
        "x-forwarded-for: 1.2.3.4",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        "forwarded: for=1.2.3.4",
    ] {
        assert!(head.contains(kept), "{kept}: {head}");
    }
    assert!(!head.contains("x-mixer"), "{head}");
}

#[tokio::test]
async fn the_application_reads_the_body_that_was_sent() {
    let wire = Wire::start().await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, wire.address)).await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 20\r\n\r\nGET /body HTTP/1.1\r\n";
    send(proxy.inbound().unwrap(), request).await;
    let seen = wire.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, b"GET /body HTTP/1.1\r\n");
}
