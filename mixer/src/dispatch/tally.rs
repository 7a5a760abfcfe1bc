//! What became of the asks for each quota, and what its busiest counters have left.
//!
//! On the way of a request this is one atomic addition; who is busiest is learned from a sample: the first [`ALL_OF`] asks of each
//! outcome and one in [`SAMPLE`] of those that follow, and not from one that would have to wait for another. Candidates are kept as in
//! the space-saving sketch (Metwally, Agrawal and El Abbadi, 2005): a key that is not among them takes the place of the least, and its
//! count, so that a key with more than `1 / CANDIDATES` of the asks is always there; counts are halved now and then, so that who was busy
//! yesterday goes. Both the quotas and the keys of one that are shown are bounded, whatever documents and callers do.

mod busiest;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mixer_adapter::exposition::rendered;
use mixer_adapter::{Exposition, FamilyKind};
use mixer_runtime::Instant;

use self::busiest::{Busiest, Seen};

/// Quotas with series of their own; the others share one.
const QUOTAS: usize = 1_000;
/// Quotas whose busiest counters are shown: those asked most.
const SHOWN: usize = 100;
/// The name of those that share.
const OTHERS: &str = "(others)";

/// Asks of each outcome that are all looked at.
const ALL_OF: u64 = 256;
/// Of those that follow, one in so many is.
const SAMPLE: u64 = 16;

const OUTCOMES: [&str; 4] = ["granted", "partial", "refused", "unavailable"];

/// What became of one ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Granted,
    /// With less of a lease than the client should have had: the limit is near.
    Partial,
    Refused,
    Unavailable,
}

/// Counts for one quota.
#[derive(Debug)]
pub(crate) struct Tally {
    quota: Arc<str>,
    outcomes: [AtomicU64; OUTCOMES.len()],
    busiest: Busiest,
}

/// All quotas of the documents in force or in use: a quota that stays in them goes on counting over a reload.
#[derive(Debug, Default)]
pub struct Tallies(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_quota: HashMap<Arc<str>, Weak<Tally>>,
    others: Option<Arc<Tally>>,
}

impl Tallies {
    /// That of a quota.
    pub(crate) fn of(&self, quota: &Arc<str>) -> Arc<Tally> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = known.by_quota.get(quota).and_then(Weak::upgrade) {
            return tally;
        }
        if known.by_quota.len() >= QUOTAS {
            known.by_quota.retain(|_, tally| tally.strong_count() > 0);
        }
        if known.by_quota.len() >= QUOTAS {
            let others = || Arc::new(Tally::new(OTHERS.into()));
            return known.others.get_or_insert_with(others).clone();
        }
        let tally = Arc::new(Tally::new(quota.clone()));
        let held = Arc::downgrade(&tally);
        known.by_quota.insert(quota.clone(), held);
        tally
    }
}

impl Tally {
    fn new(quota: Arc<str>) -> Self {
        Self {
            quota,
            outcomes: Default::default(),
            busiest: Busiest::default(),
        }
    }

    /// Counts an ask that was answered: what is left of the counter, under a limit with that window.
    #[inline]
    pub(crate) fn answered(
        &self,
        told: Told,
        key: &[String],
        remaining: u64,
        window: Duration,
        now: Instant,
    ) {
        let before = self.count(told);
        if before < ALL_OF || is_sampled(before) {
            self.busiest.see(
                key,
                Seen {
                    remaining,
                    until: now + window,
                },
            );
        }
    }

    /// Counts; how many there were of the kind before.
    #[inline]
    pub(crate) fn count(&self, told: Told) -> u64 {
        self.outcomes[told as usize].fetch_add(1, Ordering::Relaxed)
    }

