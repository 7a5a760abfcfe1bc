//! Metrics of `telemetry` documents.

use std::borrow::Cow;

use mixer_adapter::{MetricDefinition, Sample, SampleValue};
use mixer_attributes::standard::UNKNOWN;
use mixer_cel::Evaluation;
use mixer_documents::{MetricKind, MetricSpec};

/// The sample that one request gives, if it gives one. Expressions without a value are counted in `failures`.
pub(super) fn sample<'a>(
    spec: &'a MetricSpec,
    definition: &'a MetricDefinition,
    evaluation: &mut Evaluation<'a>,
    failures: &mut u64,
) -> Option<Sample<'a>> {
    let mut failed = || *failures += 1;
    match spec.when.test(evaluation) {
        Ok(true) => {}
        Ok(false) => return None,
        Err(_) => {
            failed();
            return None;
        }
    }
    let number = match &spec.value {
        None => Some(1.0),
        Some(value) => value
            .evaluate(evaluation)
            .ok()
            .and_then(|value| value.as_number()),
    };
    // A counter that falls, and what is no number, would spoil the series for good.
    let only_rises = matches!(spec.kind, MetricKind::Counter);
    let Some(number) =
        number.filter(|number| number.is_finite() && (!only_rises || *number >= 0.0))
    else {
        failed();
        return None;
    };
    let value = match spec.kind {
        MetricKind::Counter => SampleValue::Add(number),
        MetricKind::Gauge => SampleValue::Set(number),
        MetricKind::Histogram(_) => SampleValue::Observe(number),
    };
    let mut labels = Vec::with_capacity(spec.labels.len());
    for (_, label) in &spec.labels {
        labels.push(match label.evaluate(evaluation) {
            Ok(text) => Cow::Owned(text.to_text()),
            Err(_) => {
                failed();
                Cow::Borrowed(UNKNOWN)
            }
        });
    }
    Some(Sample {
        metric: definition,
        labels,
        value,
    })
}
