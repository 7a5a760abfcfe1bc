//! What a line of source may not say, and how a source file begins.

use super::Source;

/// Servers that `tests/run` brings; what an ignored test may need.
const SERVERS: &[&str] = &[
    "prometheus",
    "zipkin",
    "envoy",
    "redis",
    "valkey",
    "netns",
    "openssl",
    "spiffe",
    "users",
    "pyjwt",
];

/// In any text. Each is split, so that this file may hold it.
const NOWHERE: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "do it, or leave it"),
    (concat!("FIX", "ME"), "do it, or leave it"),
    (concat!("crates", ".io"), "the name of a registry's host"),
    (concat!("pypi", ".org"), "the name of a registry's host"),
    (
        concat!("python", "hosted.org"),
        "the name of a registry's host",
    ),
    (concat!("npm", "js."), "the name of a registry's host"),
    (concat!("maven", ".org"), "the name of a registry's host"),
    (concat!("repo.", "maven"), "the name of a registry's host"),
    (concat!("proxy.", "golang"), "the name of a registry's host"),
    (concat!("debian", ".org"), "the name of a registry's host"),
];

/// Folders of somebody's machine.
const ABSOLUTE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/t", "mp/"),
];

/// In no code but that of `mixer-runtime`, in no code at all where the last field says so.
const NOT_IN_CODE: &[(&str, &str, bool)] = &[
    (
        concat!("tokio::", "spawn"),
        "every task is owned, named and joined: mixer_runtime::Tasks",
        false,
    ),
    (
        concat!("task::", "spawn("),
        "every task is owned, named and joined: mixer_runtime::Tasks",
        false,
    ),
    (
        concat!("Instant", "::now"),
        "time is a parameter: mixer_runtime::Clock",
        false,
    ),
    (
        concat!("SystemTime", "::now"),
        "time is a parameter: mixer_runtime::Clock",
        false,
    ),
    (
        concat!("time::", "sleep"),
        "time is a parameter: mixer_runtime::Clock",
        false,
    ),
    (
        concat!("thread::", "sleep"),
        "time is a parameter: mixer_runtime::Clock",
        false,
    ),
    (concat!("to", "do!("), "only real things", true),
    (concat!("unimpl", "emented!("), "only real things", true),
];

