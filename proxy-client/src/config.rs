//! What a client is told when it is made.

use std::time::Duration;

use mixer_attributes::OwnedBag;
use mixer_identity::{Source, SpiffeId};

/// Plain data; [`Config::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Mixer listens, as `host:port`.
    pub mixer: String,
    /// How Mixer is spoken to with TLS; `None`: in plaintext.
    pub tls: Option<Tls>,
    /// Names this client instance; new for every start of a process.
    pub client: String,
    /// destination.service, destination.namespace, destination.labels of the service this proxy stands before; empty for a
    /// proxy with outbound traffic only.
    pub inbound: OwnedBag,
    /// One try of Check or Quota: 60 ms.
    pub try_timeout: Duration,
    /// Tries of Check or Quota: 2.
    pub tries: u32,
    /// All tries together: 150 ms.
    pub total_timeout: Duration,
    /// Decisions kept: 65,536.
    pub cache_entries: usize,
    /// Concurrent Check and Quota calls; more are refused as overloaded: 1,024.
    pub max_calls: usize,
    /// Records waiting to be sent; more are dropped and counted: 16,384.
    pub report_queue: usize,
    /// How often reports are sent: 1 s.
    pub report_interval: Duration,
    /// Time series of standard metrics held between reports; more are dropped and counted: 10,000.
    pub report_series: usize,
}

/// How Mixer is spoken to with TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Who this client is, and whom it trusts, at the moment of each connection.
    pub identity: Source,
    /// Who Mixer is.
    pub mixer: SpiffeId,
}

impl Config {
    /// The defaults.
    pub fn new(mixer: impl Into<String>, client: impl Into<String>) -> Self {
        Self {
            mixer: mixer.into(),
            tls: None,
            client: client.into(),
            inbound: OwnedBag::new(),
            try_timeout: Duration::from_millis(60),
            tries: 2,
            total_timeout: Duration::from_millis(150),
            cache_entries: 65_536,
            max_calls: 1_024,
            report_queue: 16_384,
            report_interval: Duration::from_secs(1),
            report_series: 10_000,
        }
    }
}
