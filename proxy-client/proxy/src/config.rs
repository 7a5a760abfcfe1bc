//! What a proxy is told when it starts: plain data, checked by [`Config::validate`] before any port is bound.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mixer_identity::{Join, Source, SpiffeId, WorkloadApi};

/// Plain data; [`Config::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The service this proxy stands before: `destination.service` of every request it receives.
    pub service: Option<String>,
    /// `destination.namespace`; what follows the first dot of the service's name unless set.
    pub namespace: Option<String>,
    /// `destination.labels`.
    pub labels: BTreeMap<String, String>,
    /// The application. Inbound requests go there and nowhere else. Where `transparent`, it may be left out: they go where they
    /// were going.
    pub app: Option<SocketAddr>,
    /// Where requests to the service are taken. Port 0: any free one.
    pub inbound: Option<SocketAddr>,
    /// Where the application's own requests are taken.
    pub outbound: Option<SocketAddr>,
    /// Where health, metrics and the configuration are shown.
    pub admin: Option<SocketAddr>,
    /// The token that changes through the admin listener take; without one they are taken on loopback.
    pub admin_token: Option<PathBuf>,
    /// Where each request is logged, if anywhere.
    pub access_log: Option<AccessLog>,
    /// Connections come here because a rule of the host redirects them: where they were going is read, and IPv6 is taken beside
    /// IPv4.
    pub transparent: bool,
    /// Where this proxy's own identity comes from.
    pub identity: IdentityFrom,
    /// Who Mixer must prove to be, with TLS; `None`: it is asked in plaintext.
    pub mixer_id: Option<SpiffeId>,
    /// Who says what applies.
    pub control: Control,
    /// Who is asked for names; `None`: whom the system asks.
    pub dns: Option<SocketAddr>,
    /// Threads that carry traffic; 0: one per core.
    pub workers: usize,
    /// Bounds on everything.
    pub limits: Limits,
}

/// Where policies and services come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A Mixer, as `host:port`.
    Mixer(String),
    /// Directories with services and mesh alone: nothing is checked or reported.
    Documents(Vec<PathBuf>),
}

/// Where the proxy's own identity comes from: its SPIFFE id, the certificate that proves it, and whom to trust.
#[derive(Clone, Debug, Default)]
pub enum IdentityFrom {
    /// There is none: only plaintext is taken and sent.
    #[default]
    Nowhere,
    /// Files in a directory; see `mixer_identity::Files`.
    Files(PathBuf),
    /// A SPIFFE Workload API: that of `mixer ca serve`, or SPIRE's.
    WorkloadApi(WorkloadApi),
    /// The authority on another machine, which is joined with a token.
    Join(Box<Join>),
    /// Somebody in this process publishes it, now or later.
    Published(Source),
}

/// A line for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it goes.
    pub to: LogTo,
    /// What it looks like.
    pub format: LogFormat,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// The process' standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

/// As the flag says it.
impl fmt::Display for LogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What a log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Envoy's default format.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// Every bound, with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of callers, both listeners together; more are closed at once: 16,384.
    pub connections: usize,
    /// Bytes of a request's or response's head, and of a request's trailers: 64 KiB.
    pub head_bytes: usize,
    /// Header fields of a request or response: 100.
    pub headers: usize,
    /// Bytes buffered per HTTP/1 connection and per HTTP/2 stream in each direction: 128 KiB.
    pub buffer_bytes: usize,
    /// Bytes buffered per HTTP/2 connection, all its streams together: 4 MiB. Of small messages, each counted as 256 bytes, h2 takes
    /// half as much; one more that waits ends the connection, so this is what a burst of gRPC may be.
    pub window_bytes: usize,
    /// Concurrent requests on one HTTP/2 connection of a caller: 256.
    pub streams: u32,
    /// The same where the caller is another of these proxies, which carries the requests of many: 1,024. Each may have its own
    /// `buffer_bytes`, as each connection of HTTP/1 would.
    pub carried: u32,
    /// For the first bytes of a connection: 10 s.
    pub detect: Duration,
    /// For the first bytes of a caller of a service whose bytes are opaque and that takes both TLS and plaintext: 500 ms. Who is
    /// silent so long waits for the server to speak first, in plaintext.
    pub first_word: Duration,
    /// For a TLS handshake: 10 s.
    pub handshake: Duration,
    /// Handshakes of callers at once per thread; more are closed: 512.
    pub handshakes: usize,
    /// For a request's head, from its first byte to its last: 30 s.
    pub head: Duration,
    /// Between two requests of a connection: 60 s.
    pub idle: Duration,
    /// For a caller to send more of a request's body, or to take more of a response, where nothing else of its connection moves
    /// either: 5 min. (Requests of gRPC may pause.)
    pub stalled: Duration,
    /// HTTP/2 frames of a caller that carry nothing, ahead of what its requests and their responses account for: 1,000, a tenth
    /// of which is forgiven every 5 s.
    pub control_frames: u32,
    /// HTTP/2 requests reset before they were looked at, of one connection: 20.
    pub early_resets: usize,
    /// HTTP/2 requests that were reset for errors of the caller's, of one connection: 256.
    pub error_resets: usize,
    /// For a connection to a server: 3 s.
    pub connect: Duration,
    /// Unused HTTP/1 connections kept per server and thread: 256.
    pub upstream_idle: usize,
    /// How long these are kept: 30 s.
    pub upstream_idle_for: Duration,
    /// HTTP/2 connections per server and thread; the streams of more wait: 16.
    pub upstream_http2: usize,
    /// Servers tried when connections fail: 3.
    pub connect_tries: usize,
    /// Bytes of a request's body that are kept for another try, or for a copy: 64 KiB. A larger one is sent once.
    pub retry_bytes: usize,
    /// Copies of requests in flight per thread: 128. More are left out.
    pub mirrors: usize,
    /// For a question to Mixer, all tries together: 150 ms. Then the destination's `fail` decides.
    pub check: Duration,
    /// For requests in flight when the proxy ends: 10 s.
    pub drain: Duration,
}

