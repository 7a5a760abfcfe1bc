//! What is wrong with a text is said where it is, and what to write instead.

use mixer_attributes::Vocabulary;
use mixer_attributes::vocabulary::Producer;
use mixer_cel::{Compiler, Expect, Kind, Problem, ProblemKind};

fn problems(source: &str) -> Vec<Problem> {
    let mut compiler = Compiler::new(Vocabulary::new());
    compiler
        .expression(source, Producer::Check, Expect::Kind(Kind::Bool))
        .expect_err(source)
}

#[test]
fn a_problem_points_at_the_offending_token() {
    for (source, at, message, help) in [
        // Names.
        (
            r#"source.namspace == "x""#,
            "source.namspace",
            "unknown attribute `source.namspace`",
            "did you mean `source.namespace`?",
        ),
        (
            r#"reqest.path == "/""#,
            "reqest.path",
            "unknown attribute `reqest.path`",
            "did you mean `request.path`?",
        ),
        (
            "request.headrs.host == \"x\"",
            "request.headrs",
            "unknown attribute `request.headrs`",
            "did you mean `request.headers`?",
        ),
        (
            "source.kind == \"x\"",
            "source.kind",
            "unknown attribute `source.kind`",
            "`source` has principal",
        ),
        (
            "request == \"x\"",
            "request",
            "unknown attribute `request`",
            "`request` has method",
        ),
        (
            "request.method == GET",
            "GET",
            "unknown attribute `GET`",
            "text stands in quotes",
        ),
        (
            "response.code == 200",
            "response.code",
            "`response.code` is not known before the request is over",
            "only telemetry",
        ),
        (
            "request.path.startWith(\"/\")",
            "startWith",
            "there is no function `startWith`",
            "did you mean `startsWith`?",
        ),
        (
            "request.path.startsWith(\"/\", 1)",
            "startsWith",
            "`startsWith` takes 1 arguments, this call has 2",
            "",
        ),
        (
            "request.path.namespace == \"x\"",
            "namespace",
            "`request.path` is a string and has no fields",
            "",
        ),
        (
            "auth.audiences.exist(a, a == \"x\")",
            "exist",
            "there is no function `exist`",
            "did you mean `exists`?",
        ),
        (
            "startsWith(request.path, \"/\")",
            "startsWith",
            "there is no function `startsWith`",
            "write `x.startsWith(..)`",
        ),
        // Types.
        (
            "source.port == \"80\"",
            "==",
            "an int is never equal to a string",
            "",
        ),
        (
            "request.method",
            "request.method",
            "this is a string, where a bool is wanted",
            "compare it",
        ),
        (
            "request.method && true",
            "request.method",
            "`request.method` is a string, not a bool",
            "compare it",
        ),
        (
            "!request.size",
            "request.size",
            "`request.size` is an int, not a bool",
            "!= 0",
        ),
        (
            "request.size > \"5\"",
            ">",
            "`>` does not take an int and a string",
            "",
        ),
        (
            "request.path + 1 == \"/1\"",
            "+",
            "`+` does not take a string and an int",
            "`string(..)` makes text",
        ),
        (
            "request.method in \"GET\"",
            "\"GET\"",
            "`in` looks into a list or a map",
            ".contains(",
        ),
        (
            "request.method in [1, 2]",
            "in",
            "a string is never one of ints",
            "",
        ),
        (
            "request.headers[1] == \"x\"",
            "1",
            "the keys of `request.headers` are string, this is an int",
            "",
        ),
        (
            "auth.audiences[\"a\"] == \"x\"",
            "\"a\"",
            "a list is indexed by an int, this is a string",
            "",
        ),
        (
            "source.principal == null",
            "==",
            "a string is never equal to a null",
            "`has(source.principal)`",
        ),
        (
            "request.headers[?\"x\"] == \"y\"",
            "==",
            "an optional(string) is never equal to a string",
            ".orValue(..)",
        ),
        (
            "true ? 1 : \"a\"",
            "?",
            "one branch is an int, the other a string",
            "",
        ),
        (
            "request.size.exists(x, x == 1)",
            "request.size",
            "`exists` goes over a list or a map; this is an int",
            "",
        ),
        (
            "request.method.orValue(\"x\") == \"x\"",
            "request.method",
            "`orValue` is called on an optional",
            "a.?b",
        ),
        (
            "request.client_ip == \"10.0.0.0/8\"",
            "\"10.0.0.0/8\"",
            "\"10.0.0.0/8\" is no IP address",
            "cidr(",
        ),
        (
            "cidr(\"10.0.0.0/33\").containsIP(source.ip)",
            "\"10.0.0.0/33\"",
            "\"10.0.0.0/33\" is no network",
            "",
        ),
        (
            "request.time > timestamp(\"today\")",
            "\"today\"",
            "\"today\" is no RFC 3339 time",
            "",
        ),
        (
            "response.duration > duration(\"1 s\")",
            "response.duration",
            "not known before",
            "",
        ),
        // Patterns.
        (
            "request.path.matches(\"(\")",
            "\"(\"",
            "not a regular expression",
            "",
        ),
        (
            "request.path.matches(request.method)",
            "request.method",
            "unsupported: a pattern that is not a literal",
            "",
        ),
        (
            "request.path.matches(\"(((a{100}){100}){100})\")",
            "\"(((a{100}){100}){100})\"",
            "too large",
            "",
        ),
        // Tests of presence.
        (
            "has(request.headers[\"x-a\"])",
            "request.headers[\"x-a\"]",
            "`has` asks for a field",
            "`\"x-a\" in request.headers`",
        ),
        // Grammar.
        (
            "request.method = \"GET\"",
            "=",
            "unexpected `=`",
            "`==` compares",
        ),
        ("true & false", "&", "unexpected `&`", "`&&` is \"and\""),
        (
            "true and false",
            "and",
            "unexpected `and`",
            "`&&` is \"and\"",
        ),
        ("(true", "(", "`(` is never closed", ""),
        ("true)", ")", "`)` closes nothing", ""),
        (
            "request.method == \"GET",
            "\"",
            "the string is never closed",
            "",
        ),
        (
            "request.method ==",
            "==",
            "the expression ends too early",
            "",
        ),
        (
            "true true",
            "true",
            "unexpected `true`",
            "an operator is missing",
        ),
        (
            "request.size == 99999999999999999999",
            "99999999999999999999",
            "does not fit 64 bits",
            "",
        ),
        (
            "request.method == \"\\q\"",
            "\"\\q\"",
            "bad escape",
            "for a backslash",
        ),
        (
            "Foo{a: 1} == 1",
            "Foo{a: 1}",
            "unsupported: message construction",
            "",
        ),
        ("", "", "the expression is empty", ""),
        (
            "\"\u{fc}\" == request.methd",
            "request.methd",
            "unknown attribute",
            "did you mean `request.method`?",
        ),
        (
            "request.method == \u{201c}GET\u{201d}",
            "\u{201c}",
            "unexpected",
            "straight quotes",
        ),
    ] {
        let found = problems(source);
        let first = &found[0];
        assert_eq!(&source[first.span.clone()], at, "{source}: {first:?}");
        assert!(first.message.contains(message), "{source}: {first:?}");
        assert!(
            first.help.as_deref().unwrap_or_default().contains(help),
            "{source}: {first:?}"
        );
    }
}

