//! What is a SPIFFE id and what is not, with the text each fault gets.

use mixer_identity::{SpiffeId, TrustDomain};

#[test]
fn ids_that_follow_the_rules_are_taken_apart() {
    let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/frontend").unwrap();
    assert_eq!(id.trust_domain().as_str(), "cluster.local");
    assert_eq!(id.path(), "/ns/shop/sa/frontend");
    assert_eq!(id.namespace(), Some("shop"));
    assert_eq!(id.service_account(), Some("frontend"));
    assert_eq!(id.to_string(), "spiffe://cluster.local/ns/shop/sa/frontend");

    let domain = SpiffeId::parse("spiffe://cluster.local").unwrap();
    assert_eq!((domain.path(), domain.namespace()), ("", None));
    assert_eq!(TrustDomain::parse("cluster.local").unwrap().id(), domain);
    assert_eq!(
        TrustDomain::parse("spiffe://cluster.local").unwrap(),
        *domain.trust_domain()
    );
}

#[test]
fn only_the_path_of_a_kubernetes_workload_names_a_namespace() {
    for path in [
        "/shop/frontend",
        "/ns/shop",
        "/ns/shop/sa",
        "/ns/shop/sa/frontend/more",
        "/ns/shop/account/frontend",
        "/x/ns/shop/sa/frontend",
        "/NS/shop/sa/frontend",
    ] {
        let id = SpiffeId::parse(&format!("spiffe://td{path}")).unwrap();
        assert_eq!(
            (id.namespace(), id.service_account()),
            (None, None),
            "{path}"
        );
    }
}

#[test]
fn the_longest_ids_are_taken() {
    let longest = format!("spiffe://td/{}", "a".repeat(2048 - 12));
    assert_eq!(SpiffeId::parse(&longest).unwrap().as_str().len(), 2048);
    SpiffeId::parse(&format!("spiffe://{}/x", "d".repeat(255))).unwrap();
    SpiffeId::parse("spiffe://a_b-c.d9/A.b-C_9/...").unwrap();
}

#[test]
fn every_fault_of_syntax_is_refused_by_its_name() {
    let long = format!("spiffe://td/{}", "a".repeat(2048 - 11));
    let wide = format!("spiffe://{}/x", "d".repeat(256));
    let cases: &[(&str, &str)] = &[
        ("", "it does not start with `spiffe://` in lower case"),
        (
            "spiffe:/td/x",
            "it does not start with `spiffe://` in lower case",
        ),
        (
            "SPIFFE://td/x",
            "it does not start with `spiffe://` in lower case",
        ),
        (
            "https://td/x",
            "it does not start with `spiffe://` in lower case",
        ),
        (
            " spiffe://td/x",
            "it does not start with `spiffe://` in lower case",
        ),
        ("spiffe://", "it has no trust domain"),
        ("spiffe:///x", "it has no trust domain"),
        (
            "spiffe://user@td/x",
            "it has user information (`@`), which a SPIFFE id never has",
        ),
        (
            "spiffe://user:pw@td/x",
            "it has user information (`@`), which a SPIFFE id never has",
        ),
        (
            "spiffe://td:8080/x",
            "it has a port (`:`), which a SPIFFE id never has",
        ),
        (
            "spiffe://td:/x",
            "it has a port (`:`), which a SPIFFE id never has",
        ),
        (
            "spiffe://td?x",
            "it has a query (`?`), which a SPIFFE id never has",
        ),
        (
            "spiffe://td/x?y",
            "it has a query (`?`), which a SPIFFE id never has",
        ),
        (
            "spiffe://td#x",
            "it has a fragment (`#`), which a SPIFFE id never has",
        ),
        (
            "spiffe://td/x#y",
            "it has a fragment (`#`), which a SPIFFE id never has",
        ),
        (
            "spiffe://Td/x",
            "its trust domain has 'T'; it may have only a-z, 0-9, `.`, `-` and `_`",
        ),
        (
            "spiffe://t%64/x",
            "its trust domain has '%'; it may have only a-z, 0-9, `.`, `-` and `_`",
        ),
        (
            "spiffe://tü/x",
            "its trust domain has 'ü'; it may have only a-z, 0-9, `.`, `-` and `_`",
        ),
        (
            "spiffe://[::1]/x",
            "its trust domain has '['; it may have only a-z, 0-9, `.`, `-` and `_`",
        ),
        (
            "spiffe://td/a%2fb",
            "its path has '%'; it may have only letters, digits, `.`, `-` and `_`",
        ),
        (
            "spiffe://td/a b",
            "its path has ' '; it may have only letters, digits, `.`, `-` and `_`",
        ),
        (
            "spiffe://td/ä",
            "its path has 'ä'; it may have only letters, digits, `.`, `-` and `_`",
        ),
        (
            "spiffe://td/a:b",
            "its path has ':'; it may have only letters, digits, `.`, `-` and `_`",
        ),
        (
            "spiffe://td/a\0",
            "its path has '\\0'; it may have only letters, digits, `.`, `-` and `_`",
        ),
        ("spiffe://td//x", "its path has an empty segment (`//`)"),
        ("spiffe://td/x//y", "its path has an empty segment (`//`)"),
        (
            "spiffe://td/./x",
            "its path has a dot segment (`.` or `..`)",
        ),
        (
            "spiffe://td/x/..",
            "its path has a dot segment (`.` or `..`)",
        ),
        ("spiffe://td/", "it ends with a slash"),
        ("spiffe://td/x/", "it ends with a slash"),
        (&long, "it is 2049 bytes long, more than 2048"),
        (&wide, "its trust domain is 256 bytes long, more than 255"),
    ];
    for (text, fault) in cases {
        let error = SpiffeId::parse(text).unwrap_err();
        assert_eq!(error.fault().to_string(), *fault, "{text:?}");
        let shown: String = text.chars().take(256).collect();
        assert_eq!(
            error.to_string(),
            format!("{shown:?} is not a SPIFFE id: {fault}")
        );
    }
}

#[test]
fn a_trust_domain_has_no_path() {
    let error = TrustDomain::parse("spiffe://td/x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"spiffe://td/x\" is not a trust domain: it has a path, and a trust domain has none"
    );
}
