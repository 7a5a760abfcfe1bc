//! Any bytes, read as the messages that proxies send: no panic, and what is refused names its field.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (check, report) = mixer::server::wire::read(bytes);
    for malformed in [check.err(), report.err()].into_iter().flatten() {
        assert!(!malformed.field.is_empty() && !malformed.problem.is_empty());
    }
});
