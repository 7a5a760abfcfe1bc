//! `mixer eval` and `mixer repl` as processes: what they print, where, and with which exit code.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

fn mixer(arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mixer"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary of this package was built for its tests");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It answers before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    // Whoever reads no input closes it.
    let _ = writer.join().unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

fn eval(arguments: &[&str]) -> (i32, String, String) {
    mixer(&[&["eval"], arguments].concat(), b"")
}

#[test]
fn an_expression_is_evaluated_over_attributes() {
    let shop = ["-a", "source.namespace=shop"];
    assert_eq!(
        eval(&[r#"source.namespace == "shop""#, shop[0], shop[1]]),
        (0, "true\n".to_owned(), String::new())
    );
    assert_eq!(
        eval(&["source.namespace", shop[0], shop[1]]).1,
        "\"shop\"\n"
    );
    assert_eq!(
        eval(&["response.code > 499", "-a", "response.code=503"]).1,
        "true\n"
    );
    let given = b"source: { namespace: till }\nrequest: { headers: { x-tester: 'yes' } }";
    let (code, out, _) = mixer(
        &[
            "eval",
            "source.namespace + request.headers['x-tester']",
            "--request",
            "-",
        ],
        given,
    );
    assert_eq!((code, &*out), (0, "\"tillyes\"\n"));
}

#[test]
fn the_exit_code_says_what_went_wrong() {
    let (code, out, err) = eval(&["request.path == 'a' &&\n source.namspace == 'b'"]);
    assert_eq!((code, &*out), (3, ""));
    assert_eq!(
        err,
        "error: unknown attribute `source.namspace`\n  |\n2 |  source.namspace == 'b'\n  |  ^^^^^^^^^^^^^^^\n  = help: did you mean `source.namespace`?\n"
    );
    let (code, out, err) = eval(&["request.path == 'a'", "--referenced"]);
    assert_eq!(code, 2);
    assert_eq!(out, "request.path (absent)\n");
    assert_eq!(err, "error: request.path is not known\n");
    assert_eq!(eval(&["1", "-a", "connection.mtls=perhaps"]).0, 65);
    assert_eq!(eval(&["1", "--request", "nowhere/at.all"]).0, 65);
    assert_eq!(eval(&["--cases", "nowhere/at.all"]).0, 65);
    assert_eq!(eval(&[]).0, 64);
    assert_eq!(eval(&["1", "2"]).0, 64);
    assert_eq!(eval(&["1", "--cases"]).0, 64);
}

#[test]
fn what_mattered_is_explained() {
    let expression = r#"(source.namespace == "shop" || connection.mtls) && (has(request.headers.x) ? request.headers["x"] == "1" : request.method in ["GET"])"#;
    let (code, out, err) = eval(&[
        expression,
        "-a",
        "source.namespace=shop",
        "-a",
        "request.headers.x=2",
        "--explain",
        "--referenced",
    ]);
    assert_eq!((code, &*err), (0, ""));
    let wanted = [
        "false",
        r#"  (source.namespace == "shop" || connection.mtls) && (has(request.headers.x) ? request.headers["x"] == "1" : request.method in ["GET"]) -> false"#,
        r#"    source.namespace == "shop" || connection.mtls -> true"#,
        r#"      source.namespace == "shop" -> true"#,
        r#"        source.namespace -> "shop""#,
        r#"    has(request.headers.x) ? request.headers["x"] == "1" : request.method in ["GET"] -> false"#,
        r#"      has(request.headers.x) -> true"#,
        r#"      request.headers["x"] == "1" -> false"#,
        r#"        request.headers["x"] -> "2""#,
        r#"source.namespace = "shop""#,
        r#"request.headers["x"] = "2""#,
    ];
    let lines: Vec<&str> = out.lines().collect();
    // Of a text in parentheses the parentheses may be shown or not.
    let plain = |line: &str| line.replace(['(', ')'], "");
    assert_eq!(
        lines.iter().map(|line| plain(line)).collect::<Vec<_>>(),
        wanted.iter().map(|line| plain(line)).collect::<Vec<_>>()
    );
}

/// The conformance suite of CEL's specification through the process; the data lies beside the repository.
#[test]
fn cases_are_answered_line_by_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/cel_conformance.json");
    let mut cases: Vec<Json> = match std::fs::read_to_string(&path) {
        Ok(text) => {
            let data: Json = serde_json::from_str(&text).unwrap();
            data["cases"].as_array().unwrap().clone()
        }
        Err(_) => {
            println!("skipped: the conformance data is not there (1,440 cases)");
            Vec::new()
        }
    };
    cases.push(serde_json::json!({
        "expr": "x + 1", "bindings": {"x": {"value": {"t": "int", "v": "1"}}},
        "expect": {"value": {"t": "int", "v": "2"}},
    }));
    cases.push(serde_json::json!({"expr": "1 / 0", "expect": {"error": ["divide"]}}));
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let (code, out, err) = mixer(&["eval", "--cases", "--referenced"], lines.as_bytes());
    assert_eq!((code, &*err), (0, ""));
    let answers: Vec<Json> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), cases.len());
    let mut right = 0;
    for (case, answer) in cases.iter().zip(&answers) {
        let expected = &case["expect"];
        assert!(answer["referenced"].is_array(), "{answer}");
        match answer.get("value") {
            Some(value) if expected.get("value").is_some() => {
                assert!(
                    mixer_cel::cases::same(value, &expected["value"]),
                    "{case}\n{answer}"
                );
                right += 1;
            }
            Some(_) => assert!(expected.get("error").is_none(), "{case}\n{answer}"),
            None if expected.get("error").is_some() => right += 1,
            None => assert_ne!(answer["kind"], "eval", "{case}\n{answer}"),
        }
    }
    println!("{right} of {} answered as expected", cases.len());
    assert!(right * 100 >= cases.len() * 69, "only {right}");
    assert_eq!(
        answers[cases.len() - 2]["referenced"],
        serde_json::json!(["x"])
    );
}

#[test]
fn lines_are_evaluated_over_a_request_that_changes() {
    let lines = "source.namespace\n:set source.namespace=shop\nsource.namespace\nsource.namspace\n:quit\n1\n";
    let (code, out, err) = mixer(&["repl"], lines.as_bytes());
    assert_eq!((code, &*err), (0, ""));
    let mut out = out.lines();
    assert_eq!(out.next(), Some("error: source.namespace is not known"));
    assert_eq!(out.next(), Some("\"shop\""));
    assert_eq!(
        out.next(),
        Some("error: unknown attribute `source.namspace`")
    );
    assert_eq!(
        out.last(),
        Some("  = help: did you mean `source.namespace`?"),
        "what follows `:quit` is not read"
    );
    let (code, out, _) = mixer(&["repl", "-a", "request.size=7"], b"request.size * 2");
    assert_eq!((code, &*out), (0, "14\n"));
    assert_eq!(mixer(&["repl", "-a", "request.size=much"], b"").0, 65);
}
