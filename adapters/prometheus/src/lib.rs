//! The prometheus adapter.
