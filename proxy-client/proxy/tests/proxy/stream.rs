//! Bodies stream: both ways at once, whole, and no faster than they are read.

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::app::http2;
use crate::mixer::{TestMixer, nothing};
use crate::{config, raw, shop, soon, start};

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 512;

#[tokio::test]
async fn a_large_body_goes_up_and_comes_back_whole() {
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(nothing(), &[]).await).await;
    let stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: products\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        CHUNK * CHUNKS
    );
    let send = async {
        writer.write_all(head.as_bytes()).await.unwrap();
        for number in 0..CHUNKS {
            writer.write_all(&vec![number as u8; CHUNK]).await.unwrap();
        }
    };
    let receive = async {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        all
    };
    let ((), all) = soon(async { tokio::join!(send, receive) }).await;
    let at = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = &all[at..];
    assert_eq!(body.len(), CHUNK * CHUNKS);
    assert!(
        body.chunks(CHUNK)
            .enumerate()
            .all(|(number, chunk)| chunk.iter().all(|byte| *byte == number as u8))
    );
}

#[tokio::test]
async fn a_large_body_streams_over_http2() {
    let service = r#"{"service":"products.shop","protocol":"http2"}"#.to_owned();
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(nothing(), &[service]).await).await;
    let mut client = http2(proxy.inbound().unwrap()).await;
    let chunk = Bytes::from(vec![7; CHUNK]);
    let body = tokio_stream::iter((0..CHUNKS).map(move |_| Ok(Frame::data(chunk.clone()))));
    let request = Request::post("http://products/echo")
        .body(StreamBody::new(body).boxed())
        .unwrap();
    let response = soon(client.send_request(request)).await.unwrap();
    let mut body = response.into_body();
    let mut count = 0;
    while let Some(frame) = soon(body.frame()).await {
        count += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(count, CHUNK * CHUNKS);
}

#[tokio::test]
async fn a_server_that_does_not_read_stops_the_caller() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, address)).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let most: usize = 1 << 30;
    stream
        .write_all(
            format!("POST / HTTP/1.1\r\nhost: products\r\ncontent-length: {most}\r\n\r\n")
                .as_bytes(),
        )
        .await
        .unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    raw::head(&mut server).await;
    // What is accepted without anybody reading is bounded by the buffers of two sockets and of the proxy: megabytes, not the
    // gigabyte announced. Once nothing more fits the write does not end; then one side reads, and it goes on.
    let chunk = vec![1; CHUNK];
    let mut sent = 0;
    while sent < most {
        let written =
            tokio::time::timeout(std::time::Duration::from_millis(500), stream.write(&chunk)).await;
        match written {
            Ok(count) => sent += count.unwrap(),
            Err(_) => break,
        }
    }
    assert!(
        sent < 64 << 20,
        "{sent} bytes were taken without anybody reading them"
    );
    let mut sink = vec![0; sent];
    soon(server.read_exact(&mut sink)).await.unwrap();
    soon(stream.write_all(&chunk)).await.unwrap();
}

#[tokio::test]
async fn a_response_starts_before_the_request_ends() {
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(nothing(), &[]).await).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nhost: products\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    raw::head(&mut stream).await;
    for word in ["one", "two", "six"] {
        stream
            .write_all(format!("3\r\n{word}\r\n").as_bytes())
            .await
            .unwrap();
        let mut echoed = [0; 8];
        soon(stream.read_exact(&mut echoed)).await.unwrap();
        assert_eq!(&echoed, format!("3\r\n{word}\r\n").as_bytes());
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut end = [0; 5];
    soon(stream.read_exact(&mut end)).await.unwrap();
    assert_eq!(&end, b"0\r\n\r\n");
}
