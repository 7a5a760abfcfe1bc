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

/// A text of a mebibyte less what the rest of an expression builds.
fn long() -> String {
    let grown = (0..6).fold("'aaaaaaaaaa'".to_owned(), |text, _| {
        format!("{text}.replace('a', 'aaaaa')")
    });
    format!("{grown}.substring(0, 100000)")
}

/// `value` bound to `x`, then `step` of `x` to `x` again and again, and the last of them.
fn binds(value: &str, step: &str, times: usize) -> String {
    let opened = format!("cel.bind(x, {step}, ").repeat(times);
    format!("cel.bind(x, {value}, {opened}x{}", ")".repeat(times + 1))
}

fn loops(times: usize) -> String {
    let list = "[0,1,2,3,4,5,6,7,8,9]";
    let opened: String = (0..times).map(|at| format!("{list}.all(i{at}, ")).collect();
    format!("{opened}true{}", ")".repeat(times))
}

/// What is wrong with each is said exactly, at load where it can be known there.
#[test]
#[rustfmt::skip]
fn hostile_texts_end_in_exactly_these_errors() {
    let table: Vec<(&str, String, &str)> = vec![
        ("a long sum", chain("1", "+1", 8_000), "load: more than 512 operators in one run"),
        ("a sum as long as is read", chain("1", "+1", 500), "load: the expression is nested deeper than 128"),
        ("a sum one too deep", chain("1", "+1", 128), "load: the expression is nested deeper than 128"),
        ("text joined to text", chain("'a'", "+'a'", 3_000), "load: more than 512 operators in one run"),
        ("comparisons in a row", chain("1", "<1", 5_000), "load: more than 512 operators in one run"),
        ("a long path", chain("a", ".a", 7_000), "load: more than 512 operators in one run"),
        ("a deep path", chain("a", ".a", 400), "load: the expression is nested deeper than 128"),
        ("a long optional path", chain("a", ".?a", 4_000), "load: more than 512 operators in one run"),
        ("a deep optional path", chain("a", ".?a", 300), "load: the expression is nested deeper than 128"),
        ("an index of an index", chain("a", "[0]", 5_000), "load: the expression is nested deeper than 128"),
        ("calls on calls", chain("a", ".f()", 3_000), "load: more than 512 operators in one run"),
        ("a call of a call", chain("f", "()", 100), "load: unexpected `(`"),
        ("conditionals in a row", chain("true", " ? true : true", 1_000), "load: more than 512 operators in one run"),
        ("conditionals within each other", chain("true", " ? true : true", 200), "load: the expression is nested deeper than 128"),
        ("conditionals before each other", nested("true ? ", "1", " : 1", 1_000), "load: more than 512 operators in one run"),
        ("parentheses", nested("(", "1", ")", 8_000), "load: brackets are nested deeper than 96"),
        ("lists in lists", nested("[", "1", "]", 8_000), "load: brackets are nested deeper than 96"),
        ("maps in maps", nested("{1:", "1", "}", 4_000), "load: brackets are nested deeper than 96"),
        ("calls in calls", nested("size(", "''", ")", 2_000), "load: brackets are nested deeper than 96"),
        ("what only opens", "(".repeat(16_000), "load: brackets are nested deeper than 96"),
        ("what is never closed", "[".repeat(90), "load: `[` is never closed"),
        ("what closes nothing", ")".repeat(16_000), "load: `)` closes nothing"),
        ("negations of nothing", "!".repeat(16_000), "load: the expression ends too early"),
        ("many parts", format!("[{}1]", "1,".repeat(7_000)), "load: the expression has more than 4096 parts"),
        ("many keys", format!("{{{}}}", (0..2_100).map(|at| format!("{at}:1")).collect::<Vec<_>>().join(",")), "load: the expression has more than 4096 parts"),
        ("a long text", format!("'{}'", "a".repeat(17_000)), "load: an expression may have 16384 bytes, this one has 17002"),
        ("backslashes to the end", format!("\"{}", "\\".repeat(9_000)), "load: the string is never closed"),
        ("escapes cut short", format!("\"{}\"", "\\u00".repeat(2_000)), "load: the string has a bad escape"),
        ("a zero byte", "x\u{0}y".to_owned(), "load: unexpected `\\0`"),
        ("text that runs backwards", "\u{202e}true".to_owned(), "load: unexpected `\\u{202e}`"),
        ("a long number", "9".repeat(10_000), "load: `9999999999999999999999999999999999999999..` does not fit 64 bits"),
        ("a long exponent", format!("1e{}", "9".repeat(5_000)), "load: `1e99999999999999999999999999999999999999..` is no finite number"),
        ("a pattern of patterns", "'a'.matches('(((a{100}){100}){100})')".to_owned(), "load: the pattern is too large when compiled"),
        ("a pattern that only opens", format!("'a'.matches('{}')", "(".repeat(8_000)), "load: not a regular expression: unclosed group"),
        ("a deep pattern", format!("'a'.matches('{}a{}')", "(".repeat(4_000), ")".repeat(4_000)), "load: not a regular expression: exceed the maximum number of nested parentheses/brackets (128)"),
        ("a wide pattern", format!("'a'.matches('{}')", "[a-z]{1000}".repeat(500)), "load: the pattern is too large when compiled"),
        ("a pattern made of data", "'a'.matches('a' + 'b')".to_owned(), "load: unsupported: a pattern that is not a literal"),
        ("a costly pattern over a long text", format!("cel.bind(t, {}, lists.range(100).exists(i, t.matches('([a-z]{{90}}x){{20}}')))", long()), "eval: the expression takes too many steps"),
        ("text doubled", binds("'aaaaaaaaaaaaaaaa'", "x + x", 60), "eval: the expression builds too much"),
        ("lists doubled", binds("[1]", "x + x", 60), "eval: the expression builds too much"),
        ("lists of themselves", binds("[1]", "[x, x]", 40), "eval: the expression takes too many steps"),
        ("maps of themselves", binds("{1: 1}", "{1: x, 2: x}", 40), "eval: the expression takes too many steps"),
        ("lists of themselves compared", format!("{} == {}", binds("[1]", "[x, x]", 30), binds("[1]", "[x, x]", 30)), "eval: the expression takes too many steps"),
        ("lists of themselves as text", format!("'%s'.format([{}])", binds("[1]", "[x, x]", 40)), "eval: the expression builds too much"),
        ("lists of themselves flattened", format!("{}.flatten(50)", binds("[1]", "[x, x]", 40)), "eval: the expression builds too much"),
        ("five loops in each other", loops(5), "eval: the expression takes too many steps"),
        ("twenty loops in each other", loops(20), "eval: the expression takes too many steps"),
        ("a loop with a long body", format!("lists.range(20000).all(i, {})", chain("i == -1", " || i == -1", 900) + " || true"), "eval: the expression takes too many steps"),
        ("a range without end", "lists.range(1000000000)".to_owned(), "eval: the expression builds too much"),
        ("a range within a range", "lists.range(10000).map(x, lists.range(10000))".to_owned(), "eval: the expression builds too much"),
        ("ranges compared", "lists.range(1000).all(x, lists.range(1000) == lists.range(1000))".to_owned(), "eval: the expression builds too much"),
        ("a list searched in a loop", "cel.bind(l, lists.range(3000), l.all(x, x in l))".to_owned(), "eval: the expression takes too many steps"),
        ("distinct elements", "lists.range(9000).distinct()".to_owned(), "eval: the expression takes too many steps"),
        ("a list sorted in a loop", "cel.bind(l, lists.range(3000), l.all(x, l.sort() == l))".to_owned(), "eval: the expression takes too many steps"),
        ("a list turned round in a loop", "cel.bind(l, lists.range(3000), l.all(x, l.reverse() == l || true))".to_owned(), "eval: the expression builds too much"),
        ("a text grown by replacing", "'%.100f'.format([1.0]).replace('', '0123456789').replace('', '0123456789').replace('', '0123456789').replace('', '0123456789')".to_owned(), "eval: the expression builds too much"),
        ("a list joined by a long text", format!("lists.range(20000).map(x, 'a').join('{}')", "a".repeat(60)), "eval: the expression builds too much"),
        ("nothing joined in a loop", "cel.bind(l, lists.range(9000).map(x, ''), l.all(x, l.join() == ''))".to_owned(), "eval: the expression takes too many steps"),
        ("a text split into letters", format!("{}.split('')", long()), "eval: the expression builds too much"),
        ("a text split in a loop", format!("cel.bind(t, {}, lists.range(2000).all(x, t.split('b').size() > 0))", long()), "eval: the expression builds too much"),
        ("a text cut in a loop", format!("cel.bind(t, {}, lists.range(9000).all(x, t.substring(9999) != ''))", long()), "eval: the expression builds too much"),
        ("a long time read in a loop", format!("cel.bind(t, {}, lists.range(9000).all(x, duration(t) == duration('1s') || true))", long()), "eval: the expression takes too many steps"),
        ("a long address read in a loop", format!("cel.bind(t, {}, lists.range(9000).all(x, isCIDR(t) || true))", long()), "eval: the expression takes too many steps"),
        ("the least number divided", "-9223372036854775808 / -1".to_owned(), "eval: int overflow"),
        ("the least number's rest", "-9223372036854775808 % -1".to_owned(), "eval: int overflow"),
        ("division by nothing", "1 / 0 == 1".to_owned(), "eval: division by zero"),
        ("a key twice", "{'a': 1, 'a': 2}".to_owned(), "eval: a map gives the same key twice"),
        ("a time beyond time", "timestamp('9999-12-31T23:59:59Z') + duration('1h')".to_owned(), "eval: timestamp overflow"),
        ("a long time", "duration('99999999999999999999h') == duration('1h')".to_owned(), "load: \"99999999999999999999h\" is no duration such as \"1h30m\""),
        ("a time that overflows", "duration('9223372036s') + duration('9223372036s')".to_owned(), "eval: duration overflow"),
        ("a precision without end", "'%.999999999f'.format([1.0])".to_owned(), "eval: format: a precision is a number up to 100"),
    ];
    assert!(table.len() >= 40);
    let wrong: Vec<String> = table
        .iter()
        .map(|(name, source, wanted)| (name, wanted, outcome(source)))
        .filter(|(_, wanted, found)| found.as_ref().err().map(String::as_str) != Some(**wanted))
        .map(|(name, wanted, found)| {
            let found: String = format!("{found:?}").chars().take(300).collect();
            format!("{name}\n  wanted {wanted:?}\n  found  {found}")
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Odd, and no reason to refuse.
#[test]
fn what_is_only_odd_is_answered() {
    for (source, value) in [
        (format!("{}true", "!".repeat(12_001)), "false"),
        (chain("true", "&&true", 2_600), "true"),
        (chain("true", "||true", 2_000), "true"),
        ("'a'.matches('(a*)*(a*)*(a*)*b')".to_owned(), "false"),
        (loops(4), "true"),
        (
            nested("[", "1", "]", 90),
            &format!("{}1{}", "[".repeat(90), "]".repeat(90)),
        ),
    ] {
        assert_eq!(
            outcome(&source).as_deref(),
            Ok(value),
            "{}",
            &source[..40.min(source.len())]
        );
    }
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
