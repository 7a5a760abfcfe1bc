//! `mixer diff` and `mixer replay`.

use crate::{PRODUCTS, Place, has};

/// What the quickstart of logging writes: the log adapter's own lines.
const OWN: &str = r#"{"time":"2026-01-01T00:00:00Z","reporter":"destination","source_principal":"spiffe://cluster.local/ns/shop/sa/frontend","downstream_remote_address":"10.0.0.9","client_ip":"10.0.0.9","destination_service":"products.shop","method":"GET","path":"/products/1","protocol":"http","response_code":200,"decision":"allow","policy":"products","rule":"the shop frontend may read products"}
{"time":"2026-01-01T00:00:01Z","reporter":"destination","source_principal":"spiffe://cluster.local/ns/shop/sa/frontend","destination_service":"products.shop","method":"GET","path":"/products/2","protocol":"http","response_code":200,"decision":"allow","policy":"products","rule":"the shop frontend may read products"}
{"time":"2026-01-01T00:00:02Z","reporter":"destination","source_principal":"spiffe://cluster.local/ns/sandbox/sa/x","destination_service":"products.shop","method":"GET","path":"/products/1","protocol":"http","response_code":403,"decision":"deny","policy":"products","rule":"nobody from the sandbox"}
{"time":"2026-01-01T00:00:03Z","reporter":"destination","source_principal":"spiffe://cluster.local/ns/shop/sa/frontend","destination_service":"products.shop","method":"GET","path":"/products/1","protocol":"http","response_code":429,"decision":"deny","policy":"products","rule":"few"}
"#;

fn place() -> Place {
    let after = PRODUCTS
        .replace(
            "request.path.startsWith(\"/products\")",
            "request.path == \"/products/1\"",
        )
        .replace("\"sandbox\"", "\"sandpit\"")
        .replace(
            "source.namespace == \"shop\" &&",
            "source.namespace in [\"shop\", \"sandbox\"] &&",
        )
        .replace("  - { deny: nobody", "  - { deny: any")
        .replace("== \"frontend\"", "in [\"frontend\", \"x\"]");
    Place::with([
        ("before/products.yaml", PRODUCTS),
        ("after/products.yaml", &*after),
        ("own.jsonl", OWN),
    ])
}

const CHANGES: &str = r#"newly denied:
  1 x shop/frontend -> products.shop: denied by "only the shop frontend may read products" of policy products (after/products.yaml:11:20)
    before: allowed by "the shop frontend may read products" of policy products
    such as line 2: GET /products/2
newly allowed:
  1 x sandbox/x -> products.shop: allowed by "the shop frontend may read products" of policy products (after/products.yaml:6:12)
    before: denied by "nobody from the sandbox" of policy products
    such as line 3: GET /products/1
"#;

#[test]
fn replay_says_who_would_newly_be_denied_or_allowed_and_by_what() {
    let place = place();
    let out = place.says(79, &["replay", "own.jsonl", "--policies", "after"]);
    assert_eq!(
        out,
        format!(
            "4 requests: 1 the same, 1 newly denied, 1 newly allowed\n{CHANGES}not compared:\n  1 were over a limit, which is not replayed\n"
        )
    );
    let same = place.says(0, &["replay", "own.jsonl", "--policies", "before"]);
    has(
        &same,
        &["4 requests: 3 the same, 0 newly denied, 0 newly allowed\n"],
    );
}

#[test]
fn diff_says_the_same_of_two_sets_of_documents() {
    let place = place();
    let out = place.says(79, &["diff", "before", "after", "--requests", "own.jsonl"]);
    has(
        &out,
        &[
            "4 requests: 2 the same, 1 newly denied, 1 newly allowed\n",
            "before: allowed by \"the shop frontend may read products\" of policy products (before/products.yaml:6:12)\n",
            "denied by \"only the shop frontend may read products\" of policy products (after/products.yaml:11:20)\n",
        ],
    );
    place.says(0, &["diff", "before", "before", "--requests", "own.jsonl"]);
}

#[test]
fn json_has_the_same_counts() {
    let out = place().says(
        79,
        &["replay", "own.jsonl", "--policies", "after", "-o", "json"],
    );
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (
            &json["requests"],
            &json["newly_denied"],
            &json["over_limit"]
        ),
        (&4.into(), &1.into(), &1.into())
    );
    let denied = json["changes"].as_array().unwrap();
    assert!(
        denied
            .iter()
            .any(|change| change["newly"] == "denied" && change["example"]["line"] == 2)
    );
}

const ISTIO: &str = r#"{"start_time":"2026-01-01T00:00:00.123Z","method":"DELETE","path":"/products/1?x=1","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","authority":"products.shop:8080","upstream_cluster":"outbound|8080||products.shop.svc.cluster.local","downstream_remote_address":"10.0.0.9:4711"}
{"method":"GET","path":"/products/1","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","authority":"other.shop","downstream_remote_address":"10.0.0.9:4711"}
"#;

