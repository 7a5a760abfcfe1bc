//! The names policies may use: one typed vocabulary for every proxy, protocol and tool.
//!
//! Ids are append-only and never reused (a golden test holds them), so that proxies and Mixers of different releases
//! understand one another. A name tells who vouches for it: what a client could forge is never under `source.`.

use std::fmt;
use std::sync::LazyLock;

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Type {
    String,
    Int,
    Double,
    Bool,
    Bytes,
    Timestamp,
    Duration,
    Ip,
    /// list(string)
    List,
    /// map(string, string)
    Map,
    /// map(string, dyn): only `auth.claims`.
    Dynamic,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::String => "string",
            Type::Int => "int",
            Type::Double => "double",
            Type::Bool => "bool",
            Type::Bytes => "bytes",
            Type::Timestamp => "timestamp",
            Type::Duration => "duration",
            Type::Ip => "ip",
            Type::List => "list(string)",
            Type::Map => "map(string, string)",
            Type::Dynamic => "map(string, dyn)",
        })
    }
}

/// When an attribute is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    /// Before the request is passed on: rules, quotas and routes may read it.
    Check,
    /// Only when the request is over: telemetry may read it.
    Report,
}

/// Who vouches for an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The transport or a checked credential proves it.
    Verified,
    /// The operator configured it.
    Configured,
    /// The client says so.
    Client,
}

/// An attribute's number: 1..1023 for built-in ones, from 1024 for those a set of documents declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeId(u16);

impl AttributeId {
    /// First id of custom attributes; these ids hold within one loaded set only and never travel.
    pub const FIRST_CUSTOM: u16 = 1024;

    /// The number on the wire for built-in attributes.
    pub fn number(self) -> u16 {
        self.0
    }

    /// Whether documents declared it, so that it travels by name.
    pub fn is_custom(self) -> bool {
        self.0 >= Self::FIRST_CUSTOM
    }

    pub(crate) fn slot(self) -> usize {
        usize::from(self.0) - 1
    }

    pub(crate) fn from_slot(slot: usize) -> Self {
        Self(slot as u16 + 1)
    }
}

/// One attribute of the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its number.
    pub id: AttributeId,
    /// Its dotted name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// When it is known.
    pub producer: Producer,
    /// Who vouches for it.
    pub trust: Trust,
    /// What it means, in one line.
    pub meaning: String,
}

