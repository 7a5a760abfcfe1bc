//! A process that a test started: its output kept, shown when the test fails, and ended with the test, by its own id.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::wait;

/// Lines shown of a process when its test fails.
const SHOWN: usize = 80;

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `command`; `name` is what its output is shown under.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: impl Into<String>, mut command: Command) -> Self {
        let name = name.into();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("{name} does not start: {command:?}: {error}"));
        let output = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().expect("piped above"), &output);
        collect(child.stderr.take().expect("piped above"), &output);
        Self {
            name,
            child,
            output,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, standard output and standard error in the order they were read.
    pub fn output(&self) -> Vec<String> {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line that `find` makes something of.
    ///
    /// # Panics
    /// When the process ends without, or takes for ever.
    pub async fn line<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let what = format!("{}: {what}", self.name);
        let (child, output) = (&mut self.child, &self.output);
        wait::until(&what, async || {
            let ended = child.try_wait().expect("our own child");
            let found = output
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .find_map(|line| find(line));
            assert!(
                found.is_some() || ended.is_none(),
                "{what}: it ended with {ended:?}"
            );
            found
        })
        .await
    }

    /// Ends it at once, as a machine that dies would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Sends it a signal, named as `kill` names it.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args(["-s", signal, &self.id().to_string()])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "{}: cannot be sent {signal}",
            self.name
        );
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait::until(&what, async || {
            self.child.try_wait().expect("our own child")
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let output = self.output();
            let from = output.len().saturating_sub(SHOWN);
            eprintln!(
                "--- {} ({} lines, the last {SHOWN} at most)\n{}",
                self.name,
                output.len(),
                output[from..].join("\n")
            );
        }
    }
}

fn collect(stream: impl Read + Send + 'static, output: &Arc<Mutex<Vec<String>>>) {
    let output = output.clone();
    thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            output
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text);
            line.clear();
        }
    });
}
