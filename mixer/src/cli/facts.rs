//! Attributes as a proxy would set them, from the words people and logs use: a caller, a target, a destination, headers.
//!
//! Where a proxy reads something in one way, so does this: paths are normalised, namespace and service account come out of an
//! id of the mesh's own trust domain only, a query or cookie name given twice has no one value. What has none is left unset, so
//! that a rule that reads it is undetermined.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use mixer_attributes::path::{Ambiguous, EncodedSlash, normalize, split_query};
use mixer_attributes::vocabulary as v;
use mixer_attributes::{OwnedBag, OwnedValue, host};
use mixer_documents::{Directory, Mesh, Protocol, Service};
use percent_encoding::percent_decode;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// It has proved no identity.
    Nobody,
    /// A SPIFFE id.
    Principal(String),
    /// A service account of the mesh's own trust domain.
    Account(String, String),
}

impl std::str::FromStr for Caller {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Nobody);
        }
        if let Some(rest) = text.strip_prefix("spiffe://") {
            let domain = rest.split('/').next().unwrap_or_default();
            if domain.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err("a SPIFFE id is spiffe://TRUST-DOMAIN/PATH".to_owned());
            }
            return Ok(Self::Principal(text.to_owned()));
        }
        match text.split_once('/') {
            Some((namespace, account)) if is_name(namespace) && is_name(account) => {
                Ok(Self::Account(namespace.to_owned(), account.to_owned()))
            }
            _ => Err(
                "who asks is NAMESPACE/SERVICE-ACCOUNT, a spiffe:// id, or - for nobody known"
                    .to_owned(),
            ),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

impl Caller {
    /// Sets what the caller's certificate proves.
    pub(super) fn fill(&self, mesh: &Mesh, bag: &mut OwnedBag) {
        let principal = match self {
            Caller::Nobody => {
                bag.set(v::CONNECTION_MTLS, OwnedValue::Bool(false));
                return;
            }
            Caller::Principal(principal) => principal.clone(),
            Caller::Account(namespace, account) => {
                format!("spiffe://{}/ns/{namespace}/sa/{account}", mesh.trust_domain)
            }
        };
        bag.set(v::CONNECTION_MTLS, OwnedValue::Bool(true));
        let mut parts = principal
            .strip_prefix("spiffe://")
            .unwrap_or_default()
            .split('/');
        if let Some(domain) = parts.next().filter(|domain| !domain.is_empty()) {
            bag.set(v::SOURCE_TRUST_DOMAIN, text(domain));
            let believed =
                domain == mesh.trust_domain || mesh.federated.iter().any(|of| of == domain);
            let path: Vec<&str> = parts.collect();
            if let (true, ["ns", namespace, "sa", account]) = (believed, &*path) {
                bag.set(v::SOURCE_NAMESPACE, text(namespace));
                bag.set(v::SOURCE_SERVICE_ACCOUNT, text(account));
            }
        }
        bag.set(v::SOURCE_PRINCIPAL, OwnedValue::String(principal));
    }
}

/// Sets path and query from a request target. An ambiguous path is left unset, and said.
pub(super) fn target(target: &str, keep_slash: bool, bag: &mut OwnedBag) -> Result<(), Ambiguous> {
    let (raw, query) = split_query(target);
    let slash = if keep_slash {
        EncodedSlash::Keep
    } else {
        EncodedSlash::Refuse
    };
    bag.set(v::REQUEST_RAW_PATH, text(raw));
    let pairs = query.unwrap_or_default().split('&');
    let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((form(name)?, form(value)?))
    });
    once_each(v::REQUEST_QUERY, pairs, bag);
    let read = normalize(raw, slash)?;
    bag.set(v::REQUEST_PATH, text(&read.path));
    Ok(())
}

