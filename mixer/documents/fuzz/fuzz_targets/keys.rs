//! Any text, read as a set of keys: no panic, nothing beyond the bounds, and what is passed on reads back to the same keys.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mixer_documents::KeySet;

fuzz_target!(|text: &str| {
    if let Ok(set) = KeySet::read(text) {
        assert!((1..=64).contains(&set.keys().len()));
        let again = KeySet::read(&set.canonical()).expect("what is passed on is a set");
        assert_eq!(again.keys(), set.keys());
        assert!(again.unused().is_empty());
    }
});
