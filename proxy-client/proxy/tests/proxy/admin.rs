//! The admin listener.

use crate::mixer::{TestMixer, nothing};
use crate::raw::{body, get, header, send, status};
use crate::{config, shop, soon, start_cold};

#[tokio::test]
async fn health_follows_what_the_proxy_knows() {
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut cold = config(&mixer, "127.0.0.1:1".parse().unwrap());
    cold.control = mixer_proxy::Control::Mixer("127.0.0.1:1".to_owned());
    let proxy = start_cold(cold);
    let admin = proxy.admin().unwrap();
    assert_eq!(status(&send(admin, get("/healthz/live", "")).await), 200);
    assert_eq!(status(&send(admin, get("/healthz/ready", "")).await), 503);
    let (_mixer, _app, proxy) = shop(mixer).await;
    assert_eq!(
        status(&send(proxy.admin().unwrap(), get("/healthz/ready", "")).await),
        200
    );
}

#[tokio::test]
async fn metrics_count_requests_and_calls() {
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(crate::mixer::scope(), &[]).await).await;
    for _ in 0..3 {
        send(proxy.inbound().unwrap(), get("/", "")).await;
    }
    let metrics = send(proxy.admin().unwrap(), get("/metrics", "")).await;
    assert_eq!(
        header(&metrics, "content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    for line in [
        "mixer_proxy_requests_total{side=\"inbound\",code=\"2xx\"} 3",
        "mixer_client_check_calls_total 3",
        "mixer_proxy_ready 1",
        "# EOF",
    ] {
        assert!(
            body(&metrics).lines().any(|found| found == line),
            "{line} in\n{metrics}"
        );
    }
}

#[tokio::test]
async fn the_configuration_is_shown() {
    let service = r#"{"service":"reviews.shop","endpoints":["127.0.0.1:9"]}"#.to_owned();
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(nothing(), &[service]).await).await;
    let dump = send(proxy.admin().unwrap(), get("/config_dump", "")).await;
    let dump: serde_json::Value = serde_json::from_str(body(&dump)).unwrap();
    assert_eq!(dump["proxy"]["service"], "products.shop");
    assert_eq!(dump["documents"][0]["service"], "reviews.shop");
    assert_eq!(dump["addresses"]["reviews.shop"][0], "127.0.0.1:9");
    assert_eq!(dump["scopes"]["inbound"]["rules"], false);
}

#[tokio::test]
async fn a_proxy_that_ends_is_not_ready() {
    let (_mixer, _app, proxy) = shop(TestMixer::allowing(nothing(), &[]).await).await;
    let admin = proxy.admin().unwrap();
    assert_eq!(soon(proxy.shutdown()).await, 0);
    assert!(tokio::net::TcpStream::connect(admin).await.is_err());
}