/// Sets the headers, and what is read out of them.
pub(super) fn headers(headers: BTreeMap<String, String>, bag: &mut OwnedBag) {
    let cookies = headers.get("cookie").map_or("", String::as_str);
    let pairs = cookies
        .split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((name.trim_end().to_owned(), value.trim_start().to_owned()))
    });
    once_each(v::REQUEST_COOKIES, pairs, bag);
    if let Some(agent) = headers.get("user-agent") {
        bag.set(v::REQUEST_USERAGENT, text(agent));
    }
    if let Some(id) = headers.get("x-request-id") {
        bag.set(v::REQUEST_ID, text(id));
    }
    if let Some(size) = headers
        .get("content-length")
        .and_then(|size| size.parse().ok())
    {
        bag.set(v::REQUEST_SIZE, OwnedValue::Int(size));
    }
    bag.set(v::REQUEST_HEADERS, OwnedValue::Map(headers));
}

/// Sets the destination that `name` means, as the caller's proxy finds it; the service, if there is a document of it.
pub(super) fn destination<'d>(
    name: &str,
    directory: &'d Directory,
    bag: &mut OwnedBag,
) -> Option<&'d Service> {
    let service = find(name, directory);
    let host = host::normalize(name).map_or_else(|| name.to_owned(), |host| host.into_owned());
    let (name, namespace) = match service {
        Some(service) => (&*service.name, service.namespace.as_deref()),
        None => {
            let short = short(&host);
            (short, short.split_once('.').map(|(_, namespace)| namespace))
        }
    };
    bag.set(v::DESTINATION_SERVICE, text(name));
    if let Some(namespace) = namespace {
        bag.set(v::DESTINATION_NAMESPACE, text(namespace));
    }
    service
}

fn find<'d>(name: &str, directory: &'d Directory) -> Option<&'d Service> {
    let exact = directory.resolve(name);
    let normal = || host::normalize(name);
    let found = exact.or_else(|| directory.resolve(short(&normal()?)));
    found.map(|service| &**service)
}

/// Kubernetes' long name of a service cut to `name.namespace`.
fn short(host: &str) -> &str {
    host.strip_suffix(".svc.cluster.local")
        .or_else(|| host.strip_suffix(".svc"))
        .unwrap_or(host)
}

/// Sets the protocol, and for gRPC what it calls.
pub(super) fn protocol(service: Option<&Service>, bag: &mut OwnedBag) {
    let declared = service.and_then(|service| service.protocol);
    let content = match bag.value(v::REQUEST_HEADERS) {
        Some(OwnedValue::Map(headers)) => headers.get("content-type"),
        _ => None,
    };
    let is_grpc = declared == Some(Protocol::Grpc)
        || content.is_some_and(|content| content.starts_with("application/grpc"));
    let name = match (declared, is_grpc) {
        (Some(Protocol::Tcp), _) => "tcp",
        (_, true) => "grpc",
        (_, false) => "http",
    };
    bag.set(v::API_PROTOCOL, text(name));
    if let (true, Some(OwnedValue::String(path))) = (name == "grpc", bag.value(v::REQUEST_PATH))
        && let Some((service, operation)) = path[1..].split_once('/')
    {
        let (service, operation) = (text(service), text(operation));
        bag.set(v::API_SERVICE, service);
        bag.set(v::API_OPERATION, operation);
    }
}

/// Sets the address of the peer, which is the client.
pub(super) fn address(address: IpAddr, bag: &mut OwnedBag) {
    let address = OwnedValue::Ip(address.to_canonical());
    bag.set(v::SOURCE_IP, address.clone());
    bag.set(v::REQUEST_CLIENT_IP, address);
}

pub(super) fn text(text: &str) -> OwnedValue {
    OwnedValue::String(text.to_owned())
}

/// Sets a map, unless a name is in it twice or is no text.
fn once_each(
    id: v::AttributeId,
    pairs: impl Iterator<Item = Option<(String, String)>>,
    bag: &mut OwnedBag,
) {
    let mut map = BTreeMap::new();
    for pair in pairs {
        let Some((name, value)) = pair else { return };
        match map.entry(name) {
            Entry::Vacant(free) => free.insert(value),
            Entry::Occupied(_) => return,
        };
    }
    bag.set(id, OwnedValue::Map(map));
}

