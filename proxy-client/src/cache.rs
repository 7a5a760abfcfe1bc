//! Decisions by what they read.
