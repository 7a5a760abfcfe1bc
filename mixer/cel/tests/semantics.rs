//! What expressions mean over attributes, absence above all.

use std::collections::BTreeMap;

use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{
    AttributeBag, Dynamic, Entry, OwnedBag, OwnedValue, StringMap, Timestamp, Value, Vocabulary,
};
use mixer_cel::{Compiler, Evaluation, Expect, Kind, References};

fn request() -> OwnedBag {
    let mut bag = OwnedBag::new();
    let headers = [("x-tester", "yes"), ("x-number", "7"), ("x-none", "")];
    let headers: BTreeMap<String, String> = headers
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    let text = |text: &str| Dynamic::String(text.to_owned());
    let claims = Dynamic::Map(vec![
        (
            "address".into(),
            Dynamic::Map(vec![("city".into(), text("Ulm"))]),
        ),
        (
            "groups".into(),
            Dynamic::List(vec![text("admins"), text("staff")]),
        ),
        ("level".into(), Dynamic::Int(3)),
        ("nothing".into(), Dynamic::Null),
        ("sub".into(), text("alice")),
    ]);
    bag.set(v::SOURCE_NAMESPACE, OwnedValue::String("shop".into()))
        .set(v::REQUEST_METHOD, OwnedValue::String("GET".into()))
        .set(v::REQUEST_PATH, OwnedValue::String("/products/1".into()))
        .set(v::REQUEST_CLIENT_IP, OwnedValue::Ip([10, 1, 1, 1].into()))
        .set(v::REQUEST_SIZE, OwnedValue::Int(1000))
        .set(
            v::REQUEST_TIME,
            OwnedValue::Timestamp(Timestamp {
                seconds: 1_234_567_890,
                nanos: 500_000_000,
            }),
        )
        .set(v::CONNECTION_MTLS, OwnedValue::Bool(true))
        .set(v::REQUEST_HEADERS, OwnedValue::Map(headers))
        .set(
            v::AUTH_AUDIENCES,
            OwnedValue::List(vec!["mesh".into(), "shop".into()]),
        )
        .set(v::AUTH_CLAIMS, OwnedValue::Dynamic(claims));
    bag
}

/// The value of `source` as text, or its error.
fn value(source: &str, bag: &AttributeBag<'_>) -> String {
    let mut compiler = Compiler::new(Vocabulary::new());
    let expression = match compiler.expression(source, Producer::Check, Expect::Any) {
        Ok(expression) => expression,
        Err(problems) => return format!("PROBLEM {}", problems[0].message),
    };
    let references = compiler.finish();
    let mut evaluation = Evaluation::new(bag, &references);
    match expression.evaluate(&mut evaluation) {
        Ok(value) => value.to_text(),
        Err(error) => format!("ERROR {error}"),
    }
}

