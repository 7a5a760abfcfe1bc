//! Sources to a set: everything or nothing.

use crate::{Diagnostics, PolicySet, Sources};

/// Parses, checks and compiles. `Err` holds every problem found; warnings alone load and stay in [`PolicySet::warnings`].
pub fn load(sources: Sources) -> Result<PolicySet, Diagnostics> {
    let _ = sources;
    unimplemented!()
}