#[test]
fn all_problems_of_a_text_are_found_at_once() {
    let source = "source.namspace == \"x\" &&\n  request.methd == 1 ||\n  request.size + \"a\" == request.path";
    let found = problems(source);
    let at: Vec<&str> = found
        .iter()
        .map(|problem| &source[problem.span.clone()])
        .collect();
    assert_eq!(at, ["source.namspace", "request.methd", "+"]);
}

#[test]
fn telemetry_may_read_what_a_check_may_not() {
    let mut compiler = Compiler::new(Vocabulary::new());
    let source = "response.code >= 500 && response.duration > duration(\"1s\")";
    assert!(
        compiler
            .expression(source, Producer::Report, Expect::Kind(Kind::Bool))
            .is_ok()
    );
}

/// The reads of keys that nothing tests before them, as written.
fn unguarded(lines: &[&str]) -> Vec<(String, String)> {
    let mut compiler = Compiler::new(Vocabulary::new());
    let mut compiled = Vec::new();
    for source in lines {
        let expression = compiler.expression(source, Producer::Check, Expect::Kind(Kind::Bool));
        compiled.push(expression.unwrap_or_else(|p| panic!("{source}: {p:?}")));
    }
    let (last, earlier) = compiled.split_last().expect("at least one line");
    let earlier: Vec<_> = earlier.iter().collect();
    let keys = last.unguarded_keys(&earlier);
    for key in &keys {
        assert_eq!(&last.source()[key.span.clone()], key.text);
        // The fix compiles, and is a fix.
        let mut fixed = last.source().to_owned();
        fixed.replace_range(key.span.clone(), &key.optional);
        let fixed = compiler.expression(&fixed, Producer::Check, Expect::Kind(Kind::Bool));
        let fixed = fixed.unwrap_or_else(|p| panic!("{}: {p:?}", key.optional));
        assert!(
            fixed.unguarded_keys(&earlier).len() < keys.len(),
            "{}",
            key.optional
        );
    }
    keys.into_iter()
        .map(|key| (key.text, key.optional))
        .collect()
}

