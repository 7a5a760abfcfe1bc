//! A restored store answers as the one that was saved would; bytes that are anything else are refused.

use mixer_adapter::{Algorithm, Ask, CalendarWindow, Grant, Limit, Over};
use mixer_runtime::ManualClock;
use proptest::prelude::*;

use super::*;
use crate::config::Full;
use crate::store::Bounds;

const WINDOW: Duration = Duration::from_secs(60);
const BOUNDS: Bounds = Bounds {
    keys: 1_000,
    full: Full::Share,
};

/// A store, and the time it is in.
struct Side {
    store: Store,
    clock: Clock,
    hand: ManualClock,
    bounds: Bounds,
}

impl Side {
    fn new() -> Self {
        let (clock, _) = Clock::manual();
        Self::begun_at(clock.wall())
    }

    /// Whose monotonic clock began at that time of day.
    fn begun_at(wall: SystemTime) -> Self {
        let (clock, hand) = Clock::manual_from(wall);
        Self {
            store: Store::new(),
            clock,
            hand,
            bounds: BOUNDS,
        }
    }

    fn saved(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store.save(&self.clock, &mut bytes).unwrap();
        bytes
    }

    fn restore(&self, bytes: &[u8]) -> Result<Restored, Refused> {
        self.store.restore(bytes, self.bounds.keys, &self.clock)
    }

    fn asked(&self, step: &Step) -> Grant {
        let key = [format!("key {}", step.key), "x".repeat(step.key * 40)];
        let algorithm = match step.algorithm {
            0 => Algorithm::SlidingWindow,
            1 => Algorithm::Gcra { burst: 7 },
            2 => Algorithm::FixedWindow { calendar: None },
            3 => {
                // By the wall clock, which both sides have in common.
                let seconds = since_1970(self.clock.wall()) / 1_000_000_000;
                let began = seconds - seconds % WINDOW.as_secs();
                let ends_in = Duration::from_secs(began) + WINDOW
                    - Duration::from_nanos(since_1970(self.clock.wall()));
                let calendar = Some(CalendarWindow {
                    number: began as i64,
                    ends_in,
                });
                Algorithm::FixedWindow { calendar }
            }
            _ => Algorithm::Concurrency { hold: WINDOW },
        };
        let over = [Over::Refuse, Over::Count, Over::Owe][step.over];
        let ask = Ask {
            quota: "q",
            key: &key,
            cost: step.cost,
            limit: Limit {
                amount: 10,
                window: WINDOW,
            },
            algorithm,
            extra: step.extra,
            over,
            age: Duration::from_secs(step.age),
        };
        self.store
            .allocate(&[ask], "", self.bounds, &self.clock)
            .remove(0)
    }
}

