//! The sidecar as a process of its own, so that its memory and its CPU are its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A running `mixer-proxy` before an application; killed when it is dropped.
pub(crate) struct Sidecar {
    pub(crate) inbound: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    _documents: tempfile::TempDir,
}

impl Sidecar {
    /// For the service `products.shop`, with these documents.
    pub(crate) fn start(app: SocketAddr, documents: &str) -> Self {
        Self::start_with(app, documents, &[])
    }

    /// The same with more flags.
    pub(crate) fn start_with(app: SocketAddr, documents: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("shop.yaml"), documents).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mixer-proxy"))
            .args(["--service", "products.shop", "--app", &app.to_string()])
            .args(["--inbound", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--workers", "1", "--documents"])
            .arg(directory.path())
            .args(flags)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut listening, mut line) = (None, String::new());
        while !line.contains("ready") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended by itself");
            if line.contains("listening") {
                listening = Some(line.clone());
            }
        }
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let listening = listening.unwrap();
        let address = |name: &str| {
            let (_, rest) = listening.split_once(name).unwrap();
            let text = rest.split_whitespace().next().unwrap();
            text.trim_matches('"').parse().unwrap()
        };
        Self {
            inbound: address("inbound="),
            admin: address("admin="),
            child,
            log: lines,
            _documents: directory,
        }
    }

    /// Bytes of memory in use now.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Bytes of memory that were in use at most, since the last call.
    pub(crate) fn peak(&self) -> u64 {
        let peak = self.status("VmHWM:");
        // proc(5): 5 sets the peak to what is in use.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
        peak
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap() << 10
    }

    /// Milliseconds of CPU used so far.
    pub(crate) fn cpu(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name, which may hold anything, user and system time are the 12th and 13th; ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    }

    /// What it logged since it was ready.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Tells it to end.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Whether it has ended well.
    pub(crate) fn wait(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