fn table(rows: &[(&str, &str)]) {
    let request = request();
    let bag = request.bag();
    let wrong: Vec<String> = rows
        .iter()
        .map(|(source, wanted)| (source, wanted, value(source, &bag)))
        .filter(|(_, wanted, found)| found != *wanted)
        .map(|(source, wanted, found)| format!("{source}\n  wanted {wanted}\n  found  {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conditions_over_attributes() {
    table(&[
        (r#"source.namespace == "shop""#, "true"),
        (r#"source.namespace != "shop""#, "false"),
        (r#""shop" == source.namespace"#, "true"),
        (r#"request.method in ["GET", "HEAD"]"#, "true"),
        (r#"request.method in ["PUT"]"#, "false"),
        (r#"request.path.startsWith("/products")"#, "true"),
        (
            r#"request.path.endsWith("/2") || request.size > 999"#,
            "true",
        ),
        (
            r#"request.path.contains("duct") && connection.mtls"#,
            "true",
        ),
        (r#"request.path.matches("^/products/[0-9]+$")"#, "true"),
        (r#"matches(request.path, r"^/\d")"#, "false"),
        (r#"request.size + 24 == 1024"#, "true"),
        (r#"-request.size < 0 ? "neg" : "pos""#, "neg"),
        (r#"request.size / 3 * 3 + request.size % 3"#, "1000"),
        (
            r#"size(request.path) == 11 && request.path.size() == 11"#,
            "true",
        ),
        (r#"!connection.mtls"#, "false"),
        (r#""mesh" in auth.audiences"#, "true"),
        (r#"auth.audiences[1]"#, "shop"),
        (r#"auth.audiences.exists(a, a.startsWith("sh"))"#, "true"),
        (r#"auth.audiences.all(a, a.size() == 4)"#, "true"),
        (r#"auth.audiences.map(a, a + "!")"#, r#"["mesh!","shop!"]"#),
        (r#"auth.audiences.filter(a, a != "mesh")"#, r#"["shop"]"#),
        (
            r#"request.time > timestamp("2009-02-13T23:31:30Z")"#,
            "true",
        ),
        (r#"request.time.getHours("Europe/Berlin")"#, "0"),
        (
            r#"request.time + duration("1h") - request.time == duration("60m")"#,
            "true",
        ),
        (r#"request.time"#, "2009-02-13T23:31:30.5Z"),
    ]);
}

#[test]
fn addresses_compare_with_literals() {
    table(&[
        (r#"request.client_ip == "10.1.1.1""#, "true"),
        (r#""10.1.1.2" != request.client_ip"#, "true"),
        (r#"request.client_ip in ["10.1.1.1", "::1"]"#, "true"),
        (r#"request.client_ip in ["10.1.1.2"]"#, "false"),
        (r#"request.client_ip == ip("10.1.1.1")"#, "true"),
        (
            r#"cidr("10.0.0.0/8").containsIP(request.client_ip)"#,
            "true",
        ),
        (
            r#"cidr("10.2.0.0/16").containsIP(request.client_ip)"#,
            "false",
        ),
        (r#"string(request.client_ip).startsWith("10.")"#, "true"),
        (
            r#"request.client_ip == "10.1.1""#,
            "PROBLEM \"10.1.1\" is no IP address",
        ),
        (
            r#"request.client_ip in ["10.0.0.0/8"]"#,
            "PROBLEM \"10.0.0.0/8\" is no IP address",
        ),
        (
            r#"request.client_ip.startsWith("10.")"#,
            "PROBLEM `startsWith` is called on a string; this is an ip",
        ),
        (
            r#"request.client_ip == request.path"#,
            "PROBLEM an ip is never equal to a string",
        ),
    ]);
}

#[test]
fn keys_of_maps_and_claims() {
    table(&[
        (r#"request.headers["x-tester"]"#, "yes"),
        (r#"request.headers[?"x-tester"].orValue("no")"#, "yes"),
        (r#"request.headers[?"x-other"].orValue("no")"#, "no"),
        (r#"request.headers[?"x-other"].hasValue()"#, "false"),
        (r#""x-tester" in request.headers"#, "true"),
        (r#"int(request.headers["x-number"]) + 1"#, "8"),
        (r#"request.headers["x-" + "tester"]"#, "yes"),
        (r#"("x-" + "other") in request.headers"#, "false"),
        (r#"request.headers.exists(k, k == "x-none")"#, "true"),
        (r#"size(request.headers)"#, "3"),
        (r#"auth.claims.sub == "alice""#, "true"),
        (r#""admins" in auth.claims.groups"#, "true"),
        (r#"auth.claims.address.city"#, "Ulm"),
        (r#"auth.claims["address"]["city"]"#, "Ulm"),
        (r#"auth.claims.groups[1]"#, "staff"),
        (r#"auth.claims.level > 2"#, "true"),
        (r#"auth.claims.level > 2.5"#, "true"),
        (
            r#"auth.claims.sub > 2"#,
            "ERROR `>` does not take values of these types",
        ),
        (r#"auth.claims.nothing == null"#, "true"),
        (r#"auth.claims.groups.exists(g, g == "admins")"#, "true"),
        (r#"auth.claims.?address.?city.orValue("-")"#, "Ulm"),
        (r#"auth.claims.?address.?street.orValue("-")"#, "-"),
        (r#"auth.claims.?phone.?number.orValue("-")"#, "-"),
        (r#"auth.claims.?phone.number.orValue("-")"#, "-"),
        (
            r#"auth.claims.?sub.optMap(s, s + "!").orValue("-")"#,
            "alice!",
        ),
    ]);
}

#[test]
fn what_is_absent_is_an_error_to_read_and_a_fact_to_ask() {
    table(&[
        ("source.principal", "ERROR source.principal is not known"),
        (
            r#"source.principal == "x""#,
            "ERROR source.principal is not known",
        ),
        (
            r#"request.headers["x-other"]"#,
            "ERROR request.headers[\"x-other\"] is not there",
        ),
        (
            r#"request.headers["x-" + "other"]"#,
            "ERROR request.headers[\"x-other\"] is not there",
        ),
        (
            "request.headers.host",
            "ERROR request.headers[\"host\"] is not there",
        ),
        (
            "request.cookies.session",
            "ERROR request.cookies is not known",
        ),
        (
            r#""session" in request.cookies"#,
            "ERROR request.cookies is not known",
        ),
        (
            "auth.claims.email",
            "ERROR auth.claims[\"email\"] is not there",
        ),
        ("auth.claims.address.street", "ERROR no such key: street"),
        ("auth.audiences[7]", "ERROR the list has no element 7"),
        ("has(source.principal)", "false"),
        ("has(source.namespace)", "true"),
        ("has(request.headers.host)", "false"),
        ("has(request.cookies.session)", "false"),
        ("has(request.cookies)", "false"),
        ("has(auth.claims.address.city)", "true"),
        ("has(auth.claims.address.street)", "false"),
        ("has(auth.claims.phone.number)", "false"),
        ("source.?principal.orValue(\"-\")", "-"),
        ("source.?namespace.orValue(\"-\")", "shop"),
        ("request.?cookies.?session.orValue(\"-\")", "-"),
        ("request.cookies[?\"session\"].orValue(\"-\")", "-"),
        ("request.cookies.?session.hasValue()", "false"),
        // Absorbed, or not.
        (r#"source.principal == "x" || connection.mtls"#, "true"),
        (r#"connection.mtls || source.principal == "x""#, "true"),
        (r#"source.principal == "x" && !connection.mtls"#, "false"),
        (
            r#"source.principal == "x" && connection.mtls"#,
            "ERROR source.principal is not known",
        ),
        (
            r#"source.principal == "x" || !connection.mtls"#,
            "ERROR source.principal is not known",
        ),
        (
            r#"!(source.principal == "x")"#,
            "ERROR source.principal is not known",
        ),
        (r#"connection.mtls ? "a" : source.principal"#, "a"),
        (
            r#"source.principal == "x" ? "a" : "b""#,
            "ERROR source.principal is not known",
        ),
        (
            r#"has(auth.claims.email) && auth.claims.email == "x""#,
            "false",
        ),
        (
            r#"[source.principal == "x", true].exists(b, b)"#,
            "ERROR source.principal is not known",
        ),
        (
            r#"auth.audiences.exists(a, a == "shop" || source.principal == a)"#,
            "true",
        ),
        (
            r#"auth.audiences.all(a, a == "shop" && source.principal == a)"#,
            "false",
        ),
    ]);
}

#[test]
fn claims_that_are_absent_are_absent_all_the_way() {
    let bag = AttributeBag::new();
    for (source, wanted) in [
        ("has(auth.claims.sub)", "false"),
        ("has(auth.claims.address.city)", "false"),
        ("auth.claims.?sub.orValue(\"-\")", "-"),
        ("auth.claims.address.?city.orValue(\"-\")", "-"),
        ("auth.claims[?\"sub\"].orValue(\"-\")", "-"),
        ("auth.claims.sub", "ERROR auth.claims is not known"),
        (
            r#""admins" in auth.claims.groups"#,
            "ERROR auth.claims is not known",
        ),
    ] {
        assert_eq!(value(source, &bag), wanted, "{source}");
    }
}

/// A map that was given one key twice.
struct Twice;

impl StringMap for Twice {
    fn lookup(&self, key: &str) -> Entry<'_> {
        match key {
            "a" => Entry::Ambiguous,
            "b" => Entry::Value("1".into()),
            _ => Entry::Absent,
        }
    }

    fn entries(&self) -> Vec<(std::borrow::Cow<'_, str>, Entry<'_>)> {
        vec![
            ("a".into(), Entry::Ambiguous),
            ("b".into(), Entry::Value("1".into())),
        ]
    }
}

#[test]
fn a_name_given_twice_is_an_error_to_read() {
    let mut bag = AttributeBag::new();
    bag.set(v::REQUEST_QUERY, Value::Map(&Twice));
    for (source, wanted) in [
        (
            "request.query.a",
            "ERROR request.query[\"a\"] is given more than once",
        ),
        (
            "request.query[\"a\"]",
            "ERROR request.query[\"a\"] is given more than once",
        ),
        (
            "request.query[?\"a\"].orValue(\"-\")",
            "ERROR request.query[\"a\"] is given more than once",
        ),
        (
            "has(request.query.a)",
            "ERROR request.query[\"a\"] is given more than once",
        ),
        ("\"a\" in request.query", "true"),
        ("request.query.b", "1"),
        ("request.query.exists(k, v, v == \"1\")", "true"),
        (
            "request.query.all(k, v, v == \"1\")",
            "ERROR a is given more than once",
        ),
        (
            "request.query == {\"a\": \"1\", \"b\": \"1\"}",
            "ERROR a is given more than once",
        ),
    ] {
        assert_eq!(value(source, &bag), wanted, "{source}");
    }
}

#[test]
fn header_names_are_lower_case() {
    for source in [
        r#"request.headers["X-Tester"] == "yes""#,
        r#""X-Tester" in request.headers"#,
        r#"request.headers[?"X-Tester"].hasValue()"#,
        "has(request.headers.Host)",
    ] {
        let found = value(source, &AttributeBag::new());
        assert_eq!(
            found, "PROBLEM header names are lower case here",
            "{source}"
        );
    }
}

fn compile(compiler: &mut Compiler, source: &str) -> mixer_cel::Expression {
    compiler
        .expression(source, Producer::Check, Expect::Kind(Kind::Bool))
        .unwrap_or_else(|p| panic!("{source}: {p:?}"))
}

fn referenced(source: &str, bag: &AttributeBag<'_>) -> Vec<String> {
    let mut compiler = Compiler::new(Vocabulary::new());
    let expression = compile(&mut compiler, source);
    let references = compiler.finish();
    let mut evaluation = Evaluation::new(bag, &references);
    let _ = expression.test(&mut evaluation);
    let vocabulary = Vocabulary::new();
    let referenced = evaluation.referenced();
    let shown = |(reference, present): &(mixer_cel::Reference, bool)| {
        let name = &vocabulary
            .by_id(reference.attribute)
            .expect("it was compiled")
            .name;
        let key = reference
            .key
            .as_ref()
            .map_or(String::new(), |key| format!("[{key}]"));
        format!("{name}{key}{}", if *present { "" } else { " absent" })
    };
    referenced.iter().map(shown).collect()
}

#[test]
fn the_referenced_set_is_what_was_read() {
    let request = request();
    let bag = request.bag();
    for (source, wanted) in [
        (
            r#"source.namespace == "shop" || request.method == "GET""#,
            &["source.namespace"][..],
        ),
        (
            r#"source.namespace == "x" || request.method == "GET""#,
            &["source.namespace", "request.method"],
        ),
        (
            r#"source.principal == "x" && connection.mtls"#,
            &["source.principal absent", "connection.mtls"],
        ),
        (
            r#"request.headers["x-tester"] == "yes""#,
            &["request.headers[x-tester]"],
        ),
        (
            r#"has(request.headers.host)"#,
            &["request.headers[host] absent"],
        ),
        (
            r#"request.headers["x-" + "tester"] == "yes""#,
            &["request.headers[x-tester]"],
        ),
        (
            r#"("x-" + "a") in request.headers"#,
            &["request.headers[x-a] absent"],
        ),
        (r#"size(request.headers) == 3"#, &["request.headers"]),
        (
            r#"request.headers.exists(k, k == "x-tester")"#,
            &["request.headers"],
        ),
        (
            r#"auth.claims.address.city == "Ulm""#,
            &["auth.claims[address]"],
        ),
        (
            r#"auth.?claims.?sub.orValue("") == "alice""#,
            &["auth.claims[sub]"],
        ),
        (
            r#"connection.mtls ? source.namespace == "shop" : request.size == 1"#,
            &["source.namespace", "connection.mtls"],
        ),
    ] {
        let mut wanted: Vec<String> = wanted.iter().map(|name| name.to_string()).collect();
        let mut found = referenced(source, &bag);
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted, "{source}");
    }
}

#[test]
fn a_custom_attribute_is_evaluated_in_place() {
    let mut vocabulary = Vocabulary::new();
    let tier = vocabulary
        .declare("customer.tier", v::Type::String, Producer::Check, "")
        .unwrap();
    let pro = vocabulary
        .declare("customer.pro", v::Type::Bool, Producer::Check, "")
        .unwrap();
    let mut compiler = Compiler::new(vocabulary);
    compiler
        .define(
            tier,
            r#"request.headers[?"x-tier"].orValue(auth.claims.sub)"#,
        )
        .unwrap();
    compiler.define(pro, r#"customer.tier == "pro""#).unwrap();
    let expression = compile(&mut compiler, "customer.pro || has(customer.tier)");
    let read: Vec<_> = expression
        .reads()
        .iter()
        .map(|read| (read.attribute, read.key.clone()))
        .collect();
    assert_eq!(
        read,
        [
            (v::REQUEST_HEADERS, Some("x-tier".to_owned())),
            (v::AUTH_CLAIMS, Some("sub".to_owned()))
        ]
    );
    assert_eq!(
        &expression.source()[expression.reads()[0].span.clone()],
        "customer.pro"
    );
    let references = compiler.finish();
    let request = request();
    let bag = request.bag();
    let mut evaluation = Evaluation::new(&bag, &references);
    assert_eq!(expression.test(&mut evaluation), Ok(true));
    let present: Vec<bool> = evaluation
        .referenced()
        .iter()
        .map(|(_, present)| *present)
        .collect();
    assert_eq!(present, [false, true]);
    let nothing = AttributeBag::new();
    let mut evaluation = Evaluation::new(&nothing, &references);
    assert_eq!(
        expression.test(&mut evaluation).unwrap_err().to_string(),
        "auth.claims is not known"
    );
}

#[test]
fn what_an_index_consults_is_referenced() {
    let mut compiler = Compiler::new(Vocabulary::new());
    let id = compiler.reference(v::DESTINATION_SERVICE, None);
    let references: References = compiler.finish();
    let bag = AttributeBag::new();
    let mut evaluation = Evaluation::new(&bag, &references);
    evaluation.touch_reference(id);
    evaluation.touch(v::DESTINATION_SERVICE, None);
    evaluation.touch(v::REQUEST_PATH, None);
    evaluation.touch(v::REQUEST_HEADERS, Some("x"));
    let read: Vec<_> = evaluation
        .referenced()
        .into_iter()
        .map(|(r, _)| (r.attribute, r.key))
        .collect();
    let wanted = [
        (v::DESTINATION_SERVICE, None),
        (v::REQUEST_PATH, None),
        (v::REQUEST_HEADERS, Some("x".into())),
    ];
    assert_eq!(read, wanted);
}

/// What is shown of a value is an expression for it.
#[test]
fn literals_mean_the_value_they_show() {
    let value = |source: &str| {
        let mut compiler = Compiler::new(Vocabulary::new());
        let expression = compiler
            .expression(source, Producer::Check, Expect::Any)
            .unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
        let references = compiler.finish();
        let bag = AttributeBag::new();
        expression
            .evaluate(&mut Evaluation::new(&bag, &references))
            .map(|value| value.to_literal())
            .unwrap_or_else(|error| panic!("{source}: {error}"))
    };
    for source in [
        "null",
        "true",
        "-9223372036854775808",
        "18446744073709551615u",
        "1.0",
        "-0.0",
        "1e+300",
        "double('NaN')",
        r#"'a"\\\n\r\t\u0000\u007f\u202e\u200b\u00fc'"#,
        r"b'\x00\xff\'\\a'",
        "timestamp('2009-02-13T23:31:30.5Z')",
        "duration('-1.5s')",
        "ip('fe80::1')",
        "cidr('10.0.0.0/8')",
        "int",
        "type(duration('1s'))",
        "[1, 'a', [2u]]",
        "{'a': 1, 2: {true: null}}",
        "optional.of([1])",
        "optional.none()",
        "[]",
        "{}",
    ] {
        let shown = value(source);
        assert_eq!(value(&shown), shown, "{source}");
    }
    assert_eq!(value("'a' + '\\n'"), r#""a\n""#);
    assert_eq!(
        value("[1u, 2.0, duration('90s')]"),
        r#"[1u, 2.0, duration("90s")]"#
    );
}

/// Alternatives about one text are compiled to one question; nothing of it shows.
#[test]
fn alternatives_about_one_text_mean_what_they_say() {
    let source = r#"source.namespace == "a" || "b" == source.namespace || source.namespace in ["c", "d"] || request.headers["x"] == "1" || request.headers["x"] == "2" || source.namespace == "z""#;
    let mut compiler = Compiler::new(Vocabulary::new());
    let expression = compiler
        .expression(source, Producer::Check, Expect::Kind(Kind::Bool))
        .unwrap();
    let references = compiler.finish();
    for (namespace, header, wanted, read) in [
        (Some("a"), None, Ok(true), 1),
        (Some("b"), None, Ok(true), 1),
        (Some("d"), None, Ok(true), 1),
        (Some("z"), Some("3"), Ok(true), 2),
        (Some("y"), Some("2"), Ok(true), 2),
        (Some("y"), Some("3"), Ok(false), 2),
        (None, Some("2"), Ok(true), 2),
        (None, Some("3"), Err("source.namespace is not known"), 2),
        (
            Some("y"),
            None,
            Err("request.headers[\"x\"] is not there"),
            2,
        ),
    ] {
        let mut request = OwnedBag::new();
        if let Some(namespace) = namespace {
            request.set(v::SOURCE_NAMESPACE, OwnedValue::String(namespace.into()));
        }
        let headers = header.map(|header| ("x".to_owned(), header.to_owned()));
        request.set(
            v::REQUEST_HEADERS,
            OwnedValue::Map(BTreeMap::from_iter(headers)),
        );
        let bag = request.bag();
        let mut evaluation = Evaluation::new(&bag, &references);
        let found = expression
            .test(&mut evaluation)
            .map_err(|error| error.to_string());
        assert_eq!(
            found,
            wanted.map_err(str::to_owned),
            "{namespace:?} {header:?}"
        );
        assert_eq!(
            evaluation.referenced().len(),
            read,
            "{namespace:?} {header:?}"
        );
    }
}

/// A negative double is beyond the range of uint, however small.
#[test]
fn what_is_less_than_nothing_is_no_uint() {
    let mut compiler = Compiler::new(Vocabulary::new());
    let mut value = |source: &str| {
        compiler
            .expression(source, Producer::Check, Expect::Any)
            .unwrap()
    };
    let (less, nothing) = (value("uint(-0.2)"), value("uint(-0.0) + uint(0.9)"));
    let references = compiler.finish();
    let bag = AttributeBag::new();
    let found = |expression: &mixer_cel::Expression| {
        let value = expression.evaluate(&mut Evaluation::new(&bag, &references));
        value
            .map(|value| value.to_text())
            .map_err(|error| error.to_string())
    };
    assert_eq!(found(&less), Err("uint overflow".to_owned()));
    assert_eq!(found(&nothing), Ok("0".to_owned()));
}
