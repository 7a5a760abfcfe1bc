//! The verbs that judge policies, as processes: exit codes, what goes where, and what they say to input that is missing or
//! hostile.
#![allow(clippy::unwrap_used)]

mod attributes;
mod bench;
mod ca;
mod can;
mod explain;
mod import;
mod replay;
mod test;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Files in a directory of their own, in which commands run.
struct Place(tempfile::TempDir);

/// What became of one command.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    /// With these files, by relative path.
    fn with<'t>(files: impl IntoIterator<Item = (&'t str, &'t str)>) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            place.write(name, text);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        command(self.0.path(), arguments)
    }

    /// Runs `mixer` with these arguments, nothing on standard input.
    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    /// The same with `input` on standard input.
    fn fed(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        ran(child.wait_with_output().unwrap())
    }

    /// Standard output of a command that must exit with `code` and say nothing on standard error.
    #[track_caller]
    fn says(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.code, &*ran.err), (code, ""), "{arguments:?}: {ran:?}");
        ran.out
    }

    /// Standard error of a command that must exit with `code` and say nothing on standard output.
    #[track_caller]
    fn complains(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.code, &*ran.out), (code, ""), "{arguments:?}: {ran:?}");
        assert!(!ran.err.is_empty(), "{arguments:?} says nothing");
        ran.err
    }
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mixer"));
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .env_remove("MIXER_POLICIES");
    command
}

fn ran(output: Output) -> Ran {
    let ran = Ran {
        code: output.status.code().expect("no signal ended it"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(
        !ran.out.contains('\x1b') && !ran.err.contains('\x1b'),
        "no colour where nobody sees it"
    );
    ran
}

/// Fails unless `text` contains each of `parts`.
#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

/// The policies that most tests are about.
const PRODUCTS: &str = r#"policy: products
for: destination.service == "products.shop"
rules:
  - deny: nobody from the sandbox
    when: source.namespace == "sandbox"
  - allow: the shop frontend may read products
    when:
      - source.namespace == "shop" && source.service_account == "frontend"
      - request.method == "GET"
      - request.path.startsWith("/products")
otherwise: { deny: only the shop frontend may read products }
quotas: [ { quota: few, key: [], limit: 2 per day } ]
tests:
  - allow: the shop frontend may read products
    name: frontend
    given:
      source: { namespace: shop, service_account: frontend }
      destination: { service: products.shop }
      request: { method: GET, path: /products/1 }
  - { deny: nobody from the sandbox, like: frontend, given: { source: { namespace: sandbox } } }
  - { limit: few, like: frontend, times: 3 }
"#;
