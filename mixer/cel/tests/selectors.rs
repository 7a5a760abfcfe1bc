//! `for`: what it takes, what it selects, what it could select.

use std::collections::BTreeMap;

use mixer_attributes::vocabulary as v;
use mixer_attributes::{AttributeBag, OwnedBag, OwnedValue, Vocabulary};
use mixer_cel::{Compiler, Selector};

fn selector(source: &str) -> Selector {
    Compiler::new(Vocabulary::new())
        .selector(source)
        .unwrap_or_else(|p| panic!("{source}: {p:?}"))
}

fn destination() -> OwnedBag {
    let mut bag = OwnedBag::new();
    bag.set(
        v::DESTINATION_SERVICE,
        OwnedValue::String("products.shop".into()),
    )
    .set(v::DESTINATION_NAMESPACE, OwnedValue::String("shop".into()))
    .set(
        v::DESTINATION_LABELS,
        OwnedValue::Map(BTreeMap::from([("tier".to_owned(), "pci".to_owned())])),
    );
    bag
}

#[test]
fn a_selector_selects_by_what_is_configured() {
    let destination = destination();
    let bag = destination.bag();
    for (source, selects) in [
        ("always", true),
        (r#"destination.service == "products.shop""#, true),
        (r#""products.shop" == destination.service"#, true),
        (r#"destination.service == "x""#, false),
        (r#"destination.service in ["x", "products.shop"]"#, true),
        (r#"destination.service.endsWith(".shop")"#, true),
        (r#"destination.service.startsWith("reviews")"#, false),
        (r#"destination.labels["tier"] == "pci""#, true),
        (r#"destination.labels["tier"] in ["a"]"#, false),
        (r#"destination.labels["zone"] == "a""#, false),
        (
            r#"destination.namespace == "shop" && destination.service.startsWith("pro")"#,
            true,
        ),
        (
            r#"destination.namespace == "x" || destination.labels["tier"].startsWith("p")"#,
            true,
        ),
        (r#"context.reporter == "source""#, false),
        (
            r#"(rate_limit.domain == "a" || destination.namespace == "shop") && always"#,
            true,
        ),
    ] {
        assert_eq!(selector(source).selects(&bag), selects, "{source}");
    }
}

#[test]
fn what_is_not_known_yet_may_be_anything() {
    let mut bag = AttributeBag::new();
    bag.set(
        v::DESTINATION_SERVICE,
        mixer_attributes::Value::String("products.shop"),
    );
    for (source, can) in [
        (
            r#"destination.service == "products.shop" && context.reporter == "source""#,
            true,
        ),
        (
            r#"destination.service == "x" && context.reporter == "source""#,
            false,
        ),
        (
            r#"destination.service == "x" || destination.labels["a"] == "b""#,
            true,
        ),
        (r#"rate_limit.domain.startsWith("a")"#, true),
    ] {
        assert_eq!(selector(source).can_select(&bag), can, "{source}");
        assert!(!selector(source).selects(&bag), "{source}");
    }
}

#[test]
fn the_same_comparisons_have_the_same_canonical_text() {
    let canonical = |source: &str| selector(source).canonical();
    assert_eq!(
        canonical(r#"destination.service in ["b","a","a"]"#),
        canonical("destination.service in [ 'a', 'b' ] // both"),
    );
    assert_eq!(
        canonical(r#""a" == destination.service"#),
        canonical("destination.service=='a'")
    );
    assert_ne!(
        canonical(r#"destination.service.startsWith("a")"#),
        canonical(r#"destination.service.endsWith("a")"#)
    );
    let reads = selector(r#"destination.labels["a"] == "x" || destination.service == "y""#).reads();
    assert_eq!(
        reads,
        [
            (v::DESTINATION_LABELS, Some("a".to_owned())),
            (v::DESTINATION_SERVICE, None)
        ]
    );
}

#[test]
fn everything_else_is_refused_with_where_it_belongs() {
    for (source, at, message) in [
        (
            r#"source.namespace == "shop""#,
            "source.namespace",
            "`for` cannot read `source.namespace`",
        ),
        (
            r#"request.path.startsWith("/")"#,
            "request.path",
            "it selects by what operators configure",
        ),
        (
            r#"destination.labels == "x""#,
            "destination.labels",
            "cannot read `destination.labels`",
        ),
        (
            r#"destination.service["x"] == "x""#,
            "destination.service[\"x\"]",
            "cannot read",
        ),
        (
            r#"destination.servce == "x""#,
            "destination.servce",
            "cannot read",
        ),
        (
            r#"!(destination.service == "x")"#,
            "!(destination.service == \"x\"",
            "cannot hold",
        ),
        (
            r#"destination.service != "x""#,
            "destination.service != \"x\"",
            "cannot hold",
        ),
        (
            r#"destination.service.matches("x")"#,
            "destination.service.matches(\"x\")",
            "cannot hold",
        ),
        (
            r#"destination.service == destination.namespace"#,
            "destination.namespace",
            "literal strings",
        ),
        (
            r#"destination.service in destination.labels"#,
            "destination.labels",
            "a list of literal strings",
        ),
        ("true", "true", "cannot hold"),
    ] {
        let problems = Compiler::new(Vocabulary::new())
            .selector(source)
            .unwrap_err();
        assert_eq!(&source[problems[0].span.clone()], at, "{source}");
        assert!(
            problems[0].message.contains(message),
            "{source}: {}",
            problems[0].message
        );
    }
}
