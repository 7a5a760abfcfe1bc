//! Tests beside the rules: what is given, merged and typed.

use mixer_attributes::{OwnedValue, Value, vocabulary};

use super::super::*;
use crate::{Expectation, GivenAnswer, TestKind};

#[test]
fn tests_merge_what_they_are_like_and_are_typed() {
    let set = set(SHOP);
    let [frontend, sandbox, limit] = set.policies[0].tests.as_slice() else {
        panic!()
    };
    assert_eq!(
        frontend.expect,
        Expectation::Sentence("the shop frontend may read products".into())
    );
    assert_eq!(
        frontend.answers,
        [("blocklist".into(), GivenAnswer::NoMatch)]
    );
    assert_eq!(sandbox.answers, frontend.answers);
    let text = |text: &str| Some(OwnedValue::String(text.to_owned()));
    assert_eq!(
        sandbox.given.value(vocabulary::SOURCE_NAMESPACE).cloned(),
        text("sandbox")
    );
    assert_eq!(
        sandbox
            .given
            .value(vocabulary::SOURCE_SERVICE_ACCOUNT)
            .cloned(),
        text("frontend")
    );
    assert_eq!(
        sandbox.given.value(vocabulary::REQUEST_PATH).cloned(),
        text("/products?a=b"),
        "taken as it stands"
    );
    let address = OwnedValue::Ip("10.1.1.1".parse().unwrap());
    assert_eq!(
        limit.given.value(vocabulary::REQUEST_CLIENT_IP),
        Some(&address)
    );
    assert_eq!(
        limit.given.value(vocabulary::REQUEST_HEADERS),
        Some(&OwnedValue::Map(Default::default())),
        "present, perhaps empty"
    );
    assert_eq!((limit.kind, limit.times), (TestKind::Limit, 101));
}

#[test]
fn every_type_of_attribute_can_be_given() {
    let text = "policy: p
for: always
rules: [{ deny: all }]
tests:
  - deny: any
    given:
      source: { ip: '::ffff:10.0.0.1', port: 80 }
      request: { time: 2026-01-01T00:00:00Z, headers: { x-a: 1, x-b: null }, method: GET, query: { a: '' } }
      auth.audiences: [a, b]
      auth: { claims: { groups: [admins, 7, 1.5, true, null], plan: { name: pro }, iat: '5' } }
      response: { duration: 30ms }
      connection.mtls: false
  - deny: any
    name: tcp
    given: { api: { protocol: tcp }, request: { id: x } }
  - deny: any
    like: tcp
    given: { request: { id: null } }
";
    let set = set(text);
    let [all, tcp, none] = set.policies[0].tests.as_slice() else {
        panic!()
    };
    let given = |id| {
        all.given
            .value(id)
            .map(|value| value.borrow().to_string())
            .unwrap_or_default()
    };
    assert_eq!(given(vocabulary::SOURCE_IP), "10.0.0.1");
    assert_eq!(given(vocabulary::SOURCE_PORT), "80");
    assert_eq!(
        given(vocabulary::REQUEST_TIME),
        "timestamp(1767225600.000000000)"
    );
    assert_eq!(given(vocabulary::REQUEST_HEADERS), "{\"x-a\": \"1\"}");
    assert_eq!(given(vocabulary::REQUEST_QUERY), "{\"a\": \"\"}");
    assert_eq!(given(vocabulary::AUTH_AUDIENCES), "[\"a\", \"b\"]");
    assert_eq!(given(vocabulary::RESPONSE_DURATION), "0.03s");
    assert_eq!(given(vocabulary::CONNECTION_MTLS), "false");
    let Some(Value::Dynamic(claims)) = all
        .given
        .value(vocabulary::AUTH_CLAIMS)
        .map(OwnedValue::borrow)
    else {
        panic!()
    };
    assert_eq!(
        claims.member("iat"),
        Some(&mixer_attributes::Dynamic::String("5".to_owned())),
        "quoted is text"
    );
    assert_eq!(
        format!("{:?}", claims.member("groups").unwrap()),
        "List([String(\"admins\"), Int(7), Double(1.5), Bool(true), Null])"
    );
    assert_eq!(tcp.given.value(vocabulary::REQUEST_HEADERS), None);
    assert_eq!(
        none.given.value(vocabulary::REQUEST_ID),
        None,
        "null unsets"
    );
}
