//! The adapter as Mixer uses it, with servers that change their minds.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use mixer_adapter::Format;
use mixer_adapter::conformance::backend::{Backend, answer};
use mixer_adapter::conformance::{self, Example};
use serde_json::{Value, json};

use mixer_attributes::OwnedValue;

use super::*;

fn address(text: &str) -> OwnedValue {
    OwnedValue::Ip(text.parse().unwrap())
}

fn built(config: Value, kind: Type, env: &Env) -> Result<Handler, Invalid> {
    let registry = mixer_adapter::Registry::new().with::<List>();
    let inputs = Inputs {
        declared: vec![("value".to_owned(), Some(kind))],
        unasked: false,
    };
    registry
        .by_type("list")
        .unwrap()
        .build(config, &inputs, env)
}

async fn ask(handler: &Handler, value: OwnedValue) -> Result<bool, Unavailable> {
    let answer = handler.check(&Instance { values: &[value] }).await?;
    assert_eq!(answer.valid_for, ValidFor::Version);
    Ok(answer.matched)
}

/// Waits until the list's content is another.
async fn changed(handler: &Handler, since: u64) -> u64 {
    let mut changes = handler.version_changes().unwrap();
    *changes.wait_for(|version| *version != since).await.unwrap()
}

/// An environment whose lists age by hand, while requests have real deadlines.
fn aging_env() -> (Env, mixer_runtime::ManualClock) {
    let (env, hand) = conformance::manual_env("blocklist");
    (
        Env {
            http: mixer_adapter::HttpClient::new(mixer_runtime::Clock::system()),
            ..env
        },
        hand,
    )
}

/// A metric of the adapter, as it is shown.
fn metric(handler: &Handler, name: &str) -> Option<f64> {
    let mut page = Exposition::new(Format::Text);
    handler.exposition().unwrap().expose(&mut page);
    let page = page.finish();
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Answers with what it was last told.
async fn told() -> (Backend, Arc<Mutex<Response<Full<Bytes>>>>) {
    let next = Arc::new(Mutex::new(answer(200, "10.0.0.0/8")));
    let say = next.clone();
    let backend = Backend::start(move |request| {
        let next = say.lock().unwrap().clone();
        match (
            next.headers().get("etag"),
            request.headers().get("if-none-match"),
        ) {
            (Some(now), Some(known)) if now == known => answer(304, ""),
            _ => next,
        }
    })
    .await;
    (backend, next)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_conforms() {
    let ip = || address("10.1.2.3");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("list"), "10.0.0.0/8\n").unwrap();
    let (backend, _) = told().await;
    for config in [
        json!({"entries": ["10.0.0.0/8"]}),
        json!({"file": "list"}),
        json!({"url": backend.address(), "seed": "list", "headers": {"authorization": "s3cret", "x-other": {"from_env": "PATH"}}}),
        json!({"url": "https://127.0.0.1:1/"}),
    ] {
        let example = Example::new(config)
            .input("value", Type::Ip, ip())
            .directory(directory.path())
            .secret("s3cret");
        conformance::run::<List>(&example).await;
    }
    let texts = Example::new(json!({"entries": ["alice"]})).input(
        "value",
        Type::String,
        OwnedValue::String("bob".into()),
    );
    conformance::run::<List>(&texts).await;
}

#[tokio::test]
async fn entries_and_files_answer_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("drop.txt"),
        "; comment\n10.0.0.0/8 ; SBL1\n",
    )
    .unwrap();
    let env = Env {
        directory: directory.path().to_owned(),
        ..conformance::env("list")
    };
    for config in [
        json!({"entries": ["10.0.0.0/8"]}),
        json!({"file": "drop.txt"}),
    ] {
        let handler = built(config, Type::Ip, &env).unwrap();
        assert_eq!(ask(&handler, address("10.1.2.3")).await, Ok(true));
        assert_eq!(ask(&handler, address("11.1.2.3")).await, Ok(false));
        assert_ne!(handler.version(), 0);
    }
    let networks_of_texts = built(
        json!({"entries": ["10.0.0.0/8"], "kind": "ip"}),
        Type::String,
        &env,
    )
    .unwrap();
    assert_eq!(
        ask(&networks_of_texts, OwnedValue::String("10.1.1.1".into())).await,
        Ok(true)
    );
    assert!(
        ask(
            &networks_of_texts,
            OwnedValue::String("10.1.1.1, 1.2.3.4".into())
        )
        .await
        .is_err()
    );
}

