//! Who may ask: what `mesh.clients` says of ids, and whether a proxy is that of the service it speaks for.
//!
//! Only callers that came with TLS are known by an id; in plaintext, which is for loopback and `--insecure`, everybody may ask
//! everything.

use std::sync::Arc;

use mixer_documents::{Clients, PolicySet};
use mixer_identity::{Peer, SpiffeId};
use tonic::Status;

const REPORT: &str = "/mixer.v1.Mixer/Report";
const WATCH: &str = "/mixer.v1.Mixer/Watch";
/// For news of what Watch told.
const REFRESH_KEYS: &str = "/mixer.v1.Mixer/RefreshKeys";

/// A caller whose certificate was verified, as requests carry it.
pub(super) type Caller = Arc<Peer>;

/// Whether a caller may make the call that a path names. What is neither Report nor Watch asks for a decision or for quota.
pub(super) fn may_call(caller: &SpiffeId, path: &str, set: &PolicySet) -> Result<(), Status> {
    let Clients {
        check,
        report,
        watch,
    } = &set.mesh.clients;
    let (what, listed) = match path {
        REPORT => ("report", report),
        WATCH | REFRESH_KEYS => ("watch", watch),
        _ => ("check", check),
    };
    let may = match listed {
        Some(listed) => listed.iter().any(|pattern| fits(caller, pattern)),
        None => caller.trust_domain().as_str() == set.mesh.trust_domain,
    };
    if may {
        return Ok(());
    }
    tracing::debug!(%caller, path, "refused");
    Err(Status::permission_denied(match listed {
        Some(_) => format!("`mesh.clients.{what}` does not name {caller}"),
        None => format!(
            "{caller} is of another trust domain than {}, and `mesh.clients.{what}` does not name it",
            set.mesh.trust_domain
        ),
    }))
}

/// Whether a caller may speak as the proxy of a service: where the service says its `identity`, nobody else has it.
pub(super) fn may_speak_for(
    caller: Option<&Caller>,
    service: &str,
    set: &PolicySet,
) -> Result<(), Status> {
    let Some(caller) = caller else {
        return Ok(());
    };
    let identity = set
        .service(service)
        .and_then(|known| known.identity.as_deref());
    match identity {
        Some(identity) if identity != caller.id.as_str() => {
            tracing::debug!(caller = %caller.id, service, "refused: it is not this service");
            Err(Status::permission_denied(format!(
                "{} is not {identity}, which the service {service:?} says it is",
                caller.id
            )))
        }
        _ => Ok(()),
    }
}

/// An id, or what ids begin with: `spiffe://cluster.local/ns/shop/*`.
fn fits(caller: &SpiffeId, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => caller.as_str().starts_with(start),
        None => caller.as_str() == pattern,
    }
}

#[cfg(test)]
mod tests {
    use mixer_documents::Sources;

    use super::*;

    fn set(text: &str) -> PolicySet {
        mixer_documents::load(Sources::from_texts([("f.yaml", text)])).unwrap()
    }

    fn id(text: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://{text}")).unwrap()
    }

    const CHECK: &str = "/mixer.v1.Mixer/Check";

    #[test]
    fn without_a_list_the_own_trust_domain_may_ask() {
        let set = set("mesh: { federated: [partner] }");
        for path in [
            CHECK,
            REPORT,
            WATCH,
            REFRESH_KEYS,
            "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
        ] {
            assert!(may_call(&id("cluster.local/a"), path, &set).is_ok());
            let refused = may_call(&id("partner/a"), path, &set).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        }
    }

    #[test]
    fn who_may_watch_may_ask_for_news_of_keys() {
        let set = set("mesh: { clients: { watch: [spiffe://cluster.local/a] } }");
        let may = |name| may_call(&id(name), REFRESH_KEYS, &set).is_ok();
        assert_eq!(
            ["cluster.local/a", "cluster.local/b"].map(may),
            [true, false]
        );
    }

    #[test]
    fn each_list_is_about_its_calls_and_a_star_is_the_rest() {
        let set = set(
            "mesh: { clients: { check: [spiffe://cluster.local/ns/shop/*, spiffe://partner/a], report: [] } }",
        );
        let may = |id: &SpiffeId, path| may_call(id, path, &set).is_ok();
        let (cart, other) = (
            id("cluster.local/ns/shop/sa/cart"),
            id("cluster.local/ns/shops"),
        );
        assert_eq!(
            [CHECK, REPORT, WATCH].map(|path| may(&cart, path)),
            [true, false, true]
        );
        assert_eq!([CHECK, WATCH].map(|path| may(&other, path)), [false, true]);
        assert!(may(&id("partner/a"), CHECK) && !may(&id("partner/a/b"), CHECK));
    }

    #[test]
    fn a_service_that_says_who_it_is_has_no_other_proxy() {
        let set = set("service: a\nidentity: spiffe://cluster.local/a\n---\nservice: b\n");
        let caller = Arc::new(Peer {
            id: id("cluster.local/b"),
            chain: Vec::new(),
        });
        let may = |service| may_speak_for(Some(&caller), service, &set).is_ok();
        assert_eq!(["a", "b", "unknown"].map(may), [false, true, true]);
        assert!(
            may_speak_for(None, "a", &set).is_ok(),
            "in plaintext nobody is known"
        );
    }
}
