//! Decisions as operators and proxies see them, through documents.

mod asking;
mod counting;
mod explained;
pub(super) mod fixture;
mod holding;
mod quotas;
mod random;
mod shapes;
mod soundness;
mod table;
mod telling;
