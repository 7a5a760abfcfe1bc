//! The sliding window against a model that remembers every spending.

use proptest::prelude::*;

use super::*;

/// Every spending, for ever.
#[derive(Default)]
struct Model(Vec<(u64, u64)>);

impl Model {
    /// Tokens spent in the `span` nanoseconds that end with `now`.
    fn within(&self, span: u64, now: u64) -> u64 {
        self.0
            .iter()
            .filter(|(at, _)| at + span > now)
            .map(|(_, tokens)| tokens)
            .sum()
    }
}

fn steps(most_apart: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..most_apart, 1..5u64), 1..200)
}

proptest! {
    /// The contract: at most the limit in any window, and a refusal only if the window and one cell before it are full.
    #[test]
    fn never_more_than_the_limit_in_any_window_and_at_most_a_cell_conservative(
        window in 64..100_000u64,
        limit in 1..40u64,
        steps in steps(3_000),
    ) {
        let (mut spent, mut model, mut now) = (Spent::NOTHING, Model::default(), 1_000_000);
        for (apart, tokens) in steps {
            now += apart;
            let counted = spent.within(window, now);
            prop_assert!(counted >= model.within(window, now));
            prop_assert!(counted <= model.within(window + window / CELLS, now));
            if counted + tokens <= limit {
                spent.spend(tokens, window, window, now);
                model.0.push((now, tokens));
            } else if tokens <= limit {
                // What the refusal promises is true, and not a nanosecond too late.
                let wait = spent.forgotten_in(counted + tokens - limit, window, now);
                prop_assert!(spent.within(window, now + wait) + tokens <= limit);
                prop_assert!(spent.within(window, now + wait - 1) + tokens > limit);
            }
            if let Spent::Many(slots) = &spent {
                prop_assert!(slots.len() <= CELLS as usize + 2);
            }
        }
        for (end, _) in &model.0 {
            prop_assert!(model.0.iter().filter(|(at, _)| at <= end && at + window > *end).map(|(_, tokens)| tokens).sum::<u64>() <= limit);
        }
    }

    #[test]
    fn spendings_more_than_a_cell_apart_are_counted_exactly(window in 64..100_000u64, steps in steps(3_000)) {
        let (mut spent, mut model, mut now) = (Spent::NOTHING, Model::default(), 1_000_000);
        for (apart, tokens) in steps {
            now += window / CELLS + 1 + apart;
            prop_assert_eq!(spent.within(window, now), model.within(window, now));
            spent.spend(tokens, window, window, now);
            model.0.push((now, tokens));
        }
    }

    /// Whichever spending is taken back, what is counted never falls below what remains of the others.
    #[test]
    fn giving_back_never_forgets_another_spending(steps in steps(3_000), which in any::<prop::sample::Index>()) {
        let window = 64_000;
        let (mut spent, mut model, mut now) = (Spent::NOTHING, Model::default(), 1_000_000);
        for (apart, tokens) in steps {
            now += apart;
            spent.spend(tokens, window, window, now);
            model.0.push((now, tokens));
        }
        let live: Vec<usize> = (0..model.0.len()).filter(|at| model.0[*at].0 + window > now).collect();
        let taken_back = live[which.index(live.len())];
        spent.give_back(model.0[taken_back].1, window, now);
        model.0.remove(taken_back);
        for later in (0..window + 2_000).step_by(997) {
            prop_assert!(spent.within(window, now + later) >= model.within(window, now + later));
        }
    }

    /// Limits of several windows on one key: each stays safe, and memory stays bounded.
    #[test]
    fn two_windows_on_one_key_stay_safe_and_bounded(steps in prop::collection::vec((0..2_000u64, any::<bool>()), 1..400)) {
        let (short, long) = (6_400, 640_000);
        let (mut spent, mut model, mut now) = (Spent::NOTHING, Model::default(), 1_000_000);
        for (apart, is_short) in steps {
            now += apart;
            spent.spend(1, if is_short { short } else { long }, long, now);
            model.0.push((now, 1));
            for window in [short, long] {
                let counted = spent.within(window, now);
                prop_assert!(counted >= model.within(window, now));
                prop_assert!(counted <= model.within(window + long / CELLS, now));
            }
            if let Spent::Many(slots) = &spent {
                prop_assert!(slots.len() <= MAX_SLOTS);
            }
        }
    }
}

#[test]
fn a_token_is_forgotten_when_its_window_is_over() {
    let mut spent = Spent::NOTHING;
    spent.spend(1, 1000, 1000, 500);
    assert_eq!((spent.within(1000, 1499), spent.within(1000, 1500)), (1, 0));
    assert_eq!(
        (spent.is_idle(1000, 1499), spent.is_idle(1000, 1500)),
        (false, true)
    );
}
