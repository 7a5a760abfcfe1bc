//! Whole sets: what is accepted, what is refused and where, what changes a revision.

mod accepted;
mod identity;
mod refused;
mod revisions;
mod tokens;

use crate::{Diagnostics, PolicySet, Sources, load};

/// What the example of the design says in one file, with what this version has.
const SHOP: &str = include_str!("tests/shop.yaml");

fn set(text: &str) -> PolicySet {
    load(Sources::from_texts([("f.yaml", text)]))
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn problems(text: &str) -> Diagnostics {
    match load(Sources::from_texts([("f.yaml", text)])) {
        Ok(set) => set.warnings,
        Err(problems) => problems,
    }
}
