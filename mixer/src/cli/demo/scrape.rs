//! What Mixer's metrics say at the end, read from its page as any scraper does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mixer_runtime::Clock;

use super::load::{Call, connect};

/// The rest between two looks at a page that is not complete yet.
const REST: Duration = Duration::from_millis(20);

/// What is said of a connection that came in plaintext where that is not taken.
const REFUSED: &str = "response_flags=\"PT\"";

/// Requests between proxies and callers, as the proxies that took them reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Secured {
    /// Whose caller showed its certificate.
    pub(super) mutual_tls: u64,
    /// Those of callers who showed none, and need not.
    pub(super) plaintext: u64,
}

/// Reads them from the `admin` listener, as soon as all that was reported is counted.
pub(super) async fn secured(admin: SocketAddr, clock: &Clock) -> io::Result<Secured> {
    loop {
        let stream = connect(Ipv4Addr::LOCALHOST.into(), admin).await?;
        let call = Call {
            host: "localhost",
            path: "/stats/prometheus",
            headers: &[],
        };
        let (_, page) = call.over(stream).await?;
        if sum(&page, "mixer_report_queue", &[]) == 0 {
            return Ok(Secured::read(&page));
        }
        clock.sleep(REST).await;
    }
}

impl Secured {
    fn read(page: &str) -> Self {
        let taken = |more: &[&str]| {
            let labels = [&["reporter=\"destination\""], more].concat();
            sum(page, "istio_requests_total", &labels)
        };
        let none = "connection_security_policy=\"none\"";
        Self {
            mutual_tls: taken(&["connection_security_policy=\"mutual_tls\""]),
            plaintext: taken(&[none]) - taken(&[none, REFUSED]),
        }
    }
}

/// The sum of a metric's series that have these labels.
fn sum(page: &str, metric: &str, labels: &[&str]) -> u64 {
    let series = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(metric)?;
        let (found, value) = rest.rsplit_once(' ')?;
        let whole = found.is_empty() || found.starts_with('{');
        (whole && labels.iter().all(|label| found.contains(label))).then_some(value)
    });
    series
        .filter_map(|value| value.parse::<f64>().ok())
        .sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_report_is_told_apart_by_how_it_came() {
        let page = r#"# TYPE istio_requests_total counter
istio_requests_total{reporter="destination",response_code="200",connection_security_policy="mutual_tls"} 5
istio_requests_total{reporter="destination",response_code="403",connection_security_policy="mutual_tls"} 2
istio_requests_total{reporter="destination",response_code="200",response_flags="-",connection_security_policy="none"} 4
istio_requests_total{reporter="destination",response_code="0",response_flags="PT",connection_security_policy="none"} 9
istio_requests_total{reporter="source",response_code="200",connection_security_policy="unknown"} 7
istio_requests_total_other{reporter="destination",connection_security_policy="mutual_tls"} 100
"#;
        let secured = Secured {
            mutual_tls: 7,
            plaintext: 4,
        };
        assert_eq!(Secured::read(page), secured);
        assert_eq!(Secured::read(""), Secured::default());
    }
}
