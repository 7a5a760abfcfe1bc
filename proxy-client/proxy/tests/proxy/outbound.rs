//! From authorities to endpoints.

use mixer_proto::v1::{Because, WatchResponse};

use crate::app::App;
use crate::mixer::{TestMixer, allow, deny, nothing, scope};
use crate::raw::{body, get, header, send, status};
use crate::{config, start};

fn to(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_service_is_found_by_every_spelling_of_its_names_and_its_endpoints_take_turns() {
    let (one, two) = (App::called("one").await, App::called("two").await);
    let service = format!(
        r#"{{"service":"reviews.shop","hosts":["reviews"],"endpoints":["{}","{}"],"balance":"round-robin"}}"#,
        one.address, two.address
    );
    let (mixer, app, proxy) = crate::shop(TestMixer::allowing(nothing(), &[service]).await).await;
    let mut answers = Vec::new();
    for host in [
        "reviews.shop",
        "Reviews.Shop.:9080",
        "reviews",
        "reviews:80",
    ] {
        answers.push(body(&send(proxy.outbound().unwrap(), to(host, "/")).await).to_owned());
    }
    let absolute = "GET http://reviews/a?b HTTP/1.1\r\nhost: evil\r\nconnection: close\r\n\r\n";
    answers.push(body(&send(proxy.outbound().unwrap(), absolute).await).to_owned());
    assert!(
        answers == ["one\n", "two\n", "one\n", "two\n", "one\n"]
            || answers == ["two\n", "one\n", "two\n", "one\n", "two\n"],
        "{answers:?}"
    );
    let seen: Vec<_> = one.seen().into_iter().chain(two.seen()).collect();
    assert!(
        seen.iter()
            .any(|seen| seen.uri == "/a?b" && seen.headers["host"] == "reviews"),
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .all(|seen| !seen.headers.contains_key("x-forwarded-for")
                && seen.headers.contains_key("x-request-id"))
    );
    assert!(app.seen().is_empty() && mixer.checks().is_empty());
}

#[tokio::test]
async fn other_hosts_pass_or_not_as_the_mesh_says() {
    let outside = App::called("outside").await;
    let host = format!("localhost:{}", outside.address.port());
    for (says, code) in [("allow", 200), ("deny", 403)] {
        let mesh = format!(r#"{{"mesh":{{"outbound":"{says}"}}}}"#);
        let (_mixer, _app, proxy) =
            crate::shop(TestMixer::allowing(nothing(), &[mesh]).await).await;
        for host in [host.as_str(), &outside.address.to_string()] {
            let response = send(proxy.outbound().unwrap(), to(host, "/")).await;
            assert_eq!(status(&response), code, "{response}");
            if code == 403 {
                assert!(
                    body(&response).starts_with("no service is called "),
                    "{response}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_host_that_is_not_there_is_503_and_the_proxy_itself_508() {
    let (_mixer, _app, proxy) = crate::shop(TestMixer::allowing(nothing(), &[]).await).await;
    let out = proxy.outbound().unwrap();
    assert_eq!(
        status(&send(out, to("does-not-exist.invalid", "/")).await),
        503
    );
    assert_eq!(status(&send(out, to(&out.to_string(), "/")).await), 508);
    assert_eq!(
        status(&send(out, to(&proxy.inbound().unwrap().to_string(), "/")).await),
        508
    );
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over() {
    let up = App::called("up").await;
    let (_held, down) = crate::raw::refusing();
    let service = format!(
        r#"{{"service":"reviews.shop","endpoints":["{down}","{}"]}}"#,
        up.address
    );
    let (_mixer, _app, proxy) = crate::shop(TestMixer::allowing(nothing(), &[service]).await).await;
    for _ in 0..4 {
        assert_eq!(
            body(&send(proxy.outbound().unwrap(), to("reviews.shop", "/")).await),
            "up\n"
        );
    }
}

#[tokio::test]
async fn names_among_the_endpoints_are_resolved() {
    let up = App::called("up").await;
    let service = format!(
        r#"{{"service":"reviews.shop","endpoints":["dns:localhost:{}"]}}"#,
        up.address.port()
    );
    let (_mixer, _app, proxy) = crate::shop(TestMixer::allowing(nothing(), &[service]).await).await;
    assert_eq!(
        body(&send(proxy.outbound().unwrap(), to("reviews.shop", "/")).await),
        "up\n"
    );
}

#[tokio::test]
async fn the_way_out_asks_only_where_something_applies_there() {
    let (reviews, ratings) = (App::called("reviews").await, App::called("ratings").await);
    let document = |name: &str, app: &App| {
        format!(
            r#"{{"service":"{name}.shop","endpoints":["{}"]}}"#,
            app.address
        )
    };
    let state = WatchResponse {
        version: 1,
        inbound: Some(nothing()),
        outbound: vec![mixer_proto::v1::Scope {
            destination: "ratings.shop".to_owned(),
            reads_path: true,
            ..scope()
        }],
        outbound_default: Some(nothing()),
        documents: vec![document("reviews", &reviews), document("ratings", &ratings)],
        ..WatchResponse::default()
    };
    let mixer = TestMixer::with_state(state, |asked| match &*asked["request.path"] {
        "/open" => allow(),
        _ => deny(Because::Matched, 403, 7, "not from here"),
    });
    let (mixer, _app, proxy) = crate::shop(mixer.await).await;
    let out = proxy.outbound().unwrap();
    assert_eq!(status(&send(out, to("reviews.shop", "/")).await), 200);
    assert!(mixer.checks().is_empty());
    assert_eq!(
        status(&send(out, to("ratings.shop", "/x/../open")).await),
        200
    );
    assert_eq!(
        body(&send(out, to("ratings.shop", "/other")).await),
        "not from here\n"
    );
    assert_eq!(status(&send(out, to("ratings.shop", "/a%2fb")).await), 400);
    let checks = mixer.checks();
    assert_eq!(checks.len(), 2);
    assert_eq!(
        (
            &*checks[0]["destination.service"],
            &*checks[0]["context.reporter"]
        ),
        ("ratings.shop", "source")
    );
    assert_eq!(
        ratings
            .seen()
            .into_iter()
            .map(|seen| seen.uri)
            .collect::<Vec<_>>(),
        ["/open"]
    );
}

#[tokio::test]
async fn documents_alone_route_without_a_mixer_and_policies_are_refused() {
    let reviews = App::called("reviews").await;
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write(
        "services.yaml",
        &format!(
            "service: reviews.shop\nhosts: [reviews]\nendpoints: ['{}']\n",
            reviews.address
        ),
    );
    let mixer = TestMixer::allowing(nothing(), &[]).await;
    let mut config = config(&mixer, reviews.address);
    config.control = mixer_proxy::Control::Documents(vec![directory.path().to_owned()]);
    let proxy = start(config.clone()).await;
    assert!(proxy.ready());
    assert_eq!(
        body(&send(proxy.outbound().unwrap(), to("reviews", "/")).await),
        "reviews\n"
    );
    assert_eq!(
        body(&send(proxy.inbound().unwrap(), get("/", "")).await),
        "reviews\n"
    );
    drop(proxy);
    write(
        "policy.yaml",
        "policy: closed\nfor: always\nrules:\n  - deny: everybody\n",
    );
    let start = || {
        mixer_proxy::Proxy::start(
            config.clone(),
            mixer_runtime::Clock::system(),
            std::sync::Arc::new(mixer_runtime::Random::from_seed(1)),
        )
    };
    let error = start().expect_err("a policy nobody enforces").to_string();
    assert!(error.contains("needs --mixer"), "{error}");
    write(
        "policy.yaml",
        "jwt: a\nfor: always\nissuer: i\naudiences: [a]\njwks: { file: keys.json }\n",
    );
    let error = start().expect_err("keys that nobody fetches").to_string();
    assert!(
        error.contains("the jwt document \"a\" needs --mixer"),
        "{error}"
    );
}

#[tokio::test]
async fn a_state_that_cannot_be_understood_keeps_the_one_before() {
    let reviews = App::called("reviews").await;
    let service = format!(
        r#"{{"service":"reviews.shop","endpoints":["{}"]}}"#,
        reviews.address
    );
    let (mixer, _app, proxy) = crate::shop(TestMixer::allowing(nothing(), &[service]).await).await;
    mixer.announce(|state| {
        state.documents = vec![r#"{"service":"reviews.shop","endpoints":["nowhere"]}"#.to_owned()]
    });
    let ready = || send(proxy.admin().unwrap(), get("/healthz/ready", ""));
    let said = crate::soon(async {
        loop {
            let said = ready().await;
            if said.contains("cannot be used") {
                return said;
            }
        }
    });
    let said = said.await;
    assert_eq!(status(&said), 200, "{said}");
    assert!(header(&said, "content-type").is_some());
    assert_eq!(
        body(&send(proxy.outbound().unwrap(), to("reviews.shop", "/")).await),
        "reviews\n"
    );
}