#[test]
fn keys_read_without_a_test_before_them_are_found() {
    for (source, text, optional) in [
        (
            r#"request.headers["x-a"] == "1""#,
            r#"request.headers["x-a"]"#,
            r#"request.headers[?"x-a"].orValue("")"#,
        ),
        (
            r#"request.headers.host == "1""#,
            "request.headers.host",
            r#"request.headers.?host.orValue("")"#,
        ),
        (
            r#"auth.claims.sub == "1""#,
            "auth.claims.sub",
            r#"auth.claims.?sub.orValue("")"#,
        ),
        (
            r#""a" in auth.claims.groups"#,
            "auth.claims.groups",
            "auth.claims.?groups.orValue([])",
        ),
        (
            r#"auth.claims.a.b == "1""#,
            "auth.claims.a.b",
            r#"auth.claims.?a.?b.orValue("")"#,
        ),
        (
            r#"has(auth.claims.a) && auth.claims.a.b == "1""#,
            "auth.claims.a.b",
            r#"auth.claims.?a.?b.orValue("")"#,
        ),
        (
            r#"request.headers[request.method] == "1""#,
            "request.headers[request.method]",
            r#"request.headers[?request.method].orValue("")"#,
        ),
        (
            r#"has(request.headers.host) || request.headers.host == "a""#,
            "request.headers.host",
            r#"request.headers.?host.orValue("")"#,
        ),
        (
            r#"request.headers.host == "a" && has(request.headers.host)"#,
            "request.headers.host",
            r#"request.headers.?host.orValue("")"#,
        ),
        (
            r#"!has(request.headers.host) && request.headers.host == "a""#,
            "request.headers.host",
            r#"request.headers.?host.orValue("")"#,
        ),
    ] {
        assert_eq!(
            unguarded(&[source]),
            [(text.to_owned(), optional.to_owned())],
            "{source}"
        );
    }
}

#[test]
fn keys_tested_before_they_are_read_are_guarded() {
    for lines in [
        &[r#"has(request.headers.host) && request.headers.host == "a""#][..],
        &[r#"has(request.headers.host) && request.headers["host"] == "a""#],
        &[r#""x-a" in request.headers && request.headers["x-a"] == "1""#],
        &[
            r#"connection.mtls && ("x-a" in request.headers && (connection.mtls && request.headers["x-a"] == "1"))"#,
        ],
        &[r#"has(auth.claims.a.b) && auth.claims.a.b == "1""#],
        &[r#"has(auth.claims.a.b) && auth.claims.a == {}"#],
        &[r#""groups" in auth.claims && "admins" in auth.claims.groups"#],
        &[r#"has(auth.claims.sub)"#, r#"auth.claims.sub == "a""#],
        &[
            r#"connection.mtls"#,
            r#""x" in request.headers && connection.mtls"#,
            r#"request.headers["x"] == "1""#,
        ],
        &[r#"has(request.headers.host) ? request.headers.host == "a" : false"#],
        &[r#"!has(request.headers.host) || request.headers.host == "a""#],
        &[r#"has(request.headers.host) && ["a"].exists(h, h == request.headers.host)"#],
        &[r#"request.method in request.headers && request.headers[request.method] == "a""#],
        &[r#"request.headers[?"x"].orValue("") == "1""#],
        &[r#"auth.claims.?a.?b.orValue("") == "1""#],
        &[r#"size(request.headers) > 3 && source.namespace == "x" && auth.audiences[0] == "a""#],
        &[r#"auth.audiences.exists(request, request.startsWith("a"))"#],
    ] {
        assert_eq!(unguarded(lines), [], "{lines:?}");
    }
}

#[test]
fn a_problem_says_of_what_kind_it_is() {
    for (source, kind) in [
        ("source.port ==", ProblemKind::Parse),
        ("connection.mtls and true", ProblemKind::Parse),
        ("'a", ProblemKind::Parse),
        (&"!".repeat(17_000), ProblemKind::Limit),
        (
            &format!("{}1{} == 1", "(".repeat(97), ")".repeat(97)),
            ProblemKind::Limit,
        ),
        ("source.namspace == 'x'", ProblemKind::UnknownName),
        ("response.code == 200", ProblemKind::TooLate),
        ("source.port == 'x'", ProblemKind::Type),
        ("source.port", ProblemKind::Type),
        ("source.namespace.upper() == 'A'", ProblemKind::Unsupported),
        ("'a'.matches(source.namespace)", ProblemKind::Unsupported),
        ("Message{} == 1", ProblemKind::Unsupported),
        ("has(source)", ProblemKind::Call),
        ("source.namespace.startsWith('a', 'b')", ProblemKind::Call),
        ("source.namespace.matches('(')", ProblemKind::Literal),
        ("source.ip == 'localhost'", ProblemKind::Literal),
    ] {
        assert_eq!(problems(source)[0].kind, kind, "{source:.40}");
    }
    let mut compiler = Compiler::new(Vocabulary::new());
    let selected = compiler
        .selector("request.path == '/'")
        .expect_err("a client chooses it");
    assert_eq!(selected[0].kind, ProblemKind::Selector);
    let text = compiler
        .template("a }", Producer::Check)
        .expect_err("it closes nothing");
    assert_eq!(text[0].kind, ProblemKind::Template);
}
