//! The log adapter.
