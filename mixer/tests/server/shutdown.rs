//! Starting and ending: nothing is bound before everything is in order, nothing in flight is lost.

use std::net::SocketAddr;

use mixer::serve::{Config, StartError};
use mixer_proto::v1;
use mixer_runtime::{Clock, Tasks};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::mesh::{
    ASKED, Mesh, OPEN, PATIENCE, PRODUCTS, config, directory, page, request_from, start,
    watch_products,
};

const GATED: &str = r#"
adapter: gate
type: gate
config: {}
---
policy: gated
for: always
rules:
  - deny: those the gate knows
    ask: gate
    with: { value: request.method }
"#;

#[tokio::test]
async fn the_end_answers_what_is_in_flight_and_ends_streams() {
    let mut mesh = Mesh::new(&[("gated.yaml", GATED)]).await;
    let (grpc, admin) = (mesh.mixer.grpc(), mesh.mixer.admin());
    let mut states = mesh
        .client
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    states.message().await.unwrap().unwrap();

    let (mut asking, tasks) = (mesh.client.clone(), Tasks::new());
    let (answer, answered) = oneshot::channel();
    tasks.spawn("asking", async move {
        let request = v1::CheckRequest {
            attributes: request_from("shop"),
            ..v1::CheckRequest::default()
        };
        answer.send(asking.check(request).await).unwrap();
    });
    ASKED.acquire().await.unwrap().forget();
    let (end, ended) = oneshot::channel();
    let mixer = mesh.mixer;
    tasks.spawn("ending", async move {
        end.send(mixer.shutdown(PATIENCE).await).unwrap()
    });

    assert!(
        states.message().await.unwrap().is_none(),
        "the stream ends, and well"
    );
    assert_eq!(page(admin, "/healthz/ready", "").await.status, 503);
    let refused = async { while TcpStream::connect(grpc).await.is_ok() {} };
    Clock::system()
        .within(PATIENCE, refused)
        .await
        .expect("new connections are refused");
    OPEN.add_permits(1);
    let answer = answered.await.unwrap().unwrap().into_inner();
    // The gate may have been given up at dispatch's own deadline; whichever came first, there is an answer.
    assert!(answer.decision.is_some());
    ended.await.unwrap();
    assert!(
        TcpStream::connect(admin).await.is_err(),
        "the admin pages end last"
    );
}

#[tokio::test]
async fn documents_with_an_error_bind_nothing() {
    let directory = directory(&[("products.yaml", &PRODUCTS.replace("rules", "rulez"))]);
    // A free port that would be bound if anything were.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config {
        grpc: free.local_addr().unwrap(),
        ..config(directory.path())
    };
    let Err(StartError::Documents(problems)) = start(config).await else {
        panic!("the documents come before the taken port")
    };
    assert!(
        problems.render(false).contains("products.yaml:4:1"),
        "{}",
        problems.render(false)
    );
}

#[tokio::test]
async fn a_taken_port_is_said() {
    let directory = directory(&[("products.yaml", PRODUCTS)]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = start(Config {
        grpc: address,
        ..config(directory.path())
    })
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("--grpc {address} is taken: another process listens there")
    );
    let error = start(Config {
        admin: address,
        ..config(directory.path())
    })
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("--admin {address} is taken: another process listens there")
    );
}

#[tokio::test]
async fn plaintext_beyond_this_machine_must_be_asked_for() {
    let directory = directory(&[("products.yaml", PRODUCTS)]);
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let open = Config {
        grpc: everywhere,
        ..config(directory.path())
    };
    let error = start(open.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Insecure(_)), "{error}");
    assert!(error.to_string().contains("--insecure"));
    let running = start(Config {
        insecure: true,
        ..open
    })
    .await
    .unwrap();
    running.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn one_that_is_dropped_ends_at_once() {
    let mesh = Mesh::new(&[("products.yaml", PRODUCTS)]).await;
    let (grpc, admin) = (mesh.mixer.grpc(), mesh.mixer.admin());
    drop(mesh);
    let ended = async {
        while TcpStream::connect(grpc).await.is_ok() || TcpStream::connect(admin).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    Clock::system()
        .within(PATIENCE, ended)
        .await
        .expect("both listeners are closed");
}
