//! Limits of how many at once: a place is held until the exchange is over, however it ends.

use mixer_proto::v1::{self, Decision, Scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mixer::{TestMixer, allow, scope};
use crate::raw::{get, head};
use crate::{config, soon, start};

/// Every request passes and takes a place.
async fn mixer() -> TestMixer {
    let quotas = Scope {
        quotas: true,
        ..scope()
    };
    let minute = || {
        Some(v1::Time {
            seconds: 60,
            nanos: 0,
        })
    };
    TestMixer::start(quotas, &[], move |_| Decision {
        charges: vec![v1::Charge {
            quota: "at once".to_owned(),
            cost: 1,
            on_error: v1::OnError::Allow.into(),
            amount: 5,
            window: minute(),
            lease: Some(0),
            hold: minute(),
            ..v1::Charge::default()
        }],
        ..allow()
    })
    .await
}

/// The server's side of the one connection that the proxy opens, its request read.
async fn accepted(server: &TcpListener) -> TcpStream {
    let (mut connection, _) = soon(server.accept()).await.unwrap();
    head(&mut connection).await;
    connection
}

#[tokio::test]
async fn a_place_is_freed_when_the_body_has_ended_and_not_before() {
    let mixer = mixer().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start(config(&mixer, server.local_addr().unwrap())).await;
    let mut client = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    client.write_all(get("/", "").as_bytes()).await.unwrap();
    let mut app = accepted(&server).await;
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha";
    app.write_all(half).await.unwrap();
    head(&mut client).await;
    let mut body = [0; 2];
    soon(client.read_exact(&mut body)).await.unwrap();
    assert_eq!((&body, mixer.asks().len()), (b"ha", 0), "the body goes on");
    app.write_all(b"lf").await.unwrap();
    soon(client.read_exact(&mut body)).await.unwrap();
    let freed = mixer.wait_for_asks(1).await;
    assert_eq!((&*freed[0].quota, freed[0].cost), ("at once", -1));
    assert!(freed[0].age.is_some());
}

#[tokio::test]
async fn a_place_is_freed_when_the_caller_or_the_server_goes_away() {
    let mixer = mixer().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start(config(&mixer, server.local_addr().unwrap())).await;
    let begin = async || {
        let mut client = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
        client.write_all(get("/", "").as_bytes()).await.unwrap();
        let mut app = accepted(&server).await;
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha";
        app.write_all(half).await.unwrap();
        head(&mut client).await;
        (client, app)
    };
    let (client, app) = begin().await;
    drop(client);
    assert_eq!(mixer.wait_for_asks(1).await.len(), 1);
    drop(app);
    let (client, app) = begin().await;
    drop(app);
    assert_eq!(mixer.wait_for_asks(2).await.len(), 2);
    drop(client);
    // The server never answers: the caller's leaving is all there is.
    let mut client = TcpStream::connect(proxy.inbound().unwrap()).await.unwrap();
    client.write_all(get("/", "").as_bytes()).await.unwrap();
    let _app = accepted(&server).await;
    drop(client);
    let freed = mixer.wait_for_asks(3).await;
    assert!(freed.iter().all(|ask| ask.cost == -1));
}
