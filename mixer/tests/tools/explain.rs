//! `mixer explain`.

use crate::{PRODUCTS, Place, has};

const ASKING: &str = r#"
adapter: blocklist
type: list
config: { entries: [10.66.0.0/16] }
---
policy: asking
for: destination.service == "products.shop"
rules:
  - { deny: blocked addresses, ask: blocklist, with: { value: request.client_ip } }
  - { deny: on trial, mode: shadow, when: 'request.method == "GET"' }
"#;

fn place() -> Place {
    Place::with([
        ("policies/products.yaml", PRODUCTS),
        ("policies/asking.yaml", ASKING),
        (
            "request.yaml",
            "source: { namespace: shop, service_account: frontend }\ndestination: { service: products.shop }\nrequest: { method: GET, path: /products/1, client_ip: 10.1.1.1 }\n",
        ),
    ])
}

const REQUEST: [&str; 4] = ["explain", "policies", "--request", "request.yaml"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&REQUEST[..], more].concat()
}

#[test]
fn everything_that_a_request_meets_is_told() {
    let out = place().says(0, &REQUEST);
    has(
        &out,
        &[
            "policy asking (policies/asking.yaml:6:9)\n",
            "blocklist answers: no match\n",
            "allow: the shop frontend may read products (policies/products.yaml:6:12) -> matches: allows\n",
            "charges 1 of 2 in 86400s to products/few []\n",
            "pool, allow: lets pass by \"the shop frontend may read products\" <- decides\n",
            "shadow: \"on trial\" of policy asking would deny (matched)\n",
            "decision: allowed by \"the shop frontend may read products\" of policy products (policies/products.yaml:6:12)\n",
            "holds for requests equal in: ",
        ],
    );
}

#[test]
fn adapters_answer_what_the_command_line_says() {
    let place = place();
    let denied = place.says(0, &with(&["--answer", "blocklist=match"]));
    has(
        &denied,
        &[
            "blocklist answers: match",
            "decision: denied by \"blocked addresses\"",
        ],
    );
    let unavailable = place.says(0, &with(&["--answer", "blocklist=unavailable"]));
    has(&unavailable, &["(unavailable)", "HTTP 503"]);

    let unknown = place.complains(64, &with(&["--answer", "blocklst=match"]));
    has(&unknown, &["did you mean `blocklist`?"]);
    place.complains(64, &with(&["--answer", "memory=match"]));
    place.complains(64, &with(&["--answer", "blocklist=perhaps"]));
}

#[test]
fn all_reasons_to_deny_are_listed() {
    let out = place().says(
        0,
        &with(&[
            "-a",
            "source.namespace=sandbox",
            "-a",
            "request.client_ip=10.66.0.1",
        ]),
    );
    let reasons = out.split("reasons to deny").nth(1).unwrap();
    has(
        reasons,
        &[
            "\"blocked addresses\" of policy asking",
            "\"nobody from the sandbox\" of policy products (policies/products.yaml:4:11): matches",
            "\"only the shop frontend may read products\" of policy products",
        ],
    );
}

#[test]
fn a_denial_exits_with_10_only_where_that_is_asked_for() {
    let place = place();
    let denied = ["-a", "request.method=PUT"];
    place.says(0, &with(&denied));
    place.says(10, &with(&[&denied[..], &["--exit-code"]].concat()));
    place.says(0, &with(&["--exit-code"]));
}

#[test]
fn json_is_one_value() {
    let out = place().says(0, &with(&["-o", "json"]));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["decision"]["verdict"], "allow");
    assert_eq!(json["decision"]["place"], "policies/products.yaml:6:12");
    assert_eq!(json["denials"], serde_json::json!([]));
}

#[test]
fn a_request_may_come_from_standard_input_and_hostile_ones_are_unreadable() {
    let place = place();
    let arguments = ["explain", "policies", "--request", "-"];
    let ran = place.fed(&arguments, "destination: { service: products.shop }");
    assert_eq!((ran.code, &*ran.err), (0, ""));
    has(&ran.out, &["source.namespace = (not known)"]);
    for hostile in [
        "source: [",
        "!!python/object:os.system x",
        "source.namespce: x",
        "a: &a [*a]",
        "\0",
    ] {
        let ran = place.fed(&arguments, hostile);
        assert_eq!((ran.code, &*ran.out), (65, ""), "{hostile:?}");
        assert!(!ran.err.is_empty(), "{hostile:?}");
    }
    place.complains(65, &["explain", "policies", "--request", "gone.yaml"]);
    place.complains(65, &["explain", "policies", "-a", "nothing"]);
    place.complains(65, &["explain", "gone"]);
    place.complains(64, &["explain"]);
}

#[test]
fn attributes_that_documents_declare_can_be_given_unless_they_are_computed() {
    let place = Place::with([(
        "p.yaml",
        "attributes:\n  - { name: cart.size, type: int }\n  - { name: cart.big, type: bool, from: cart.size > 9 }\n---\npolicy: p\nfor: always\nrules: [ { deny: no big carts, when: cart.big } ]\n",
    )]);
    let out = place.says(0, &["explain", "p.yaml", "-a", "cart.size=10"]);
    has(
        &out,
        &["decision: denied by \"no big carts\"", "cart.size = 10"],
    );
    let err = place.complains(65, &["explain", "p.yaml", "-a", "cart.big=true"]);
    has(&err, &["`cart.big` is computed"]);
}