impl Config {
    /// Nothing to listen on yet.
    pub fn new(control: Control) -> Self {
        Self {
            service: None,
            namespace: None,
            labels: BTreeMap::new(),
            app: None,
            inbound: None,
            outbound: None,
            admin: None,
            admin_token: None,
            access_log: None,
            transparent: false,
            identity: IdentityFrom::default(),
            mixer_id: None,
            control,
            dns: None,
            workers: 0,
            limits: Limits::default(),
        }
    }

    /// Every problem, in the words of the flags.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut problem = |text: &str| problems.push(text.to_owned());
        if self.inbound.is_none() && self.outbound.is_none() {
            problem("neither --inbound nor --outbound is given: there is nothing to carry");
        }
        if self.inbound.is_some() {
            if self.service.is_none() {
                problem(
                    "--inbound needs --service: the name of the service whose requests it takes",
                );
            }
            if self.app.is_none() && !self.transparent {
                problem("--inbound needs --app: the address of the application its requests go to");
            }
        }
        if self.app.is_some() && self.app == self.inbound {
            problem("--app and --inbound are the same address: the proxy would call itself");
        }
        if self.service.as_ref().is_some_and(|name| name.is_empty()) {
            problem("--service is empty");
        }
        if self.admin_token.is_some() && self.admin.is_none() {
            problem("--admin-token-file needs --admin: where it is asked for");
        }
        if self.transparent && cfg!(not(target_os = "linux")) {
            problem("--transparent needs Linux: nothing else tells where a connection was going");
        }
        if self.mixer_id.is_some() && matches!(self.identity, IdentityFrom::Nowhere) {
            problem(
                "--mixer-id needs an identity to show: --identity-files, --identity-socket or --identity-join",
            );
        }
        if let Control::Mixer(mixer) = &self.control {
            if mixer.contains(',') {
                problem("--mixer: more than one address is not supported yet");
            } else if !mixer
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            {
                problem(&format!("--mixer {mixer}: not an address; write host:port"));
            }
        }
        problems
    }

    /// `destination.namespace` of the own service, where no document says it.
    pub(crate) fn own_namespace(&self) -> Option<&str> {
        self.namespace
            .as_deref()
            .or_else(|| namespace_of(self.service.as_deref()?))
    }
}

/// What follows the first dot of a service's name.
pub(crate) fn namespace_of(service: &str) -> Option<&str> {
    service
        .split_once('.')
        .map(|(_, rest)| rest)
        .filter(|rest| !rest.is_empty())
}

impl Limits {
    /// Bytes buffered per HTTP/2 connection between proxies: as much as all its requests may have, so that one whose reader is
    /// slow holds up no other.
    pub(crate) fn carried_window(&self) -> usize {
        let most = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
        self.buffer_bytes
            .saturating_mul(self.carried as usize)
            .clamp(self.window_bytes, most)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_bytes: 64 << 10,
            retry_bytes: 64 << 10,
            mirrors: 128,
            headers: 100,
            buffer_bytes: 128 << 10,
            window_bytes: 4 << 20,
            streams: 256,
            carried: 1_024,
            detect: Duration::from_secs(10),
            first_word: Duration::from_millis(500),
            handshake: Duration::from_secs(10),
            handshakes: 512,
            head: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            stalled: Duration::from_secs(300),
            control_frames: 1_000,
            early_resets: 20,
            error_resets: 256,
            connect: Duration::from_secs(3),
            upstream_idle: 256,
            upstream_idle_for: Duration::from_secs(30),
            upstream_http2: 16,
            connect_tries: 3,
            check: Duration::from_millis(150),
            drain: Duration::from_secs(10),
        }
    }
}
