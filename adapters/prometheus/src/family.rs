//! The series of one metric.
//!
//! A series is found by its labels as the page shows them, so that a sample of a known series allocates nothing and a scrape
//! copies text. Label values come from requests: they are cut at [`LONGEST_VALUE`] bytes, and when there are too many
//! different ones, further samples meet in one series whose labels are all `other`, which keeps sums right.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mixer_adapter::exposition::render_label;
use mixer_adapter::{Exposition, FamilyKind, MetricDefinition, MetricKind, SampleValue};
use mixer_runtime::Instant;

use crate::registry::Bounds;

/// Bytes of a label value; the rest is cut off.
const LONGEST_VALUE: usize = 256;

/// What the labels of samples beyond the bound say.
const OTHER: &str = "other";

/// How often, at most, expired series are looked for because there are too many.
const SEARCH: Duration = Duration::from_secs(10);

/// A metric's kind, labels and series.
#[derive(Debug)]
pub(crate) struct Family {
    kind: MetricKind,
    labels: Vec<String>,
    other: String,
    series: Mutex<Series>,
}

#[derive(Debug, Default)]
struct Series {
    by_labels: HashMap<Box<str>, One>,
    searched: Option<Instant>,
    folded: u64,
}

#[derive(Debug)]
struct One {
    value: Number,
    touched: Instant,
}

#[derive(Debug)]
enum Number {
    Single(f64),
    /// Counts per bucket, not cumulative, the last for +Inf.
    Buckets {
        counts: Box<[u64]>,
        sum: f64,
    },
}

/// A sample that cannot be added: a mistake of its maker, which must not change anything else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit;

impl Family {
    pub(crate) fn new(metric: &MetricDefinition) -> Self {
        let mut other = String::new();
        for label in &metric.labels {
            render_label(&mut other, label, OTHER);
        }
        let (kind, labels) = (metric.kind.clone(), metric.labels.clone());
        Self {
            kind,
            labels,
            other,
            series: Mutex::default(),
        }
    }

    /// Whether series of `metric` can go on in this family.
    pub(crate) fn fits(&self, metric: &MetricDefinition) -> bool {
        self.kind == metric.kind && self.labels == metric.labels
    }

    /// Adds a sample; `text` is where its labels are rendered.
    pub(crate) fn add(
        &self,
        labels: &[impl AsRef<str>],
        value: SampleValue<'_>,
        bounds: Bounds,
        now: Instant,
        text: &mut String,
    ) -> Result<(), Misfit> {
        if labels.len() != self.labels.len() || !self.takes(value) {
            return Err(Misfit);
        }
        text.clear();
        for (name, value) in self.labels.iter().zip(labels) {
            let value = value.as_ref();
            render_label(
                text,
                name,
                &value[..value.floor_char_boundary(LONGEST_VALUE)],
            );
        }
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let known = series.by_labels.contains_key(text.as_str());
        let labels = if known || series.has_room(bounds, now, &self.other) {
            text.as_str()
        } else {
            series.folded += 1;
            &self.other
        };
        match series.by_labels.get_mut(labels) {
            Some(one) => one.add(value, &self.kind, now),
            None => {
                let mut one = One {
                    value: self.zero(),
                    touched: now,
                };
                one.add(value, &self.kind, now);
                series.by_labels.insert(labels.into(), one);
            }
        }
        Ok(())
    }

    /// Writes the series that are not expired, and forgets those that are. Sorted by labels: pages can be compared.
    pub(crate) fn expose(
        &self,
        name: &str,
        help: &str,
        page: &mut Exposition,
        bounds: Bounds,
        now: Instant,
    ) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.expire(bounds, now);
        let kind = match self.kind {
            MetricKind::Counter => FamilyKind::Counter,
            MetricKind::Gauge => FamilyKind::Gauge,
            MetricKind::Histogram(_) => FamilyKind::Histogram,
        };
        let Some(mut samples) = page.family(name, help, kind) else {
            return;
        };
        let mut sorted: Vec<_> = series.by_labels.iter().collect();
        sorted.sort_unstable_by_key(|(labels, _)| *labels);
        for (labels, one) in sorted {
            match (&one.value, &self.kind) {
                (Number::Buckets { counts, sum }, MetricKind::Histogram(bounds)) => {
                    samples.histogram(labels, bounds, counts, *sum);
                }
                (Number::Buckets { sum, .. }, _) => samples.value(labels, *sum),
                (Number::Single(value), _) => samples.value(labels, *value),
            }
        }
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.series
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .by_labels
            .len()
    }

    /// How many samples went to the series `other`.
    pub(crate) fn folded(&self) -> u64 {
        self.series
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .folded
    }

    fn takes(&self, value: SampleValue<'_>) -> bool {
        match (&self.kind, value) {
            (MetricKind::Counter, SampleValue::Add(more)) => more.is_finite() && more >= 0.0,
            (MetricKind::Gauge, SampleValue::Set(_)) => true,
            (MetricKind::Histogram(_), SampleValue::Observe(seen)) => seen.is_finite(),
            (MetricKind::Histogram(bounds), SampleValue::Buckets(counts, sum)) => {
                counts.len() <= bounds.len() + 1 && sum.is_finite()
            }
            _ => false,
        }
    }

    fn zero(&self) -> Number {
        match &self.kind {
            MetricKind::Histogram(bounds) => Number::Buckets {
                counts: vec![0; bounds.len() + 1].into(),
                sum: 0.0,
            },
            MetricKind::Counter | MetricKind::Gauge => Number::Single(0.0),
        }
    }
}

impl Series {
    /// Whether one more series may be, besides `other`. Expired ones go first, if they were not looked for just now.
    fn has_room(&mut self, bounds: Bounds, now: Instant, other: &str) -> bool {
        let counted = self.by_labels.len() - usize::from(self.by_labels.contains_key(other));
        if counted < bounds.series {
            return true;
        }
        if self.searched.is_some_and(|at| now.since(at) < SEARCH) {
            return false;
        }
        self.searched = Some(now);
        self.expire(bounds, now);
        self.by_labels.len() < bounds.series
    }

    fn expire(&mut self, bounds: Bounds, now: Instant) {
        self.by_labels
            .retain(|_, one| now.since(one.touched) < bounds.expire);
    }
}

impl One {
    /// Adds a value that fits the family's `kind`.
    fn add(&mut self, value: SampleValue<'_>, kind: &MetricKind, now: Instant) {
        self.touched = now;
        match (&mut self.value, value) {
            (Number::Single(total), SampleValue::Add(more)) => *total += more,
            (Number::Single(held), SampleValue::Set(value)) => *held = value,
            (Number::Buckets { counts, sum }, SampleValue::Observe(seen)) => {
                let MetricKind::Histogram(bounds) = kind else {
                    return;
                };
                counts[bounds.partition_point(|bound| *bound < seen)] += 1;
                *sum += seen;
            }
            (Number::Buckets { counts, sum }, SampleValue::Buckets(more, more_sum)) => {
                for (count, more) in counts.iter_mut().zip(more) {
                    *count = count.saturating_add(*more);
                }
                *sum += more_sum;
            }
            _ => unreachable!("the value was found to fit the kind"),
        }
    }
}

#[cfg(test)]
mod tests;
