//! Prometheus, scraping what a test names every quarter of a second.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::installed;
use crate::http::fetch;
use crate::process::Process;
use crate::{ports, wait};

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    /// Where it is asked.
    pub addr: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts it, to scrape `/metrics` of each target under its job's name.
    pub async fn scraping(targets: &[(&str, SocketAddr)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let jobs = targets.iter().map(|(job, addr)| {
            format!("  - job_name: {job}\n    static_configs: [{{targets: ['{addr}']}}]\n")
        });
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nscrape_configs:\n{}",
            jobs.collect::<String>()
        );
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).expect("the temporary directory can be written to");

        let addr = ports::free();
        let mut command = Command::new(installed("prometheus"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ));
        command.arg(format!("--web.listen-address={addr}"));
        let process = Process::start("prometheus", command);
        let prometheus = Self {
            addr,
            _process: process,
            _folder: folder,
        };
        wait::until("prometheus is ready", async || {
            fetch(addr, "/-/ready")
                .await
                .ok()
                .filter(|answer| answer.status.is_success())
        })
        .await;
        prometheus
    }

    /// The value of a query that yields one number; none while it yields nothing.
    ///
    /// # Panics
    /// When it yields several, or Prometheus refuses it.
    pub async fn query(&self, query: &str) -> Option<f64> {
        let answer = fetch(
            self.addr,
            &format!("/api/v1/query?query={}", escaped(query)),
        )
        .await;
        let answer = answer
            .unwrap_or_else(|error| panic!("prometheus: {query}: {error:?}"))
            .json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = answer["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(result.len() <= 1, "{query} yields several: {answer}");
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// The targets it scrapes, as its API lists them.
    pub async fn targets(&self) -> Value {
        let answer = fetch(self.addr, "/api/v1/targets").await;
        answer
            .unwrap_or_else(|error| panic!("prometheus: {error:?}"))
            .json()["data"]["activeTargets"]
            .clone()
    }
}

/// What `promtool check metrics` has to say against an exposition, a line a fault.
///
/// # Panics
/// When promtool does not run.
pub fn promtool_faults(exposition: &str) -> Vec<String> {
    let mut command = Command::new(installed("promtool"));
    command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is installed");
    // It stops reading at the first syntax error, and says so.
    let _ = child
        .stdin
        .take()
        .expect("piped above")
        .write_all(exposition.as_bytes());
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let faults: Vec<String> = String::from_utf8_lossy(&said)
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(
        output.status.success() || !faults.is_empty(),
        "promtool: {}",
        output.status
    );
    faults
}

/// A query as part of a URI: everything but letters and digits escaped.
fn escaped(query: &str) -> String {
    let escape = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    query.bytes().map(escape).collect()
}
