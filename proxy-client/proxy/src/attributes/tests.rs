//! Views over hostile requests.

use super::*;

fn map(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn value(text: &str) -> Entry<'_> {
    Entry::Value(text.into())
}

#[test]
fn repeated_headers_join_and_what_is_no_text_is_an_error_to_read() {
    let headers = map(&[
        ("accept", b"a"),
        ("accept", b"b"),
        ("x-raw", b"\xff"),
        ("cookie", b"a=1"),
        ("cookie", b"b=2"),
    ]);
    let view = HeaderView(&headers);
    assert_eq!(view.lookup("accept"), value("a, b"));
    assert_eq!(view.lookup("cookie"), value("a=1; b=2"));
    assert_eq!(view.lookup("x-raw"), Entry::Ambiguous);
    assert_eq!(view.lookup("Accept"), Entry::Absent);
    assert_eq!(view.lookup("none"), Entry::Absent);
    assert_eq!(view.lookup("not a name"), Entry::Absent);
    let names: Vec<_> = view
        .entries()
        .into_iter()
        .map(|(name, _)| name.into_owned())
        .collect();
    assert_eq!(names, ["accept", "cookie", "x-raw"]);
}

#[test]
fn query_parameters_are_decoded_and_twice_is_ambiguous() {
    let view = QueryView("a=1&b=x%20y+z&%63=3&d&a=2&e=%ff&&f=%zz&g=%26");
    let table = [
        ("a", Entry::Ambiguous),
        ("b", value("x y z")),
        ("c", value("3")),
        ("d", value("")),
        ("e", Entry::Ambiguous),
        ("f", value("%zz")),
        ("g", value("&")),
        ("h", Entry::Absent),
    ];
    for (key, entry) in table {
        assert_eq!(view.lookup(key), entry, "{key}");
    }
    for (key, entry) in view.entries() {
        assert_eq!(view.lookup(&key), entry, "{key}");
    }
    assert_eq!(QueryView("x=1&%78=2").lookup("x"), Entry::Ambiguous);
    assert!(QueryView("").entries().is_empty());
}

#[test]
fn cookies_are_split_across_headers_and_twice_is_ambiguous() {
    let headers = map(&[("cookie", b"a=1; b=x=y ;c"), ("cookie", b"a=2;; d=\xff")]);
    let view = CookieView(&headers);
    let table = [
        ("a", Entry::Ambiguous),
        ("b", value("x=y")),
        ("c", value("")),
        ("d", Entry::Ambiguous),
        ("e", Entry::Absent),
    ];
    for (key, entry) in table {
        assert_eq!(view.lookup(key), entry, "{key}");
    }
    assert_eq!(view.entries().len(), 4);
}

#[test]
fn the_client_is_found_from_the_right_through_trusted_proxies_only() {
    let rule = ClientIp {
        header: "x-forwarded-for".to_owned(),
        trusted: vec![("10.0.0.0".parse().unwrap(), 8)],
    };
    let found = |peer: &str, header: &'static [u8]| {
        client_ip(
            peer.parse().unwrap(),
            &map(&[("x-forwarded-for", header)]),
            Some(&rule),
        )
        .map(|ip| ip.to_string())
    };
    let table: [(&str, &'static [u8], Option<&str>); 10] = [
        ("192.0.2.1", b"1.1.1.1", Some("192.0.2.1")),
        ("10.0.0.1", b"", None),
        ("10.0.0.1", b"1.1.1.1", Some("1.1.1.1")),
        ("10.0.0.1", b"6.6.6.6, 1.1.1.1", Some("1.1.1.1")),
        ("10.0.0.1", b"1.1.1.1, 10.9.9.9", Some("1.1.1.1")),
        ("10.0.0.1", b"10.1.1.1,10.2.2.2", Some("10.1.1.1")),
        ("10.0.0.1", b"1.1.1.1, unknown", None),
        ("10.0.0.1", b"1.1.1.1:4711", Some("1.1.1.1")),
        ("::ffff:10.0.0.1", b"[2001:db8::1]:80", Some("2001:db8::1")),
        ("10.0.0.1", b"2001:db8::2", Some("2001:db8::2")),
    ];
    for (peer, header, client) in table {
        assert_eq!(
            found(peer, header).as_deref(),
            client,
            "{peer} {}",
            header.escape_ascii()
        );
    }
    let two = map(&[
        ("x-forwarded-for", b"1.1.1.1"),
        ("x-forwarded-for", b"2.2.2.2, 10.0.0.7"),
    ]);
    assert_eq!(
        client_ip("10.0.0.1".parse().unwrap(), &two, Some(&rule)),
        "2.2.2.2".parse().ok()
    );
    assert_eq!(
        client_ip("10.0.0.1".parse().unwrap(), &HeaderMap::new(), Some(&rule)),
        "10.0.0.1".parse().ok()
    );
    assert_eq!(
        client_ip("10.0.0.1".parse().unwrap(), &two, None),
        "10.0.0.1".parse().ok()
    );
}