/// The code of a line, without the comment behind it.
pub fn code(line: &str) -> &str {
    let comment = line
        .match_indices("//")
        .find(|(at, _)| *at == 0 || !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Everything wrong with one file.
pub fn problems(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut problems = Vec::new();
    if path.ends_with(".rs") {
        if !source.text.starts_with("//! ") {
            problems.push(format!(
                "{path}:1: a source file opens with //!: what it is for, and why this way"
            ));
        }
        if path.ends_with("/mod.rs") {
            problems.push(format!("{path}: modules are x.rs and x/"));
        }
        problems.extend(ignored(source));
    }
    for (number, line) in source.text.lines().enumerate() {
        let mut say =
            |what: &str, why: &str| problems.push(format!("{path}:{}: {what}: {why}", number + 1));
        for (word, why) in NOWHERE {
            if line.contains(word) {
                say(word, why);
            }
        }
        for folder in ABSOLUTE {
            if line
                .match_indices(folder)
                .any(|(at, _)| starts_a_path(&line[..at]))
            {
                say(folder, "an absolute path");
            }
        }
        if path.ends_with(".rs") {
            for (call, why, everywhere) in NOT_IN_CODE {
                if (*everywhere || !path.starts_with("mixer/runtime/")) && code(line).contains(call)
                {
                    say(call, why);
                }
            }
        }
    }
    problems
}

/// Whether what stands before a `/` leaves it the first of a path.
fn starts_a_path(before: &str) -> bool {
    before
        .chars()
        .next_back()
        .is_none_or(|last| !(last.is_alphanumeric() || "._-/~)}*".contains(last)))
}

/// A test is ignored only because it needs a server, which its name then says: `tests/run` skips it by that.
fn ignored(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let mut lines = source.text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(reason) = code(line).trim().strip_prefix(concat!("#[", "ignore")) else {
            continue;
        };
        let needs = reason
            .strip_prefix(" = \"needs ")
            .and_then(|rest| rest.strip_suffix("\"]"))
            .unwrap_or_default();
        let name = lines
            .clone()
            .map(|(_, line)| line)
            .find_map(|line| line.split("fn ").nth(1))
            .unwrap_or_default();
        if !SERVERS.contains(&needs) {
            problems.push(format!(
                "{}:{}: a test is ignored only as \"needs SERVER\"",
                source.path,
                number + 1
            ));
        } else if !name
            .split('(')
            .next()
            .is_some_and(|name| name.contains(needs))
        {
            problems.push(format!(
                "{}:{}: the name of a test that needs {needs} says so",
                source.path,
                number + 1
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        problems(&Source {
            path: path.to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn a_plain_file_is_fine() {
        for (path, text) in [
            (
                "mixer/src/a.rs",
                "//! What it is for.\n\nfn f() { clock.sleep(span); } // not thread::spawn\n",
            ),
            (
                "README.md",
                "Run `target/tmp/x` and `GET /products`, see https://example.org/work/\n",
            ),
            (
                "mixer/runtime/src/clock.rs",
                concat!("//! Time.\nlet now = Instant", "::now();\n"),
            ),
            (
                "tests/tests/a.rs",
                "//! A.\n#[ignore = \"needs zipkin\"]\n#[tokio::test]\nasync fn zipkin_returns_it() {}\n",
            ),
        ] {
            assert_eq!(of(path, text), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn each_thing_refused_is_found_where_it_is() {
        for (path, text) in [
            ("mixer/src/a.rs", "fn f() {}\n".to_owned()),
            ("mixer/src/a.rs", "// not a head\n".to_owned()),
            ("mixer/src/a/mod.rs", "//! A.\n".to_owned()),
            (
                "mixer/src/a.rs",
                format!("//! A.\n// {}\n", concat!("TO", "DO")),
            ),
            ("README.md", format!("{}: later\n", concat!("FIX", "ME"))),
            ("README.md", format!("cd {}main\n", concat!("/wo", "rk/"))),
            ("tests/run", format!("x={}y\n", concat!("/t", "mp/"))),
            (
                "Cargo.toml",
                format!("# see https://{}/crates/x\n", concat!("crates", ".io")),
            ),
            (
                "mixer/src/a.rs",
                format!("//! A.\n    {}(work);\n", concat!("tokio::", "spawn")),
            ),
            (
                "mixer/src/a.rs",
                format!(
                    "//! A.\nlet t = std::time::{}();\n",
                    concat!("Instant", "::now")
                ),
            ),
            (
                "tests/tests/a.rs",
                format!(
                    "//! A.\n{}(span).await;\n",
                    concat!("tokio::time::", "sleep")
                ),
            ),
            (
                "mixer/runtime/src/a.rs",
                format!("//! A.\nfn f() {{ {}) }}\n", concat!("unimpl", "emented!(")),
            ),
            (
                "mixer/src/a.rs",
                format!("//! A.\n{}]\nfn f() {{}}\n", concat!("#[", "ignore")),
            ),
            (
                "mixer/src/a.rs",
                format!(
                    "//! A.\n{} = \"slow\"]\nfn slow() {{}}\n",
                    concat!("#[", "ignore")
                ),
            ),
            (
                "mixer/src/a.rs",
                format!(
                    "//! A.\n{} = \"needs zipkin\"]\nfn traces() {{}}\n",
                    concat!("#[", "ignore")
                ),
            ),
        ] {
            let found = of(path, &text);
            assert_eq!(found.len(), 1, "{path} {text:?}: {found:?}");
            assert!(found[0].starts_with(path), "{found:?}");
        }
    }

    #[test]
    fn a_url_is_not_a_comment() {
        assert_eq!(
            code("let u = \"http://x\"; // why"),
            "let u = \"http://x\"; "
        );
        assert_eq!(code("// all of it"), "");
    }
}
