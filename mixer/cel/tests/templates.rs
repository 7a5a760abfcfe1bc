//! Texts with CEL in braces.

use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{AttributeBag, Value, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Problem, Template};

fn template(source: &str) -> Result<(Template, mixer_cel::References), Vec<Problem>> {
    let mut compiler = Compiler::new(Vocabulary::new());
    let template = compiler.template(source, Producer::Check)?;
    Ok((template, compiler.finish()))
}

#[test]
fn expressions_are_filled_in_and_what_is_absent_is_a_dash() {
    let mut bag = AttributeBag::new();
    bag.set(v::REQUEST_METHOD, Value::String("GET"));
    bag.set(v::REQUEST_SIZE, Value::Int(7));
    for (source, wanted) in [
        ("plain", "plain"),
        ("", ""),
        ("no {request.method} for {source.namespace}", "no GET for -"),
        ("{{{request.method}}}", "{GET}"),
        ("{{}} {request.size + 1}", "{} 8"),
        (
            r#"{ {"}": "x"}["}"] } {request.method == "}" ? 1 : 2}"#,
            "x 2",
        ),
        ("{1 / 0}{[1, 'a']}", r#"-[1,"a"]"#),
    ] {
        let (template, references) = template(source).unwrap_or_else(|p| panic!("{source}: {p:?}"));
        let mut evaluation = Evaluation::new(&bag, &references);
        assert_eq!(template.render(&mut evaluation), wanted, "{source}");
    }
}

#[test]
fn reads_and_problems_have_their_place_in_the_text() {
    let source = "no {request.method} for {source.namespace}";
    let (template, _) = template(source).unwrap();
    let read: Vec<&str> = template
        .reads()
        .iter()
        .map(|read| &source[read.span.clone()])
        .collect();
    assert_eq!(read, ["request.method", "source.namespace"]);
    for (source, at, message) in [
        (
            "a {source.namspace}",
            "source.namspace",
            "unknown attribute",
        ),
        ("a {request.method", "{", "`{` is never closed"),
        ("a } b", "}", "`}` closes nothing"),
        (
            "a {response.code}",
            "response.code",
            "not known before the request is over",
        ),
        ("a {}", "", "the expression is empty"),
    ] {
        let mut compiler = Compiler::new(Vocabulary::new());
        let problems = compiler.template(source, Producer::Check).unwrap_err();
        assert_eq!(&source[problems[0].span.clone()], at, "{source}");
        assert!(
            problems[0].message.contains(message),
            "{source}: {}",
            problems[0].message
        );
    }
}

/// Many braces, many expressions, many bytes: refused at load, or rendered within bounds.
#[test]
fn hostile_templates_are_bounded() {
    let problem = |source: &str| {
        let mut compiler = Compiler::new(Vocabulary::new());
        let problems = compiler.template(source, Producer::Check).unwrap_err();
        problems[0].message.clone()
    };
    assert_eq!(
        problem(&"a".repeat(17_000)),
        "a template may have 16384 bytes, this one has 17000"
    );
    let never = "the string is never closed";
    assert_eq!(problem(&format!("{{'{}", "}".repeat(16_000))), never);
    assert_eq!(problem(&format!("{{{}'", "[]".repeat(8_000))), never);
    assert_eq!(
        problem(&"{ ".repeat(8_000)),
        "brackets are nested deeper than 96"
    );
    assert_eq!(problem(&"} ".repeat(8_000)), "`}` closes nothing");
    let bag = AttributeBag::new();
    let rendered = |source: &str| {
        let (template, references) = template(source).unwrap();
        template.render(&mut Evaluation::new(&bag, &references))
    };
    assert_eq!(rendered(&"{{".repeat(8_000)), "{".repeat(8_000));
    let grown = |times| format!("{{'a'{}}}", ".replace('a', 'aaaaaaaaaa')".repeat(times));
    assert_eq!(rendered(&grown(2).repeat(250)), "a".repeat(25_000));
    let text = rendered(&grown(5).repeat(80));
    assert!(
        text.ends_with("-"),
        "what is over the budget is not rendered"
    );
    assert!(text.len() < 1024 * 1024, "{}", text.len());
}
