//! Any text, loaded as documents and as a request: no panic, no long wait, every problem can be shown, and what loads once
//! loads again to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mixer_attributes::Vocabulary;
use mixer_documents::{Sources, load, request};

fuzz_target!(|text: &str| {
    let loaded = || load(Sources::from_texts([("fuzz.yaml", text)]));
    match (loaded(), loaded()) {
        (Ok(one), Ok(other)) => {
            let _ = one.warnings.render(false);
            assert_eq!(one.warnings, other.warnings);
        }
        (Err(one), Err(other)) => {
            assert!(one.errors() > 0, "refused without a reason");
            let _ = one.render(true);
            assert_eq!(one.lines(), other.lines());
        }
        _ => panic!("loaded once and refused once"),
    }
    if let Err(problems) = request("fuzz.yaml", text, &Vocabulary::new()) {
        let _ = problems.render(false);
    }
});
