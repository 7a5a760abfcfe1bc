//! The programs under test as processes: Mixer over a directory of documents, and proxies that ask it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::binaries::How;
use crate::http::{Answer, fetch};
use crate::process::Process;
use crate::{ports, wait};

/// A directory of documents that a test writes and changes.
#[derive(Debug)]
pub struct Documents(TempDir);

impl Documents {
    /// A new directory with these files, `(name, text)`.
    pub fn new<T: AsRef<str>>(files: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        let documents = Self(tempfile::tempdir().expect("a temporary directory can be made"));
        for (name, text) in files {
            documents.write(name, text.as_ref());
        }
        documents
    }

    /// Replaces one file at once, as editors and ConfigMaps do: nobody reads half of it.
    pub fn write(&self, name: &str, text: &str) {
        let beside = self.0.path().with_extension("new");
        fs::write(&beside, text).expect("the temporary directory can be written to");
        fs::rename(&beside, self.0.path().join(name)).expect("both are in one file system");
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A running Mixer.
#[derive(Debug)]
pub struct Mixer {
    /// Where it is asked.
    pub grpc: SocketAddr,
    /// Where it tells of itself.
    pub admin: SocketAddr,
    documents: PathBuf,
    how: How,
    arguments: Vec<String>,
    process: Process,
}

impl Mixer {
    /// Starts Mixer over `documents` and waits until it is ready.
    pub async fn serve(documents: &Documents) -> Self {
        Self::serve_as(How::Tested, documents).await
    }

    /// As [`Mixer::serve`], built and run as told.
    pub async fn serve_as(how: How, documents: &Documents) -> Self {
        let (documents, addresses) = (documents.path(), (ports::free(), ports::free()));
        Self::start(how, documents, addresses, Vec::new()).await
    }

    /// As [`Mixer::serve`], with more arguments.
    pub async fn serve_with(documents: &Documents, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let (documents, addresses) = (documents.path(), (ports::free(), ports::free()));
        Self::start(How::Tested, documents, addresses, arguments).await
    }

    async fn start(
        how: How,
        documents: &Path,
        (grpc, admin): (SocketAddr, SocketAddr),
        arguments: Vec<String>,
    ) -> Self {
        let mut command = how.command("mixer");
        command.arg("serve").arg(documents).args(&arguments);
        command
            .arg("--grpc")
            .arg(grpc.to_string())
            .arg("--admin")
            .arg(admin.to_string());
        let process = Process::start("mixer", command);
        let mut mixer = Self {
            grpc,
            admin,
            documents: documents.to_owned(),
            how,
            arguments,
            process,
        };
        mixer.ready().await;
        mixer
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) {
        ready(&mut self.process, self.admin).await;
    }

    /// Ends it at once and starts another over the same documents, at the same addresses.
    pub async fn restart(&mut self) {
        self.process.kill();
        let (addresses, arguments) = ((self.grpc, self.admin), self.arguments.clone());
        *self = Self::start(self.how, &self.documents, addresses, arguments).await;
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `GET PATH` of its admin address.
    pub async fn admin(&self, path: &str) -> Answer {
        fetch(self.admin, path)
            .await
            .unwrap_or_else(|error| panic!("mixer's admin {path}: {error:?}"))
    }
}

/// What a proxy is started with.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Its service's name.
    pub service: String,
    /// Its application.
    pub app: SocketAddr,
    /// Where it takes requests for its application.
    pub inbound: SocketAddr,
    /// Where it takes requests of its application.
    pub outbound: SocketAddr,
    /// Where it tells of itself.
    pub admin: SocketAddr,
    /// Whom it asks.
    pub mixer: SocketAddr,
    /// Another file of the same program, by which it is recognised.
    pub program: Option<PathBuf>,
    /// Where its identity is.
    pub identity: Option<PathBuf>,
    /// More flags and their values.
    pub flags: Vec<String>,
    /// How long it waits for an answer, in milliseconds. A machine that tests keep busy must not look like a Mixer that is gone,
    /// so this is far more than operators would want.
    pub check_timeout_ms: u64,
}

impl ProxyConfig {
    /// A proxy for `service` in front of `app`, on free ports.
    pub fn new(service: &str, app: SocketAddr, mixer: SocketAddr) -> Self {
        let (inbound, outbound, admin) = (ports::free(), ports::free(), ports::free());
        Self {
            service: service.to_owned(),
            app,
            inbound,
            outbound,
            admin,
            mixer,
            program: None,
            identity: None,
            flags: Vec::new(),
            check_timeout_ms: 5_000,
        }
    }

    /// Starts it, without waiting until it is ready.
    pub fn launch(self, how: How) -> Proxy {
        let mut command = match &self.program {
            Some(program) => Command::new(program),
            None => how.command("mixer-proxy"),
        };
        command.arg("--service").arg(&self.service);
        for (flag, addr) in [
            ("--app", self.app),
            ("--inbound", self.inbound),
            ("--outbound", self.outbound),
            ("--admin", self.admin),
            ("--mixer", self.mixer),
        ] {
            command.arg(flag).arg(addr.to_string());
        }
        if let Some(folder) = &self.identity {
            command.arg("--identity-files").arg(folder);
        }
        command
            .args(&self.flags)
            .arg("--check-timeout-ms")
            .arg(self.check_timeout_ms.to_string());
        let process = Process::start(format!("mixer-proxy {}", self.service), command);
        Proxy {
            config: self,
            process,
        }
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Proxy {
        let mut proxy = self.launch(How::Tested);
        proxy.ready().await;
        proxy
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// What it was started with.
    pub config: ProxyConfig,
    process: Process,
}

impl Proxy {
    /// Waits until it says that it is ready: it knows what applies to its service.
    pub async fn ready(&mut self) {
        ready(&mut self.process, self.config.admin).await;
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `GET PATH` of its admin address.
    pub async fn admin(&self, path: &str) -> Answer {
        fetch(self.config.admin, path)
            .await
            .unwrap_or_else(|error| panic!("proxy's admin {path}: {error:?}"))
    }
}

async fn ready(process: &mut Process, admin: SocketAddr) {
    wait::until(&format!("{admin} is ready"), async || {
        if let Some(status) = process.has_ended() {
            panic!("it ended before it was ready: {status}");
        }
        fetch(admin, "/healthz/ready")
            .await
            .ok()
            .filter(|answer| answer.status.is_success())
    })
    .await;
}

/// The sum of a counter's series whose labels include all of `labels`, from a text exposition.
pub fn counter(metrics: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    let series = metrics.lines().filter_map(|line| {
        let (series, rest) = line
            .split_once('{')
            .and_then(|(series, rest)| Some((series, rest.rsplit_once('}')?)))?;
        let (labels, value) = rest;
        let matches = series == name
            && wanted
                .iter()
                .all(|wanted| labels.split(',').any(|label| label == wanted));
        matches.then(|| {
            value
                .trim()
                .split(' ')
                .next()
                .unwrap_or_default()
                .parse::<f64>()
                .unwrap_or(0.0)
        })
    });
    series.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_sums_the_series_that_match() {
        let text = "# TYPE r counter\nr_total{a=\"1\",b=\"x\"} 2\nr_total{a=\"1\",b=\"y\"} 3 1.0\nr_total{a=\"2\"} 7\nr_totals{a=\"1\"} 9\n";
        assert_eq!(counter(text, "r_total", &[("a", "1")]), 5.0);
        assert_eq!(counter(text, "r_total", &[("a", "1"), ("b", "y")]), 3.0);
        assert_eq!(counter(text, "r_total", &[("a", "3")]), 0.0);
    }
}
