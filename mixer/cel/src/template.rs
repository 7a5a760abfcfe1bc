//! Texts with CEL in braces: `no access for {source.service_account}`.

use crate::{Evaluation, Read};

/// A compiled template. What is absent or cannot be evaluated renders as `-`.
#[derive(Clone, Debug)]
pub struct Template {}

impl Template {
    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        unimplemented!()
    }

    /// Every read in it.
    pub fn reads(&self) -> Vec<Read> {
        unimplemented!()
    }

    /// The text for one request.
    pub fn render<'a>(&'a self, evaluation: &mut Evaluation<'a>) -> String {
        let _ = evaluation;
        unimplemented!()
    }
}
