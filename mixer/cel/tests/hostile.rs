//! Texts made to hurt end in an error, at load or in evaluation, without overflow, panic or long waits.

use mixer_attributes::vocabulary::Producer;
use mixer_attributes::{AttributeBag, Vocabulary};
use mixer_cel::{Compiler, Evaluation, Expect};

/// The error of compiling or evaluating, on a stack as small as a server's threads have.
fn outcome(source: &str) -> Result<String, String> {
    let source = source.to_owned();
    let run = move || {
        let mut compiler = Compiler::new(Vocabulary::new());
        let expression = match compiler.expression(&source, Producer::Check, Expect::Any) {
            Ok(expression) => expression,
            Err(problems) => return Err(format!("load: {}", problems[0].message)),
        };
        let references = compiler.finish();
        let bag = AttributeBag::new();
        let mut evaluation = Evaluation::new(&bag, &references);
        let value = expression.evaluate(&mut evaluation);
        value
            .map(|value| value.to_text())
            .map_err(|error| format!("eval: {error}"))
    };
    let thread = std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(run)
        .expect("a thread");
    thread.join().expect("no panic")
}

fn chain(first: &str, link: &str, times: usize) -> String {
    format!("{first}{}", link.repeat(times))
}

fn nested(open: &str, middle: &str, close: &str, times: usize) -> String {
    format!("{}{middle}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn hostile_texts_end_in_errors() {
    let doubled = |times: usize| {
        let mut source = "x".to_owned();
        for _ in 0..times {
            source = format!("cel.bind(x, {source} + {source}, x)");
            if source.len() > 16_000 {
                break;
            }
        }
        source
    };
    let binds = |times: usize| {
        let opened: String = (0..times)
            .map(|at| format!("cel.bind(x{}, x{at} + x{at}, ", at + 1))
            .collect();
        format!(
            "cel.bind(x0, 'aaaaaaaaaaaaaaaa', {opened}x{times}{}",
            ")".repeat(times + 1)
        )
    };
    let loops = |times: usize| {
        let list = "[0,1,2,3,4,5,6,7,8,9]";
        let opened: String = (0..times).map(|at| format!("{list}.all(i{at}, ")).collect();
        format!("{opened}true{}", ")".repeat(times))
    };
    let texts: Vec<(String, &str)> = vec![
        (chain("1", "+1", 8_000), "load: more than 512 operators"),
        (chain("1", "+1", 500), "load: the expression is nested deeper than 128"),
        (chain("1", "+1", 129), "load: the expression is nested deeper than 128"),
        (chain("'a'", "+'a'", 3_000), "load: more than 512 operators"),
        (chain("1", "-1", 7_000), "load: more than 512"),
        (chain("1", "<1", 5_000), "load: more than 512"),
        (chain("a", ".a", 7_000), "load: more than 512"),
        (chain("a", ".a", 400), "load: the expression is nested deeper"),
        (chain("a", ".?a", 4_000), "load: more than 512"),
        (chain("a", "[0]", 5_000), "load: the expression is nested deeper"),
        (chain("a", ".f()", 3_000), "load: more than 512"),
        (chain("f", "()", 100), "load: unexpected"),
        (chain("true", " ? true : true", 1_000), "load: more than 512"),
        (chain("true", " ? true : true", 200), "load: the expression is nested deeper"),
        (nested("true ? ", "1", " : 1", 1_000), "load: more than 512"),
        (nested("(", "1", ")", 8_000), "load: brackets are nested deeper"),
        (nested("[", "1", "]", 8_000), "load: brackets are nested deeper"),
        (nested("{1:", "1", "}", 4_000), "load: brackets are nested deeper"),
        (nested("size(", "''", ")", 2_000), "load: brackets are nested deeper"),
        ("(".repeat(16_000), "load: brackets are nested deeper"),
        ("[".repeat(90), "load: `[` is never closed"),
        ("!".repeat(16_000), "load: the expression ends too early"),
        (format!("{}true", "!".repeat(12_001)), "|false"),
        (format!("{}1", "-".repeat(501)), ""),
        (chain("true", "&&true", 2_600), "|true"),
        (chain("true", "||true", 2_000), "|true"),
        (format!("[{}1]", "1,".repeat(7_000)), "load: the expression has more than 4096 parts"),
        (format!("'{}'", "a".repeat(17_000)), "load: an expression may have 16384 bytes"),
        (format!("\"{}", "\\".repeat(9_000)), "load: the string is never closed"),
        (format!("\"{}\"", "\\u00".repeat(2_000)), "load: the string has a bad escape"),
        ("x\u{0}y".to_owned(), "load: unexpected"),
        ("\u{202e}true".to_owned(), "load: unexpected"),
        ("9".repeat(10_000), "load: `9999"),
        (format!("1e{}", "9".repeat(5_000)), "load: `1e99"),
        ("'a'.matches('(((a{100}){100}){100})')".to_owned(), "load: the pattern is too large"),
        ("'a'.matches('(a*)*(a*)*(a*)*b')".to_owned(), "|false"),
        (format!("'a'.matches('{}')", "(".repeat(8_000)), "load: not a regular expression"),
        (format!("'a'.matches('{}a{}')", "(".repeat(4_000), ")".repeat(4_000)), "load: not a regular expression"),
        (format!("'a'.matches('{}')", "[a-z]{1000}".repeat(500)), "load: the pattern is too large"),
        (doubled(8), "load: unknown attribute `x`"),
        (binds(60), "eval: the expression builds too much"),
        (loops(4), "|true"),
        (loops(5), "eval: the expression takes too many steps"),
        (loops(20), "eval: the expression takes too many steps"),
        ("lists.range(1000000000)".to_owned(), "eval: the expression builds too much"),
        ("lists.range(10000).map(x, lists.range(10000))".to_owned(), "eval: the expression builds too much"),
        ("lists.range(1000).all(x, lists.range(1000) == lists.range(1000))".to_owned(), "eval: the expression "),
        ("lists.range(3000).all(x, x in lists.range(3000).map(y, y + 1) || true)".to_owned(), "eval: the expression "),
        ("'%.100f'.format([1.0]).replace('', '0123456789').replace('', '0123456789').replace('', '0123456789').replace('', '0123456789')"
            .to_owned(), "eval: the expression builds too much"),
        ("lists.range(20000).map(x, 'a').join('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')".to_owned(),
            "eval: the expression builds too much"),
        ("lists.range(90000).exists(x, false) || true".to_owned(), "eval: the expression builds too much"),
        ("-9223372036854775808 / -1".to_owned(), "eval: int overflow"),
        ("-9223372036854775808 % -1".to_owned(), "eval: int overflow"),
        ("1 / 0 == 1".to_owned(), "eval: division by zero"),
        ("{'a': 1, 'a': 2}".to_owned(), "eval: a map gives the same key twice"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('9000000h')".to_owned(), "load:"),
        ("duration('99999999999999999999h') == duration('1h')".to_owned(), "load:"),
        ("duration('9223372036s') + duration('9223372036s')".to_owned(), "eval: duration overflow"),
    ];
    let mut wrong = Vec::new();
    for (source, wanted) in &texts {
        let shown: String = source.chars().take(60).collect();
        let found = outcome(source);
        let fits = wanted.split('|').any(|wanted| match &found {
            Ok(value) => wanted == value,
            Err(error) => !wanted.is_empty() && error.starts_with(wanted),
        });
        let any = wanted.is_empty();
        if !fits && !any {
            let found: String = format!("{found:?}").chars().take(100).collect();
            wrong.push(format!("{shown}\n  wanted {wanted}\n  found  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What passes the bounds must not overflow the stack it is evaluated on.
#[test]
fn the_deepest_texts_that_compile_evaluate_on_a_small_stack() {
    for source in [
        chain("1", "+1", 127),
        nested("[", "1", "]", 90),
        nested("size(string(", "1", "))", 47),
        nested("[1].map(x, ", "1", ")", 45),
        nested("(true ? (", "1", ") : 2)", 40),
        nested("optional.of(", "1", ")", 90),
        chain("true", "||true", 2_000),
        format!("{}{}", nested("[", "1", "]", 60), "[0]".repeat(60)),
    ] {
        let shown: String = source.chars().take(40).collect();
        let run = move || {
            let mut compiler = Compiler::new(Vocabulary::new());
            let expression = compiler
                .expression(&source, Producer::Check, Expect::Any)
                .unwrap_or_else(|p| panic!("{p:?}"));
            let references = compiler.finish();
            let bag = AttributeBag::new();
            expression
                .evaluate(&mut Evaluation::new(&bag, &references))
                .map(|value| value.to_text())
                .unwrap_or_default()
        };
        let thread = std::thread::Builder::new()
            .stack_size(1024 * 1024)
            .spawn(run)
            .unwrap();
        assert!(thread.join().is_ok(), "{shown}");
    }
}

/// Definitions are inlined, so depth and work multiply through them.
#[test]
fn definitions_that_double_do_not_explode() {
    use mixer_attributes::vocabulary::Type;
    let mut vocabulary = Vocabulary::new();
    let ids: Vec<_> = (0..200)
        .map(|at| {
            vocabulary
                .declare(&format!("d.v{at}"), Type::Int, Producer::Check, "")
                .unwrap()
        })
        .collect();
    let mut compiler = Compiler::new(vocabulary);
    compiler.define(ids[0], "1").unwrap();
    let mut refused = 0;
    for (at, id) in ids.iter().enumerate().skip(1) {
        let source = format!("d.v{0} + d.v{0}", at - 1);
        if let Err(problems) = compiler.define(*id, &source) {
            assert!(problems[0].message.contains("deeper than 128"));
            refused += 1;
            break;
        }
    }
    assert_eq!(refused, 1);
    let expression = compiler
        .expression("d.v40 == 1", Producer::Check, Expect::Any)
        .unwrap();
    let references = compiler.finish();
    let bag = AttributeBag::new();
    let error = expression
        .test(&mut Evaluation::new(&bag, &references))
        .unwrap_err();
    assert_eq!(error.to_string(), "the expression takes too many steps");
}