/// `application/x-www-form-urlencoded`.
fn form(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bag: &OwnedBag, id: v::AttributeId) -> Option<&str> {
        match bag.value(id) {
            Some(OwnedValue::String(text)) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn only_ids_of_a_believed_trust_domain_have_a_namespace() {
        let mesh = Mesh {
            federated: vec!["partner.example".to_owned()],
            ..Mesh::default()
        };
        for (caller, principal, namespace) in [
            (
                "shop/web",
                Some("spiffe://cluster.local/ns/shop/sa/web"),
                Some("shop"),
            ),
            (
                "spiffe://cluster.local/ns/a/sa/b",
                Some("spiffe://cluster.local/ns/a/sa/b"),
                Some("a"),
            ),
            (
                "spiffe://partner.example/ns/a/sa/b",
                Some("spiffe://partner.example/ns/a/sa/b"),
                Some("a"),
            ),
            (
                "spiffe://evil.example/ns/a/sa/b",
                Some("spiffe://evil.example/ns/a/sa/b"),
                None,
            ),
            (
                "spiffe://cluster.local/vm/7",
                Some("spiffe://cluster.local/vm/7"),
                None,
            ),
            ("-", None, None),
        ] {
            let mut bag = OwnedBag::new();
            caller.parse::<Caller>().unwrap().fill(&mesh, &mut bag);
            assert_eq!(string(&bag, v::SOURCE_PRINCIPAL), principal, "{caller}");
            assert_eq!(string(&bag, v::SOURCE_NAMESPACE), namespace, "{caller}");
            assert_eq!(
                bag.value(v::CONNECTION_MTLS),
                Some(&OwnedValue::Bool(principal.is_some()))
            );
        }
        for wrong in [
            "",
            "shop",
            "shop/",
            "/web",
            "a/b/c",
            "spiffe://",
            "sh op/web",
        ] {
            assert!(wrong.parse::<Caller>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_target_is_read_as_a_proxy_reads_it_and_what_has_two_readings_is_left_unset() {
        let mut bag = OwnedBag::new();
        target("//a/./b%20c?x=1&y=a+b", false, &mut bag).unwrap();
        assert_eq!(string(&bag, v::REQUEST_PATH), Some("/a/b c"));
        let Some(OwnedValue::Map(query)) = bag.value(v::REQUEST_QUERY) else {
            panic!("{bag:?}")
        };
        assert_eq!((&*query["x"], &*query["y"]), ("1", "a b"));

        let mut bag = OwnedBag::new();
        assert!(target("/a%2fb?x=1&x=2", false, &mut bag).is_err());
        assert_eq!(
            (bag.value(v::REQUEST_PATH), bag.value(v::REQUEST_QUERY)),
            (None, None)
        );
        assert!(target("/a%2fb", true, &mut bag).is_ok());
    }

    #[test]
    fn long_names_of_kubernetes_mean_the_service() {
        let directory = Directory::default();
        for name in [
            "products.shop",
            "Products.Shop.:80",
            "products.shop.svc",
            "products.shop.svc.cluster.local:8080",
        ] {
            let mut bag = OwnedBag::new();
            assert!(destination(name, &directory, &mut bag).is_none());
            assert_eq!(string(&bag, v::DESTINATION_SERVICE), Some("products.shop"));
            assert_eq!(string(&bag, v::DESTINATION_NAMESPACE), Some("shop"));
        }
    }

    #[test]
    fn grpc_calls_name_their_service_and_method() {
        let mut bag = OwnedBag::new();
        target("/shop.Cart/Add", false, &mut bag).unwrap();
        let content = (
            "content-type".to_owned(),
            "application/grpc+proto".to_owned(),
        );
        headers(BTreeMap::from([content]), &mut bag);
        protocol(None, &mut bag);
        assert_eq!(string(&bag, v::API_PROTOCOL), Some("grpc"));
        assert_eq!(string(&bag, v::API_SERVICE), Some("shop.Cart"));
        assert_eq!(string(&bag, v::API_OPERATION), Some("Add"));
    }
}