/// So much later somebody asks.
#[derive(Clone, Debug)]
struct Step {
    later: u64,
    key: usize,
    algorithm: u8,
    cost: i64,
    extra: u64,
    over: usize,
    age: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let asked = (0usize..5, 0u8..5, -4i64..9, 0u64..4, 0usize..3, 0u64..70);
    let later = prop_oneof![0u64..3_000_000_000, 0u64..90_000_000_000];
    (later, asked).prop_map(|(later, (key, algorithm, cost, extra, over, age))| Step {
        later,
        key,
        algorithm,
        cost,
        extra,
        over,
        age,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_store_answers_as_the_one_that_was_saved(
        before in proptest::collection::vec(step(), 0..40),
        down in 0u64..100_000_000_000,
        // How long the new process is there already: less or more than the old one was.
        up in prop_oneof![Just(0u64), 0u64..10_000_000_000_000],
        after in proptest::collection::vec(step(), 1..40),
    ) {
        let saved = Side::new();
        for step in &before {
            saved.hand.advance(Duration::from_nanos(step.later));
            saved.asked(step);
        }
        let bytes = saved.saved();
        saved.hand.advance(Duration::from_nanos(down));
        let restored = Side::begun_at(saved.clock.wall() - Duration::from_nanos(up));
        restored.hand.advance(Duration::from_nanos(up));
        match restored.restore(&bytes) {
            Ok(_) => {}
            Err(Refused::TooOld) => {
                // Both have nothing spent. Their times differ from now on, and with them where cells of windows begin.
                for (key, algorithm) in (0..5).flat_map(|key| (0..5).map(move |at| (key, at))) {
                    let peek = Step { later: 0, key, algorithm, cost: 0, extra: 0, over: 0, age: 0 };
                    prop_assert_eq!(restored.asked(&peek), saved.asked(&peek), "{:?}", peek);
                }
                return Ok(());
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
        for step in &after {
            let later = Duration::from_nanos(step.later);
            saved.hand.advance(later);
            restored.hand.advance(later);
            prop_assert_eq!(restored.asked(step), saved.asked(step), "{:?}", step);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_only_whole_ones_are_taken(
        steps in proptest::collection::vec(step(), 1..20),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        repaired in any::<bool>(),
    ) {
        let side = Side::new();
        for step in &steps {
            side.asked(step);
        }
        let mut bytes = side.saved();
        let at = at.index(bytes.len() - SUM);
        prop_assert!(Side::new().restore(&bytes[..at]).is_err(), "cut off at {}", at);
        bytes[at] ^= flip;
        let damaged = Side::new();
        if repaired {
            // With a checksum that fits, whatever it says: it is refused, or it counts.
            let end = bytes.len() - SUM;
            let sum = Sha256::digest(&bytes[..end]);
            bytes[end..].copy_from_slice(&sum);
            if damaged.restore(&bytes).is_ok() {
                for step in &steps {
                    damaged.asked(step);
                }
                damaged.store.sweep(0, 1, &damaged.clock);
                damaged.saved();
            }
        } else {
            prop_assert!(damaged.restore(&bytes).is_err());
            prop_assert_eq!(damaged.store.keys(), 0);
        }
    }
}

fn taken(key: usize, algorithm: u8, cost: i64) -> Step {
    Step {
        later: 0,
        key,
        algorithm,
        cost,
        extra: 0,
        over: 0,
        age: 0,
    }
}

fn minute(minutes: u32) -> Duration {
    WINDOW * minutes
}

#[test]
fn a_wall_clock_that_went_back_forgets_nothing_early() {
    for algorithm in 0..5 {
        let side = Side::new();
        side.asked(&taken(1, algorithm, 7));
        let bytes = side.saved();
        let back = Side::begun_at(side.clock.wall() - minute(60));
        let restored = back.restore(&bytes).unwrap();
        assert_eq!((restored.keys, restored.passed), (1, Duration::ZERO));
        back.hand.advance(minute(1) - Duration::from_secs(1));
        let now = back.asked(&taken(1, algorithm, 0)).remaining;
        assert!(now < 10, "algorithm {algorithm}: {now} are left too early");
    }
}

#[test]
fn what_is_forgotten_by_now_is_not_restored() {
    let side = Side::new();
    side.asked(&taken(1, 0, 7));
    side.hand.advance(minute(1) / 2);
    side.asked(&taken(2, 0, 7));
    let bytes = side.saved();
    let later = Side::begun_at(side.clock.wall() + minute(1) / 2);
    assert_eq!(later.restore(&bytes).unwrap().keys, 1);
    let late = Side::begun_at(side.clock.wall() + minute(2));
    assert_eq!(late.restore(&bytes), Err(Refused::TooOld));
    // That nothing had been spent is no reason to refuse it.
    assert_eq!(late.restore(&Side::new().saved()).unwrap().keys, 0);
}

#[test]
fn what_is_no_snapshot_is_refused_by_its_name() {
    let mut bytes = Side::new().saved();
    let refused = |bytes: &[u8]| Side::new().restore(bytes).unwrap_err();
    assert_eq!(refused(b""), Refused::Foreign);
    assert_eq!(refused(b"PK\x03\x04 or whatever it is"), Refused::Foreign);
    assert_eq!(refused(&bytes[..MAGIC.len()]), Refused::Torn);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(refused(&bytes), Refused::Torn);
    bytes[MAGIC.len()] = 2;
    assert_eq!(refused(&bytes), Refused::Version(2));
}

#[test]
fn what_all_share_that_found_no_room_is_restored() {
    for algorithm in 0..5 {
        let mut side = Side::new();
        side.bounds.keys = 1;
        side.asked(&taken(0, algorithm, 3));
        side.asked(&taken(1, algorithm, 4));
        let mut restored = Side::new();
        restored.bounds.keys = 1;
        restored.restore(&side.saved()).unwrap();
        for side in [&side, &restored] {
            let shared = side.asked(&taken(2, algorithm, 1)).remaining;
            let most = if algorithm == 1 { 7 } else { 10 };
            assert_eq!(shared, most - 5, "algorithm {algorithm}");
        }
    }
}

#[test]
fn max_keys_holds_for_what_is_restored() {
    let side = Side::new();
    for key in 0..3 {
        side.asked(&taken(key, 0, 1));
    }
    let mut small = Side::new();
    small.bounds.keys = 2;
    let restored = small.restore(&side.saved()).unwrap();
    assert_eq!((restored.keys, restored.left_out), (2, 1));
    assert_eq!(small.store.keys(), 2);
}
