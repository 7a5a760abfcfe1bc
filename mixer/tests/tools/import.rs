//! `mixer import`.

use crate::{Place, has};

const LIMITS: &str =
    "- namespace: edge\n  max_value: 2\n  seconds: 60\n  variables: [\"descriptors[0].user\"]\n";

#[test]
fn what_is_imported_is_valid_and_limits() {
    let place = Place::with([("limits.yaml", LIMITS)]);
    let text = place.says(0, &["import", "limitador", "limits.yaml"]);
    has(
        &text,
        &[
            "policy: 'edge'",
            "key: ['rate_limit.descriptor.user']",
            "limit: 2 per minute",
        ],
    );
    place.says(0, &["import", "limitador", "limits.yaml", "--out", "out"]);
    let test = "tests:\n  - { limit: 2 in 60s for each user, times: 3, given: { rate_limit: { domain: edge, descriptor: { user: ann } } } }\n";
    let written = std::fs::read_to_string(place.path("out/edge.yaml")).unwrap();
    assert_eq!(written, text);
    place.write("out/edge.yaml", written + test);
    place.says(0, &["test", "out"]);
    // What is there is not written over.
    let ran = place.run(&["import", "limitador", "limits.yaml", "--out", "out"]);
    assert_eq!(ran.code, 65, "{ran:?}");
}

#[test]
fn what_cannot_be_imported_is_an_error_and_nothing_is_written() {
    let tree = "domain: edge\ndescriptors:\n  - key: user\n    quota_mode: true\n";
    let place = Place::with([("tree.yaml", tree)]);
    let ran = place.run(&["import", "ratelimit", "tree.yaml", "--out", "out"]);
    assert_eq!((ran.code, &*ran.out), (3, ""), "{ran:?}");
    has(
        &ran.err,
        &["tree.yaml:4:5", "`quota_mode` cannot be taken over"],
    );
    assert!(!place.path("out").exists());
    assert_eq!(place.run(&["import", "ratelimit", "none.yaml"]).code, 65);
}