#[tokio::test]
async fn every_problem_of_a_configuration_is_told() {
    let env = conformance::env("list");
    for (config, kind, fields) in [
        (json!({}), Type::Ip, vec![""]),
        (
            json!({"entries": [], "url": "http://h/"}),
            Type::Ip,
            vec![""],
        ),
        (
            json!({"entries": ["a"], "refresh": "5m", "min_entries": 1}),
            Type::String,
            vec!["refresh", "min_entries"],
        ),
        (
            json!({"entries": ["10.0.0.1/8", "ok", "10.0.0.1"]}),
            Type::Ip,
            vec!["entries.0", "entries.1"],
        ),
        (
            json!({"entries": ["10.0.0.0/8"]}),
            Type::String,
            vec!["entries.0"],
        ),
        (
            json!({"entries": ["10.0.0.0/8"], "kind": "strings"}),
            Type::Ip,
            vec!["kind"],
        ),
        (
            json!({"entries": ["a"], "kind": "regex"}),
            Type::String,
            vec!["kind"],
        ),
        (json!({"file": "no such file"}), Type::Ip, vec!["file"]),
        (
            json!({"url": "ftp://h/", "refresh": "1ms", "keep": "0s"}),
            Type::Ip,
            vec!["refresh", "keep", "url"],
        ),
        (
            json!({"url": "http://h/", "refresh": "2h", "keep": "1h"}),
            Type::Ip,
            vec!["keep"],
        ),
        (
            json!({"url": "http://h/", "headers": {"a b": "x", "y": "line\nbreak"}}),
            Type::Ip,
            vec!["headers.a b", "headers.y"],
        ),
        (
            json!({"url": "http://h/", "headers": {"y": {"env": "X"}}}),
            Type::Ip,
            vec!["headers.y"],
        ),
        (
            json!({"url": "http://h/", "seed": "no such file"}),
            Type::Ip,
            vec!["seed"],
        ),
    ] {
        let problems = built(config.clone(), kind, &env).unwrap_err().problems;
        let blamed: Vec<_> = problems
            .iter()
            .map(|problem| problem.field.as_str())
            .collect();
        assert_eq!(blamed, fields, "{config}: {problems:?}");
    }
}

#[tokio::test]
async fn a_list_is_unavailable_until_it_is_fetched_and_then_follows_the_server() {
    let (env, hand) = aging_env();
    let (backend, next) = told().await;
    let mut handler = built(
        json!({"url": backend.address(), "refresh": "5m"}),
        Type::Ip,
        &env,
    )
    .unwrap();
    assert!(ask(&handler, address("10.1.2.3")).await.unwrap_err().retry);
    assert_eq!(handler.version(), 0);
    handler.start(&env);
    let first = changed(&handler, 0).await;
    assert_eq!(ask(&handler, address("10.1.2.3")).await, Ok(true));

    *next.lock().unwrap() = answer(200, "11.0.0.0/8");
    hand.advance(Duration::from_secs(330));
    changed(&handler, first).await;
    assert_eq!(ask(&handler, address("10.1.2.3")).await, Ok(false));
    assert_eq!(ask(&handler, address("11.1.2.3")).await, Ok(true));
}

