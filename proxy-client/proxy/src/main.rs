//! The `mixer-proxy` command.
fn main() {}
