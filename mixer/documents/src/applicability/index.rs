//! Which selectors can hold for a service, so that a destination that is new does not ask ten thousand of them.

use std::collections::HashMap;

use mixer_attributes::vocabulary::DESTINATION_SERVICE;
use mixer_cel::Selector;

/// Documents by the services their selectors name with `==` or `in`.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_service: HashMap<Box<str>, Vec<usize>>,
    /// Those that name none.
    any: Vec<usize>,
}

impl Index {
    pub(super) fn new<'s>(selectors: impl Iterator<Item = &'s Selector>) -> Self {
        let mut index = Self::default();
        for (document, selector) in selectors.enumerate() {
            let Some(mut services) = selector.only(DESTINATION_SERVICE) else {
                index.any.push(document);
                continue;
            };
            services.sort_unstable();
            services.dedup();
            for service in services {
                index
                    .by_service
                    .entry(service.into())
                    .or_default()
                    .push(document);
            }
        }
        index
    }

    /// Every document that can select a destination of this service, in order.
    pub(super) fn candidates(&self, service: Option<&str>) -> Vec<usize> {
        let named = service.and_then(|service| self.by_service.get(service));
        let mut candidates = self.any.clone();
        candidates.extend(named.into_iter().flatten());
        candidates.sort_unstable();
        candidates
    }
}
