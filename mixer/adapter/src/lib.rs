//! The adapter contract and its conformance kit.
