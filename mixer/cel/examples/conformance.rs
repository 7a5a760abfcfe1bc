//! Prints how many cases of the CEL specification pass, by file, as the README shows it.

#[path = "../tests/conformance/suite.rs"]
mod suite;

fn main() {
    match suite::Suite::run() {
        Some(suite) => print!("{}", suite.table()),
        None => println!("the conformance data does not lie beside the repository"),
    }
}
