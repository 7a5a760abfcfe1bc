//! The memory-quota adapter.
