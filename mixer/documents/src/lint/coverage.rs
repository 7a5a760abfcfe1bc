//! Whether one `for` selects whatever another selects, among ten thousand.
//!
//! `for` has no negation, and a comparison with an absent attribute is false: what selects a destination of which only the
//! service is known selects every destination of that service. So what covers a policy for some services is found among those
//! that name the first of them, those that name none, and those that say the same.

use std::collections::HashMap;

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_cel::Selector;

/// Selectors, to be asked which of them cover another. That one is not found says nothing.
pub(super) struct Coverage<'s> {
    selectors: Vec<&'s Selector>,
    always: Vec<usize>,
    alike: HashMap<String, Vec<usize>>,
    by_service: HashMap<&'s str, Vec<usize>>,
    /// Those that name no service.
    open: Vec<usize>,
}

impl<'s> Coverage<'s> {
    pub(super) fn new(selectors: impl IntoIterator<Item = &'s Selector>) -> Self {
        let mut coverage = Self {
            selectors: selectors.into_iter().collect(),
            always: Vec::new(),
            alike: HashMap::new(),
            by_service: HashMap::new(),
            open: Vec::new(),
        };
        let always = Selector::always();
        for (at, selector) in coverage.selectors.iter().enumerate() {
            let alike = coverage.alike.entry(selector.canonical()).or_default();
            alike.push(at);
            match selector.only(vocabulary::DESTINATION_SERVICE) {
                _ if **selector == always => coverage.always.push(at),
                None => coverage.open.push(at),
                Some(services) => {
                    for service in services {
                        coverage.by_service.entry(service).or_default().push(at);
                    }
                }
            }
        }
        coverage
    }

    /// Those that certainly select every destination `narrow` selects, by their number, in order.
    pub(super) fn of(&self, narrow: &Selector) -> Vec<usize> {
        let alike = self.alike.get(&narrow.canonical());
        let mut found: Vec<usize> = self
            .always
            .iter()
            .chain(alike.into_iter().flatten())
            .copied()
            .collect();
        if let Some(services) = narrow.only(vocabulary::DESTINATION_SERVICE)
            && let Some(first) = services.first()
        {
            let named = self.by_service.get(first).into_iter().flatten();
            let candidates = named.chain(&self.open);
            found.extend(candidates.filter(|at| {
                services.iter().all(|service| {
                    let mut bag = AttributeBag::new();
                    bag.set(vocabulary::DESTINATION_SERVICE, Value::String(service));
                    self.selectors[**at].selects(&bag)
                })
            }));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
