//! Which metrics can be: names that Prometheus takes and that say what they are.

use std::collections::HashSet;

use mixer_adapter::{MetricDefinition, MetricKind, Problem};

/// Endings that a page gives to names itself, or that mean another kind.
const RESERVED: [&str; 6] = ["_total", "_bucket", "_count", "_sum", "_created", "_info"];

/// Everything wrong with a definition; `field` is its name.
pub(crate) fn problems(metric: &MetricDefinition) -> Vec<Problem> {
    let name = &metric.name;
    let mut problems = Vec::new();
    let mut problem = |message: String| {
        problems.push(Problem {
            field: name.clone(),
            message,
        })
    };
    if !is_name(name) {
        problem(format!(
            "`{name}` is no metric name: letters, digits and _, not beginning with a digit"
        ));
    }
    if let Some(suffix) = RESERVED.iter().find(|suffix| name.ends_with(**suffix)) {
        problem(format!(
            "a metric's name must not end with {suffix}: the page adds it where it belongs"
        ));
    }
    if metric.help.is_empty() {
        problem("needs a help text".to_owned());
    }
    let mut seen = HashSet::new();
    for label in &metric.labels {
        if !is_name(label) || label.starts_with("__") {
            problem(format!(
                "`{label}` is no label name: letters, digits and _, not beginning with a digit or __"
            ));
        }
        if label == "le" && matches!(metric.kind, MetricKind::Histogram(_)) {
            problem("a histogram has the label `le` for its buckets".to_owned());
        }
        if !seen.insert(label) {
            problem(format!("the label `{label}` is given twice"));
        }
    }
    if let MetricKind::Histogram(bounds) = &metric.kind {
        if bounds.is_empty() {
            problem("a histogram needs buckets".to_owned());
        }
        if bounds.iter().any(|bound| !bound.is_finite()) {
            problem("a bucket's bound must be a finite number; +Inf is added".to_owned());
        }
        if bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
            problem("buckets must rise".to_owned());
        }
    }
    problems
}

/// Colons are for names that Prometheus's own rules make.
fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, kind: MetricKind, labels: &[&str]) -> MetricDefinition {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        MetricDefinition {
            name: name.to_owned(),
            help: "Help.".to_owned(),
            kind,
            labels,
        }
    }

    #[test]
    fn what_prometheus_would_not_take_or_understand_is_refused() {
        let histogram = |bounds: &[f64]| MetricKind::Histogram(bounds.to_vec());
        for (definition, why) in [
            (metric("0day", MetricKind::Counter, &[]), "no metric name"),
            (metric("", MetricKind::Counter, &[]), "no metric name"),
            (metric("a-b", MetricKind::Counter, &[]), "no metric name"),
            (metric("a:b", MetricKind::Counter, &[]), "no metric name"),
            (metric("größe", MetricKind::Counter, &[]), "no metric name"),
            (
                metric("requests_total", MetricKind::Counter, &[]),
                "must not end with _total",
            ),
            (
                metric("requests_total", MetricKind::Gauge, &[]),
                "must not end with _total",
            ),
            (
                metric("time_bucket", MetricKind::Gauge, &[]),
                "must not end with _bucket",
            ),
            (metric("a", MetricKind::Counter, &["b-c"]), "no label name"),
            (
                metric("a", MetricKind::Counter, &["__name__"]),
                "no label name",
            ),
            (metric("a", MetricKind::Counter, &["b", "b"]), "given twice"),
            (metric("a", histogram(&[1.0]), &["le"]), "`le`"),
            (metric("a", histogram(&[]), &[]), "needs buckets"),
            (metric("a", histogram(&[1.0, 1.0]), &[]), "must rise"),
            (metric("a", histogram(&[1.0, f64::INFINITY]), &[]), "finite"),
            (metric("a", histogram(&[f64::NAN]), &[]), "finite"),
        ] {
            let problems = problems(&definition);
            assert!(
                problems.iter().any(|problem| problem.message.contains(why)),
                "{definition:?}: {problems:?}"
            );
        }
    }

    #[test]
    fn ordinary_metrics_are_taken() {
        assert_eq!(
            problems(&metric(
                "istio_requests",
                MetricKind::Counter,
                &["reporter", "le"]
            )),
            []
        );
        assert_eq!(
            problems(&metric(
                "_x9",
                MetricKind::Histogram(vec![-1.0, 0.0, 2.5]),
                &["_a1"]
            )),
            []
        );
    }
}
