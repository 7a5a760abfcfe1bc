//! What is refused, where it is blamed, and what is never shown.

use mixer_adapter::conformance::{self, Example};
use mixer_adapter::{Handler, Inputs, Registry};
use serde_json::{Value, json};

use crate::RedisQuota;

fn build(config: Value, directory: &std::path::Path) -> Result<Handler, mixer_adapter::Invalid> {
    let registry = Registry::new().with::<RedisQuota>();
    let built = registry.by_type("redis-quota").unwrap();
    let mut env = conformance::env("store");
    env.directory = directory.to_owned();
    built.build(config, &Inputs::default(), &env)
}

#[tokio::test]
async fn what_cannot_work_is_refused_where_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page.html"), "<html>").unwrap();
    let url = "redis://localhost";
    for (config, field) in [
        (json!({}), ""),
        (json!({"url": url, "cluster": {"addresses": [url]}}), ""),
        (json!({"url": "http://localhost"}), "url"),
        (json!({"url": "redis://mixer:hunter2@localhost"}), "url"),
        (json!({"url": "redis://:hunter2@localhost"}), "url"),
        (json!({"url": "rediss://localhost/#insecure"}), "url"),
        (json!({"url": url, "username": "mixer"}), "username"),
        (json!({"url": url, "timeout": "51ms"}), "timeout"),
        (json!({"url": url, "timeout": "0s"}), "timeout"),
        (json!({"url": url, "connections": 0}), "connections"),
        (json!({"url": url, "prefix": "a{b}"}), "prefix"),
        (
            json!({"url": url, "tls": {"roots": "page.html"}}),
            "tls.roots",
        ),
        (
            json!({"url": "rediss://localhost", "tls": {"roots": "page.html"}}),
            "tls.roots",
        ),
        (
            json!({"url": "rediss://localhost", "tls": {"roots": "none.pem"}}),
            "tls.roots",
        ),
        (json!({"cluster": {"addresses": []}}), "cluster.addresses"),
        (
            json!({"cluster": {"addresses": [url, "rediss://other"]}}),
            "cluster.addresses.1",
        ),
        (
            json!({"cluster": {"addresses": ["redis://localhost/3"]}}),
            "cluster.addresses.0",
        ),
        (
            json!({"cluster": {"addresses": ["unix:///socket"]}}),
            "cluster.addresses.0",
        ),
        (
            json!({"cluster": {"addresses": [url], "spread": 0}}),
            "cluster.spread",
        ),
        (
            json!({"sentinel": {"addresses": [url], "master": ""}}),
            "sentinel.master",
        ),
        (
            json!({"sentinel": {"addresses": [url], "master": "m", "username": "u"}}),
            "sentinel.username",
        ),
    ] {
        let invalid = build(config.clone(), folder.path()).unwrap_err();
        let problems = &invalid.problems;
        assert!(
            problems.iter().any(|problem| problem.field == field),
            "{config}: {problems:?}"
        );
        assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
    }
}

#[tokio::test]
async fn addresses_of_every_kind_are_taken() {
    for config in [
        json!({"url": "redis://localhost"}),
        json!({"url": "rediss://localhost:6380/2"}),
        json!({"url": "unix:///run/redis.sock"}),
        json!({"sentinel": {"addresses": ["redis://one:26379", "redis://two:26379"], "master": "m"}}),
        json!({"cluster": {"addresses": ["rediss://one", "rediss://two"], "spread": 16}}),
    ] {
        assert!(build(config.clone(), ".".as_ref()).is_ok(), "{config}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_server_it_conforms_and_shows_no_secret() {
    let config = json!({
        "url": "redis://127.0.0.1:1",
        "username": "mixer",
        "password": "hunter2",
    });
    let example = Example::new(config).without_store().secret("hunter2");
    conformance::run::<RedisQuota>(&example).await;
}

#[test]
fn no_configuration_shows_a_secret() {
    let config = json!({
        "url": "redis://:hunter2@localhost",
        "password": "hunter2",
        "sentinel": {"addresses": ["redis://:hunter2@localhost"], "master": "m", "password": "hunter2"},
        "cluster": {"addresses": ["redis://:hunter2@localhost"]},
    });
    let config: super::Config = serde_json::from_value(config).unwrap();
    let (sentinel, cluster) = (config.sentinel.as_ref(), config.cluster.as_ref());
    for shown in [
        format!("{config:?}"),
        format!("{:?}", sentinel.unwrap()),
        format!("{:?}", cluster.unwrap()),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
