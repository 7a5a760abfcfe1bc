//! The `mixer` command.
fn main() {}
