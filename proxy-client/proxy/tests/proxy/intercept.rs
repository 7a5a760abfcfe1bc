//! A proxy that expects redirected connections, given others. (Redirected ones need network namespaces: the promise tests have them.)

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::app::App;
use crate::mixer::{TestMixer, nothing};
use crate::raw::{send, status};
use crate::{config, start};

#[tokio::test]
async fn a_connection_that_was_not_redirected_is_served_as_ever_over_both_versions_of_ip() {
    let app = App::start().await;
    let service = format!(
        r#"{{"service":"reviews.shop","endpoints":["{}"]}}"#,
        app.address
    );
    let mixer = TestMixer::allowing(nothing(), &[service]).await;
    let mut config = config(&mixer, app.address);
    config.transparent = true;
    let proxy = start(config).await;
    let over_v6 =
        |address: SocketAddr| SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), address.port());
    let (inbound, outbound) = (proxy.inbound().unwrap(), proxy.outbound().unwrap());
    for address in [inbound, over_v6(inbound), outbound, over_v6(outbound)] {
        let response = send(
            address,
            b"GET / HTTP/1.1\r\nhost: reviews.shop\r\nconnection: close\r\n\r\n",
        )
        .await;
        assert_eq!(status(&response), 200, "{address}: {response}");
    }
    assert_eq!(send(outbound, b"\x16\x03\x01").await, "");
}

#[tokio::test]
async fn without_an_application_what_was_not_redirected_has_nowhere_to_go() {
    let app = App::start().await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, app.address);
    (config.transparent, config.app) = (true, None);
    let proxy = start(config).await;
    let request = b"GET / HTTP/1.1\r\nhost: products.shop\r\n\r\n";
    assert_eq!(send(proxy.inbound().unwrap(), request).await, "");
    assert!(app.seen().is_empty());
}
