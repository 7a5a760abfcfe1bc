//! The sliding window: at most N in any window.
//!
//! Spending is kept as slots of (time of the last spending in it, tokens). Two spendings share a slot when they fall into the
//! same cell of a grid of [`CELLS`] per window; the slot then has the later time, so a token is remembered for its window and
//! for less than one cell more, never less. Hence no window of the limit's length, wherever it begins, sees more than N
//! granted; spendings further apart than a cell are counted to the nanosecond. A key that spends seldom holds one slot
//! inline. A ring of counters over fixed cells would be as exact only with the cell always in doubt, and costs every key the
//! whole ring.

use std::collections::VecDeque;

/// Cells per window: the granularity is 1/64 of the window, 1.6 %.
pub(crate) const CELLS: u64 = 64;

/// Slots per key: reached only when limits of different windows apply to it in turn, since one window needs `CELLS + 2`.
const MAX_SLOTS: usize = 3 * CELLS as usize;

/// Tokens spent by `at` (nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) at: u64,
    pub(crate) tokens: u64,
}

/// What a key has spent. The oldest slot first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::box_collection,
    reason = "a word instead of four, in every entry of the table"
)]
pub(crate) enum Spent {
    One(Slot),
    Many(Box<VecDeque<Slot>>),
}

impl Spent {
    pub(crate) const NOTHING: Self = Spent::One(Slot { at: 0, tokens: 0 });

    /// Of such slots, unless they are more than a key ever has.
    pub(crate) fn of(slots: Vec<Slot>) -> Option<Self> {
        match *slots {
            [] => Some(Spent::NOTHING),
            [one] => Some(Spent::One(one)),
            _ => (slots.len() <= MAX_SLOTS).then(|| Spent::Many(Box::new(slots.into()))),
        }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        let (one, many) = match self {
            Spent::One(slot) => (Some(slot), None),
            Spent::Many(slots) => (None, Some(slots.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Tokens that count at `now`.
    pub(crate) fn within(&self, window: u64, now: u64) -> u64 {
        let live = self.slots().filter(|slot| is_live(slot, window, now));
        live.fold(0, |sum, slot| sum.saturating_add(slot.tokens))
    }

    /// The last spending that counts at `now`, if any does.
    pub(crate) fn is_idle(&self, window: u64, now: u64) -> bool {
        !self.slots().any(|slot| is_live(slot, window, now))
    }

    /// Nanoseconds from `now` until at least `needed` tokens are forgotten, or all if there are fewer.
    pub(crate) fn forgotten_in(&self, needed: u64, window: u64, now: u64) -> u64 {
        let mut forgotten = 0u64;
        let mut wait = 0;
        for slot in self.slots().filter(|slot| is_live(slot, window, now)) {
            if forgotten >= needed {
                break;
            }
            forgotten = forgotten.saturating_add(slot.tokens);
            wait = slot.at.saturating_add(window).saturating_sub(now);
        }
        wait
    }

    /// Spends at `now`; forgets what is older than `longest`, the longest window that may be asked about.
    pub(crate) fn spend(&mut self, tokens: u64, window: u64, longest: u64, now: u64) {
        if tokens == 0 {
            return;
        }
        let cell = (window / CELLS).max(1);
        let fresh = Slot { at: now, tokens };
        let joins = |last: &Slot| last.at / cell == now / cell;
        match self {
            Spent::One(last) if last.tokens == 0 || !is_live(last, longest, now) => *last = fresh,
            Spent::One(last) if joins(last) => {
                *last = Slot {
                    at: now,
                    tokens: last.tokens.saturating_add(tokens),
                };
            }
            Spent::One(last) => {
                *self = Spent::Many(Box::new(VecDeque::from([*last, fresh])));
            }
            Spent::Many(slots) => {
                while slots
                    .front()
                    .is_some_and(|slot| !is_live(slot, longest, now))
                {
                    slots.pop_front();
                }
                match slots.back_mut() {
                    None => *self = Spent::One(fresh),
                    Some(last) if joins(last) => {
                        *last = Slot {
                            at: now,
                            tokens: last.tokens.saturating_add(tokens),
                        };
                    }
                    Some(_) => slots.push_back(fresh),
                }
            }
        }
        if let Spent::Many(slots) = self
            && slots.len() > MAX_SLOTS
        {
            compact(slots, window, longest, now);
        }
    }

    /// Gives tokens back, to the oldest spending first: whichever spending it was that did not happen, what remains is then
    /// counted at least as long as it must be.
    pub(crate) fn give_back(&mut self, mut tokens: u64, window: u64, now: u64) {
        let mut take_from = |slot: &mut Slot| {
            let given = slot.tokens.min(tokens);
            slot.tokens -= given;
            tokens -= given;
        };
        match self {
            Spent::One(slot) => take_from(slot),
            Spent::Many(slots) => {
                let live = slots.iter_mut().filter(|slot| is_live(slot, window, now));
                live.for_each(take_from);
                slots.retain(|slot| slot.tokens > 0);
                if slots.is_empty() {
                    *self = Spent::NOTHING;
                }
            }
        }
    }
}

/// A token spent at `t` counts in the windows that begin at or before `t`: until `t + window`, then no longer.
fn is_live(slot: &Slot, window: u64, now: u64) -> bool {
    slot.tokens > 0 && slot.at.saturating_add(window) > now
}

/// Joins slots that share a cell of the longest window: those that the asked window no longer counts, and all if that is not
/// enough.
fn compact(slots: &mut VecDeque<Slot>, window: u64, longest: u64, now: u64) {
    let cell = (longest / CELLS).max(1);
    for only_old in [true, false] {
        let mut joined: VecDeque<Slot> = VecDeque::with_capacity(slots.len());
        for slot in slots.iter() {
            match joined.back_mut() {
                Some(last)
                    if last.at / cell == slot.at / cell
                        && !(only_old && is_live(slot, window, now)) =>
                {
                    *last = Slot {
                        at: slot.at,
                        tokens: last.tokens.saturating_add(slot.tokens),
                    };
                }
                _ => joined.push_back(*slot),
            }
        }
        *slots = joined;
        if slots.len() <= MAX_SLOTS {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
