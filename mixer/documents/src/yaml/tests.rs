//! What YAML may not do to a policy.

use super::*;

fn parse(text: &str) -> (Vec<Node>, Vec<String>) {
    let mut problems = Problems::default();
    let sources = Sources::from_texts([("f", text)]);
    let nodes = documents(FileId(0), text, &mut problems);
    (
        nodes,
        crate::Diagnostics::new(sources, problems.list).lines(),
    )
}

#[test]
fn what_yaml_would_eat_is_refused_where_it_stands() {
    for (text, expected) in [
        (
            "when: !has(x)",
            "f:1:7: error[MX0107]: a text that begins with `!` is a YAML tag",
        ),
        (
            "when: !has(x[\"a\"]) && y",
            "f:1:7: error[MX0107]: a text that begins with `!` is a YAML tag",
        ),
        (
            "when: !",
            "f:1:7: error[MX0107]: a text that begins with `!`",
        ),
        (
            "when: ! x",
            "f:1:7: error[MX0107]: a text that begins with `!`",
        ),
        (
            "- !x\n- y",
            "f:1:3: error[MX0107]: a text that begins with `!`",
        ),
        (
            "when: !!str x",
            "f:1:7: error[MX0107]: a text that begins with `!`",
        ),
        (
            "rules: !list\n- a",
            "f:1:8: error[MX0107]: a text that begins with `!`",
        ),
        (
            "when: \"a\" in b",
            "f:1:11: error[MX0105]: a text that begins with a quote must end with it",
        ),
        (
            "when: 'a' in b",
            "f:1:11: error[MX0105]: a text that begins with a quote must end with it",
        ),
        (
            "when: [1].all(x, x)",
            "f:1:10: error[MX0105]: a text that begins with a bracket is a YAML list",
        ),
        (
            "when: {}.size() == 0",
            "f:1:9: error[MX0105]: a text that begins with a bracket is a YAML list",
        ),
        (
            "a: {when: x in [\"q\"]}",
            "f:1:16: error[MX0106]: the text ends here, but neither `,`",
        ),
        (
            "a: {when: h[\"q\"] == x}",
            "f:1:12: error[MX0106]: the text ends here",
        ),
        (
            "a: [x in [1]]",
            "f:1:10: error[MX0106]: the text ends here, but neither `,`",
        ),
        (
            "a: {when: x ? y : z}",
            "f:1:17: error[MX0105]: a colon ends a text",
        ),
        (
            "when: x ? y : z",
            "f:1:13: error[MX0105]: a colon and a space",
        ),
        (
            "when: has(x) && y == \"a: b\"",
            "f:1:24: error[MX0105]: a colon and a space",
        ),
        (
            "when: *x",
            "f:1:7: error[MX0108]: YAML aliases are not supported",
        ),
        (
            "when: * 2",
            "f:1:7: error[MX0105]: a text that begins with `*`",
        ),
        (
            "when: &x y",
            "f:1:7: error[MX0108]: YAML anchors are not supported",
        ),
        (
            "a: &x {b: *x}",
            "f:1:4: error[MX0108]: YAML anchors are not supported",
        ),
        ("<<: {a: b}", "f:1:1: error[MX0108]: YAML merge keys"),
        (
            "when: @x",
            "f:1:7: error[MX0105]: a text that begins with `@`",
        ),
        (
            "when: `x`",
            "f:1:7: error[MX0105]: a text that begins with ``",
        ),
        ("a:\n\tb: c", "f:2:2: error[MX0103]: a tab cannot indent"),
        (
            "%YAML 1.2\n---\na: b",
            "f:1:1: error[MX0108]: YAML directives",
        ),
        (
            "a: b\nc: d\na: e",
            "f:3:1: error[MX0109]: the key `a` is given twice",
        ),
        (
            "{a: 1, a: 2}",
            "f:1:8: error[MX0109]: the key `a` is given twice",
        ),
        ("a: \"b", "f:1:4: error[MX0104]: the quote is not closed"),
        ("a: [b", "f:1:4: error[MX0104]: `[` is not closed"),
        ("[a]: b", "f:1:1: error[MX0110]: a key must be a text"),
        ("a: b\n c: d", "f:2:3: error[MX0105]: a colon and a space"),
        (
            "a:\n  - b\n c: d",
            "f:3:2: error[MX0102]: this line is not indented",
        ),
    ] {
        let (_, problems) = parse(text);
        assert!(
            problems
                .first()
                .is_some_and(|line| line.starts_with(expected)),
            "{text:?}: {problems:#?}"
        );
    }
}

#[test]
fn nesting_is_bounded() {
    let (_, problems) = parse(&format!("a: {}", "[".repeat(1000)));
    assert!(problems[0].contains("nest deeper than 64"), "{problems:?}");
    let deep: String = (0..200)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    assert!(parse(&deep).1[0].contains("nest deeper than 64"));
}

#[test]
fn a_broken_document_does_not_hide_the_others() {
    let (nodes, problems) = parse("a: b\n---\nc: [\n---\nd: e\n---  # end\nf: \"g\n---\n");
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("f:3:4"), "{problems:?}");
    assert!(problems[1].starts_with("f:7:4"), "{problems:?}");
}

#[test]
fn empty_documents_are_left_out() {
    assert_eq!(
        parse("---\n---\n# only a comment\n---\na: b\n---\n~\n")
            .0
            .len(),
        1
    );
    assert_eq!(parse("").0.len(), 0);
    assert_eq!(parse("\u{feff}a: b\n...\nc: d\n").0.len(), 2);
}

#[test]
fn nodes_know_their_bytes() {
    let text = "é: [x, 'y']\nz:\n  k: v w\n";
    let (nodes, problems) = parse(text);
    assert!(problems.is_empty());
    let sources = Sources::from_texts([("f", text)]);
    let Value::Map(entries) = &nodes[0].value else {
        panic!("{nodes:?}")
    };
    assert_eq!(sources.slice(entries[0].span), "é");
    assert_eq!(sources.slice(entries[0].value.span), "[x, 'y']");
    assert_eq!(sources.slice(entries[1].value.span), "k: v w");
    assert_eq!(sources.place(entries[1].value.span), "f:3:3");
}

#[test]
fn only_plain_nothing_is_null() {
    for text in ["a:", "a: ~", "a: null", "a: Null"] {
        let Value::Map(entries) = &parse(text).0[0].value else {
            panic!()
        };
        assert!(matches!(entries[0].value.value, Value::Null), "{text}");
    }
    for text in ["a: ''", "a: \"null\"", "a: '~'", "a: nul"] {
        let Value::Map(entries) = &parse(text).0[0].value else {
            panic!()
        };
        assert!(matches!(entries[0].value.value, Value::Scalar(_)), "{text}");
    }
}
