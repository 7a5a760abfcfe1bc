//! Zipkin, keeping spans in memory.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use super::installed;
use crate::http::fetch;
use crate::process::Process;
use crate::{ports, wait};

/// A running Zipkin.
#[derive(Debug)]
pub struct Zipkin {
    /// Where it takes and gives spans.
    pub addr: SocketAddr,
    _process: Process,
}

impl Zipkin {
    /// Starts it and waits until it is healthy.
    pub async fn start() -> Self {
        let addr = ports::free();
        let mut command = Command::new("java");
        command
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar"])
            .arg(installed("zipkin.jar"));
        command.args([
            "--armeria.ports[0].ip=127.0.0.1",
            "--armeria.ports[0].protocols[0]=http",
        ]);
        command.arg(format!("--armeria.ports[0].port={}", addr.port()));
        command.env("STORAGE_TYPE", "mem");
        let mut process = Process::start("zipkin", command);
        wait::until("zipkin is healthy", async || {
            assert!(process.has_ended().is_none(), "zipkin ended");
            fetch(addr, "/health")
                .await
                .ok()
                .filter(|answer| answer.status.is_success())
        })
        .await;
        Self {
            addr,
            _process: process,
        }
    }

    /// Where spans are posted.
    pub fn url(&self) -> String {
        format!("http://{}/api/v2/spans", self.addr)
    }

    /// The spans of a trace, once there are at least `count`.
    pub async fn trace(&self, trace_id: &str, count: usize) -> Vec<Value> {
        wait::until(
            &format!("zipkin has {count} spans of trace {trace_id}"),
            async || {
                let answer = fetch(self.addr, &format!("/api/v2/trace/{trace_id}"))
                    .await
                    .ok()?;
                let spans = answer
                    .status
                    .is_success()
                    .then(|| answer.json())?
                    .as_array()?
                    .clone();
                (spans.len() >= count).then_some(spans)
            },
        )
        .await
    }

    /// What its API answers to `GET PATH`.
    pub async fn get(&self, path: &str) -> Value {
        fetch(self.addr, path)
            .await
            .unwrap_or_else(|error| panic!("zipkin {path}: {error:?}"))
            .json()
    }
}
