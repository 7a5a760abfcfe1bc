//! Series: values, bounds in number and time, and what a page shows of them.

use mixer_adapter::Format;
use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const BOUNDS: Bounds = Bounds {
    series: 3,
    expire: HOUR,
};
fn start() -> Instant {
    Instant::from_nanos(1)
}

fn family(kind: MetricKind, labels: &[&str]) -> Family {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Family::new(&MetricDefinition {
        name: "m".to_owned(),
        help: "Help.".to_owned(),
        kind,
        labels,
    })
}

fn add(
    family: &Family,
    labels: &[&str],
    value: SampleValue<'_>,
    now: Instant,
) -> Result<(), Misfit> {
    family.add(labels, value, BOUNDS, now, &mut String::new())
}

/// The samples on the page, without the head.
fn shown(family: &Family, now: Instant) -> Vec<String> {
    let mut page = Exposition::new(Format::Text);
    family.expose("m", "Help.", &mut page, BOUNDS, now);
    page.finish()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn counters_add_and_gauges_keep_the_last() {
    let counter = family(MetricKind::Counter, &["code"]);
    for more in [1.0, 2.5] {
        add(&counter, &["200"], SampleValue::Add(more), start()).unwrap();
    }
    assert_eq!(shown(&counter, start()), ["m_total{code=\"200\"} 3.5"]);
    let gauge = family(MetricKind::Gauge, &[]);
    for value in [7.0, -1.0] {
        add(&gauge, &[], SampleValue::Set(value), start()).unwrap();
    }
    assert_eq!(shown(&gauge, start()), ["m -1"]);
}

#[test]
fn observations_and_counts_per_bucket_add_up() {
    let histogram = family(MetricKind::Histogram(vec![1.0, 10.0]), &[]);
    for seen in [0.5, 1.0, 1.5, 11.0] {
        add(&histogram, &[], SampleValue::Observe(seen), start()).unwrap();
    }
    add(&histogram, &[], SampleValue::Buckets(&[5], 2.0), start()).unwrap();
    add(
        &histogram,
        &[],
        SampleValue::Buckets(&[0, 0, 1], 100.0),
        start(),
    )
    .unwrap();
    assert_eq!(
        shown(&histogram, start()),
        [
            "m_bucket{le=\"1\"} 7",
            "m_bucket{le=\"10\"} 8",
            "m_bucket{le=\"+Inf\"} 10",
            "m_count 10",
            "m_sum 116"
        ]
    );
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let counter = family(MetricKind::Counter, &["code"]);
    let histogram = family(MetricKind::Histogram(vec![1.0]), &[]);
    for value in [
        SampleValue::Add(-1.0),
        SampleValue::Add(f64::NAN),
        SampleValue::Set(1.0),
        SampleValue::Observe(1.0),
    ] {
        assert_eq!(
            add(&counter, &["200"], value, start()),
            Err(Misfit),
            "{value:?}"
        );
    }
    assert_eq!(
        add(&counter, &[], SampleValue::Add(1.0), start()),
        Err(Misfit)
    );
    assert_eq!(
        add(&counter, &["a", "b"], SampleValue::Add(1.0), start()),
        Err(Misfit)
    );
    for value in [
        SampleValue::Buckets(&[1, 2, 3], 1.0),
        SampleValue::Observe(f64::NAN),
        SampleValue::Observe(f64::INFINITY),
    ] {
        assert_eq!(
            add(&histogram, &[], value, start()),
            Err(Misfit),
            "{value:?}"
        );
    }
    assert!(shown(&counter, start()).is_empty() && shown(&histogram, start()).is_empty());
}

#[test]
fn series_beyond_the_bound_meet_in_one_and_the_sum_stays_right() {
    let counter = family(MetricKind::Counter, &["path", "code"]);
    for path in 0..100 {
        add(
            &counter,
            &[&path.to_string(), "200"],
            SampleValue::Add(1.0),
            start(),
        )
        .unwrap();
    }
    assert_eq!(
        shown(&counter, start()),
        [
            "m_total{path=\"0\",code=\"200\"} 1",
            "m_total{path=\"1\",code=\"200\"} 1",
            "m_total{path=\"2\",code=\"200\"} 1",
            "m_total{path=\"other\",code=\"other\"} 97",
        ]
    );
    assert_eq!((counter.len(), counter.folded()), (4, 97));
    // Known ones go on counting for themselves.
    add(&counter, &["1", "200"], SampleValue::Add(1.0), start()).unwrap();
    assert_eq!(counter.folded(), 97);
}

#[test]
fn idle_series_expire_and_make_room() {
    let counter = family(MetricKind::Counter, &["path"]);
    for path in ["a", "b", "c", "d"] {
        add(&counter, &[path], SampleValue::Add(1.0), start()).unwrap();
    }
    let half = start() + HOUR / 2;
    add(&counter, &["a"], SampleValue::Add(1.0), half).unwrap();
    let later = start() + HOUR;
    add(&counter, &["e"], SampleValue::Add(1.0), later).unwrap();
    assert_eq!(
        shown(&counter, later),
        ["m_total{path=\"a\"} 2", "m_total{path=\"e\"} 1"]
    );
    assert_eq!(shown(&counter, half + HOUR), ["m_total{path=\"e\"} 1"]);
}

#[test]
fn long_values_are_cut_between_characters() {
    let gauge = family(MetricKind::Gauge, &["path"]);
    let long = format!("{}ä{}", "x".repeat(LONGEST_VALUE - 1), "y".repeat(100_000));
    add(&gauge, &[&long], SampleValue::Set(1.0), start()).unwrap();
    assert_eq!(
        shown(&gauge, start()),
        [format!("m{{path=\"{}\"}} 1", "x".repeat(LONGEST_VALUE - 1))]
    );
}

proptest! {
    /// Different label values are different series, whatever is in them, and each stays on a line of its own.
    #[test]
    fn labels_are_never_confused(values in prop::collection::hash_set((any::<String>(), "[a-c\"\\\\,=\n}{]{0,4}"), 1..20)) {
        let counter = family(MetricKind::Counter, &["a", "b"]);
        let bounds = Bounds { series: 100, expire: HOUR };
        for (a, b) in &values {
            counter.add(&[a, b], SampleValue::Add(1.0), bounds, start(), &mut String::new()).unwrap();
        }
        prop_assert_eq!(counter.len(), values.len());
        let mut page = Exposition::new(Format::OpenMetrics);
        counter.expose("m", "Help.", &mut page, bounds, start());
        let page = page.finish();
        let lines: Vec<&str> = page.split('\n').filter(|line| line.starts_with("m_total")).collect();
        prop_assert_eq!(lines.len(), values.len());
        let whole = lines.iter().all(|line| line.ends_with("\"} 1"));
        prop_assert!(whole, "{page}");
    }
}
