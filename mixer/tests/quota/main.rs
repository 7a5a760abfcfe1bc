//! `mixer quota` as a process, against `mixer serve` as a process: what it shows, what it changes, and who may.
#![allow(clippy::unwrap_used)]

mod serving;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use serving::Serving;

const POLICY: &str = r#"policy: products
for: destination.service == "products.shop"
quotas:
  - { quota: per caller, key: [source.principal], limit: 10 per day, lease: 0 }
---
policy: others
for: destination.service == "others.shop"
quotas:
  - quota: per caller
    id: others
    key: [source.principal, request.method]
    limit: { by: request.headers.plan, table: { pro: 50 per day }, otherwise: 5 per day }
    algorithm: gcra
    mode: shadow
  - { quota: at once, id: flight, key: [], limit: 3, algorithm: concurrency, hold: 30s }
"#;

const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";

/// What became of one command.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// A Mixer and where its files are.
struct Place {
    directory: tempfile::TempDir,
    mixer: Serving,
}

impl Place {
    fn new(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("policies")).unwrap();
        std::fs::write(directory.path().join("policies/all.yaml"), POLICY).unwrap();
        std::fs::write(directory.path().join("token"), "0123456789abcdef0123").unwrap();
        std::fs::write(directory.path().join("other"), "fedcba98765432100000").unwrap();
        let arguments = [&["policies"], arguments].concat();
        let mixer = Serving::start(directory.path(), &arguments);
        Self { directory, mixer }
    }

    fn quota(&self, arguments: &[&str]) -> Ran {
        quota(self.directory.path(), &self.mixer.admin, arguments)
    }

    /// With the token.
    fn changed(&self, arguments: &[&str]) -> String {
        let ran = self.quota(&[arguments, &["--token-file", "token"]].concat());
        assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
        ran.out
    }

    fn says(&self, arguments: &[&str]) -> String {
        let ran = self.quota(arguments);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
        ran.out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).unwrap()
    }
}

fn quota(directory: &Path, admin: &str, arguments: &[&str]) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_mixer"))
        .arg("quota")
        .args(arguments)
        .current_dir(directory)
        .env("MIXER_ADMIN", admin)
        .env_remove("MIXER_ADMIN_TOKEN_FILE")
        .output()
        .unwrap();
    Ran {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

#[test]
fn a_refused_caller_is_found_reset_and_passes() {
    let place = Place::new(&["--admin-token-file", "token"]);
    assert_eq!(place.mixer.spend("shop", "frontend", 12), 10);
    assert_eq!(place.mixer.spend("shop", "o'neill", 1), 1);
    let shown = place.says(&["ls", "products/per caller"]);
    let lines: Vec<&str> = shown.lines().collect();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(lines[0]),
        ["KEY", "SPENT", "LEFT", "NEXT", "FREE", "AGAIN"]
    );
    assert_eq!(words(lines[1])[..4], [FRONTEND, "10", "0", "in"]);
    assert_eq!(words(lines[2])[1..4], ["1", "9", "now"]);
    assert!(lines[2].starts_with(r"'spiffe://cluster.local/ns/shop/sa/o'\''neill'"));

    let told = place.says(&["get", "products/per caller", FRONTEND]);
    assert!(
        told.starts_with("10 spent, 0 left of 10 in 1d, next in "),
        "{told}"
    );
    assert_eq!(
        place.changed(&["reset", "products/per caller", FRONTEND]),
        "1 counter is as new\n"
    );
    assert_eq!(
        place.says(&["get", "products/per caller", FRONTEND]),
        "0 spent, 10 left of 10 in 1d\n"
    );
    assert_eq!(
        place.changed(&["reset", "products/per caller", FRONTEND]),
        "no counter had spent anything\n"
    );
    assert_eq!(place.mixer.spend("shop", "frontend", 12), 10);
    assert_eq!(
        place.changed(&["reset", "products/per caller"]),
        "2 counters are as new\n"
    );
    assert_eq!(
        place.json(&["ls", "products/per caller"])["counters"],
        json!([])
    );
}

#[test]
fn a_grant_gives_tokens_back_and_never_makes_more_of_a_limit() {
    let place = Place::new(&["--admin-token-file", "token"]);
    place.mixer.spend("shop", "frontend", 11);
    let granted = place.changed(&["grant", "products/per caller", FRONTEND, "4"]);
    assert_eq!(granted, "10 spent before, 6 now; 4 left\n");
    assert_eq!(place.mixer.spend("shop", "frontend", 11), 4);
    let granted = place.changed(&["grant", "products/per caller", FRONTEND, "1000"]);
    assert_eq!(granted, "10 spent before, 0 now; 10 left\n");
    let granted = place.changed(&["grant", "products/per caller", "nobody", "5", "--json"]);
    let granted: Value = serde_json::from_str(&granted).unwrap();
    assert_eq!(
        (&granted["before"]["spent"], &granted["after"]["left"]),
        (&json!(0), &json!(10))
    );
    for amount in ["0", "-3", "many"] {
        let ran = place.quota(&["grant", "products/per caller", "--", FRONTEND, amount]);
        assert_eq!((ran.code, &*ran.out), (64, ""), "{ran:?}");
        assert!(ran.err.contains("a number above 0"), "{ran:?}");
    }
}

