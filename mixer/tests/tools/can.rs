//! `mixer can`.

use crate::{PRODUCTS, Place, has};

const MORE: &str = r#"
mesh: { federated: [partner.example], denials: { show: everyone } }
---
service: reviews.shop
hosts: [reviews]
---
service: bank.example
external: true
---
adapter: blocklist
type: list
config: { entries: [10.66.0.0/16] }
---
policy: reviews
for: destination.service == "reviews.shop"
rules:
  - { deny: blocked addresses, ask: blocklist, with: { value: request.client_ip } }
  - { require: callers use mutual TLS, that: connection.mtls }
  - { deny: testers only, when: 'request.headers[?"x-tester"].orValue("") != "yes"', status: 401 }
---
policy: egress
at: outbound
for: destination.service == "bank.example"
rules: [ { allow: the shop pays, when: source.namespace == "shop" } ]
otherwise: { deny: only the shop pays }
"#;

fn place() -> Place {
    Place::with([
        ("policies/products.yaml", PRODUCTS),
        ("policies/more.yaml", MORE),
    ])
}

const FRONTEND: [&str; 5] = [
    "can",
    "shop/frontend",
    "GET",
    "products.shop",
    "/products/1",
];

#[test]
fn yes_says_which_sentence_allows_and_where_it_stands() {
    let out = place().says(0, &FRONTEND);
    assert_eq!(
        out,
        "yes: \"the shop frontend may read products\" of policy products (policies/products.yaml:6:12)\n  charged 1 of 2 in 86400s: \"few\" (policies/products.yaml:12:20)\n"
    );
}

#[test]
fn no_says_which_sentence_denies_and_with_what_status() {
    let place = place();
    for (arguments, says) in [
        (
            &[
                "can",
                "shop/frontend",
                "DELETE",
                "products.shop",
                "/products/1",
            ][..],
            "no (403): \"only the shop frontend may read products\" of policy products (policies/products.yaml:11:20)\n",
        ),
        (
            &[
                "can",
                "sandbox/x",
                "get",
                "Products.Shop.:8080",
                "/products/1?a=b",
            ],
            "no (403): \"nobody from the sandbox\" of policy products (policies/products.yaml:4:11)\n",
        ),
        (
            &["can", "-", "GET", "products.shop", "/products/1"],
            "no (403): \"nobody from the sandbox\" of policy products (policies/products.yaml:4:11): cannot decide: source.namespace is not known\n",
        ),
        (
            &["can", "shop/web", "GET", "reviews", "/", "--ip", "10.1.1.1"],
            "no (401): \"testers only\" of policy reviews (policies/more.yaml:19:13)\n",
        ),
        (
            &[
                "can",
                "shop/frontend",
                "GET",
                "products.shop",
                "/products%2f1",
            ],
            "no (400): the path has an encoded slash (%2F)\n",
        ),
    ] {
        assert_eq!(place.says(0, arguments), says, "{arguments:?}");
        assert_eq!(
            place.says(10, &[arguments, &["--exit-code"]].concat()),
            says
        );
    }
}

#[test]
fn addresses_headers_answers_and_attributes_count() {
    let place = place();
    let reviews = |more: &[&str]| {
        let asked = [
            "can",
            "spiffe://cluster.local/ns/shop/sa/web",
            "GET",
            "reviews.shop",
            "/",
        ];
        place.says(0, &[&asked[..], more].concat())
    };
    let tester = ["--ip", "10.1.1.1", "--header", "X-Tester=yes"];
    has(&reviews(&tester), &["yes: no policy decides"]);
    has(
        &reviews(&["--ip", "10.66.0.1", "--header", "x-tester=yes"]),
        &["no (403): \"blocked addresses\""],
    );
    has(
        &reviews(&[&tester[..], &["--answer", "blocklist=unavailable"]].concat()),
        &["no (503): \"blocked addresses\""],
    );
    has(
        &reviews(&[&tester[..], &["-a", "connection.mtls=false"]].concat()),
        &["no (403): \"callers use mutual TLS\""],
    );
}

#[test]
fn what_leaves_the_mesh_is_asked_at_the_caller() {
    let place = place();
    let asks = |who: &str| place.says(0, &["can", who, "POST", "bank.example", "/pay"]);
    has(
        &asks("shop/cart"),
        &["yes: \"the shop pays\" of policy egress"],
    );
    has(&asks("farm/cart"), &["no (403): \"only the shop pays\""]);
    has(&asks("spiffe://partner.example/ns/shop/sa/x"), &["yes: "]);
    has(
        &asks("spiffe://stranger.example/ns/shop/sa/x"),
        &["no (403): "],
    );
}

#[test]
fn json_says_the_same() {
    let out = place().says(
        10,
        &[
            &FRONTEND[..2],
            &["PUT"],
            &FRONTEND[3..],
            &["-o", "json", "--exit-code"],
        ]
        .concat(),
    );
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["allowed"], false);
    assert_eq!(json["rule"], "only the shop frontend may read products");
    assert_eq!(json["place"], "policies/products.yaml:11:20");
    assert_eq!(json["status"], 403);
}

#[test]
fn a_service_nobody_speaks_of_is_answered_with_the_nearest() {
    let ran = place().run(&["can", "shop/frontend", "GET", "prodcts.shop", "/"]);
    assert_eq!(
        (ran.code, &*ran.out),
        (0, "yes: no policy decides, by the mesh's default\n")
    );
    has(&ran.err, &["did you mean products.shop?"]);
}

#[test]
fn policies_are_those_of_the_command_line_else_of_the_environment_else_here() {
    let place = Place::with([("mine/products.yaml", PRODUCTS)]);
    has(&place.complains(65, &FRONTEND), &["MIXER_POLICIES"]);
    place.says(0, &[&FRONTEND[..], &["--policies", "mine"]].concat());
    let mut command = place.command(&FRONTEND);
    let output = command.env("MIXER_POLICIES", "mine").output().unwrap();
    assert!(
        output.status.success() && output.stdout.starts_with(b"yes"),
        "{output:?}"
    );
    place.complains(65, &[&FRONTEND[..], &["--policies", "gone"]].concat());

    place.write("policies/b/p.yaml", PRODUCTS);
    place.write("policies/a/p.yaml", PRODUCTS);
    has(
        &place.complains(3, &FRONTEND),
        &["policies has the folders a, b: say which is meant, such as --policies policies/a\n"],
    );
}

#[test]
fn what_makes_no_request_is_wrong_usage() {
    let place = place();
    for wrong in [
        &["can"][..],
        &["can", "shop/frontend", "GET", "products.shop"],
        &["can", "shop", "GET", "products.shop", "/"],
        &["can", "shop/frontend", "G T", "products.shop", "/"],
        &["can", "shop/frontend", "GET", "user@products", "/"],
        &["can", "shop/frontend", "GET", "products.shop", "products"],
        &[
            "can",
            "shop/frontend",
            "GET",
            "products.shop",
            "/",
            "--ip",
            "here",
        ],
        &[
            "can",
            "shop/frontend",
            "GET",
            "products.shop",
            "/",
            "--header",
            "x",
        ],
        &[
            "can",
            "shop/frontend",
            "GET",
            "products.shop",
            "/",
            "--header",
            "a b=c",
        ],
    ] {
        place.complains(64, wrong);
    }
    place.complains(65, &[&FRONTEND[..], &["-a", "request.metod=GET"]].concat());
}
