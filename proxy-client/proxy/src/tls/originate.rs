//! Ordinary TLS to a service outside the mesh, for applications that speak plaintext to their proxy.
//!
//! Whom to trust is read when the documents are put into force. If that fails nothing is sent: a request gets 503 with the reason.

use std::collections::HashMap;
use std::sync::Arc;

use mixer_documents::{Originate, Roots, Service};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::{Dialer, Dialing, Undialed};

/// How one such service is dialed.
#[derive(Debug)]
pub(crate) struct Originating {
    originate: Originate,
    /// In the order they were read.
    certificates: Vec<CertificateDer<'static>>,
    /// By the name that is asked for, the first where a request names none of them.
    dialers: Result<Dialers, String>,
}

type Dialers = (Arc<Dialer>, HashMap<String, Arc<Dialer>>);

impl Originating {
    /// How `service` is dialed; as `before`, where that is the same, so that connections are kept.
    pub(crate) fn dialing(
        service: &Service,
        originate: &Originate,
        before: Option<&Arc<Dialing>>,
    ) -> Arc<Dialing> {
        let certificates = read(&originate.roots);
        if let (Some(before), Ok(certificates)) = (&before, &certificates)
            && let Dialing::Outside(known) = &***before
            && known.is(service, originate, certificates)
        {
            return (*before).clone();
        }
        let (certificates, roots) = match certificates {
            Ok(certificates) => (certificates.clone(), store(certificates)),
            Err(why) => (Vec::new(), Err(why)),
        };
        if let Err(why) = &roots {
            tracing::error!(service = %service.name, "nothing is sent: {why}");
        }
        let dialers = roots.and_then(|roots| dialers(service, originate, &Arc::new(roots)));
        Arc::new(Dialing::Outside(Self {
            originate: originate.clone(),
            certificates,
            dialers,
        }))
    }

    fn is(
        &self,
        service: &Service,
        originate: &Originate,
        certificates: &[CertificateDer<'_>],
    ) -> bool {
        self.originate == *originate
            && self.certificates == certificates
            && self.dialers.as_ref().is_ok_and(|(_, named)| {
                names(service, originate).all(|name| named.contains_key(name))
            })
    }

    /// What dials for a request to `host`.
    pub(super) fn dialer(&self, host: Option<&str>) -> Result<&Arc<Dialer>, Undialed> {
        match &self.dialers {
            Ok((first, named)) => {
                let asked = host.and_then(mixer_attributes::host::normalize);
                Ok(asked.and_then(|host| named.get(&*host)).unwrap_or(first))
            }
            Err(why) => Err(Undialed::NoRoots(why.clone())),
        }
    }
}

/// The names that are asked for: what `sni` says, else all that the service has.
fn names<'a>(service: &'a Service, originate: &'a Originate) -> impl Iterator<Item = &'a str> {
    let own = [&*service.name].into_iter();
    let all = own.chain(service.hosts.iter().map(String::as_str));
    let said = originate.sni.as_deref();
    said.into_iter().chain(all.filter(move |_| said.is_none()))
}

fn dialers(
    service: &Service,
    originate: &Originate,
    roots: &Arc<RootCertStore>,
) -> Result<Dialers, String> {
    let mut first = None;
    let mut named = HashMap::new();
    for name in names(service, originate) {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("`{name}` is no name that a certificate can have"))?;
        let dialer = Arc::new(Dialer::web(roots, server));
        first.get_or_insert_with(|| dialer.clone());
        named.insert(name.to_owned(), dialer);
    }
    let first = first.ok_or("there is no name to ask for")?;
    Ok((first, named))
}

fn read(roots: &Roots) -> Result<Vec<CertificateDer<'static>>, String> {
    match roots {
        Roots::File(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| format!("{path}: {error}")),
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            match found.errors.first() {
                Some(error) if found.certs.is_empty() => Err(error.to_string()),
                _ => Ok(found.certs),
            }
        }
    }
}

fn store(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // A system's store has certificates of all ages; one that cannot be read vouches for nobody.
    let (added, _) = roots.add_parsable_certificates(certificates);
    match added {
        0 => Err("there is no certificate of an authority".to_owned()),
        _ => Ok(roots),
    }
}

/// TLS 1.2 and 1.3, without a certificate of our own.
pub(super) fn web_config(roots: &Arc<RootCertStore>, alpn: &[&[u8]]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}
