//! Counts of a proxy's own. Each worker has its own set, written by its thread alone and added up when they are read.

mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mixer_client::{At, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::flag::Flag;
use crate::shared::Shared;

/// One worker's counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    inbound: Classes,
    outbound: Classes,
    denied: AtomicU64,
    unauthenticated: AtomicU64,
    keys_unavailable: AtomicU64,
    limited: AtomicU64,
    unavailable: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    panicked: AtomicU64,
    connected: AtomicU64,
    connect_failed: AtomicU64,
    retried: AtomicU64,
    route_retried: AtomicU64,
    retry_refused: AtomicU64,
    timed_out: AtomicU64,
    delayed: AtomicU64,
    aborted: AtomicU64,
    mirrored: AtomicU64,
    mirror_failed: AtomicU64,
    mirror_dropped: AtomicU64,
    cut: AtomicU64,
    secured: AtomicU64,
    plaintext_refused: AtomicU64,
    caller_untrusted: AtomicU64,
    handshake_failed: AtomicU64,
    no_longer_trusted: AtomicU64,
    dialed: AtomicU64,
    upstream_untrusted: AtomicU64,
    dial_failed: AtomicU64,
    no_identity: AtomicU64,
    probed: AtomicU64,
}

/// Requests by the first digit of their status; 0: none was sent.
#[derive(Debug, Default)]
struct Classes {
    requests: [AtomicU64; 6],
    micros: AtomicU64,
}

impl Counters {
    pub(crate) fn finished(&self, at: At, status: u16, flag: Flag, duration: Duration) {
        let side = match at {
            At::Inbound => &self.inbound,
            At::Outbound => &self.outbound,
        };
        add(&side.requests[usize::from(status / 100).min(5)], 1);
        add(
            &side.micros,
            u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        );
        match flag {
            Flag::Denied => add(&self.denied, 1),
            Flag::Unauthenticated => add(&self.unauthenticated, 1),
            Flag::KeysUnavailable => add(&self.keys_unavailable, 1),
            Flag::RateLimited => add(&self.limited, 1),
            Flag::AdapterUnavailable
            | Flag::MixerUnreachable
            | Flag::MixerOverloaded
            | Flag::MixerCold
            | Flag::MixerMalformed => add(&self.unavailable, 1),
            Flag::UpstreamTimeout => add(&self.timed_out, 1),
            Flag::FaultInjected => add(&self.aborted, 1),
            Flag::NoIdentity => add(&self.no_identity, 1),
            _ => {}
        }
    }

    /// A connection was handed to this worker; counted by the listeners, which share one thread.
    pub(crate) fn opened(&self) {
        add(&self.opened, 1);
    }

    pub(crate) fn closed(&self) {
        add(&self.closed, 1);
    }

    /// Connections this worker serves now; read by the listener to spread new ones.
    pub(crate) fn open(&self) -> u64 {
        self.opened
            .load(Ordering::Relaxed)
            .saturating_sub(self.closed.load(Ordering::Relaxed))
    }

    pub(crate) fn panicked(&self) {
        add(&self.panicked, 1);
    }

    pub(crate) fn connected(&self) {
        add(&self.connected, 1);
    }

    pub(crate) fn connect_failed(&self) {
        add(&self.connect_failed, 1);
    }

    pub(crate) fn retried(&self) {
        add(&self.retried, 1);
    }

    pub(crate) fn route_retried(&self) {
        add(&self.route_retried, 1);
    }

    pub(crate) fn retry_refused(&self) {
        add(&self.retry_refused, 1);
    }

    pub(crate) fn delayed(&self) {
        add(&self.delayed, 1);
    }

    pub(crate) fn mirrored(&self) {
        add(&self.mirrored, 1);
    }

    pub(crate) fn mirror_failed(&self) {
        add(&self.mirror_failed, 1);
    }

    pub(crate) fn mirror_dropped(&self) {
        add(&self.mirror_dropped, 1);
    }

    /// A caller proved who it is.
    pub(crate) fn secured(&self) {
        add(&self.secured, 1);
    }

    /// A caller spoke plaintext to a service that takes mutual TLS only.
    pub(crate) fn plaintext_refused(&self) {
        add(&self.plaintext_refused, 1);
    }

    /// A caller showed a certificate that is none to trust.
    pub(crate) fn caller_untrusted(&self) {
        add(&self.caller_untrusted, 1);
    }

    /// A caller's handshake failed otherwise: too slow, too many, no TLS 1.3, no certificate.
    pub(crate) fn handshake_failed(&self) {
        add(&self.handshake_failed, 1);
    }

    /// A connection was closed because its peer is not trusted any more.
    pub(crate) fn no_longer_trusted(&self) {
        add(&self.no_longer_trusted, 1);
    }

