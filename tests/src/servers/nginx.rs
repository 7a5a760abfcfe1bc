//! nginx as a proxy that passes requests on, with the access log that it writes unless it is told not to.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use super::installed;
use crate::binaries::pinned;
use crate::http::fetch;
use crate::process::Process;
use crate::{ports, wait};

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    /// Where it takes requests.
    pub addr: SocketAddr,
    process: Process,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it in front of `upstream`, on `core`: one process, which keeps connections to the upstream.
    pub async fn start(upstream: SocketAddr, core: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let addr = ports::free();
        let path = folder.path().display();
        let config = format!(
            r#"daemon off;
master_process off;
pid {path}/pid;
error_log {path}/error.log;
events {{ worker_connections 20000; }}
http {{
  access_log {path}/access.log;
  client_body_temp_path {path}/body;
  proxy_temp_path {path}/proxy;
  fastcgi_temp_path {path}/fastcgi;
  uwsgi_temp_path {path}/uwsgi;
  scgi_temp_path {path}/scgi;
  keepalive_requests 100000000;
  upstream app {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen {addr};
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"#
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("the temporary directory can be written to");
        let mut command = pinned(core, &installed("nginx"));
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.path().join("start.log"));
        let mut process = Process::start("nginx", command);
        wait::until("nginx is ready", async || {
            assert!(
                process.has_ended().is_none(),
                "nginx ended: {}",
                process.output().join("\n")
            );
            fetch(addr, "/").await.ok()
        })
        .await;
        Self {
            addr,
            process,
            _folder: folder,
        }
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