    fn asks(&self) -> u64 {
        let counts = self.outcomes.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// One in [`SAMPLE`], at no rhythm that callers could be in step with.
#[inline]
fn is_sampled(number: u64) -> bool {
    let mixed = (number ^ (number >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32).is_multiple_of(SAMPLE)
}

/// Writes what the tallies of the documents in force counted; keys only if they may be shown.
pub(crate) fn expose<'t>(
    tallies: impl Iterator<Item = &'t Arc<Tally>>,
    with_keys: bool,
    now: Instant,
    page: &mut Exposition,
) {
    let mut tallies: Vec<&Arc<Tally>> = tallies.collect();
    // Quotas that share one come one after another or not; it is shown once.
    tallies.sort_by_key(|tally| Arc::as_ptr(tally));
    tallies.dedup_by(|one, other| Arc::ptr_eq(one, other));
    tallies.sort_by(|one, other| one.quota.cmp(&other.quota));
    if let Some(mut samples) = page.family("mixer_quota", "Asks for quota", FamilyKind::Counter) {
        for tally in &tallies {
            for (outcome, count) in OUTCOMES.iter().zip(&tally.outcomes) {
                let labels = rendered(&[("quota", &tally.quota), ("outcome", outcome)]);
                samples.value(&labels, count.load(Ordering::Relaxed) as f64);
            }
        }
    }
    if !with_keys {
        return;
    }
    tallies.retain(|tally| *tally.quota != *OTHERS);
    tallies.sort_by_cached_key(|tally| std::cmp::Reverse(tally.asks()));
    tallies.truncate(SHOWN);
    let help = "Tokens left of a quota's busiest counters, when they were last asked";
    if let Some(mut samples) = page.family("mixer_quota_remaining", help, FamilyKind::Gauge) {
        for tally in tallies {
            for (key, remaining) in tally.busiest.shown(now) {
                let labels = rendered(&[("quota", &tally.quota), ("key", &key)]);
                samples.value(&labels, remaining as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mixer_adapter::Format;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn second(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn page(tallies: &[Arc<Tally>], with_keys: bool, now: Instant) -> String {
        let mut page = Exposition::new(Format::Text);
        expose(tallies.iter(), with_keys, now, &mut page);
        page.finish()
    }

    #[test]
    fn outcomes_are_counted_by_quota_over_a_reload() {
        let tallies = Tallies::default();
        let id: Arc<str> = "p/q".into();
        let before = tallies.of(&id);
        before.answered(Told::Granted, &["a".to_owned()], 9, WINDOW, second(0));
        let after = tallies.of(&id);
        drop(before);
        after.answered(Told::Partial, &["a".to_owned()], 3, WINDOW, second(1));
        after.count(Told::Unavailable);
        let shown = page(&[after.clone(), after], true, second(2));
        for line in [
            r#"mixer_quota_total{quota="p/q",outcome="granted"} 1"#,
            r#"mixer_quota_total{quota="p/q",outcome="partial"} 1"#,
            r#"mixer_quota_total{quota="p/q",outcome="refused"} 0"#,
            r#"mixer_quota_total{quota="p/q",outcome="unavailable"} 1"#,
            r#"mixer_quota_remaining{quota="p/q",key="a"} 3"#,
        ] {
            assert_eq!(shown.matches(line).count(), 1, "{line} in\n{shown}");
        }
    }

    #[test]
    fn keys_are_shown_until_they_are_free_again_and_only_if_they_may_be() {
        let tally = Tallies::default().of(&"q".into());
        tally.answered(Told::Refused, &["a".to_owned()], 0, WINDOW, second(0));
        let tallies = [tally];
        assert!(page(&tallies, true, second(59)).contains("key=\"a\""));
        assert!(!page(&tallies, true, second(60)).contains("key=\"a\""));
        assert!(!page(&tallies, false, second(1)).contains("key="));
    }

    #[test]
    fn quotas_and_keys_are_bounded() {
        let tallies = Tallies::default();
        let held: Vec<Arc<Tally>> = (0..QUOTAS + 500)
            .map(|number| tallies.of(&format!("q{number:05}").into()))
            .collect();
        for tally in &held {
            for key in 0..50 {
                tally.answered(Told::Granted, &[key.to_string()], 1, WINDOW, second(0));
            }
        }
        let shown = page(&held, true, second(1));
        let lines = |of: &str| shown.lines().filter(|line| line.starts_with(of)).count();
        assert_eq!(lines("mixer_quota_total{"), (QUOTAS + 1) * OUTCOMES.len());
        assert_eq!(lines("mixer_quota_remaining{"), SHOWN * busiest::SHOWN);
        assert!(shown.contains(r#"mixer_quota_total{quota="(others)",outcome="granted"} 25000"#));
        // Those that went make room.
        drop(held);
        assert_eq!(&*tallies.of(&"new".into()).quota, "new");
    }

    #[test]
    fn one_in_sixteen_is_sampled() {
        let sampled = (0..160_000).filter(|number| is_sampled(*number)).count();
        assert!((9_500..10_500).contains(&sampled), "{sampled}");
        // Whatever the rhythm of a caller.
        for step in [2u64, 3, 16, 64, 1_000, 1 << 20] {
            let sampled = (0..16_000).filter(|at| is_sampled(at * step)).count();
            assert!((700..1_400).contains(&sampled), "every {step}th: {sampled}");
        }
    }
}
