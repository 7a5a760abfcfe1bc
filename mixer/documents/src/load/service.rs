//! `service` documents.

use std::sync::Arc;

use mixer_attributes::path::{self, EncodedSlash};
use mixer_attributes::{AttributeBag, Value as Attribute, host, vocabulary};

mod endpoints;

use super::document::Document;
use super::mesh::network;
use super::tls;
use crate::context::Context;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{Unique, boolean, list, name, scalar, word};
use crate::yaml::Node;
use crate::{At, Balance, Circuit, Code, Policy, Probes, Protocol, Service};

pub(crate) use endpoints::{BALANCE, CIRCUIT, HEALTH, OUTLIER};

pub(crate) const SHAPE: Shape = Shape {
    what: "a service",
    keys: &[
        "hosts",
        "namespace",
        "protocol",
        "endpoints",
        "subsets",
        "paths",
        "identity",
        "tls",
        "balance",
        "circuit",
        "outlier",
        "health",
        "probes",
        "external",
        "originate",
    ],
    later: &[],
};

/// `paths`.
pub(crate) const PATHS: Shape = Shape {
    what: "`paths`",
    keys: &["encoded_slash"],
    later: &[],
};

/// `probes`.
pub(crate) const PROBES: Shape = Shape {
    what: "`probes`",
    keys: &["paths", "from"],
    later: &[],
};

/// A subset.
pub(crate) const SUBSET: Shape = Shape {
    what: "a subset",
    keys: &["endpoints"],
    later: &[],
};

/// Services; a name or host means one of them only.
pub(super) fn read<'d, 'n: 'd>(
    documents: impl Iterator<Item = &'d Document<'n>>,
    context: &mut Context<'_>,
) -> Vec<Arc<Service>> {
    let documents: Vec<&Document<'_>> = documents.collect();
    let mut hosts = Unique::default();
    for document in &documents {
        // Two services of one name are said already.
        let _ = hosts.add(document.name, document.span);
    }
    documents
        .iter()
        .map(|document| Arc::new(service(document, &mut hosts, context)))
        .collect()
}

fn service(document: &Document<'_>, hosts: &mut Unique, context: &mut Context<'_>) -> Service {
    let (sources, problems) = (context.sources, &mut context.problems);
    if !document.name.is_empty() && host::normalize(document.name).as_deref() != Some(document.name)
    {
        problems
            .error(
                Code::ServiceName,
                document.span,
                format!(
                    "the name of a service is a host name in lower case, without port, not `{}`",
                    document.name
                ),
            )
            .help("callers reach it by this name");
    }
    let mut service = Service {
        name: document.name.into(),
        namespace: document
            .name
            .split_once('.')
            .map(|(_, namespace)| namespace.to_owned()),
        hosts: Vec::new(),
        protocol: None,
        endpoints: Vec::new(),
        subsets: Vec::new(),
        keep_encoded_slash: false,
        external: false,
        identity: None,
        tls: None,
        originate: None,
        balance: Balance::default(),
        circuit: Circuit::default(),
        outlier: None,
        health: None,
        probes: None,
        span: document.span,
    };
    let Some(fields) = document.fields(SHAPE, problems) else {
        return service;
    };
    if let Some(namespace) = fields
        .get("namespace")
        .and_then(|node| name(node, "`namespace`", problems))
    {
        service.namespace = Some(namespace.to_owned());
    }
    for node in fields
        .get("hosts")
        .and_then(|node| list(node, "`hosts`", problems))
        .unwrap_or_default()
    {
        let Some(given) = host_name(node, problems) else {
            continue;
        };
        match hosts.add(&given, node.span) {
            Ok(()) => service.hosts.push(given),
            Err(first) => {
                problems
                    .error(
                        Code::HostTaken,
                        node.span,
                        format!("the host `{given}` means a service already"),
                    )
                    .help(format!("the first is at {}", sources.place(first)));
            }
        }
    }
    service.protocol = fields
        .get("protocol")
        .and_then(|node| word(node, "`protocol`", &Protocol::WORDS, &[], problems));
    if let Some(node) = fields.get("endpoints") {
        service.endpoints = endpoints::addresses(node, problems);
    }
    if let Some(node) = fields.get("subsets") {
        service.subsets = endpoints::subsets(node, problems);
    }
    if let Some(node) = fields.get("paths") {
        let shape = PATHS;
        let slash =
            Fields::of(node, shape, problems).and_then(|fields| fields.get("encoded_slash"));
        let words = [("keep", true), ("refuse", false)];
        let keep = slash.and_then(|slash| word(slash, "`encoded_slash`", &words, &[], problems));
        service.keep_encoded_slash = keep.unwrap_or_default();
    }
    if let Some(node) = fields.get("tls") {
        service.tls = tls::tls(node, problems);
    }
    service.identity = fields
        .get("identity")
        .and_then(|node| tls::id(node, problems));
    if let Some(node) = fields.get("circuit") {
        service.circuit = endpoints::circuit(node, problems);
    }
    service.outlier = fields
        .get("outlier")
        .map(|node| endpoints::outlier(node, problems));
    service.health = fields
        .get("health")
        .and_then(|node| endpoints::health(node, problems));
    service.probes = fields.get("probes").and_then(|node| probes(node, problems));
    service.external = fields
        .get("external")
        .and_then(|node| boolean(node, "`external`", problems))
        .unwrap_or_default();
    if service.external {
        let why = "is carried out by the proxy before the service, and a service outside the mesh has none";
        fields.refuse("probes", why, problems);
    } else if service.protocol == Some(Protocol::Tcp) {
        let why = "is about requests of HTTP, and the service is declared `protocol: tcp`";
        fields.refuse("probes", why, problems);
    }
    service.originate = fields
        .get("originate")
        .and_then(|node| tls::originate(node, problems));
    tls::check(&service, &fields, problems);
    if let Some(node) = fields.get("balance") {
        service.balance = endpoints::balance(node, context);
    }
    service
}

