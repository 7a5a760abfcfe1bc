//! Bytes that are not HTTP.

use mixer_proto::v1::Because;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mixer::{TestMixer, deny, nothing, scope};
use crate::raw::spawn;
use crate::{config, soon, start};

/// Says its word first, then echoes.
async fn greeter() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                stream.write_all(b"220 ready\r\n").await.unwrap();
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_service_declared_tcp_is_carried_unread() {
    let service = r#"{"service":"products.shop","protocol":"tcp"}"#.to_owned();
    let mixer = TestMixer::allowing(nothing(), &[service]).await;
    let proxy = start(config(&mixer, greeter().await)).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let mut greeting = [0; 11];
    soon(stream.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n");
}

#[tokio::test]
async fn undeclared_bytes_are_carried_only_where_nothing_applies() {
    let mixer = TestMixer::allowing(scope(), &[]).await;
    let proxy = start(config(&mixer, greeter().await)).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    stream.write_all(b"\x16\x03\x01").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty() && mixer.checks().is_empty());
    mixer.announce(|state| state.inbound = Some(nothing()));
    soon(async {
        loop {
            let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
            stream.write_all(b"\x16\x03\x01").await.unwrap();
            let mut greeting = [0; 14];
            if stream.read_exact(&mut greeting).await.is_ok() {
                assert_eq!(&greeting, b"220 ready\r\n\x16\x03\x01");
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_service_declared_tcp_is_checked_once_per_connection() {
    let services = [r#"{"service":"products.shop","protocol":"tcp"}"#.to_owned()];
    let mixer = TestMixer::start(scope(), &services, |asked| {
        assert!(
            asked
                .keys()
                .all(|name| !name.starts_with("request.") || name == "request.time"),
            "{asked:?}"
        );
        deny(Because::Matched, 403, 7, asked["api.protocol"].as_str())
    });
    let mixer = mixer.await;
    let proxy = start(config(&mixer, greeter().await)).await;
    assert_eq!(
        crate::raw::send(proxy.inbound().unwrap(), b"GET / HTTP/1.1\r\n\r\n").await,
        ""
    );
    let checks = mixer.checks();
    assert_eq!(
        (checks.len(), checks[0]["api.protocol"].as_str()),
        (1, "tcp")
    );
}

#[tokio::test]
async fn a_service_declared_http_carries_nothing_else() {
    let service = r#"{"service":"products.shop","protocol":"http"}"#.to_owned();
    let mixer = TestMixer::allowing(nothing(), &[service]).await;
    let proxy = start(config(&mixer, greeter().await)).await;
    let response = crate::raw::send(proxy.inbound().unwrap(), b"\x16\x03\x01\r\n\r\n").await;
    assert_eq!(crate::raw::status(&response), 400);
}

#[tokio::test]
async fn an_opaque_port_is_not_read_unless_the_service_says_what_it_speaks() {
    let app = greeter().await;
    let mesh = format!(r#"{{"mesh":{{"opaque_ports":[{}]}}}}"#, app.port());
    let mixer = TestMixer::allowing(nothing(), std::slice::from_ref(&mesh)).await;
    let proxy = start(config(&mixer, app)).await;
    let mut stream = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    let mut greeting = [0; 11];
    soon(stream.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");

    let service = r#"{"service":"products.shop","protocol":"http"}"#.to_owned();
    let mixer = TestMixer::allowing(nothing(), &[mesh, service]).await;
    let proxy = start(config(&mixer, app)).await;
    let response = crate::raw::send(proxy.inbound().unwrap(), b"\x16\x03\x01\r\n\r\n").await;
    assert_eq!(crate::raw::status(&response), 400);
}

#[tokio::test]
async fn opaque_bytes_on_the_way_out_have_no_destination() {
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, greeter().await)).await;
    assert_eq!(
        crate::raw::send(proxy.outbound().unwrap(), b"\x16\x03\x01").await,
        ""
    );
}
