//! Decisions as operators and proxies see them, through documents.

mod asking;
mod explained;
mod fixture;
mod holding;
mod quotas;
mod random;
mod soundness;
mod table;
mod telling;
