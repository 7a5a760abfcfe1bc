//! What a denied caller reads, byte for byte, through the real proxy: over HTTP/1 and HTTP/2, with HEAD, as gRPC, of rules,
//! `otherwise` and quotas, decided anew and from the proxy's cache.

#![allow(clippy::unwrap_used)]

use http::Method;
use mixer_tests::http::{Answer, Client, call, get, with};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig, counter};
use mixer_tests::ports;
use mixer_tests::service::Service;

const POLICY: &str = r#"
policy: products
for: destination.service == "products.shop"
rules:
  - deny: no drafts
    when: request.path.startsWith("/drafts/")
    status: 404
    grpc: NOT_FOUND
    message: "no draft {request.path} ü"
    headers:
      x-draft: "{request.path}"
      cache-control: no-store
    body:
      type: https://errors.example/draft
      title: No such draft
      status: 404
      detail: "{request.path} is not for {request.headers[?'x-name'].orValue('you')}"
      port: "{request.headers[?'x-port'].orValue('0') == '0' ? 0 : 1}"
  - deny: moved
    when: request.path == "/old"
    status: 308
    location: "/new?from={request.path}"
    body: <a href="/new">here</a>
    headers: { content-type: text/html }
  - deny: plain
    when: request.path == "/plain"
  - allow: reading
    when: request.method in ["GET", "HEAD"]
otherwise:
  deny: only reading
  status: 405
  grpc: UNIMPLEMENTED
  headers: { allow: "GET, HEAD" }
  body: [GET, HEAD]
quotas:
  - quota: reads per customer
    key: ['request.headers["x-customer"]']
    limit: 2 per day
    status: 503
    grpc: ABORTED
    message: "enough, {request.headers['x-customer']}"
    headers: { x-customer: "{request.headers['x-customer']}" }
    body: { enough: true }
"#;

struct Mesh {
    app: Service,
    products: Proxy,
    mixer: Mixer,
    _documents: Documents,
}

async fn mesh(show: &str) -> Mesh {
    let app = Service::echo("products").await;
    let mesh = format!("mesh: {{ denials: {{ show: {show} }} }}\n");
    let documents = Documents::new([("mesh.yaml", mesh.as_str()), ("products.yaml", POLICY)]);
    let mixer = Mixer::serve(&documents).await;
    let mut config = ProxyConfig::new("products.shop", app.addr, mixer.grpc);
    config.inbound = ports::free();
    Mesh {
        app,
        products: config.start().await,
        mixer,
        _documents: documents,
    }
}