#[test]
fn quotas_and_counters_are_listed_as_json() {
    let place = Place::new(&[]);
    for account in ["a1", "a2", "b1"] {
        place.mixer.spend("shop", account, 2);
    }
    let quotas = place.json(&["ls"]);
    let quotas = quotas["quotas"].as_array().unwrap();
    let ids: Vec<&str> = quotas
        .iter()
        .map(|quota| quota["quota"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["products/per caller", "others", "flight"]);
    assert_eq!(
        quotas[1],
        json!({
            "quota": "others", "policy": "others", "sentence": "per caller", "mode": "shadow", "algorithm": "gcra", "store": "memory",
            "key": ["source.principal", "request.method"],
            "limit": { "amount": 5, "window_seconds": 86400.0 },
            "tiers": { "pro": { "amount": 50, "window_seconds": 86400.0 } },
        })
    );
    let prefix = "spiffe://cluster.local/ns/shop/sa/a";
    let listed = place.json(&["ls", "products/per caller", "--prefix", prefix]);
    let counters = listed["counters"].as_array().unwrap();
    assert_eq!((counters.len(), &listed["more"]), (2, &json!(false)));
    assert_eq!(counters[0]["key"], json!([format!("{prefix}1")]));
    assert_eq!(
        (&counters[0]["spent"], &counters[0]["left"]),
        (&json!(2), &json!(8))
    );
    assert_eq!(counters[0]["next_in_seconds"], json!(0.0));
    let ran = place.quota(&["ls", "products/per caller", "--limit", "2", "-o", "json"]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("--limit N shows more"), "{ran:?}");
    let listed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(listed["counters"].as_array().unwrap().len(), 2);
    assert_eq!(listed["more"], true);
    let tier = place.json(&["get", "others", "x", "GET", "--tier", "pro"]);
    assert_eq!(
        (&tier["limit"]["amount"], &tier["counter"]["spent"]),
        (&json!(50), &json!(0))
    );
    let absent = place.json(&["get", "others", "(absent)", "GET"]);
    assert_eq!(absent["counter"]["key"], json!([null, "GET"]));
    assert_eq!(
        place.says(&["get", "flight"]),
        "0 spent, 3 left of 3 at once\n"
    );
}

#[test]
fn who_asks_for_what_is_not_there_is_told_what_was_meant() {
    let place = Place::new(&[]);
    for (arguments, code, told) in [
        (
            &["ls", "product/per caller"][..],
            64,
            "no quota is called `product/per caller`; did you mean `products/per caller`?",
        ),
        (&["get", "flihgt"], 64, "did you mean `flight`?"),
        // The sentence of two.
        (&["ls", "per caller"], 64, "no quota is called `per caller`"),
        (
            &["get", "at once", "x"],
            64,
            "`flight` has one counter and no key, but 1 were given",
        ),
        (
            &["get", "others", "x"],
            64,
            "`others` has a key of 2 values (source.principal, request.method), but 1 were given",
        ),
        (
            &["get", "others", "x", "y", "--tier", "pra"],
            64,
            "did you mean `pro`?",
        ),
        (&["ls", "--prefix", "x"], 64, "QUOTA"),
        (&["ls", "flight", "--limit", "0"], 64, "--limit"),
        (
            &["ls", "--admin", "127.0.0.1:1"],
            69,
            "no Mixer answers there",
        ),
        (&["ls", "--admin", "@"], 64, "--admin"),
        (
            &["reset", "flight", "--token-file", "nothing"],
            65,
            "--token-file nothing",
        ),
    ] {
        let ran = place.quota(arguments);
        assert_eq!((ran.code, &*ran.out), (code, ""), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(told), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn nothing_is_changed_without_the_token() {
    let place = Place::new(&["--admin-token-file", "token"]);
    place.mixer.spend("shop", "frontend", 3);
    let spent =
        || place.json(&["get", "products/per caller", FRONTEND])["counter"]["spent"].clone();
    let changes = [
        &["reset", "products/per caller", FRONTEND][..],
        &["reset", "products/per caller"],
        &["grant", "products/per caller", FRONTEND, "1"],
    ];
    for change in changes {
        for (more, told) in [
            (&[][..], "is missing"),
            (&["--token-file", "other"], "is another"),
        ] {
            let ran = place.quota(&[change, more].concat());
            assert_eq!((ran.code, &*ran.out), (64, ""), "{ran:?}");
            assert!(ran.err.contains(told), "{ran:?}");
        }
    }
    assert_eq!(spent(), 3);
    // Started without one, no token helps.
    let place = Place::new(&[]);
    let ran = place.quota(&["reset", "flight", "--token-file", "token"]);
    assert_eq!(ran.code, 64);
    assert!(
        ran.err.contains("started without --admin-token-file"),
        "{ran:?}"
    );
}

#[test]
fn a_mixer_does_not_start_with_a_token_that_can_be_guessed() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.yaml"), POLICY).unwrap();
    std::fs::write(directory.path().join("token"), "short").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_mixer"))
        .args([
            "serve",
            ".",
            "--grpc",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--admin-token-file",
            "token",
        ])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(65));
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(
        told.contains("--admin-token-file token: a token of 5 bytes can be guessed"),
        "{told}"
    );
}

#[test]
fn counters_survive_a_restart_of_mixer() {
    let directory = tempfile::tempdir().unwrap();
    let policies = directory.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let kept = POLICY.replace("limit: 10 per day", "limit: 10 per day, store: kept");
    let adapter =
        "---\nadapter: kept\ntype: memory-quota\nconfig: { snapshot: { file: ../counters } }\n";
    std::fs::write(policies.join("all.yaml"), kept + adapter).unwrap();
    let mixer = Serving::start(directory.path(), &["policies"]);
    assert_eq!(mixer.spend("shop", "frontend", 7), 7);
    mixer.terminate();
    let mixer = Serving::start(directory.path(), &["policies"]);
    let told = quota(
        directory.path(),
        &mixer.admin,
        &["get", "products/per caller", FRONTEND],
    );
    assert!(
        told.out.starts_with("7 spent, 3 left of 10 in 1d"),
        "{told:?}"
    );
    assert_eq!(mixer.spend("shop", "frontend", 7), 3);
}
