//! What routes say is read, written and found again.

use proptest::prelude::*;

use super::*;
use crate::{PolicySet, Sources, load};

fn loaded(text: &str) -> PolicySet {
    load(Sources::from_texts([("r.yaml", text)]))
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

const SERVICES: &str = r#"
service: products.shop
subsets: { v1: { endpoints: ["10.0.0.5:15006"] }, v2: { endpoints: ["10.0.0.9:15006", "dns:v2:80"] } }
---
service: reviews.shop
---
"#;

const ROUTE: &str = r#"
route: products canary
for: destination.service == "products.shop"
rules:
  - name: old
    when: request.path.startsWith("/old/")
    redirect: { location: "https://{request.host}/new", status: 308 }
  - name: testers get v2
    when:
      - request.headers[?"x-tester"].orValue("") == "yes"
      - request.method == "GET"
    to: { v2: 100 }
  - name: five percent
    to: { v2: 5, v1: 95 }
    sticky: request.headers["x-user"]
    timeout: 2s
    retry: { when: [connect-failure, reset, "503", unavailable], extra: 2, methods: [GET, HEAD], per_try: 500ms, budget: 20% }
    fault: [ { delay: 100ms, percent: 1% }, { abort: 503, percent: 0.1%, when: 'request.method == "PUT"' } ]
    mirror: { to: v2, percent: 10% }
    headers: { set: { X-Mesh: "1" }, add: { via: mesh }, remove: [x-debug], response: { remove: [server] } }
    rewrite: { from: /api/, prefix: /, host: "other.shop:80" }
"#;

#[test]
fn everything_a_route_says_is_read() {
    let set = loaded(&format!("{SERVICES}{ROUTE}"));
    let [route] = set.routes.as_slice() else {
        panic!("one route");
    };
    let [old, testers, five] = route.rules.as_slice() else {
        panic!("three rules");
    };
    assert_eq!(old.redirect.as_ref().map(|to| to.status), Some(308));
    assert_eq!(testers.when.lines.len(), 2);
    assert_eq!(five.to, [("v1".into(), 95), ("v2".into(), 5)]);
    assert_eq!(five.timeout, Some(Duration::from_secs(2)));
    let retry = five.retry.as_ref().unwrap();
    assert_eq!(
        retry.when,
        [
            RetryOn::ConnectFailure,
            RetryOn::Reset,
            RetryOn::Status(503),
            RetryOn::Grpc(14)
        ]
    );
    assert_eq!((retry.extra, retry.budget, retry.floor), (2, 20.0, 3));
    assert_eq!(retry.per_try, Some(Duration::from_millis(500)));
    assert_eq!(five.faults.len(), 2);
    assert_eq!(
        (five.faults[1].abort, five.faults[1].percent),
        (Some(503), 0.1)
    );
    assert_eq!(five.request_headers.set, [("x-mesh".into(), "1".into())]);
    assert_eq!(five.response_headers.remove, ["server".into()]);
    let rewrite = five.rewrite.as_ref().unwrap();
    assert_eq!(rewrite.prefix, Some(("/api".into(), "/".into())));
}

#[test]
fn the_canonical_form_is_read_back_to_the_same() {
    let set = loaded(&format!("{SERVICES}{ROUTE}"));
    let services = set.services.iter().map(|service| service.canonical());
    let texts: Vec<String> = services.chain([set.routes[0].canonical()]).collect();
    let named = texts
        .iter()
        .enumerate()
        .map(|(at, text)| (at.to_string(), text.clone()));
    let again = load(Sources::from_texts(named))
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    assert_eq!(again.routes[0].canonical(), set.routes[0].canonical());
    assert_eq!(again.services[0].subsets, set.services[0].subsets);
    assert_eq!(again.services[0].canonical(), set.services[0].canonical());
}

#[test]
fn the_first_rule_that_matches_decides_over_all_routes_of_the_service() {
    let more = r#"
---
route: all of the shop
for: destination.namespace == "shop"
rules:
  - { name: everything, timeout: 3s }
"#;
    let set = loaded(&format!("{SERVICES}{ROUTE}{more}").replace(
        "name: five percent",
        "name: five percent\n    when: request.method != \"PUT\"",
    ));
    let table = set.route_table("products.shop", Some("shop")).unwrap();
    assert!(table.reads_path);
    let asked = |table: &crate::RouteTable, request: &str| {
        let given = crate::request("q", request, &set.vocabulary).unwrap();
        let bag = given.bag();
        let mut evaluation = Evaluation::new(&bag, &set.references);
        table
            .first(&mut evaluation)
            .map(|(_, rule)| rule.name.to_string())
    };
    for (request, rule) in [
        ("request: { method: GET, path: /old/x }", "old"),
        (
            "request: { method: GET, path: /, headers: { x-tester: yes } }",
            "testers get v2",
        ),
        (
            "request: { method: POST, path: /, headers: { x-tester: yes } }",
            "five percent",
        ),
        // Its path is not known: the first two cannot match.
        ("request: { method: GET }", "five percent"),
        ("request: { method: PUT, path: / }", "everything"),
        ("source: { namespace: shop }", "everything"),
    ] {
        assert_eq!(asked(&table, request).as_deref(), Some(rule), "{request}");
        let unindexed = set
            .route_table_unindexed("products.shop", Some("shop"))
            .unwrap();
        assert_eq!(
            asked(&unindexed, request).as_deref(),
            Some(rule),
            "{request}"
        );
    }
    let reviews = set.route_table("reviews.shop", Some("shop")).unwrap();
    assert_eq!(
        asked(&reviews, "request: { method: GET, path: /old/x }").as_deref(),
        Some("everything")
    );
    assert!(!reviews.reads_path);
    assert!(set.route_table("pay.bank", Some("bank")).is_none());
}

proptest! {
    #[test]
    fn numbers_are_spread_as_the_weights_say(first in 0u8..=100, number: u64) {
        let set = loaded(&format!("{SERVICES}route: r\nfor: destination.service == \"products.shop\"\nrules: [ {{ to: {{ v1: {first}, v2: {} }} }} ]", 100 - first));
        let rule = &set.routes[0].rules[0];
        let expected = if (u128::from(number) * 100) >> 64 < u128::from(first) { "v1" } else { "v2" };
        prop_assert_eq!(&**rule.subset(number).unwrap(), expected);
    }
}