fn probes(node: &Node, problems: &mut Problems) -> Option<Probes> {
    let fields = Fields::of(node, PROBES, problems)?;
    let (Some(paths), Some(from)) = (fields.get("paths"), fields.get("from")) else {
        problems
            .error(
                Code::MissingKey,
                node.span,
                "`probes` needs the `paths` that are asked for and the networks they come `from`",
            )
            .help("such as { paths: [/healthz], from: [10.0.0.0/8] }");
        return None;
    };
    let mut some = |node, what| {
        let list = list(node, what, problems)?;
        if list.is_empty() {
            problems.error(Code::WrongShape, node.span, format!("{what} is empty"));
        }
        Some(list)
    };
    let (paths, from) = (some(paths, "`paths`")?, some(from, "`from`")?);
    Some(Probes {
        paths: paths
            .iter()
            .filter_map(|node| probed(node, problems))
            .collect(),
        from: from
            .iter()
            .filter_map(|node| network(node, problems))
            .collect(),
    })
}

/// A path that has no other spelling, for it is compared byte by byte.
fn probed(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = &scalar(node, "a path", problems)?.text;
    let read = path::normalize(text, EncodedSlash::Refuse);
    if text.starts_with('/') && read.is_ok_and(|read| read.path == *text && read.encoded == *text) {
        return Some(text.clone());
    }
    problems
        .error(
            Code::ProbePath,
            node.span,
            format!("`{text}` is not a plain path such as /healthz"),
        )
        .help("a probe's path is compared byte by byte: it has no query, no escapes, no `.` and `..`, no double slash");
    None
}

fn host_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = &scalar(node, "a host", problems)?.text;
    if text.contains('*') {
        problems.error(
            Code::NotSupportedYet,
            node.span,
            "wildcards in `hosts` are not supported yet",
        );
        return None;
    }
    let host = host::normalize(text);
    let port = host.is_some()
        && text.contains(':')
        && text.parse::<std::net::Ipv6Addr>().is_err()
        && !text.ends_with(']');
    match host {
        Some(host) if !port => Some(host.into_owned()),
        _ => {
            let error = problems.error(
                Code::Host,
                node.span,
                format!("a host is a name or an address without port, not `{text}`"),
            );
            if port {
                error.help("a host means its service on every port");
            }
            None
        }
    }
}

/// Warns of policies that are never asked: inbound ones whose services are all outside the mesh, where nobody asks.
pub(super) fn warn_unasked(
    services: &[Arc<Service>],
    policies: &[Policy],
    problems: &mut Problems,
) {
    if !services.iter().any(|service| service.external) {
        return;
    }
    let selects = |policy: &Policy, service: &Service| {
        let mut bag = AttributeBag::new();
        bag.set(
            vocabulary::DESTINATION_SERVICE,
            Attribute::String(&service.name),
        );
        policy.selector.can_select(&bag)
    };
    for policy in policies.iter().filter(|policy| policy.at == At::Inbound) {
        let outside = services
            .iter()
            .filter(|service| service.external)
            .find(|service| selects(policy, service));
        let inside = || {
            services
                .iter()
                .any(|service| !service.external && selects(policy, service))
        };
        if let Some(service) = outside
            && policy
                .selector
                .reads()
                .iter()
                .any(|(attribute, _)| *attribute == vocabulary::DESTINATION_SERVICE)
            && !inside()
        {
            problems
                .warning(
                    Code::NeverAsked,
                    policy.span,
                    format!(
                        "`{}` is outside the mesh: nobody asks this policy there",
                        service.name
                    ),
                )
                .help("give the policy `at: outbound`, so that callers ask");
        }
    }
}