    /// A server proved who it is.
    pub(crate) fn dialed(&self) {
        add(&self.dialed, 1);
    }

    /// A server did not prove that it is the service.
    pub(crate) fn upstream_untrusted(&self) {
        add(&self.upstream_untrusted, 1);
    }

    /// A handshake with a server failed otherwise.
    pub(crate) fn dial_failed(&self) {
        add(&self.dial_failed, 1);
    }

    /// A request was passed on without a check, as `probes` of its service says.
    pub(crate) fn probed(&self) {
        add(&self.probed, 1);
    }

    /// A caller's connection was ended because it was too slow, or sent too many HTTP/2 frames that carry nothing.
    pub(crate) fn cut(&self) {
        add(&self.cut, 1);
    }
}

/// Each count is written by one thread, so that no locked instruction is needed.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(count),
        Ordering::Relaxed,
    );
}

/// Shows the counts of a proxy and of its client.
#[derive(Debug)]
pub(crate) struct Exposed(pub(crate) std::sync::Arc<Shared>);

impl Collector for Exposed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let workers = &self.0.counters;
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            workers
                .iter()
                .map(|worker| of(worker).load(Ordering::Relaxed))
                .sum::<u64>()
        };

        let mut requests = family(&mut encoder, "mixer_proxy_requests", "Finished requests")?;
        let mut seconds = Vec::new();
        for (side, of) in [
            ("inbound", (|c| &c.inbound) as fn(&Counters) -> &Classes),
            ("outbound", |c| &c.outbound),
        ] {
            for class in 0..6 {
                let count: u64 = workers
                    .iter()
                    .map(|worker| of(worker).requests[class].load(Ordering::Relaxed))
                    .sum();
                let class = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"][class];
                ConstCounter::new(count)
                    .encode(requests.encode_family(&[("side", side), ("code", class)])?)?;
            }
            seconds.push((
                side,
                workers
                    .iter()
                    .map(|worker| of(worker).micros.load(Ordering::Relaxed))
                    .sum::<u64>(),
            ));
        }
        let mut durations = family(
            &mut encoder,
            "mixer_proxy_request_seconds",
            "Time requests took, added up",
        )?;
        for (side, micros) in seconds {
            ConstCounter::new(micros as f64 / 1e6)
                .encode(durations.encode_family(&[("side", side)])?)?;
        }

        let mut counter = |name: &str, help: &str, count: u64| -> Result<(), std::fmt::Error> {
            let metric = ConstCounter::new(count);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        counter(
            "mixer_proxy_denied",
            "Requests denied by policy",
            sum(|c| &c.denied),
        )?;
        counter(
            "mixer_proxy_unauthenticated",
            "Requests without a token that they need, or with one that is not valid",
            sum(|c| &c.unauthenticated),
        )?;
        counter(
            "mixer_proxy_keys_unavailable",
            "Requests with a token whose issuer's keys are not known",
            sum(|c| &c.keys_unavailable),
        )?;
        counter(
            "mixer_proxy_limited",
            "Requests over a quota",
            sum(|c| &c.limited),
        )?;
        counter(
            "mixer_proxy_unavailable",
            "Requests refused because nobody could decide",
            sum(|c| &c.unavailable),
        )?;
        counter(
            "mixer_proxy_connections",
            "Connections accepted",
            sum(|c| &c.opened),
        )?;
        counter(
            "mixer_proxy_connections_refused",
            "Connections closed because there were too many",
            self.0.refusals(),
        )?;
        counter(
            "mixer_proxy_panics",
            "Connections ended by a panic",
            sum(|c| &c.panicked),
        )?;
        counter(
            "mixer_proxy_upstream_connects",
            "Connections to servers tried",
            sum(|c| &c.connected),
        )?;
        counter(
            "mixer_proxy_upstream_connect_failures",
            "Connections to servers that failed",
            sum(|c| &c.connect_failed),
        )?;
        counter(
            "mixer_proxy_upstream_retries",
            "Requests sent again on another connection",
            sum(|c| &c.retried),
        )?;
        counter(
            "mixer_proxy_route_retries",
            "Requests sent again because a route says so",
            sum(|c| &c.route_retried),
        )?;
        counter(
            "mixer_proxy_route_retries_refused",
            "Requests not sent again because their tries or the budget were spent",
            sum(|c| &c.retry_refused),
        )?;
        counter(
            "mixer_proxy_route_timeouts",
            "Requests without a response in the time of a route",
            sum(|c| &c.timed_out),
        )?;
        counter(
            "mixer_proxy_route_delays",
            "Requests that a route had wait",
            sum(|c| &c.delayed),
        )?;
        counter(
            "mixer_proxy_route_aborts",
            "Requests that a route had fail",
            sum(|c| &c.aborted),
        )?;
        counter(
            "mixer_proxy_route_mirrors",
            "Copies of requests that were answered",
            sum(|c| &c.mirrored),
        )?;
        counter(
            "mixer_proxy_route_mirrors_failed",
            "Copies of requests that were not answered",
            sum(|c| &c.mirror_failed),
        )?;
        counter(
            "mixer_proxy_route_mirrors_dropped",
            "Copies of requests that were not sent: too many, or too large",
            sum(|c| &c.mirror_dropped),
        )?;
        counter(
            "mixer_proxy_connections_cut",
            "Connections of callers that were too slow, or sent too many HTTP/2 frames that carry nothing",
            sum(|c| &c.cut),
        )?;
        for (name, help, of) in tls::COUNTS {
            counter(name, help, sum(*of))?;
        }
        counter(
            "mixer_proxy_probes",
            "Requests passed on without a check, as `probes` of the service says",
            sum(|c| &c.probed),
        )?;
        if let Some(log) = &self.0.logged {
            counter(
                "mixer_proxy_access_log_lines",
                "Lines of the access log",
                log.written(),
            )?;
            counter(
                "mixer_proxy_access_log_lines_dropped",
                "Lines of the access log that are lost: too many waited, or the file could not be written",
                log.dropped(),
            )?;
        }
        if let Some(client) = &self.0.client {
            for (name, help, count) in client_counters(&client.stats()) {
                counter(name, help, count)?;
            }
        }

        let mut gauge = |name: &str, help: &str, value: i64| -> Result<(), std::fmt::Error> {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let open: u64 = workers.iter().map(|worker| worker.open()).sum();
        gauge(
            "mixer_proxy_connections_open",
            "Connections of callers",
            i64::try_from(open).unwrap_or(i64::MAX),
        )?;
        let identity = self.0.own.as_ref().and_then(|own| own.source.current());
        if let Some(identity) = identity {
            let until = identity
                .svid()
                .not_after()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            gauge(
                "mixer_identity_expiry_timestamp_seconds",
                "When the certificate of this proxy runs out",
                i64::try_from(until).unwrap_or(i64::MAX),
            )?;
        }
        gauge(
            "mixer_proxy_ready",
            "Whether requests can be decided and routed",
            self.0.ready().into(),
        )?;
        if let Some(client) = &self.0.client {
            let stats = client.stats();
            gauge(
                "mixer_client_cache_entries",
                "Decisions in the check cache",
                i64::try_from(stats.cache_entries).unwrap_or(i64::MAX),
            )?;
            gauge(
                "mixer_client_watching",
                "Whether the Watch stream stands",
                stats.watching.into(),
            )?;
        }
        Ok(())
    }
}

fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, std::fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn client_counters(stats: &Stats) -> [(&'static str, &'static str, u64); 17] {
    [
        (
            "mixer_client_check_calls",
            "Check calls made",
            stats.check_calls,
        ),
        (
            "mixer_client_quota_calls",
            "Quota calls made",
            stats.quota_calls,
        ),
        (
            "mixer_client_retries",
            "Tries after the first",
            stats.retries,
        ),
        (
            "mixer_client_cache_hits",
            "Decisions from the check cache",
            stats.cache_hits,
        ),
        (
            "mixer_client_cache_misses",
            "Decisions not in the check cache",
            stats.cache_misses,
        ),
        (
            "mixer_client_lease_hits",
            "Charges taken from leases",
            stats.lease_hits,
        ),
        (
            "mixer_client_nothing_applies",
            "Requests for which nothing applied",
            stats.nothing_applies,
        ),
        (
            "mixer_client_failed_unreachable",
            "Requests for which no Mixer answered",
            stats.failed_unreachable,
        ),
        (
            "mixer_client_failed_overloaded",
            "Requests for which Mixer was overloaded",
            stats.failed_overloaded,
        ),
        (
            "mixer_client_failed_cold",
            "Requests before the first state",
            stats.failed_cold,
        ),
        (
            "mixer_client_failed_malformed",
            "Requests whose answer made no sense",
            stats.failed_malformed,
        ),
        (
            "mixer_client_failed_open",
            "Of the failed, requests let pass",
            stats.failed_open,
        ),
        (
            "mixer_client_stale_answers",
            "Decisions used unconfirmed",
            stats.stale_answers,
        ),
        (
            "mixer_client_report_batches",
            "Report batches acknowledged",
            stats.report_batches,
        ),
        (
            "mixer_client_report_retries",
            "Report batches sent again",
            stats.report_retries,
        ),
        (
            "mixer_client_report_dropped",
            "Records dropped",
            stats.report_dropped,
        ),
        (
            "mixer_client_watch_states",
            "States received",
            stats.watch_states,
        ),
    ]
}