#[tokio::test]
async fn what_cannot_be_taken_for_the_list_leaves_the_one_before_until_keep_is_over() {
    let (env, hand) = aging_env();
    let (backend, next) = told().await;
    let config = json!({"url": backend.address(), "refresh": "5m", "keep": "1h", "min_entries": 2});
    *next.lock().unwrap() = answer(200, "10.0.0.0/8\n12.0.0.0/8");
    let mut handler = built(config, Type::Ip, &env).unwrap();
    handler.start(&env);
    let first = changed(&handler, 0).await;
    let bad = [
        answer(200, "10.0.0.0/8"),
        answer(200, "<html>try again later</html>"),
        answer(200, &b"10.0.0.0/8\n\xff"[..]),
        answer(500, ""),
        answer(302, ""),
        answer(204, ""),
        answer(304, ""),
    ];
    for (told, bad) in bad.into_iter().enumerate() {
        // A 304 to a request with nothing to compare with is a server's mistake, but the list is then what it was.
        let is_success = bad.status() == 304;
        *next.lock().unwrap() = bad;
        hand.advance(Duration::from_secs(330));
        let settled = || match is_success {
            true => metric(&handler, "mixer_list_age_seconds") == Some(0.0),
            false => metric(&handler, "mixer_list_fetch_failures_total") == Some((told + 1) as f64),
        };
        while !settled() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&handler, address("12.1.2.3")).await, Ok(true));
        assert_eq!(handler.version(), first);
    }
    *next.lock().unwrap() = answer(500, "");
    while handler.version() == first {
        hand.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    // Answers that were remembered from the old list are void as well: its version is another.
    assert_eq!(handler.version(), 0);
    assert!(
        ask(&handler, address("12.1.2.3"))
            .await
            .unwrap_err()
            .reason
            .contains("keep")
    );
    *next.lock().unwrap() = answer(200, "10.0.0.0/8\n12.0.0.0/8");
    while handler.version() == 0 {
        hand.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    assert_eq!(handler.version(), first);
}

#[tokio::test]
async fn an_unchanged_list_is_not_sent_again() {
    let (env, hand) = aging_env();
    let (backend, next) = told().await;
    next.lock()
        .unwrap()
        .headers_mut()
        .insert("etag", "\"v1\"".parse().unwrap());
    let mut handler = built(
        json!({"url": backend.address(), "keep": "10m"}),
        Type::Ip,
        &env,
    )
    .unwrap();
    handler.start(&env);
    let first = changed(&handler, 0).await;
    for _ in 0..10 {
        hand.advance(Duration::from_secs(330));
        while metric(&handler, "mixer_list_age_seconds") != Some(0.0) {
            tokio::task::yield_now().await;
        }
        assert_eq!(handler.version(), first);
    }
    assert_eq!(backend.requests(), 11);
    // 304 counts as a success: far more than `keep` has passed.
    assert_eq!(ask(&handler, address("10.1.2.3")).await, Ok(true));
}

#[tokio::test]
async fn the_seed_is_used_until_the_first_fetch() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("seed"), "12.0.0.0/8").unwrap();
    let (env, hand) = aging_env();
    let env = Env {
        directory: directory.path().to_owned(),
        ..env
    };
    let (backend, next) = told().await;
    *next.lock().unwrap() = answer(503, "");
    let mut handler = built(
        json!({"url": backend.address(), "seed": "seed"}),
        Type::Ip,
        &env,
    )
    .unwrap();
    let seed = handler.version();
    assert_ne!(seed, 0);
    handler.start(&env);
    while backend.requests() < 3 {
        hand.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&handler, address("12.1.2.3")).await, Ok(true));
    *next.lock().unwrap() = answer(200, "10.0.0.0/8");
    while handler.version() == seed {
        hand.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&handler, address("12.1.2.3")).await, Ok(false));
}

#[tokio::test]
async fn a_reload_keeps_the_list_unless_its_address_changes() {
    let (env, _hand) = aging_env();
    let (backend, _) = told().await;
    let mut first = built(json!({"url": backend.address()}), Type::Ip, &env).unwrap();
    first.start(&env);
    let version = changed(&first, 0).await;
    let mut second = built(
        json!({"url": backend.address(), "refresh": "1m"}),
        Type::Ip,
        &env,
    )
    .unwrap();
    assert_eq!(second.version(), version);
    second.start(&env);
    assert_eq!(ask(&second, address("10.1.2.3")).await, Ok(true));
    assert_eq!(backend.requests(), 1);
    let other = built(
        json!({"url": format!("{}/other", backend.address())}),
        Type::Ip,
        &env,
    )
    .unwrap();
    assert!(ask(&other, address("10.1.2.3")).await.is_err());
}

#[tokio::test]
async fn headers_are_sent_and_a_missing_secret_fails_the_fetch_only() {
    let directory = tempfile::tempdir().unwrap();
    let (env, hand) = aging_env();
    let env = Env {
        directory: directory.path().to_owned(),
        ..env
    };
    let backend = Backend::start(|request| match request.headers().get("authorization") {
        Some(token) if token == "Bearer t" => answer(200, "10.0.0.0/8"),
        _ => answer(401, ""),
    })
    .await;
    let config =
        json!({"url": backend.address(), "headers": {"authorization": {"from_file": "token"}}});
    let mut handler = built(config, Type::Ip, &env).unwrap();
    handler.start(&env);
    tokio::task::yield_now().await;
    std::fs::write(directory.path().join("token"), "Bearer t\n").unwrap();
    while handler.version() == 0 {
        hand.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&handler, address("10.1.2.3")).await, Ok(true));
}
