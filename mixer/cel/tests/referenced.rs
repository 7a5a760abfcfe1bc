//! What an evaluation notes as read: every attribute and key it came by, present or absent, and nothing it did not come by.

use std::borrow::Cow;

use mixer_attributes::vocabulary::{self as v, Producer};
use mixer_attributes::{AttributeBag, Dynamic, Entry, StringMap, Value, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect};

/// Headers or query: `x` is "1", `q` is given twice.
struct Names;

impl StringMap for Names {
    fn lookup(&self, key: &str) -> Entry<'_> {
        match key {
            "x" => Entry::Value("1".into()),
            "q" => Entry::Ambiguous,
            _ => Entry::Absent,
        }
    }

    fn entries(&self) -> Vec<(Cow<'_, str>, Entry<'_>)> {
        vec![
            ("q".into(), self.lookup("q")),
            ("x".into(), self.lookup("x")),
        ]
    }
}

/// Expressions, what they read of a request that has everything (but source.ip), and of one that has nothing. Absent reads end
/// in `?`; `h` is request.headers, `c` is auth.claims, `m` request.method, `p` request.path, `s` connection.mtls, `i` source.ip.
const READS: &[(&str, &str, &str)] = &[
    // Reads and literals.
    ("true", "", ""),
    ("m", "m", "m?"),
    (r#"m == "GET""#, "m", "m?"),
    (r#""GET" == m"#, "m", "m?"),
    (r#"m != "GET""#, "m", "m?"),
    (r#"m in ["GET", "PUT"]"#, "m", "m?"),
    ("m == p", "m p", "m?"),
    ("m < p", "m p", "m?"),
    (r#"m + "x" + p"#, "m p", "m?"),
    ("size(m)", "m", "m?"),
    (r#"p.startsWith("/")"#, "p", "p?"),
    ("p.startsWith(m)", "m p", "p?"),
    (r#"p.matches("^/a")"#, "p", "p?"),
    ("has(m)", "m", "m?"),
    ("!has(m)", "m", "m?"),
    ("has(h)", "h", "h?"),
    ("[m, p]", "m p", "m?"),
    ("{m: p}", "m p", "m?"),
    ("[1, 2][size(m)]", "m", "m?"),
    // `&&` and `||` stop at what decides; an error does not stop them.
    (r#"m == "GET" && s"#, "m s", "m? s?"),
    (r#"m == "PUT" && s"#, "m", "m? s?"),
    (r#"i == "10.0.0.1" && s"#, "i? s", "i? s?"),
    (r#"m == "GET" || s"#, "m", "m? s?"),
    (r#"m == "PUT" || s"#, "m s", "m? s?"),
    (r#"i == "10.0.0.1" || s"#, "i? s", "i? s?"),
    ("s && m == p && has(i)", "m p s", "i? m? s?"),
    ("!(s || has(i))", "s", "i? s?"),
    ("false && s", "", ""),
    ("true || s", "", ""),
    // `? :` reads one branch, and none behind an error.
    ("s ? m : p", "m s", "s?"),
    ("!s ? m : p", "p s", "s?"),
    ("has(i) ? m : p", "i? p", "i? p?"),
    (r#"i == "10.0.0.1" ? m : p"#, "i?", "i?"),
    // Keys of maps: present, absent, given twice; the map absent.
    (r#"h["x"]"#, "h[x]", "h[x]?"),
    (r#"h.x == "1""#, "h[x]", "h[x]?"),
    (r#"h["y"]"#, "h[y]?", "h[y]?"),
    (r#"h["q"]"#, "h[q]", "h[q]?"),
    (r#"has(h.x)"#, "h[x]", "h[x]?"),
    (r#"has(h.y)"#, "h[y]?", "h[y]?"),
    (r#""x" in h"#, "h[x]", "h[x]?"),
    (r#""y" in h"#, "h[y]?", "h[y]?"),
    (r#""x" in h && h["x"] == "1""#, "h[x]", "h[x]?"),
    (r#""y" in h && h["x"] == "1""#, "h[y]?", "h[x]? h[y]?"),
    (r#"h[m]"#, "h[GET]? m", "m?"),
    (r#"m in h"#, "h[GET]? m", "m?"),
    (r#"h[?m].hasValue()"#, "h[GET]? m", "m?"),
    // Optional syntax.
    (r#"h[?"x"].orValue("") == "1""#, "h[x]", "h[x]?"),
    (r#"h[?"y"].orValue("") == "1""#, "h[y]?", "h[y]?"),
    (r#"h[?"x"].orValue(m)"#, "h[x]", "h[x]? m?"),
    (r#"h[?"y"].orValue(m)"#, "h[y]? m", "h[y]? m?"),
    (
        r#"h[?"y"].or(h[?"x"]).hasValue()"#,
        "h[x] h[y]?",
        "h[x]? h[y]?",
    ),
    (
        r#"h[?"x"].optMap(it, it + m).orValue("")"#,
        "h[x] m",
        "h[x]?",
    ),
    (
        r#"h[?"y"].optMap(it, it + m).orValue("")"#,
        "h[y]?",
        "h[y]?",
    ),
    // Whole maps.
    ("size(h)", "h", "h?"),
    (r#"h.exists(name, name == "x")"#, "h", "h?"),
    ("h.all(name, value, name != value)", "h", "h?"),
    ("h == {}", "h", "h?"),
    (r#"size(h) > 9 && h["x"] == "1""#, "h", "h? h[x]?"),
    // Claims: one key down is the reference, whatever lies below it.
    ("c.sub", "c[sub]", "c[sub]?"),
    (r#"c.sub == "s""#, "c[sub]", "c[sub]?"),
    ("has(c.sub)", "c[sub]", "c[sub]?"),
    ("has(c.none)", "c[none]?", "c[none]?"),
    (r#""g" in c.groups"#, "c[groups]", "c[groups]?"),
    (
        "c.groups.exists(group, group == m)",
        "c[groups] m",
        "c[groups]?",
    ),
    (r#"c[?"none"].orValue("")"#, "c[none]?", "c[none]?"),
    ("has(c.none.below)", "c[none]?", "c[none]?"),
    // Macros read as their turns do, and stop where they stop.
    ("[1, 2].exists(n, n == size(m))", "m", "m?"),
    ("[].exists(n, n == size(m))", "", ""),
    ("[1, 2].all(n, n > 1 && s)", "", ""),
    ("[2].all(n, n > 1 && s)", "s", "s?"),
    ("[m, p].map(each, each + m)", "m p", "m?"),
    ("[1].filter(n, s)", "s", "s?"),
    ("cel.bind(a, m, s)", "m s", "m?"),
    ("cel.bind(a, m, a + a)", "m", "m?"),
];

#[test]
fn what_is_read_is_referenced_and_nothing_else() {
    let short = [
        ("h", v::REQUEST_HEADERS),
        ("c", v::AUTH_CLAIMS),
        ("m", v::REQUEST_METHOD),
        ("p", v::REQUEST_PATH),
        ("s", v::CONNECTION_MTLS),
        ("i", v::SOURCE_IP),
    ];
    let vocabulary = Vocabulary::new();
    let spelled = |source: &str| {
        let mut words = String::new();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (mut rest, mut before) = (source, ' ');
        while let Some(first) = rest.chars().next() {
            let end = rest
                .find(|c| !is_word(c))
                .unwrap_or(rest.len())
                .max(first.len_utf8());
            let (word, after) = rest.split_at(end);
            let name = short
                .iter()
                .find(|(short, _)| *short == word && before != '.');
            match name.filter(|_| words.matches('"').count().is_multiple_of(2)) {
                Some((_, id)) => words += &vocabulary.by_id(*id).unwrap().name,
                None => words += word,
            }
            before = word.chars().last().unwrap_or(' ');
            rest = after;
        }
        words
    };
    let claims = Dynamic::Map(vec![
        (
            "groups".to_owned(),
            Dynamic::List(vec![Dynamic::String("g".to_owned())]),
        ),
        ("sub".to_owned(), Dynamic::String("s".to_owned())),
    ]);
    let mut full = AttributeBag::new();
    full.set(v::REQUEST_HEADERS, Value::Map(&Names));
    full.set(v::AUTH_CLAIMS, Value::Dynamic(&claims));
    full.set(v::REQUEST_METHOD, Value::String("GET"));
    full.set(v::REQUEST_PATH, Value::String("/a"));
    full.set(v::CONNECTION_MTLS, Value::Bool(true));
    let none = AttributeBag::new();
    let mut wrong = Vec::new();
    for (source, of_full, of_none) in READS {
        let mut compiler = Compiler::new(Vocabulary::new());
        let text = spelled(source);
        let compiled = compiler.expression(&text, Producer::Check, Expect::Any);
        let expression = compiled.unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        let references = compiler.finish();
        for (bag, expected) in [(&full, of_full), (&none, of_none)] {
            let mut evaluation = Evaluation::new(bag, &references);
            let _ = expression.evaluate(&mut evaluation);
            let shown = |(reference, present): &(mixer_cel::Reference, bool)| {
                let name = short.iter().find(|(_, id)| *id == reference.attribute);
                let name = name.map_or("?", |(name, _)| name);
                let key = reference
                    .key
                    .as_ref()
                    .map_or(String::new(), |key| format!("[{key}]"));
                format!("{name}{key}{}", if *present { "" } else { "?" })
            };
            let mut read: Vec<String> = evaluation.referenced().iter().map(shown).collect();
            read.sort();
            let read = read.join(" ");
            if read != **expected {
                wrong.push(format!("{text}: read `{read}`, not `{expected}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