impl Mesh {
    /// Over each version of HTTP, twice, so that the second comes from the proxy's cache.
    async fn each(
        &self,
        request: impl Fn() -> http::Request<http_body_util::Full<bytes::Bytes>>,
    ) -> Vec<Answer> {
        let inbound = self.products.config.inbound;
        let mut answers = Vec::new();
        for mut client in [
            Client::http1(inbound).await.unwrap(),
            Client::http2(inbound).await.unwrap(),
        ] {
            for _ in 0..2 {
                answers.push(client.send(request()).await.unwrap());
            }
        }
        answers
    }
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .field(name)
        .unwrap_or_else(|| panic!("no {name}: {answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn http_callers_read_exactly_what_the_rule_says() {
    let mesh = mesh("everyone").await;
    let name = "\"Ann\\\"";
    let problem = r#"{"type":"https://errors.example/draft","title":"No such draft","status":404,"detail":"/drafts/\"1\" is not for \"Ann\\\"","port":0}"#;
    for answer in mesh
        .each(|| with(get("products", "/drafts/%221%22"), "x-name", name))
        .await
    {
        assert_eq!(
            (answer.status.as_u16(), answer.text().as_str()),
            (404, problem)
        );
        assert_eq!(field(&answer, "content-type"), "application/problem+json");
        assert_eq!(field(&answer, "content-length"), problem.len().to_string());
        assert_eq!(field(&answer, "x-draft"), "/drafts/\"1\"");
        assert_eq!(field(&answer, "cache-control"), "no-store");
    }
    for answer in mesh.each(|| get("products", "/drafts/%221%22")).await {
        assert!(
            answer.text().contains("is not for you"),
            "another caller is told another thing: {}",
            answer.text()
        );
    }
    for answer in mesh.each(|| get("products", "/old")).await {
        let read = answer.text();
        assert_eq!(
            (answer.status.as_u16(), &*read),
            (308, "<a href=\"/new\">here</a>")
        );
        assert_eq!(field(&answer, "content-type"), "text/html");
        assert_eq!(field(&answer, "location"), "/new?from=/old");
    }
    for answer in mesh.each(|| get("products", "/plain")).await {
        assert_eq!((answer.status.as_u16(), &*answer.text()), (403, "plain\n"));
        assert_eq!(field(&answer, "content-type"), "text/plain; charset=utf-8");
    }
    for answer in mesh.each(|| call(Method::PUT, "products", "/", "")).await {
        let read = answer.text();
        assert_eq!((answer.status.as_u16(), &*read), (405, r#"["GET","HEAD"]"#));
        assert_eq!(field(&answer, "content-type"), "application/json");
        assert_eq!(field(&answer, "allow"), "GET, HEAD");
    }
    assert_eq!(mesh.app.received(), 0);
    let metrics = mesh.mixer.admin("/metrics").await.text();
    assert_eq!(
        counter(&metrics, "mixer_check_total", &[]),
        5.0,
        "what was decided once is told again without asking"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_with_head_gets_the_same_head_and_no_body() {
    let mesh = mesh("everyone").await;
    for answer in mesh
        .each(|| call(Method::HEAD, "products", "/drafts/1", ""))
        .await
    {
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (404, ""));
        assert_eq!(field(&answer, "content-type"), "application/problem+json");
        assert_eq!(field(&answer, "x-draft"), "/drafts/1");
        assert!(field(&answer, "content-length").parse::<usize>().unwrap() > 90);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_callers_get_status_message_and_headers_and_nothing_but_trailers() {
    let mesh = mesh("everyone").await;
    let grpc = |path: &'static str| {
        move || {
            let request = call(Method::POST, "products", path, "12345");
            with(request, "content-type", "application/grpc")
        }
    };
    for answer in mesh.each(grpc("/drafts/a")).await {
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, ""));
        assert_eq!(field(&answer, "content-type"), "application/grpc");
        assert_eq!(field(&answer, "grpc-status"), "5");
        assert_eq!(field(&answer, "grpc-message"), "no draft /drafts/a %C3%BC");
        assert_eq!(field(&answer, "x-draft"), "/drafts/a");
        assert!(answer.trailers.is_empty());
    }
    for answer in mesh.each(grpc("/shop.Products/Get")).await {
        assert_eq!(field(&answer, "grpc-status"), "12");
        assert_eq!(field(&answer, "grpc-message"), "only reading");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_quota_is_told_in_its_own_words_whoever_counts() {
    let mesh = mesh("everyone").await;
    let read = |customer: &'static str| move || with(get("products", "/"), "x-customer", customer);
    // Two pass; the third is refused by Mixer, the fourth remembered by the proxy.
    let [first, second, third, fourth] = mesh.each(read("Ann")).await.try_into().unwrap();
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    for refused in [third, fourth] {
        let read = refused.text();
        assert_eq!(
            (refused.status.as_u16(), &*read),
            (503, r#"{"enough":true}"#)
        );
        assert_eq!(field(&refused, "x-customer"), "Ann");
        assert!(field(&refused, "retry-after").parse::<u32>().unwrap() > 0);
    }
    let bob = mesh.each(read("Bob")).await;
    assert_eq!(
        field(&bob[3], "x-customer"),
        "Bob",
        "nobody reads another's"
    );
    assert_eq!(mesh.app.received(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_get_status_and_location_and_the_decisions_id() {
    let mesh = mesh("mesh").await;
    for answer in mesh.each(|| get("products", "/drafts/1")).await {
        assert_eq!(answer.status.as_u16(), 404);
        let read = answer.text();
        assert!(
            read.starts_with("access denied (") && read.ends_with(")\n"),
            "{read}"
        );
        assert_eq!(field(&answer, "content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.field("x-draft"), None);
    }
    for answer in mesh.each(|| get("products", "/old")).await {
        assert_eq!(answer.status.as_u16(), 308);
        assert_eq!(field(&answer, "location"), "/new?from=/old");
        assert!(answer.text().starts_with("access denied ("));
    }
    let read = || with(get("products", "/"), "x-customer", "Ann");
    for refused in &mesh.each(read).await[2..] {
        assert_eq!(refused.status.as_u16(), 503);
        assert!(refused.text().starts_with("access denied ("), "{refused:?}");
        assert_eq!(refused.field("x-customer"), None);
    }
}
