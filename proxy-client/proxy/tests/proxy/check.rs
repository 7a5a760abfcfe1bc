//! What is asked, and what becomes of the answers.

use http_body_util::BodyExt;
use mixer_proto::v1::{Because, Decision, HeaderOperation, header_operation::Target};

use crate::app::{empty, http2};
use crate::mixer::{TestMixer, allow, deny, nothing, scope};
use crate::raw::{RawApp, body, get, header, send, status};
use crate::{config, shop, soon, start};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

#[tokio::test]
async fn mixer_is_told_what_the_request_is() {
    let mesh = r#"{"mesh":{"client_ip":{"header":"x-forwarded-for","trusted":["127.0.0.0/8"]}}}"#
        .to_owned();
    let (mixer, _app, proxy) = shop(TestMixer::allowing(scope(), &[mesh]).await).await;
    let request = "POST /a%20b/../c?q=1&q=2&r=x HTTP/1.1\r\nHost: Other.Example.:80\r\nX-Tester: yes\r\nAccept: a\r\naccept: b\r\n\
                   Cookie: s=1; t=2\r\nUser-Agent: test\r\nX-Forwarded-For: 6.6.6.6, 9.8.7.6\r\nX-Mixer-Principal: forged\r\n\
                   X-Forwarded-Client-Cert: forged\r\nX-Request-Id: id-1\r\nContent-Length: 2\r\nConnection: close, x-secret\r\n\
                   X-Secret: 1\r\n\r\nhi";
    assert_eq!(status(&send(proxy.inbound().unwrap(), request).await), 200);
    let asked = mixer.checks().remove(0);
    let is = |name: &str, value: &str| {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name}")
    };
    is("destination.service", "products.shop");
    is("destination.namespace", "shop");
    is("source.ip", "127.0.0.1");
    is("destination.ip", "127.0.0.1");
    is("connection.mtls", "false");
    is("request.method", "POST");
    is("request.path", "/c");
    is("request.raw_path", "/a%20b/../c");
    is("request.host", "other.example");
    is("request.scheme", "http");
    is("request.query[q]", "?");
    is("request.query[r]", "x");
    is("request.headers[accept]", "a, b");
    is("request.headers[x-tester]", "yes");
    is("request.cookies[s]", "1");
    is("request.client_ip", "9.8.7.6");
    is("request.id", "id-1");
    is("request.size", "2");
    is("request.useragent", "test");
    is("api.protocol", "http");
    is("context.reporter", "destination");
    for gone in [
        "x-mixer-principal",
        "x-forwarded-client-cert",
        "x-secret",
        "connection",
    ] {
        assert!(
            !asked.contains_key(&format!("request.headers[{gone}]")),
            "{gone}"
        );
    }
    assert!(
        asked.keys().all(|name| !name.starts_with("source.")
            || name == "source.ip"
            || name == "source.port"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn nobody_is_asked_where_nothing_applies() {
    let (mixer, app, proxy) = shop(TestMixer::allowing(nothing(), &[]).await).await;
    assert_eq!(
        body(&send(proxy.inbound().unwrap(), get("/", "")).await),
        "hello\n"
    );
    assert_eq!((mixer.checks().len(), app.seen().len()), (0, 1));
}

#[tokio::test]
async fn a_denial_reaches_http_callers_as_its_status_and_message() {
    let decisions = |path: &str| match path {
        "/denied" => deny(Because::Matched, 403, 7, "the sandbox may not"),
        "/teapot" => deny(Because::Matched, 418, 7, "short and stout"),
        "/limited" => Decision {
            retry_after_seconds: 7,
            ..deny(Because::Quota, 429, 8, "slow down")
        },
        "/moved" => Decision {
            location: "https://login.example/".to_owned(),
            ..deny(Because::Matched, 302, 7, "log in")
        },
        "/undecided" => deny(Because::Undetermined, 403, 7, "cannot decide"),
        "/unavailable" => deny(Because::Unavailable, 503, 14, "the list cannot be asked"),
        _ => allow(),
    };
    let mixer =
        TestMixer::start(scope(), &[], move |asked| decisions(&asked["request.path"])).await;
    let (_mixer, app, proxy) = shop(mixer).await;
    let table = [
        ("/denied", 403, "the sandbox may not\n"),
        ("/teapot", 418, "short and stout\n"),
        ("/limited", 429, "slow down\n"),
        ("/moved", 302, "log in\n"),
        ("/undecided", 403, "cannot decide\n"),
        ("/unavailable", 503, "the list cannot be asked\n"),
        ("/", 200, "hello\n"),
    ];
    for (path, code, text) in table {
        let response = send(proxy.inbound().unwrap(), get(path, "")).await;
        assert_eq!((status(&response), body(&response)), (code, text), "{path}");
        match path {
            "/limited" => assert_eq!(header(&response, "retry-after"), Some("7")),
            "/moved" => assert_eq!(
                header(&response, "location"),
                Some("https://login.example/")
            ),
            _ => {}
        }
        if code != 200 {
            assert_eq!(
                header(&response, "content-type"),
                Some("text/plain; charset=utf-8")
            );
        }
    }
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test]
async fn a_denial_reaches_grpc_callers_as_nothing_but_trailers() {
    let mixer = TestMixer::start(scope(), &[], |_| {
        deny(Because::Quota, 429, 8, "50 % über\n")
    })
    .await;
    let (mixer, app, proxy) = shop(mixer).await;
    let mut client = http2(proxy.inbound().unwrap()).await;
    // What is checked is the path that a server would be sent, whatever the spelling.
    let request = http::Request::post("http://products/x/../shop.%50roducts//List")
        .header("content-type", "Application/gRPC+proto");
    let response = soon(client.send_request(request.body(empty()).unwrap()))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "8");
    assert_eq!(response.headers()["grpc-message"], "50 %25 %C3%BCber%0A");
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let collected = soon(response.into_body().collect()).await.unwrap();
    assert!(collected.trailers().is_none() && collected.to_bytes().is_empty());
    assert!(app.seen().is_empty());
    let asked = mixer.checks().remove(0);
    assert_eq!(
        (
            &*asked["api.protocol"],
            &*asked["api.service"],
            &*asked["api.operation"]
        ),
        ("grpc", "shop.Products", "List")
    );
}

#[tokio::test]
async fn headers_of_an_answer_are_changed_on_both_ways() {
    let operation = |target: Target, name: &str, value: Option<&str>| HeaderOperation {
        target: target.into(),
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let decision = Decision {
        headers: vec![
            operation(Target::Request, "x-plan", Some("pro")),
            operation(Target::Request, "x-debug", None),
            operation(Target::Response, "x-policy", Some("products")),
            operation(Target::Response, "x-app", None),
        ],
        ..allow()
    };
    let (_mixer, app, proxy) =
        shop(TestMixer::start(scope(), &[], move |_| decision.clone()).await).await;
    let response = send(
        proxy.inbound().unwrap(),
        get("/", "x-debug: 1\r\nx-plan: forged\r\n"),
    )
    .await;
    let seen = app.seen().remove(0);
    assert_eq!(
        seen.headers.get_all("x-plan").iter().collect::<Vec<_>>(),
        ["pro"]
    );
    assert!(!seen.headers.contains_key("x-debug"));
    assert_eq!(
        (header(&response, "x-policy"), header(&response, "x-app")),
        (Some("products"), None)
    );
}

#[tokio::test]
async fn without_mixer_the_declared_failure_mode_happens() {
    for (open, code) in [(false, 503), (true, 200)] {
        let mut inbound = scope();
        inbound.fail = if open {
            mixer_proto::v1::Fail::Open.into()
        } else {
            mixer_proto::v1::Fail::Closed.into()
        };
        let (mixer, _app, proxy) = shop(TestMixer::allowing(inbound, &[]).await).await;
        assert_eq!(
            status(&send(proxy.inbound().unwrap(), get("/", "")).await),
            200
        );
        drop(mixer);
        // The connection to Mixer is gone at once or with the next request.
        let response = send(proxy.inbound().unwrap(), get("/", "")).await;
        if status(&response) != code {
            assert_eq!(
                status(&send(proxy.inbound().unwrap(), get("/", "")).await),
                code,
                "open: {open}"
            );
        }
        if !open {
            let response = send(proxy.inbound().unwrap(), get("/", "")).await;
            assert!(header(&response, "retry-after").is_some(), "{response}");
        }
    }
}

#[tokio::test]
async fn before_the_first_state_nothing_passes() {
    let app = RawApp::answering(OK).await;
    let mixer = TestMixer::allowing(scope(), &[]).await;
    let mut cold = config(&mixer, app.address);
    // A port nobody answers on.
    cold.control = mixer_proxy::Control::Mixer("127.0.0.1:1".to_owned());
    let proxy = crate::start_cold(cold);
    for side in [proxy.inbound().unwrap(), proxy.outbound().unwrap()] {
        let response = send(side, get("/", "")).await;
        assert_eq!(
            (status(&response), header(&response, "retry-after")),
            (503, Some("1"))
        );
    }
    assert!(app.heads().is_empty() && !proxy.ready());
}

#[tokio::test]
async fn a_new_state_is_in_force_for_the_next_request() {
    let mixer =
        TestMixer::start(nothing(), &[], |_| deny(Because::Matched, 403, 7, "closed")).await;
    let (mixer, _app, proxy) = shop(mixer).await;
    assert_eq!(
        status(&send(proxy.inbound().unwrap(), get("/", "")).await),
        200
    );
    mixer.announce(|state| state.inbound = Some(scope()));
    soon(async { while status(&send(proxy.inbound().unwrap(), get("/", "")).await) != 403 {} })
        .await;
}

#[tokio::test]
async fn the_application_receives_exactly_this() {
    let app = RawApp::answering(OK).await;
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let proxy = start(config(&mixer, app.address)).await;
    let request = "GET http://products:80/a?b=%20 HTTP/1.1\r\nHost: evil\r\nTE: trailers, gzip\r\nKeep-Alive: 5\r\nX-Secret: 1\r\n\
                   Connection: close, X-Secret\r\nX-Request-Id: 7\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
    send(proxy.inbound().unwrap(), request).await;
    let head = app.heads().remove(0);
    let mut lines: Vec<&str> = head.trim_end().lines().collect();
    assert_eq!(lines.remove(0), "GET /a?b=%20 HTTP/1.1");
    lines.sort_unstable();
    let expected = [
        "host: products:80",
        "te: trailers",
        "x-forwarded-for: 127.0.0.1",
        "x-request-id: 7",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_request_without_an_id_gets_one() {
    let (mixer, app, proxy) = shop(TestMixer::allowing(scope(), &[]).await).await;
    send(proxy.inbound().unwrap(), get("/", "")).await;
    let id = app.seen().remove(0).headers["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!((id.len(), &id[14..15]), (36, "4"));
    assert_eq!(mixer.checks()[0]["request.id"], id);
}
