//! Any text, compiled as a `for`: no panic, and what selects a request can select it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mixer_attributes::vocabulary as v;
use mixer_attributes::{AttributeBag, Value, Vocabulary};
use mixer_cel::Compiler;

fuzz_target!(|source: &str| {
    let Ok(selector) = Compiler::new(Vocabulary::new()).selector(source) else {
        return;
    };
    let mut bag = AttributeBag::new();
    assert!(
        selector.can_select(&bag) || selector.reads().is_empty(),
        "a `for` has no negation"
    );
    bag.set(v::DESTINATION_SERVICE, Value::String("products.shop"));
    bag.set(v::DESTINATION_NAMESPACE, Value::String("shop"));
    assert!(!selector.selects(&bag) || selector.can_select(&bag));
    assert_eq!(selector.canonical(), selector.clone().canonical());
});