#[test]
fn what_records_do_not_tell_is_counted_and_not_guessed() {
    let place = place();
    place.write("istio.jsonl", ISTIO);
    let arguments = ["replay", "istio.jsonl", "--policies", "before"];
    let out = place.says(0, &arguments);
    has(
        &out,
        &[
            "2 requests: 1 the same, 0 newly denied",
            "1 depend on source.namespace, which their records do not tell",
        ],
    );
    let absent = place.says(79, &[&arguments[..], &["--absent", "source"]].concat());
    has(
        &absent,
        &[
            "1 newly denied",
            "- -> products.shop: denied by \"nobody from the sandbox\"",
        ],
    );
    let given = [
        "-a",
        "source.namespace=shop",
        "-a",
        "source.service_account=frontend",
    ];
    let given = place.says(79, &[&arguments[..], &given].concat());
    has(
        &given,
        &["shop/frontend -> products.shop: denied by \"only the shop frontend"],
    );
    has(
        &place.complains(
            64,
            &[&arguments[..], &["--absent", "source.namespce"]].concat(),
        ),
        &["did you mean `source.namespace`?"],
    );
}

#[test]
fn a_denial_for_certain_is_one_whatever_else_is_not_recorded() {
    let place = place();
    place.write("istio.jsonl", ISTIO.lines().next().unwrap());
    let admins = "policy: p\nfor: always\nrules:\n  - { deny: admins only, when: 'has(auth.claims.groups) && !(\"admins\" in auth.claims.groups)' }\n";
    place.write("policies/p.yaml", admins);
    has(
        &place.says(0, &["replay", "istio.jsonl"]),
        &["1 depend on auth.claims"],
    );
    let deletes = "  - { deny: no deletes, when: 'request.method == \"DELETE\"', message: 'not {source.principal}' }\n";
    place.write("policies/p.yaml", format!("{admins}{deletes}"));
    has(
        &place.says(79, &["replay", "istio.jsonl"]),
        &["1 newly denied", "\"no deletes\""],
    );
}

#[test]
fn adapters_outside_are_not_asked_and_their_answers_can_be_given() {
    let place = place();
    place.write(
        "asking/p.yaml",
        "adapter: feed\ntype: list\nconfig: { url: 'https://feeds.example/drop.txt' }\n---\npolicy: p\nfor: always\nrules: [ { deny: blocked, ask: feed, with: { value: request.client_ip } } ]\n",
    );
    place.write(
        "one.jsonl",
        r#"{"client_ip":"1.2.3.4","destination_service":"a.b","response_code":200}"#,
    );
    let arguments = ["replay", "one.jsonl", "--policies", "asking"];
    has(
        &place.says(0, &arguments),
        &["1 ask feed: say --answer feed=match"],
    );
    has(
        &place.says(79, &[&arguments[..], &["--answer", "feed=match"]].concat()),
        &["1 newly denied"],
    );
}

#[test]
fn malformed_lines_are_counted_with_their_numbers_and_fatal_only_alone() {
    let place = place();
    let first = OWN.lines().next().unwrap();
    place.write(
        "some.jsonl",
        format!("{first}\nnot json\n\n[]\n{{\"client_ip\":\"here\"}}\n").into_bytes(),
    );
    let out = place.says(0, &["replay", "some.jsonl", "--policies", "before"]);
    has(
        &out,
        &[
            "1 requests: 1 the same",
            "malformed: 3\n  line 2: it is not JSON",
            "  line 4: it is not a JSON object\n  line 5: the client `here` is no address\n",
        ],
    );
    place.write("none.jsonl", "x\ny\n");
    place.write("empty.jsonl", "");
    place.write("binary.jsonl", b"\xff\xfe\x00\n");
    for file in [
        "none.jsonl",
        "empty.jsonl",
        "binary.jsonl",
        "gone.jsonl",
        ".",
    ] {
        place.complains(65, &["replay", file, "--policies", "before"]);
        place.complains(65, &["diff", "before", "after", "--requests", file]);
    }
}

#[test]
fn records_may_come_from_standard_input() {
    let ran = place().fed(&["replay", "-", "--policies", "before"], OWN);
    assert_eq!((ran.code, &*ran.err), (0, ""));
}

#[test]
fn usage_and_documents_have_their_codes() {
    let place = place();
    place.write("broken/p.yaml", "policy: p\nrules: []\n");
    place.complains(64, &["diff", "before", "after"]);
    place.complains(64, &["replay"]);
    place.complains(3, &["diff", "before", "broken", "--requests", "own.jsonl"]);
    place.complains(3, &["replay", "own.jsonl", "--policies", "broken"]);
    place.complains(65, &["replay", "own.jsonl"]);
    place.complains(65, &["diff", "before", "gone", "--requests", "own.jsonl"]);
    place.complains(
        65,
        &[
            "replay",
            "own.jsonl",
            "--policies",
            "before",
            "-a",
            "request.metod=x",
        ],
    );
}

#[test]
fn what_a_client_sent_cannot_command_the_terminal_and_is_cut() {
    let place = place();
    let long = "x".repeat(10_000);
    place.write(
        "hostile.jsonl",
        format!(
            "{{\"reporter\":\"destination\",\"destination_service\":\"products.shop\",\"source_principal\":\"spiffe://cluster.local/ns/shop/sa/frontend\",\"method\":\"GET\",\"path\":\"/\\u001b[31m{long}\",\"decision\":\"allow\"}}\n"
        ),
    );
    let out = place.says(79, &["replay", "hostile.jsonl", "--policies", "before"]);
    has(&out, &["such as line 1: GET /\\u{1b}[31mxxx"]);
    assert!(out.len() < 1_000, "{} bytes", out.len());
}
