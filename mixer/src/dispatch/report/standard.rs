//! The standard metrics: Istio's, and the decisions that proxies enforced.

use std::borrow::Cow;
use std::sync::LazyLock;

use mixer_adapter::{MetricDefinition, MetricKind, Sample, SampleValue};
use mixer_attributes::standard::{BYTES_BUCKETS, DURATION_MS_BUCKETS, LABELS};

use super::{Aggregate, Enforced, Observed};

const DECISION_LABELS: [&str; 7] = [
    "destination_service",
    "policy",
    "rule",
    "verdict",
    "because",
    "cached",
    "shadow",
];

static DEFINITIONS: LazyLock<[MetricDefinition; 6]> = LazyLock::new(|| {
    let define = |name: &str, help: &str, kind, labels: &[&str]| MetricDefinition {
        name: name.to_owned(),
        help: help.to_owned(),
        kind,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    let milliseconds = MetricKind::Histogram(DURATION_MS_BUCKETS.to_vec());
    let bytes = MetricKind::Histogram(BYTES_BUCKETS.to_vec());
    [
        define(
            "istio_requests",
            "Requests, or TCP connections opened",
            MetricKind::Counter,
            &LABELS,
        ),
        define(
            "istio_request_duration_milliseconds",
            "From the request's head to the response's end",
            milliseconds,
            &LABELS,
        ),
        define(
            "istio_request_bytes",
            "Body bytes of requests",
            bytes.clone(),
            &LABELS,
        ),
        define(
            "istio_response_bytes",
            "Body bytes of responses",
            bytes,
            &LABELS,
        ),
        define(
            "mixer_decisions",
            "Decisions that proxies enforced, cached ones included",
            MetricKind::Counter,
            &DECISION_LABELS,
        ),
        define(
            "mixer_decision_failures",
            "Requests for which no decision could be had, and what stood in for it",
            MetricKind::Counter,
            &["destination_service", "failure", "verdict"],
        ),
    ]
});

/// What every Mixer declares.
pub(super) fn definitions() -> &'static [MetricDefinition] {
    &*DEFINITIONS
}

/// The samples of one series.
pub(super) fn requests<'a>(aggregate: &Aggregate<'a>, samples: &mut Vec<Sample<'a>>) {
    let [requests, duration, request_bytes, response_bytes, ..] = &*DEFINITIONS;
    let labels = || {
        aggregate
            .labels
            .iter()
            .map(|value| Cow::Borrowed(*value))
            .collect()
    };
    if aggregate.requests > 0 {
        samples.push(Sample {
            metric: requests,
            labels: labels(),
            value: SampleValue::Add(aggregate.requests as f64),
        });
    }
    let histograms = [
        (duration, aggregate.duration_ms),
        (request_bytes, aggregate.request_bytes),
        (response_bytes, aggregate.response_bytes),
    ];
    for (metric, Observed { buckets, sum }) in histograms {
        if buckets.iter().any(|count| *count > 0) {
            samples.push(Sample {
                metric,
                labels: labels(),
                value: SampleValue::Buckets(buckets, sum),
            });
        }
    }
}

/// The sample of one count of decisions, or of requests that got none.
pub(super) fn decisions<'a>(enforced: &Enforced<'a>, samples: &mut Vec<Sample<'a>>) {
    let [.., decided, failed] = &*DEFINITIONS;
    let word = |bit: bool| if bit { "true" } else { "false" };
    let (metric, labels): (_, &[&'a str]) = match enforced.failure {
        "" => (
            decided,
            &[
                enforced.destination,
                enforced.policy,
                enforced.rule,
                enforced.verdict,
                enforced.because,
                word(enforced.cached),
                word(enforced.shadow),
            ],
        ),
        failure => (failed, &[enforced.destination, failure, enforced.verdict]),
    };
    if enforced.count > 0 {
        let labels = labels.iter().map(|value| Cow::Borrowed(*value)).collect();
        samples.push(Sample {
            metric,
            labels,
            value: SampleValue::Add(enforced.count as f64),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_a_value_for_each_label_of_its_metric() {
        let observed = Observed {
            buckets: &[1],
            sum: 0.2,
        };
        let aggregate = Aggregate {
            labels: ["x"; LABELS.len()],
            requests: 1,
            duration_ms: observed,
            request_bytes: observed,
            response_bytes: observed,
        };
        let enforced = Enforced {
            destination: "a",
            policy: "p",
            rule: "r",
            verdict: "allow",
            because: "matched",
            cached: true,
            shadow: false,
            count: 3,
            failure: "",
        };
        let mut samples = Vec::new();
        requests(&aggregate, &mut samples);
        decisions(&enforced, &mut samples);
        decisions(
            &Enforced {
                failure: "cold",
                verdict: "deny",
                ..enforced
            },
            &mut samples,
        );
        let names: Vec<_> = samples
            .iter()
            .map(|sample| sample.metric.name.as_str())
            .collect();
        let declared: Vec<_> = definitions()
            .iter()
            .map(|definition| definition.name.as_str())
            .collect();
        assert_eq!(names, declared);
        assert!(
            samples
                .iter()
                .all(|sample| sample.labels.len() == sample.metric.labels.len())
        );
    }

    #[test]
    fn nothing_that_happened_zero_times_makes_a_series() {
        let none = Observed {
            buckets: &[0, 0],
            sum: 0.0,
        };
        let aggregate = Aggregate {
            labels: ["x"; LABELS.len()],
            requests: 0,
            duration_ms: none,
            request_bytes: none,
            response_bytes: none,
        };
        let mut samples = Vec::new();
        requests(&aggregate, &mut samples);
        assert!(samples.is_empty());
    }
}
