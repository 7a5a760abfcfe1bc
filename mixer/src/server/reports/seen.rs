//! Which batches were counted: per client the highest sequence and the 63 before it, so that a retry that overtakes a later
//! batch is not lost. What is older counts as seen. Bounded; the clients not heard of for longest are forgotten first.

use std::collections::HashMap;
use std::time::Duration;

use mixer_runtime::Instant;

/// Clients remembered.
const CLIENTS: usize = 16_384;
/// A client that is silent for longer has ended; its successor has another name.
const SILENCE: Duration = Duration::from_secs(3_600);

#[derive(Debug, Default)]
pub(super) struct Seen {
    clients: HashMap<String, Window>,
}

/// Bit `n` of `recent` says whether `highest - n` was seen.
#[derive(Debug)]
struct Window {
    highest: u64,
    recent: u64,
    heard: Instant,
}

impl Seen {
    /// Whether the batch was not noted before.
    pub(super) fn is_new(&self, client: &str, sequence: u64) -> bool {
        let Some(window) = self.clients.get(client) else {
            return true;
        };
        match window.highest.checked_sub(sequence) {
            None => true,
            Some(behind) => behind < 64 && window.recent >> behind & 1 == 0,
        }
    }

    /// Notes a batch that is counted.
    pub(super) fn note(&mut self, client: String, sequence: u64, now: Instant) {
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&client) {
            self.forget(now);
        }
        let window = self.clients.entry(client).or_insert(Window {
            highest: sequence,
            recent: 0,
            heard: now,
        });
        if let Some(ahead) = sequence.checked_sub(window.highest) {
            window.recent = u32::try_from(ahead)
                .ok()
                .and_then(|ahead| window.recent.checked_shl(ahead))
                .unwrap_or(0)
                | 1;
            window.highest = sequence;
        } else if window.highest - sequence < 64 {
            window.recent |= 1 << (window.highest - sequence);
        }
        window.heard = now;
    }

    /// Makes room: drops who is silent, or else the half that is silent for longest.
    fn forget(&mut self, now: Instant) {
        self.clients
            .retain(|_, window| window.heard + SILENCE > now);
        if self.clients.len() >= CLIENTS {
            let mut heard: Vec<Instant> =
                self.clients.values().map(|window| window.heard).collect();
            let (_, middle, _) = heard.select_nth_unstable(CLIENTS / 2);
            let middle = *middle;
            self.clients.retain(|_, window| window.heard > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_sequence_counts_once_in_whatever_order_it_comes() {
        let mut seen = Seen::default();
        let order = [1u64, 2, 5, 3, 70, 69, 200];
        for sequence in order {
            assert!(seen.is_new("a", sequence), "{sequence} the first time");
            seen.note("a".to_owned(), sequence, at(0));
            assert!(!seen.is_new("a", sequence), "{sequence} again");
        }
        assert!(order.iter().all(|sequence| !seen.is_new("a", *sequence)));
        assert!(!seen.is_new("a", 136), "too old to tell counts as seen");
        assert!(seen.is_new("a", 137) && seen.is_new("a", 201));
        assert!(seen.is_new("b", 1), "clients do not share sequences");
    }

    #[test]
    fn the_number_of_clients_is_bounded_and_the_newest_are_kept() {
        let mut seen = Seen::default();
        for client in 0..3 * CLIENTS as u64 {
            seen.note(client.to_string(), 1, at(client));
            assert!(seen.clients.len() <= CLIENTS);
        }
        assert!(!seen.is_new(&(3 * CLIENTS - 1).to_string(), 1));
    }
}