macro_rules! vocabulary {
    ($($id:literal $constant:ident $name:literal $kind:ident $producer:ident $trust:ident $meaning:literal;)*) => {
        $(#[doc = concat!("`", $name, "`: ", $meaning, ".")] pub const $constant: AttributeId = AttributeId($id);)*

        /// How many slots a bag needs for the built-in attributes.
        pub(crate) const SLOTS: usize = [$($id),*].len();

        static BUILTIN: LazyLock<Vec<Attribute>> = LazyLock::new(|| vec![$(Attribute {
            id: $constant,
            name: $name.to_owned(),
            kind: Type::$kind,
            producer: Producer::$producer,
            trust: Trust::$trust,
            meaning: $meaning.to_owned(),
        }),*]);
    };
}

vocabulary! {
    1 SOURCE_PRINCIPAL "source.principal" String Check Verified "SPIFFE id of the caller, from its certificate";
    2 SOURCE_TRUST_DOMAIN "source.trust_domain" String Check Verified "trust domain of the caller's id";
    3 SOURCE_NAMESPACE "source.namespace" String Check Verified "namespace in the caller's id";
    4 SOURCE_SERVICE_ACCOUNT "source.service_account" String Check Verified "service account in the caller's id";
    5 SOURCE_IP "source.ip" Ip Check Verified "address of the peer that opened the connection";
    6 SOURCE_PORT "source.port" Int Check Verified "port of the peer that opened the connection";
    7 SOURCE_WORKLOAD "source.workload" String Check Verified "workload of the caller, from its registered identity";
    8 SOURCE_LABELS "source.labels" Map Check Verified "labels of the caller, from its registered identity";
    9 DESTINATION_SERVICE "destination.service" String Check Configured "the service that is asked for; never the Host header";
    10 DESTINATION_NAMESPACE "destination.namespace" String Check Configured "namespace of the service that is asked for";
    11 DESTINATION_PRINCIPAL "destination.principal" String Check Verified "SPIFFE id of the service that is asked for";
    12 DESTINATION_IP "destination.ip" Ip Check Verified "local address of the connection";
    13 DESTINATION_PORT "destination.port" Int Check Verified "local port of the connection";
    14 DESTINATION_LABELS "destination.labels" Map Check Configured "labels of the service that is asked for";
    15 CONNECTION_MTLS "connection.mtls" Bool Check Verified "the caller proved its identity with a certificate";
    16 CONNECTION_REQUESTED_SERVER_NAME "connection.requested_server_name" String Check Client "server name in the TLS hello";
    17 CONNECTION_ID "connection.id" String Check Configured "names the connection in logs";
    18 REQUEST_METHOD "request.method" String Check Client "HTTP method";
    19 REQUEST_PATH "request.path" String Check Client "path without query, decoded once and normalised";
    20 REQUEST_RAW_PATH "request.raw_path" String Check Client "path without query, as it was sent";
    21 REQUEST_QUERY "request.query" Map Check Client "query parameters, decoded; a name given twice is an error to read";
    22 REQUEST_HOST "request.host" String Check Client "authority the client asked for, lower case, without port";
    23 REQUEST_SCHEME "request.scheme" String Check Client "http or https";
    24 REQUEST_HEADERS "request.headers" Map Check Client "headers by lower-case name; repeated ones joined with a comma";
    25 REQUEST_COOKIES "request.cookies" Map Check Client "cookies; a name given twice is an error to read";
    26 REQUEST_CLIENT_IP "request.client_ip" Ip Check Verified "address of the client behind trusted proxies (mesh.client_ip)";
    27 REQUEST_ID "request.id" String Check Client "x-request-id, made when absent";
    28 REQUEST_TIME "request.time" Timestamp Check Verified "when the request's head was read";
    29 REQUEST_SIZE "request.size" Int Check Client "declared body size in bytes, absent when it is not declared; bytes received at report time";
    30 REQUEST_USERAGENT "request.useragent" String Check Client "user-agent header";
    31 API_PROTOCOL "api.protocol" String Check Verified "http, grpc or tcp";
    32 API_SERVICE "api.service" String Check Client "gRPC service, from the path";
    33 API_OPERATION "api.operation" String Check Client "gRPC method, from the path";
    34 AUTH_ISSUER "auth.issuer" String Check Verified "name of the jwt document whose issuer signed the token";
    35 AUTH_PRINCIPAL "auth.principal" String Check Verified "issuer and subject of the token, joined with a slash";
    36 AUTH_CLAIMS "auth.claims" Dynamic Check Verified "claims of the token";
    37 AUTH_AUDIENCES "auth.audiences" List Check Verified "audiences of the token";
    38 RESPONSE_CODE "response.code" Int Report Verified "HTTP status";
    39 RESPONSE_SIZE "response.size" Int Report Verified "body bytes sent to the caller";
    40 RESPONSE_DURATION "response.duration" Duration Report Verified "from the request's head to the response's end";
    41 RESPONSE_FLAGS "response.flags" String Report Verified "why the proxy answered itself or ended the response, as Envoy's flags; - for none";
    42 RESPONSE_GRPC_STATUS "response.grpc_status" Int Report Verified "grpc-status of the trailers or headers";
    43 RESPONSE_HEADERS "response.headers" Map Report Verified "response headers by lower-case name";
    44 CONTEXT_REPORTER "context.reporter" String Check Configured "source or destination: which side's proxy speaks";
    45 CONTEXT_ROUTE "context.route" String Check Configured "name of the route that was taken";
    46 RATE_LIMIT_DOMAIN "rate_limit.domain" String Check Configured "domain of an Envoy rate limit request";
    47 RATE_LIMIT_KEYS "rate_limit.keys" List Check Client "descriptor keys in order";
    48 RATE_LIMIT_VALUES "rate_limit.values" List Check Client "descriptor values in order";
    49 RATE_LIMIT_DESCRIPTOR "rate_limit.descriptor" Map Check Client "descriptor as a map";
    50 CHECK_DECISION "check.decision" String Report Verified "allow, deny, or the failure that stood in for a decision";
    51 CHECK_POLICY "check.policy" String Report Verified "policy that decided";
    52 CHECK_RULE "check.rule" String Report Verified "rule that decided";
    53 CHECK_CACHED "check.cached" Bool Report Verified "the decision came from the proxy's cache";
}

/// Every built-in attribute, by id.
pub fn builtin() -> &'static [Attribute] {
    &BUILTIN
}

