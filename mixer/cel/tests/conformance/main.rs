//! The CEL specification's own cases: no wrong answer, nearly all of them answered, and the README says how many.
//!
//! The data lies beside the repository; without it the tests say what they skipped.

mod suite;

use suite::Suite;

/// Of every hundred cases in scope, so many must be answered right.
const FLOOR: usize = 97;

fn suite() -> Option<Suite> {
    let suite = Suite::run();
    if suite.is_none() {
        println!("skipped: the conformance data is not there (1,440 cases)");
    }
    suite
}

#[test]
fn no_case_of_the_specification_is_answered_wrong() {
    let Some(suite) = suite() else { return };
    assert!(
        suite.wrong.is_empty(),
        "{} wrong:\n  {}",
        suite.wrong.len(),
        suite.wrong.join("\n  ")
    );
    let total = suite.total();
    assert!(total.in_scope > 900, "{total:?}");
    let refused: usize = total.refused.values().sum();
    assert_eq!(
        total.passed + refused,
        total.in_scope,
        "each is one or the other"
    );
    assert!(
        total.passed * 100 >= total.in_scope * FLOOR,
        "only {} of {} right",
        total.passed,
        total.in_scope
    );
}

#[test]
fn the_readme_tells_the_result() {
    let Some(suite) = suite() else { return };
    let table = suite.table();
    assert!(
        include_str!("../../README.md").contains(&table),
        "the table of the README is another; `cargo run -p mixer-cel --example conformance` prints it:\n{table}"
    );
}
