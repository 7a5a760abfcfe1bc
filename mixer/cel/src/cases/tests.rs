//! Typed values survive, cases are answered with how far they came, and what was read is listed.

use serde_json::{Value as Json, json};

use super::{answer, answer_line, same, typed};

#[test]
fn typed_values_survive_the_way_through_json() {
    for value in [
        json!({"t": "null"}),
        json!({"t": "bool", "v": true}),
        json!({"t": "int", "v": "-9223372036854775808"}),
        json!({"t": "uint", "v": "18446744073709551615"}),
        json!({"t": "double", "v": "-0.0"}),
        json!({"t": "double", "v": "1e+16"}),
        json!({"t": "double", "v": "9999999999999998.0"}),
        json!({"t": "double", "v": "1e-05"}),
        json!({"t": "double", "v": "1.7976931348623157e+308"}),
        json!({"t": "double", "v": "5e-324"}),
        json!({"t": "double", "v": "-Infinity"}),
        json!({"t": "double", "v": "NaN"}),
        json!({"t": "string", "v": "\u{0}\u{1f600}"}),
        json!({"t": "bytes", "v": "w78="}),
        json!({"t": "timestamp", "v": [-62_135_596_800_i64, 1]}),
        json!({"t": "duration", "v": [-1, -500_000_000]}),
        json!({"t": "ip", "v": "fe80::1"}),
        json!({"t": "cidr", "v": "10.0.0.0/8"}),
        json!({"t": "optional"}),
        json!({"t": "optional", "v": {"t": "list", "v": [{"t": "int", "v": "1"}]}}),
        json!({"t": "map", "v": [[{"t": "bool", "v": false}, {"t": "null"}]]}),
    ] {
        let read = typed::from_json(&value).unwrap();
        assert_eq!(typed::to_json(&read), Ok(value.clone()));
        assert!(same(&value, &value), "{value}");
    }
    for wrong in [
        json!({}),
        json!({"t": "int", "v": "1.5"}),
        json!({"t": "uint", "v": "-1"}),
        json!({"t": "bytes", "v": "?"}),
        json!({"t": "object", "type": "a.B", "v": {}}),
        json!({"t": "map", "v": [[{"t": "null"}, {"t": "null"}]]}),
    ] {
        assert!(typed::from_json(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn values_are_the_same_by_what_they_say() {
    let entry = |key: &str| json!([{"t": "string", "v": key}, {"t": "int", "v": "1"}]);
    let map = |keys: &[&str]| json!({"t": "map", "v": keys.iter().map(|key| entry(key)).collect::<Vec<_>>()});
    assert!(same(&map(&["a", "b"]), &map(&["b", "a"])));
    assert!(!same(&map(&["a", "b"]), &map(&["a", "c"])));
    let double = |text: &str| json!({"t": "double", "v": text});
    assert!(same(&double("1e3"), &double("1000.0")));
    assert!(!same(&double("0.0"), &double("-0.0")));
    assert!(!same(&double("1.0"), &json!({"t": "int", "v": "1"})));
}

#[test]
fn a_case_is_answered_with_how_far_it_came() {
    let kind = |case: Json| answer(&case).to_json(false)["kind"].clone();
    assert_eq!(kind(json!({"expr": "1 +"})), "parse");
    assert_eq!(kind(json!({})), "parse");
    assert_eq!(kind(json!([])), "parse");
    assert_eq!(kind(json!({"expr": "1 + 'a'"})), "check");
    assert_eq!(kind(json!({"expr": "x"})), "check");
    assert_eq!(kind(json!({"expr": "1 / 0"})), "eval");
    assert_eq!(kind(json!({"expr": "a.B{c: 1}"})), "unsupported");
    assert_eq!(
        kind(json!({"expr": "x", "type_env": {"x": "a.B"}})),
        "unsupported"
    );
    assert_eq!(
        kind(json!({"expr": "x", "bindings": {"x": {"value": {"t": "object"}}}})),
        "unsupported"
    );
    assert_eq!(kind(json!({"expr": "x", "type_env": {"x": "int"}})), "eval");
    let unchecked = |expr: &str| kind(json!({"expr": expr, "flags": ["disable_check"]}));
    assert_eq!(unchecked("1 + 'a'"), "eval");
    assert_eq!(unchecked("x.y.z"), "eval");
    assert_eq!(unchecked("f(1) || false"), "eval");
    assert_eq!(unchecked("f(1) || true"), Json::Null);
    assert_eq!(unchecked("1.f(2) && false"), Json::Null);
    assert_eq!(answer_line(b"{").to_json(false)["kind"], "parse");
    assert_eq!(answer_line(b"\xff").to_json(false)["kind"], "parse");
}

#[test]
fn bindings_are_typed_by_their_declaration_and_else_dyn() {
    let bindings = json!({"x": {"value": {"t": "int", "v": "1"}}});
    let value = |case: Json| answer(&case).to_json(false);
    let one = json!({"value": {"t": "int", "v": "2"}});
    assert_eq!(value(json!({"expr": "x + 1", "bindings": bindings})), one);
    assert_eq!(
        value(json!({"expr": "x + 1", "bindings": {"x": {"t": "int", "v": 1}}})),
        one
    );
    let mut typed = json!({"expr": "x + 'a'", "bindings": bindings});
    assert_eq!(value(typed.clone())["kind"], "eval");
    typed["type_env"] = json!({"x": "int"});
    assert_eq!(value(typed)["kind"], "check");
    let nested = json!({"expr": "request.path", "bindings": {"request": {"value":
        {"t": "map", "v": [[{"t": "string", "v": "path"}, {"t": "int", "v": "7"}]]}}}});
    assert_eq!(
        value(nested),
        json!({"value": {"t": "int", "v": "7"}}),
        "attributes stand back"
    );
    for (kind, fits) in [
        ("map(string, list(optional_type(int)))", true),
        ("map( string ,dyn )", true),
        ("list(int", false),
        ("list(int))", false),
        ("map(string)", false),
        ("", false),
    ] {
        let case = json!({"expr": "1", "type_env": {"x": kind}});
        assert_eq!(value(case).get("value").is_some(), fits, "{kind}");
    }
}

#[test]
fn what_was_read_is_listed() {
    let referenced = |case: Json| answer(&case).to_json(true)["referenced"].clone();
    let map = json!({"t": "map", "v": [[{"t": "string", "v": "k"}, {"t": "bool", "v": true}]]});
    let bindings = json!({"m": {"value": map}, "n": {"value": {"t": "int", "v": "1"}}});
    let read = |expr: &str| referenced(json!({"expr": expr, "bindings": bindings}));
    assert_eq!(read("m.k || n == 1"), json!(["m[\"k\"]"]));
    assert_eq!(read("m['other'] || n == 1"), json!(["m[\"other\"]", "n"]));
    assert_eq!(read("has(m.k) && size(m) == 1"), json!(["m", "m[\"k\"]"]));
    assert_eq!(read("request.path == 'a'"), json!(["request.path"]));
    assert_eq!(read("1 == 1"), json!([]));
    assert_eq!(read("1 +"), json!([]));
}
