//! The client against servers that answer, lie, stall and break off.

use super::*;
use crate::conformance::backend::{Backend, answer};

const BOUNDS: Bounds = Bounds {
    deadline: Duration::from_secs(10),
    body: 1024,
};

fn client() -> HttpClient {
    HttpClient::new(Clock::system())
}

#[tokio::test]
async fn an_answer_is_given_whole_with_its_status_and_headers() {
    let backend = Backend::start(|request| {
        assert_eq!(request.headers()["x-token"], "t");
        let mut answer = answer(200, request.into_body());
        answer
            .headers_mut()
            .insert("etag", "\"1\"".parse().unwrap());
        answer
    })
    .await;
    let mut headers = HeaderMap::new();
    headers.insert("x-token", "t".parse().unwrap());
    let got = client()
        .post(&backend.url("/a?b=c"), headers, Bytes::from("body"), BOUNDS)
        .await
        .unwrap();
    assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &b"body"[..]));
    assert_eq!(got.headers["etag"], "\"1\"");
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused() {
    let backend = Backend::start(|_| answer(200, vec![b'x'; 2000])).await;
    let error = client()
        .get(&backend.url("/"), HeaderMap::new(), BOUNDS)
        .await
        .unwrap_err();
    assert!(error.reason.contains("length limit"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let backend = Backend::start(|_| {
        let mut answer = answer(302, "");
        answer
            .headers_mut()
            .insert("location", "file:///etc/passwd".parse().unwrap());
        answer
    })
    .await;
    let url = backend.url("/");
    let got = client().get(&url, HeaderMap::new(), BOUNDS).await.unwrap();
    let error = got.success(&url).unwrap_err();
    assert!(
        error.reason.contains("redirects are not followed"),
        "{error}"
    );
    assert!(!error.retry);
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(
        "url",
        &format!("http://{}/secret", silent.local_addr().unwrap()),
    )
    .unwrap();
    let (clock, hand) = Clock::manual();
    let client = HttpClient::new(clock);
    let asked = client.get(&url, HeaderMap::new(), BOUNDS);
    tokio::pin!(asked);
    let accepted = tokio::select! {
        biased;
        _ = &mut asked => panic!("nobody answered"),
        accepted = silent.accept() => accepted.unwrap(),
    };
    hand.advance(BOUNDS.deadline);
    let error = asked.await.unwrap_err();
    assert!(error.reason.contains("no answer within 10s"), "{error}");
    assert!(!error.reason.contains("secret"), "{error}");
    drop(accepted);
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let url = Url::parse("url", &format!("http://{address}/")).unwrap();
    let error = client()
        .get(&url, HeaderMap::new(), BOUNDS)
        .await
        .unwrap_err();
    assert!(error.retry && error.reason.contains("refused"), "{error}");
}

#[tokio::test]
async fn tls_to_a_server_that_speaks_none_says_so() {
    let backend = Backend::start(|_| answer(200, "")).await;
    let plain = backend.url("/").origin();
    let url = Url::parse("url", &plain.replace("http://", "https://")).unwrap();
    let error = client()
        .get(&url, HeaderMap::new(), BOUNDS)
        .await
        .unwrap_err();
    // A machine without root certificates fails earlier, and says that.
    let clear = ["received corrupt message", "root certificates"];
    assert!(
        clear.iter().any(|why| error.reason.contains(why)),
        "{error}"
    );
}

#[test]
fn addresses_are_checked() {
    for (text, why) in [
        ("ftp://host/", "http:// or https://"),
        ("host/path", "not an address"),
        ("/path", "http:// or https://"),
        ("http://user:password@host/", "credentials"),
        ("http://ho st/", "not an address"),
    ] {
        let invalid = Url::parse("url", text).unwrap_err();
        assert_eq!(invalid.problems[0].field, "url");
        assert!(
            invalid.problems[0].message.contains(why),
            "{text}: {invalid:?}"
        );
    }
}

#[test]
fn an_address_does_not_show_its_path_or_query() {
    let url = Url::parse("url", "https://feeds.example/t0ken?key=s3cret").unwrap();
    assert_eq!(format!("{url:?}"), "Url(https://feeds.example/..)");
}
