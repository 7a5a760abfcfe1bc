//! The conformance kit over every adapter that comes with Mixer.

use mixer_adapter::conformance::{self, Example};
use mixer_attributes::{OwnedValue, Type};
use serde_json::json;

use super::*;

/// An example of each type; a new adapter must have one.
fn example(kind: &str) -> Example {
    match kind {
        "list" => {
            let address = OwnedValue::Ip("10.1.2.3".parse().unwrap());
            Example::new(json!({"entries": ["10.0.0.0/8"]})).input("value", Type::Ip, address)
        }
        "log" => Example::new(json!({"to": {"file": "/dev/null"}})),
        "memory-quota" => Example::new(json!({"max_keys": 1000})),
        "prometheus" => Example::new(json!({"max_series": 100})),
        "redis-quota" => Example::new(json!({"url": "redis://127.0.0.1:1"})).without_store(),
        "zipkin" => Example::new(json!({"url": "http://127.0.0.1:9411/api/v2/spans"})),
        other => panic!("`{other}` has no example to be checked with"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_adapter_conforms() {
    let registry = builtin();
    for kind in registry.types() {
        let built = registry.by_type(kind).unwrap();
        conformance::run_built(kind, built, &example(kind)).await;
    }
}

#[test]
fn every_feature_is_on_by_default() {
    let types: Vec<_> = builtin().types().collect();
    assert_eq!(
        types,
        [
            "list",
            "log",
            "memory-quota",
            "prometheus",
            "redis-quota",
            "zipkin"
        ]
    );
}
