//! The console sessions of pages, run as a reader would run them: in a directory of their own, one command after the other, those
//! that end in `&` beside the rest.
//!
//! What stands below a command must be printed by it, in this order, with anything between; `[..]` stands for anything within a
//! line. A page names the ports that readers use; here each stands for a free one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::binaries::{How, program};
use crate::process::Process;
use crate::{ports, wait};

/// How pages write an address of the reader's machine, before its port.
const LOOPBACK: &str = "127.0.0.1:";

/// A session that was run; what it started goes on until this is dropped.
#[derive(Debug)]
pub struct Session {
    // Processes end before their directory does.
    running: Vec<Process>,
    ports: BTreeMap<String, SocketAddr>,
    directory: TempDir,
}

impl Session {
    /// A directory with the files of the page, `(name, text)`, in which nothing ran yet.
    pub fn new<T: AsRef<str>>(files: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        let mut session = Self {
            running: Vec::new(),
            ports: BTreeMap::new(),
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
        };
        for (name, text) in files {
            let (path, text) = (session.path().join(name), session.local(text.as_ref()));
            let folder = path.parent().expect("it lies in the directory");
            std::fs::create_dir_all(folder).expect("the directory can be written to");
            std::fs::write(path, text).expect("the directory can be written to");
        }
        session
    }

    /// Where it runs.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The address that stands for `127.0.0.1:PORT`.
    pub fn address(&mut self, port: &str) -> SocketAddr {
        *self
            .ports
            .entry(port.to_owned())
            .or_insert_with(ports::free)
    }

    /// Runs a block of commands. Once something runs beside, a command that says something else is run again: a reader waits.
    ///
    /// # Panics
    /// When a command does not say what stands below it.
    pub async fn run(&mut self, block: &str) {
        let block = self.local(&block.replace("\\\n", " "));
        let commands = format!("\n{block}");
        for example in commands.split("\n$ ").skip(1) {
            let (typed, shown) = example.split_once('\n').unwrap_or((example, ""));
            if let Some(beside) = typed.trim_end().strip_suffix('&') {
                // `exec`: what is ended with the test is the program, not a shell around it.
                let command = self.shell(&format!("exec {beside}"));
                self.running.push(Process::start(beside, command));
                continue;
            }
            let mut said = String::new();
            let what = format!("`{typed}` says\n{shown}");
            let attempts_may_fail = !self.running.is_empty();
            wait::until(&what, async || {
                let output = self.shell(&format!("{{ {typed}\n}} 2>&1")).output();
                let output = output.expect("there is a shell");
                let now = String::from_utf8_lossy(&output.stdout).into_owned();
                if now != said {
                    println!("$ {typed}\n{now}");
                    said = now;
                }
                let fits = output.status.success() && says(&said, shown);
                assert!(fits || attempts_may_fail, "{what}\nbut it said\n{said}");
                fits.then_some(())
            })
            .await;
        }
    }

    fn shell(&self, line: &str) -> Command {
        let folders = ["mixer", "mixer-proxy"].map(|name| program(name, How::Tested).parent());
        let own = folders.into_iter().flatten().map(Path::to_owned);
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(own.chain(std::env::split_paths(&others)));
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(self.path())
            .env("PATH", path.expect("folders without a colon"))
            .stdin(Stdio::null());
        command
    }

    /// With a free port for each that is named.
    fn local(&mut self, text: &str) -> String {
        let mut parts = text.split(LOOPBACK);
        let mut local = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.chars().take_while(char::is_ascii_digit).count();
            local += &self.address(&part[..digits]).to_string();
            local += &part[digits..];
        }
        local
    }
}

/// Whether `said` has the lines of `shown` in their order.
fn says(said: &str, shown: &str) -> bool {
    let mut lines = said.lines();
    shown
        .lines()
        .all(|shown| lines.any(|line| fits(line, shown)))
}

/// Whether `line` is `shown`, with something for each `[..]`.
fn fits(line: &str, shown: &str) -> bool {
    let mut parts = shown.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last.is_some_and(|part| line.ends_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_shows_is_found_in_its_order() {
        let said = "one\ntwo 2\nthree";
        for (shown, found) in [
            ("", true),
            ("one\nthree", true),
            ("two [..]", true),
            ("[..] 2", true),
            ("three\none", false),
            ("two", false),
            ("two [..] x", false),
        ] {
            assert_eq!(says(said, shown), found, "{shown:?}");
        }
    }

    #[tokio::test]
    async fn a_session_has_ports_of_its_own_and_waits_for_what_runs_beside() {
        let mut session = Session::new([("addr", "127.0.0.1:80 127.0.0.1:81 127.0.0.1:80")]);
        let [one, two] = ["80", "81"].map(|port| session.address(port));
        assert_ne!(one, two);
        let text = std::fs::read_to_string(session.path().join("addr")).unwrap();
        assert_eq!(text, format!("{one} {two} {one}"));
        session
            .run("$ echo 127.0.0.1:80 > a\n$ cat a\n127.0.0.1:80\n$ sh -c 'echo x > b; exec sleep 60' &\n$ cat b\nx")
            .await;
    }

    #[tokio::test]
    #[should_panic(expected = "but it said")]
    async fn a_session_that_shows_something_else_is_found_out() {
        let mut session = Session::new::<&str>([]);
        session.run("$ echo one\ntwo").await;
    }
}
