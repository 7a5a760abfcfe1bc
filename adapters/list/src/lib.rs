//! The list adapter.
