//! Whether one `for` selects whatever another selects.

use mixer_attributes::{AttributeBag, Value, vocabulary};
use mixer_cel::Selector;

/// Certainly so; `false` says nothing.
///
/// `for` has no negation, and a comparison with an absent attribute is false: what selects a destination of which only the
/// service is known selects every destination of that service.
pub(super) fn covers(wide: &Selector, narrow: &Selector) -> bool {
    let always = Selector::always().canonical();
    if wide.canonical() == always || wide.canonical() == narrow.canonical() {
        return true;
    }
    let Some(services) = narrow.only(vocabulary::DESTINATION_SERVICE) else {
        return false;
    };
    services.iter().all(|service| {
        let mut bag = AttributeBag::new();
        bag.set(vocabulary::DESTINATION_SERVICE, Value::String(service));
        wide.selects(&bag)
    })
}
