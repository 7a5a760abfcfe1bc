//! Bodies of any size in memory of one size.
//!
//! `MIXER_BODY_MIB=1024 cargo test -p mixer-proxy --test proxy bulk -- --nocapture` carries a gigabyte each way, which takes a
//! minute.

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{App, http2};
use crate::process::Sidecar;

const CHUNK: usize = 64 << 10;
/// How much the memory may grow.
const GROWTH: u64 = 64 << 20;

/// A body of so many bytes, up and back.
async fn http1_echo(sidecar: &Sidecar, bytes: usize) {
    let stream = TcpStream::connect(sidecar.inbound).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let send = async move {
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).await.unwrap();
        let chunk = vec![7; CHUNK];
        for _ in 0..bytes / CHUNK {
            writer.write_all(&chunk).await.unwrap();
        }
        writer
    };
    let receive = async move {
        let (mut count, mut chunk) = (0, vec![0; CHUNK]);
        loop {
            match reader.read(&mut chunk).await.unwrap() {
                0 => return count,
                read => count += read,
            }
        }
    };
    let (_writer, count) = tokio::join!(send, receive);
    assert!((bytes..bytes + 1_000).contains(&count), "{count}");
}

async fn http2_echo(sidecar: &Sidecar, bytes: usize) {
    let mut client = http2(sidecar.inbound).await;
    let chunk = Bytes::from(vec![7; CHUNK]);
    let body = (0..bytes / CHUNK).map(move |_| Ok(Frame::data(chunk.clone())));
    let request = Request::post("http://a/echo")
        .body(StreamBody::new(tokio_stream::iter(body)).boxed())
        .unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        count += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(count, bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_needs_no_more_memory_than_a_small_one() {
    let mebibytes = std::env::var("MIXER_BODY_MIB").map_or(64, |size| size.parse().unwrap());
    let bytes = mebibytes << 20;
    let app = App::start().await;
    for protocol in ["http", "http2"] {
        let documents = format!("service: products.shop\nprotocol: {protocol}\n");
        let sidecar = Sidecar::start(app.address, &documents);
        http1_echo(&sidecar, CHUNK).await;
        http2_echo(&sidecar, CHUNK).await;
        let memory = sidecar.memory();
        sidecar.peak();
        http1_echo(&sidecar, bytes).await;
        http2_echo(&sidecar, bytes).await;
        let grown = sidecar.peak().saturating_sub(memory);
        println!(
            "{} MiB both ways over HTTP/1 and HTTP/2 to {protocol}: {} KiB more memory",
            bytes >> 20,
            grown >> 10
        );
        assert!(grown < GROWTH, "{protocol}: {} KiB", grown >> 10);
    }
}
