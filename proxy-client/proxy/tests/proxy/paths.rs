//! Hostile paths through a real proxy, read at what the application receives.

use crate::mixer::{TestMixer, nothing, scope};
use crate::raw::{RawApp, get, send, status};
use crate::{config, start};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const TABLE: &str = include_str!("../../../../mixer/attributes/src/path/hostile.txt");

fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TABLE
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| {
            let mut cells = line.split(" | ");
            let (sent, receives) = (cells.next().unwrap(), cells.next().unwrap());
            (sent, receives, cells.next().unwrap_or(receives))
        })
}

#[tokio::test]
async fn where_rules_read_the_path_the_application_receives_that_reading_or_nothing() {
    let app = RawApp::answering(OK).await;
    let inbound = mixer_proto::v1::Scope {
        reads_path: true,
        ..scope()
    };
    let mixer = TestMixer::allowing(inbound, &[]).await;
    let proxy = start(config(&mixer, app.address)).await;
    let mut count = 0;
    for (sent, receives, seen) in rows() {
        count += 1;
        let before = mixer.checks().len();
        let response = send(
            proxy.inbound().unwrap(),
            get(&format!("{sent}?a=%2f..//"), ""),
        )
        .await;
        let heads = app.heads();
        if receives.starts_with("400") {
            assert_eq!(status(&response), 400, "{sent}");
            assert!(heads.is_empty(), "{sent}");
            assert_eq!(mixer.checks().len(), before, "{sent}");
        } else {
            assert_eq!(status(&response), 200, "{sent}");
            assert!(
                heads[0].starts_with(&format!("GET {receives}?a=%2f..// HTTP/1.1\r\n")),
                "{sent}: {}",
                heads[0]
            );
            assert_eq!(mixer.checks()[before]["request.path"], seen, "{sent}");
        }
    }
    assert!(count >= 60, "{count}");
}

#[tokio::test]
async fn elsewhere_the_bytes_pass_untouched() {
    let app = RawApp::answering(OK).await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, app.address)).await;
    for (sent, _, _) in rows() {
        assert_eq!(
            status(&send(proxy.inbound().unwrap(), get(sent, "")).await),
            200,
            "{sent}"
        );
        assert!(
            app.heads()[0].starts_with(&format!("GET {sent} HTTP/1.1\r\n")),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn an_ambiguous_path_is_no_attribute() {
    let (mixer, _app, proxy) = crate::shop(TestMixer::allowing(scope(), &[]).await).await;
    send(proxy.inbound().unwrap(), get("/a%2fb", "")).await;
    let asked = mixer.checks().remove(0);
    assert_eq!(
        (asked.get("request.path"), &*asked["request.raw_path"]),
        (None, "/a%2fb")
    );
}

#[tokio::test]
async fn a_service_may_keep_encoded_slashes() {
    let app = RawApp::answering(OK).await;
    let service = r#"{"service":"products.shop","paths":{"encoded_slash":"keep"}}"#.to_owned();
    let inbound = mixer_proto::v1::Scope {
        reads_path: true,
        ..scope()
    };
    let mixer = TestMixer::allowing(inbound, &[service]).await;
    let proxy = start(config(&mixer, app.address)).await;
    assert_eq!(
        status(&send(proxy.inbound().unwrap(), get("/x/../a%2fb", "")).await),
        200
    );
    assert!(app.heads()[0].starts_with("GET /a%2Fb HTTP/1.1\r\n"));
    assert_eq!(
        status(&send(proxy.inbound().unwrap(), get("/a%5cb", "")).await),
        400
    );
}

#[tokio::test]
async fn a_grpc_caller_with_an_ambiguous_path_gets_invalid_argument() {
    let inbound = mixer_proto::v1::Scope {
        reads_path: true,
        ..scope()
    };
    let (_mixer, _app, proxy) = crate::shop(TestMixer::allowing(inbound, &[]).await).await;
    let mut client = crate::app::http2(proxy.inbound().unwrap()).await;
    let request = http::Request::post("http://products/shop.Products/Li%2fst")
        .header("content-type", "application/grpc");
    let response = crate::soon(client.send_request(request.body(crate::app::empty()).unwrap()))
        .await
        .unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["grpc-status"]
        ),
        (200, &http::HeaderValue::from_static("3"))
    );
}