/// The attributes an `for` may read, besides `destination.labels["..."]`: only what operators configure, never what a client
/// chooses.
pub const SELECTORS: [AttributeId; 5] = [
    DESTINATION_SERVICE,
    DESTINATION_NAMESPACE,
    DESTINATION_LABELS,
    CONTEXT_REPORTER,
    RATE_LIMIT_DOMAIN,
];

/// The built-in vocabulary and what a set of documents adds to it.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    custom: Vec<Attribute>,
    computed: Vec<AttributeId>,
}

impl Vocabulary {
    /// The built-in attributes alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an attribute of an `attributes:` document; `None` when the name is taken.
    pub fn declare(
        &mut self,
        name: &str,
        kind: Type,
        producer: Producer,
        meaning: &str,
    ) -> Option<AttributeId> {
        if self.by_name(name).is_some() {
            return None;
        }
        let id = AttributeId(AttributeId::FIRST_CUSTOM + u16::try_from(self.custom.len()).ok()?);
        let (name, meaning) = (name.to_owned(), meaning.to_owned());
        self.custom.push(Attribute {
            id,
            name,
            kind,
            producer,
            trust: Trust::Client,
            meaning,
        });
        Some(id)
    }

    /// Notes that an attribute is computed from others: no request carries it.
    pub fn compute(&mut self, id: AttributeId) {
        self.computed.push(id);
    }

    /// Whether it is computed from others.
    pub fn is_computed(&self, id: AttributeId) -> bool {
        self.computed.contains(&id)
    }

    /// The attribute of that name.
    pub fn by_name(&self, name: &str) -> Option<&Attribute> {
        static NAMES: LazyLock<std::collections::HashMap<&'static str, usize>> =
            LazyLock::new(|| {
                BUILTIN
                    .iter()
                    .enumerate()
                    .map(|(at, attribute)| (attribute.name.as_str(), at))
                    .collect()
            });
        match NAMES.get(name) {
            Some(at) => Some(&BUILTIN[*at]),
            None => self.custom.iter().find(|attribute| attribute.name == name),
        }
    }

    /// The attribute of that id.
    pub fn by_id(&self, id: AttributeId) -> Option<&Attribute> {
        match id.number().checked_sub(AttributeId::FIRST_CUSTOM) {
            Some(at) => self.custom.get(usize::from(at)),
            None => BUILTIN.get(id.slot()),
        }
    }

    /// A built-in attribute by its number on the wire.
    pub fn by_number(number: u32) -> Option<&'static Attribute> {
        BUILTIN.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Every attribute, built-in ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        BUILTIN.iter().chain(&self.custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Append only: a changed line here means two releases that misunderstand each other.
    const GOLDEN: &str = include_str!("vocabulary/golden.txt");

    #[test]
    fn ids_names_and_types_never_change() {
        let now: String = builtin()
            .iter()
            .map(|a| format!("{} {} {}\n", a.id.number(), a.name, a.kind))
            .collect();
        assert!(
            now.starts_with(GOLDEN) || now == GOLDEN,
            "the vocabulary is append-only; it is now\n{now}"
        );
    }

    #[test]
    fn ids_count_from_one_without_gaps() {
        for (at, attribute) in builtin().iter().enumerate() {
            assert_eq!(usize::from(attribute.id.number()), at + 1);
        }
    }

    #[test]
    fn a_taken_name_is_not_declared_again() {
        let mut vocabulary = Vocabulary::new();
        assert!(
            vocabulary
                .declare("request.path", Type::Int, Producer::Check, "")
                .is_none()
        );
        let id = vocabulary
            .declare("cart.size", Type::Int, Producer::Check, "")
            .unwrap();
        assert!(id.is_custom());
        assert!(
            vocabulary
                .declare("cart.size", Type::Int, Producer::Check, "")
                .is_none()
        );
        assert_eq!(vocabulary.by_id(id).unwrap().name, "cart.size");
    }
}
