//! Both kinds of fixed windows against a model that remembers every spending.

use proptest::prelude::*;

use super::*;

proptest! {
    /// At most the limit from the first token of a window to its end, and nothing forgotten before.
    #[test]
    fn an_opened_window_counts_what_was_spent_since_its_first_token(
        window in 1..10_000u64,
        limit in 1..20u64,
        steps in prop::collection::vec((0..4_000u64, 1..6u64), 1..200),
    ) {
        let (mut opened, mut model, mut now) = (Opened::NEVER, Vec::<(u64, u64)>::new(), 1_000_000);
        let mut start = 0;
        for (apart, tokens) in steps {
            now += apart;
            if model.is_empty() || now >= start + window {
                model.clear();
            }
            let spent: u64 = model.iter().map(|(_, tokens)| tokens).sum();
            prop_assert_eq!(opened.spent(window, now), spent);
            if spent + tokens <= limit {
                if model.is_empty() {
                    start = now;
                }
                opened.spend(tokens, window, now);
                model.push((now, tokens));
            } else if spent > 0 {
                let wait = opened.ends_in(window, now);
                prop_assert_eq!(opened.spent(window, now + wait), 0);
                prop_assert_eq!(opened.spent(window, now + wait - 1), spent);
            }
        }
    }

    /// At most the limit in each window of the calendar, whatever order callers of unlike clocks come in.
    #[test]
    fn a_page_of_the_calendar_never_holds_more_than_the_limit(
        limit in 1..20u64,
        steps in prop::collection::vec((0..40u64, 0..3u64, 1..6u64), 1..200),
    ) {
        let length = 30;
        let (mut page, mut granted, mut seconds) = (Page::NONE, std::collections::HashMap::new(), 3_000u64);
        for (apart, behind, tokens) in steps {
            seconds += apart;
            let wall = seconds - behind;
            let number = wall / length * length;
            let today = Today::new(number as i64, (number + length - wall) * SECOND);
            let now = seconds * SECOND;
            if page.spent(today, now) + tokens <= limit {
                page.spend(tokens, today, now);
                // Counted where it was asked for, or in the window after it.
                let counted = granted.entry(page.number).or_insert(0u64);
                *counted += tokens;
                prop_assert!(u64::from(page.number) >= number);
                prop_assert!(*counted <= limit, "{counted} of {limit} in {number}");
            } else {
                prop_assert!(page.ends_in(today, now) <= length * SECOND);
            }
        }
    }
}

#[test]
fn what_an_older_window_took_is_not_given_back_to_a_newer_one() {
    let mut opened = Opened::NEVER;
    opened.spend(5, 100, 1_000);
    opened.spend(5, 100, 1_100);
    opened.give_back(3, 101, 1_101);
    assert_eq!(opened.spent(100, 1_101), 5);
    opened.give_back(3, 1, 1_101);
    assert_eq!(opened.spent(100, 1_101), 2);

    let [monday, tuesday] = [100, 200].map(|number| Today::new(number, SECOND));
    let mut page = Page::NONE;
    page.spend(5, monday, 0);
    page.spend(5, tuesday, 0);
    page.give_back(3, monday);
    assert_eq!(page.spent(tuesday, 0), 5);
    page.give_back(3, tuesday);
    assert_eq!(page.spent(tuesday, 0), 2);
}

#[test]
fn a_caller_whose_clock_is_behind_begins_no_window_anew() {
    let [monday, tuesday] = [100, 200].map(|number| Today::new(number, 100 * SECOND));
    let mut page = Page::NONE;
    page.spend(5, tuesday, 0);
    page.spend(1, monday, SECOND);
    assert_eq!(
        (page.spent(tuesday, SECOND), page.spent(monday, SECOND)),
        (6, 6)
    );
    assert_eq!(page.ends_in(monday, SECOND), 99 * SECOND);
    assert!(!page.is_over(100 * SECOND) && page.is_over(160 * SECOND));
}
