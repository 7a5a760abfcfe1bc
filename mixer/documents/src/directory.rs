//! Authorities to services.

use std::collections::HashMap;
use std::sync::Arc;

use mixer_attributes::host;

use crate::Service;

/// Finds the service an authority means, by its `service` name or one of its `hosts`.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    by_host: HashMap<Box<str>, Arc<Service>>,
}

impl Directory {
    /// Over these services. Names were checked to be unique at load.
    pub fn new(services: impl IntoIterator<Item = Arc<Service>>) -> Self {
        let mut by_host = HashMap::new();
        for service in services {
            for host in service
                .hosts
                .iter()
                .map(String::as_str)
                .chain([&*service.name])
            {
                by_host.insert(host.into(), service.clone());
            }
        }
        Self { by_host }
    }

    /// The service `authority` (as sent: any case, with or without port and trailing dot) means.
    pub fn resolve(&self, authority: &str) -> Option<&Arc<Service>> {
        self.by_host.get(&*host::normalize(authority)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sources;

    #[test]
    fn every_spelling_of_a_name_or_host_means_its_service() {
        let text = "service: products.shop\nhosts: [products, '::1']\n---\nservice: reviews.shop\n";
        let directory = Directory::new(
            crate::load(Sources::from_texts([("s", text)]))
                .unwrap()
                .services,
        );
        for (authority, service) in [
            ("products.shop", Some("products.shop")),
            ("Products.Shop.:8080", Some("products.shop")),
            ("products:80", Some("products.shop")),
            ("[::1]:80", Some("products.shop")),
            ("reviews.shop", Some("reviews.shop")),
            ("reviews", None),
            ("products.shop.evil", None),
            ("user@products", None),
            ("", None),
        ] {
            assert_eq!(
                directory.resolve(authority).map(|service| &*service.name),
                service,
                "{authority}"
            );
        }
    }
}
