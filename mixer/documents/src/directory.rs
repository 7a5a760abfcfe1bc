//! Authorities to services.

use std::sync::Arc;

use crate::Service;

/// Finds the service an authority means, by its `service` name or one of its `hosts`.
#[derive(Clone, Debug, Default)]
pub struct Directory {}

impl Directory {
    /// Over these services. Names were checked to be unique at load.
    pub fn new(services: impl IntoIterator<Item = Arc<Service>>) -> Self {
        let _ = services.into_iter().count();
        unimplemented!()
    }

    /// The service `authority` (as sent: any case, with or without port and trailing dot) means.
    pub fn resolve(&self, authority: &str) -> Option<&Arc<Service>> {
        let _ = authority;
        unimplemented!()
    }
}
