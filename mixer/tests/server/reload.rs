//! Documents that change: in force at once and everywhere, or not at all.

use std::os::unix::fs::symlink;

use mixer_proto::v1;
use mixer_runtime::Clock;

use crate::mesh::{
    Mesh, PATIENCE, PRODUCTS, SERVICE, config, directory, request_from, start, watch_products,
};

fn renamed(sentence: &str) -> String {
    PRODUCTS.replace("nobody from the sandbox", sentence)
}

async fn next(states: &mut tonic::Streaming<v1::WatchResponse>) -> v1::WatchResponse {
    let state = Clock::system().within(PATIENCE, states.message()).await;
    state
        .expect("a state comes")
        .unwrap()
        .expect("the stream stands")
}

#[tokio::test]
async fn an_edit_is_in_force_when_watch_announces_its_revision() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS), ("service.yaml", SERVICE)]).await;
    let mut states = mesh
        .client
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    let first = next(&mut states).await;
    mesh.write("products.yaml", &renamed("the sandbox stays out"));
    let second = next(&mut states).await;
    assert_eq!((first.version, second.version), (1, 2));
    assert_ne!(
        first.inbound.unwrap().revision,
        second.inbound.as_ref().unwrap().revision
    );
    let denied = mesh.check(request_from("sandbox")).await;
    assert_eq!(denied.rule, "the sandbox stays out");
    assert_eq!(denied.revision, second.inbound.unwrap().revision);
    assert_eq!(
        mesh.metric(r#"mixer_config_reload_total{result="success"}"#)
            .await,
        Some(1.0)
    );
}

#[tokio::test]
async fn an_edit_that_concerns_others_sends_a_proxy_nothing() {
    let other = "policy: cart\nfor: destination.service == \"cart.shop\"\nrules:\n  - deny: closed\n    when: always\n";
    let mut mesh = Mesh::new(&[
        ("cart.yaml", other),
        ("products.yaml", PRODUCTS),
        ("service.yaml", SERVICE),
    ])
    .await;
    let mut states = mesh
        .client
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    let first = next(&mut states).await.inbound.unwrap();
    mesh.write("cart.yaml", &other.replace("closed", "no carts today"));
    let in_force = async {
        while mesh
            .metric(r#"mixer_config_reload_total{result="success"}"#)
            .await
            != Some(1.0)
        {}
    };
    Clock::system()
        .within(PATIENCE, in_force)
        .await
        .expect("the edit comes into force");
    mesh.write("products.yaml", &renamed("the sandbox stays out"));
    let second = next(&mut states).await;
    assert_eq!(second.version, 2, "the edit of the cart was not sent");
    assert_ne!(second.inbound.unwrap().revision, first.revision);
}

#[tokio::test]
async fn one_mistake_refuses_every_file_and_the_set_before_stays() {
    let mut mesh = Mesh::new(&[("products.yaml", PRODUCTS), ("service.yaml", SERVICE)]).await;
    let before = mesh.check(request_from("sandbox")).await;
    // A good change and a bad one together: the bad one comes first, so that no good set stands between.
    mesh.write("service.yaml", &SERVICE.replace("hosts", "hots"));
    mesh.write("products.yaml", &renamed("the sandbox stays out"));
    let ready = mesh
        .until_page_says("/healthz/ready", "service.yaml:3:1")
        .await;
    assert_eq!(ready.status, 200, "a good set serves");
    assert!(ready.body.contains("error"), "{}", ready.body);
    let now = mesh.check(request_from("sandbox")).await;
    assert_eq!((now.rule, now.revision), (before.rule, before.revision));
    assert_eq!(
        mesh.metric("mixer_config_last_reload_successful").await,
        Some(0.0)
    );
    assert!(mesh.mixer.complaint().is_some());

    mesh.write("service.yaml", SERVICE);
    mesh.until_page_says("/metrics", "mixer_config_last_reload_successful 1")
        .await;
    assert_eq!(
        mesh.check(request_from("sandbox")).await.rule,
        "the sandbox stays out"
    );
    assert!(!mesh.page("/healthz/ready").await.body.contains("refused"));
    assert!(mesh.mixer.complaint().is_none());
}

#[tokio::test]
async fn a_config_map_that_swaps_its_symlink_is_a_change() {
    // As Kubernetes mounts one: ..data points to a directory of this version, the files point through ..data.
    let mount = directory(&[]);
    let at = |name: &str| mount.path().join(name);
    for (version, sentence) in [
        ("..2026_1", "the first version"),
        ("..2026_2", "the second version"),
    ] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("products.yaml"), renamed(sentence)).unwrap();
    }
    symlink("..2026_1", at("..data")).unwrap();
    symlink("..data/products.yaml", at("products.yaml")).unwrap();
    let mixer = start(config(mount.path())).await.unwrap();
    let client = v1::mixer_client::MixerClient::connect(format!("http://{}", mixer.grpc()))
        .await
        .unwrap();
    let mut mesh = Mesh {
        mixer,
        client,
        directory: mount,
    };
    let mut states = mesh
        .client
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    next(&mut states).await;
    assert_eq!(
        mesh.check(request_from("sandbox")).await.rule,
        "the first version"
    );
    symlink("..2026_2", mesh.directory.path().join("..data_tmp")).unwrap();
    std::fs::rename(
        mesh.directory.path().join("..data_tmp"),
        mesh.directory.path().join("..data"),
    )
    .unwrap();
    next(&mut states).await;
    assert_eq!(
        mesh.check(request_from("sandbox")).await.rule,
        "the second version"
    );
}

#[tokio::test]
async fn what_was_spent_stays_spent_over_a_reload() {
    let quota = "policy: spending\nfor: always\nquotas:\n  - quota: one\n    id: one\n    key: []\n    limit: 1 per day\n";
    let mut mesh = Mesh::new(&[
        ("products.yaml", PRODUCTS),
        ("quota.yaml", quota),
        ("service.yaml", SERVICE),
    ])
    .await;
    let mut states = mesh
        .client
        .watch(watch_products("p"))
        .await
        .unwrap()
        .into_inner();
    next(&mut states).await;
    let ask = || v1::CheckRequest {
        attributes: request_from("shop"),
        take: true,
        client: "p".to_owned(),
        ..v1::CheckRequest::default()
    };
    let granted = mesh.client.check(ask()).await.unwrap().into_inner().grants[0].outcome();
    mesh.write("products.yaml", &renamed("the sandbox stays out"));
    next(&mut states).await;
    let refused = mesh.client.check(ask()).await.unwrap().into_inner().grants[0].outcome();
    assert_eq!(
        (granted, refused),
        (v1::grant::Outcome::Granted, v1::grant::Outcome::Refused)
    );
}
