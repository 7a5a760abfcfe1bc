//! `mixer ca`, `mixer identity`: what they take, refuse, and leave behind.

use std::os::unix::fs::PermissionsExt;

use super::{Place, has};

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

fn mode(place: &Place, name: &str) -> u32 {
    let metadata = std::fs::metadata(place.path(name)).unwrap();
    metadata.permissions().mode() & 0o777
}

#[test]
fn an_authority_is_made_once_and_is_its_owners() {
    let place = Place::with([]);
    place.says(0, &["ca", "init", "ca"]);
    assert_eq!(
        (mode(&place, "ca"), mode(&place, "ca/state.json")),
        (0o700, 0o600)
    );
    let again = place.complains(64, &["ca", "init", "ca"]);
    has(&again, &["ca is there already"]);
    let none = place.complains(65, &["ca", "bundle", "nowhere"]);
    has(
        &none,
        &["nowhere holds no certificate authority", "`mixer ca init`"],
    );
    std::fs::set_permissions(place.path("ca"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let open = place.complains(65, &["ca", "token", "ca", CART]);
    has(&open, &["mode 755", "`chmod 700 ca`"]);
}

#[test]
fn a_root_of_ones_own_signs_and_one_without_its_key_does_not() {
    let place = Place::with([]);
    place.says(0, &["ca", "init", "one"]);
    place.says(0, &["ca", "init", "two"]);
    let root = |ca: &str, end: &str| {
        let mut files = std::fs::read_dir(place.path(&format!("{ca}/roots"))).unwrap();
        let found = files.find_map(|file| {
            let path = file.unwrap().path();
            path.extension().is_some_and(|is| is == end).then_some(path)
        });
        found.unwrap().to_str().unwrap().to_owned()
    };
    let (cert, key, other) = (root("one", "pem"), root("one", "key"), root("two", "key"));
    let given = ["ca", "init", "given", "--cert", &cert, "--key"];
    let wrong = place.complains(65, &[&given[..], &[&*other]].concat());
    has(&wrong, &["not that of the root certificate"]);
    place.says(0, &[&given[..], &[&*key]].concat());
    let bundle = |ca: &str| place.says(0, &["ca", "bundle", ca]);
    assert_eq!(bundle("given"), bundle("one"));
    let alone = place.complains(64, &["ca", "init", "x", "--cert", &cert]);
    has(&alone, &["--key"]);
}

#[test]
fn files_are_an_identity_and_their_key_is_for_its_owner() {
    let place = Place::with([]);
    place.says(0, &["ca", "init", "ca"]);
    for _ in 0..2 {
        let said = place.says(
            0,
            &["ca", "issue", "ca", CART, "--out", "cart", "--ttl", "30d"],
        );
        has(&said, &["cart/tls.crt: ", CART]);
        assert_eq!(
            (mode(&place, "cart"), mode(&place, "cart/tls.key")),
            (0o700, 0o600)
        );
    }
    let shown = [
        "identity",
        "show",
        "cart/tls.crt",
        "--bundle",
        "cart/ca.crt",
    ];
    let text = place.says(0, &[&shown[..], &["--expect", CART]].concat());
    has(
        &text,
        &[
            &format!("leaf {CART}\n"),
            "29 d 23 h left",
            "verifies against the bundle",
        ],
    );
    let json = place.says(0, &[&shown[..], &["-o", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["verifies"], true);
    assert_eq!(json["certificates"][0]["names"], serde_json::json!([CART]));
    let other = "spiffe://cluster.local/ns/shop/sa/other";
    let other = place.says(79, &[&shown[..], &["--expect", other]].concat());
    has(&other, &["does not verify: it is "]);
    let refused = place.complains(
        64,
        &["ca", "issue", "ca", CART, "--out", "x", "--ttl", "91d"],
    );
    has(&refused, &["at most 90d"]);
    let own = "spiffe://cluster.local/mixer-ca";
    let own = place.complains(64, &["ca", "issue", "ca", own, "--out", "x"]);
    has(&own, &["the authority's own id"]);
}

#[test]
fn a_certificate_that_breaks_a_rule_is_shown_with_the_rule() {
    let place = Place::with([]);
    let certificate = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let id = rcgen::SanType::URI(CART.try_into().unwrap());
        params.subject_alt_names = vec![id];
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        place.write("bad.pem", params.self_signed(&key).unwrap().pem());
    };
    let shown = |code| place.says(code, &["identity", "show", "bad.pem"]);
    certificate(&|_| {});
    has(&shown(0), &[CART]);
    certificate(&|params| {
        let second = "spiffe://cluster.local/second".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(second));
    });
    has(
        &shown(79),
        &["WRONG   it has 2 URI names; an SVID has exactly one"],
    );
    certificate(&|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    has(
        &shown(79),
        &["WRONG   it expired at 2020-01-01T00:00:00Z", "none left"],
    );
    certificate(&|params| params.key_usages.push(rcgen::KeyUsagePurpose::KeyCertSign));
    has(&shown(79), &["keyCertSign"]);
    place.write("no.pem", "no certificate");
    has(
        &place.complains(65, &["identity", "show", "no.pem"]),
        &["no.pem: "],
    );
    has(
        &place.complains(65, &["identity", "show", "nowhere"]),
        &["neither a file, nor host:port"],
    );
    has(
        &place.complains(69, &["identity", "show", "127.0.0.1:1"]),
        &["127.0.0.1:1: "],
    );
    has(
        &place.complains(69, &["identity", "show", "unix:///none"]),
        &["cannot connect"],
    );
}

#[test]
fn tokens_and_members_are_for_ids_of_the_trust_domain() {
    let place = Place::with([]);
    place.says(0, &["ca", "init", "ca", "--trust-domain", "shop.example"]);
    let foreign = place.complains(64, &["ca", "token", "ca", CART]);
    has(&foreign, &["is not the id of a workload of shop.example"]);
    let none = place.complains(64, &["ca", "token", "ca", "spiffe://shop.example"]);
    has(&none, &["is not the id of a workload"]);
    let id = "spiffe://shop.example/cart";
    let made = place.run(&["ca", "token", "ca", id, "--ttl", "1h"]);
    assert_eq!((made.code, made.out.trim().len()), (0, 64), "{made:?}");
    has(
        &made.err,
        &["good once, for spiffe://shop.example/cart, until "],
    );
    has(
        &place.says(0, &["ca", "remove", "ca", id]),
        &["is not renewed any more"],
    );
    has(
        &place.complains(64, &["ca", "remove", "ca", id]),
        &["nobody has"],
    );
    let json = place.says(0, &["ca", "bundle", "ca", "--format", "spiffe"]);
    has(&json, &["\"x509-svid\"", "\"spiffe_sequence\":1"]);
}

#[test]
fn serve_refuses_what_it_cannot_do_before_it_listens() {
    let place = Place::with([
        (
            "docs/w.yaml",
            "workload: w\nid: spiffe://cluster.local/w\nattest: { uid: 1 }\n",
        ),
        (
            "bad/w.yaml",
            "workload: w\nid: spiffe://other/w\nattest: { uid: 1 }\n",
        ),
    ]);
    place.says(0, &["ca", "init", "ca"]);
    place.says(0, &["ca", "init", "other", "--trust-domain", "other"]);
    let serve = |code, more: &[&str]| place.complains(code, &[&["ca", "serve"], more].concat());
    has(&serve(64, &["ca"]), &["--listen"]);
    has(&serve(64, &["ca", "docs"]), &["--socket"]);
    has(
        &serve(64, &["ca", "--listen", "127.0.0.1:0", "--leaf-ttl", "8d"]),
        &["60s to 7d"],
    );
    has(
        &serve(
            64,
            &[
                "ca",
                "--listen",
                "127.0.0.1:0",
                "--bundle-http",
                "0.0.0.0:0",
            ],
        ),
        &["not a loopback address"],
    );
    has(
        &serve(3, &["ca", "bad", "--socket", "s"]),
        &["MX6501", "bad/w.yaml:2:5"],
    );
    has(
        &serve(3, &["other", "docs", "--socket", "s"]),
        &["signs for `other`"],
    );
    has(
        &serve(65, &["ca", "nowhere", "--socket", "s"]),
        &["nowhere"],
    );
    has(
        &serve(65, &["nowhere", "--listen", "127.0.0.1:0"]),
        &["holds no certificate authority"],
    );
    assert!(!place.path("s").exists());
}
