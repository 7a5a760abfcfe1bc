//! Documents: YAML to a checked, compiled, immutable set.
