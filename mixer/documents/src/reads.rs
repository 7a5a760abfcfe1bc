//! What expressions read, as far as it changes how they are applied.

use mixer_attributes::{Vocabulary, vocabulary};
use mixer_cel::Expression;

/// Some of them reads `request.*`, which a tcp service does not have.
pub(crate) fn reads_request(expressions: &[&Expression], vocabulary: &Vocabulary) -> bool {
    let mut reads = expressions.iter().flat_map(|expression| expression.reads());
    reads.any(|read| {
        vocabulary
            .by_id(read.attribute)
            .is_some_and(|attribute| attribute.name.starts_with("request."))
    })
}

/// Some of them reads `request.path`, or what is cut from it.
pub(crate) fn reads_path(expressions: &[&Expression]) -> bool {
    expressions
        .iter()
        .flat_map(|expression| expression.reads())
        .any(|read| {
            [
                vocabulary::REQUEST_PATH,
                vocabulary::API_SERVICE,
                vocabulary::API_OPERATION,
            ]
            .contains(&read.attribute)
        })
}
