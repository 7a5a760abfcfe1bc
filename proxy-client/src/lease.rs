//! Quota held in advance.
