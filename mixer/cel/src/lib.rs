//! CEL, checked against the vocabulary and compiled to slots.
