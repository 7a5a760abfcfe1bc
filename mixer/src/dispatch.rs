//! Deciding: which rules apply, whom to ask, how answers combine, and what happens when somebody cannot be asked.

mod decision;

pub use decision::{Because, Charge, Decision, HeaderOperation, ShadowVerdict, Verdict};
