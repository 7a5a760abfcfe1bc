//! `mesh`: one document for all, every key with a default.

use std::net::IpAddr;

use super::document::Document;
use super::tls;
use crate::diagnostics::Problems;
use crate::fields::{Fields, Shape};
use crate::scalar::{integer, list, scalar, span, word};
use crate::yaml::Node;
use crate::{ClientIp, Code, Denials, Mesh, Sources};

pub(crate) const SHAPE: Shape = Shape {
    what: "`mesh`",
    keys: &[
        "default",
        "outbound",
        "trust_domain",
        "federated",
        "tls",
        "client_ip",
        "denials",
        "fail",
        "opaque_ports",
        "clients",
    ],
    later: &[],
};

/// `denials`.
pub(crate) const DENIALS: Shape = Shape {
    what: "`denials`",
    keys: &["show"],
    later: &[],
};

/// `fail`.
pub(crate) const FAIL: Shape = Shape {
    what: "`fail`",
    keys: &["stale", "cold"],
    later: &[],
};

/// `client_ip`.
pub(crate) const CLIENT_IP: Shape = Shape {
    what: "`client_ip`",
    keys: &["header", "trusted"],
    later: &[],
};

pub(super) fn read<'d, 'n: 'd>(
    mut documents: impl Iterator<Item = &'d Document<'n>>,
    sources: &Sources,
    problems: &mut Problems,
) -> Mesh {
    let mut mesh = Mesh::default();
    let Some(document) = documents.next() else {
        return mesh;
    };
    for second in documents {
        problems
            .error(
                Code::SecondMesh,
                second.span,
                "there is already a `mesh` document",
            )
            .help(format!("the first is at {}", sources.place(document.span)));
    }
    let Some(fields) = document.fields(SHAPE, problems) else {
        return mesh;
    };
    let verdicts = [("allow", true), ("deny", false)];
    if let Some(node) = fields.get("default") {
        mesh.default_allow = word(node, "`default`", &verdicts, &[], problems).unwrap_or_default();
    }
    if let Some(node) = fields.get("outbound") {
        mesh.outbound_allow =
            word(node, "`outbound`", &verdicts, &[], problems).unwrap_or_default();
    }
    if let Some(domain) = fields
        .get("trust_domain")
        .and_then(|node| tls::trust_domain(node, problems))
    {
        mesh.trust_domain = domain;
    }
    if let Some(node) = fields.get("federated") {
        let domains = list(node, "`federated`", problems).unwrap_or_default();
        mesh.federated = domains
            .iter()
            .filter_map(|node| tls::trust_domain(node, problems))
            .collect();
    }
    if let Some(node) = fields.get("tls") {
        mesh.tls = tls::tls(node, problems).unwrap_or(mesh.tls);
    }
    mesh.client_ip = fields
        .get("client_ip")
        .and_then(|node| client_ip(node, problems));
    if let Some(node) = fields.get("denials") {
        let shape = DENIALS;
        let show = Fields::of(node, shape, problems).and_then(|fields| fields.get("show"));
        let shown = show.and_then(|show| word(show, "`show`", &Denials::WORDS, &[], problems));
        mesh.denials = shown.unwrap_or(mesh.denials);
    }
    if let Some(node) = fields.get("fail") {
        let shape = FAIL;
        if let Some(fields) = Fields::of(node, shape, problems) {
            let stale = fields
                .get("stale")
                .and_then(|node| span(node, "`stale`", problems));
            mesh.fail.stale = stale.unwrap_or(mesh.fail.stale);
            if let Some(node) = fields.get("cold") {
                word(node, "`cold`", &[("wait", ())], &[], problems);
            }
        }
    }
    if let Some(node) = fields.get("opaque_ports") {
        let ports = list(node, "`opaque_ports`", problems).unwrap_or_default();
        let port = |node, problems: &mut Problems| {
            integer(node, "a port", 1..=65535, problems).map(|port| port as u16)
        };
        mesh.opaque_ports = ports
            .iter()
            .filter_map(|node| port(node, problems))
            .collect();
    }
    if let Some(node) = fields.get("clients") {
        mesh.clients = tls::clients(node, problems);
    }
    mesh
}

fn client_ip(node: &Node, problems: &mut Problems) -> Option<ClientIp> {
    let fields = Fields::of(node, CLIENT_IP, problems)?;
    let (header, trusted) = (fields.get("header"), fields.get("trusted"));
    if header.is_none() || trusted.is_none() {
        problems
            .error(
                Code::MissingKey,
                node.span,
                "`client_ip` needs a `header` and the `trusted` networks that may set it",
            )
            .help("such as { header: x-forwarded-for, trusted: [10.0.0.0/8] }");
    }
    let (header, trusted) = (header?, trusted?);
    let text = &scalar(header, "`header`", problems)?.text;
    if !is_header_name(text) {
        problems.error(Code::HeaderName, header.span, format!("a header name is written in lower case, with letters, digits and dashes, not `{text}`"));
    }
    let networks = list(trusted, "`trusted`", problems)?;
    let trusted = networks
        .iter()
        .filter_map(|node| network(node, problems))
        .collect();
    Some(ClientIp {
        header: text.clone(),
        trusted,
    })
}

/// RFC 9110 section 5.6.2, lower case.
pub(super) fn is_header_name(text: &str) -> bool {
    let token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    !text.is_empty() && text.len() <= 256 && text.bytes().all(token)
}

/// An address, or `address/length` with no bit set behind the length.
pub(super) fn network(node: &Node, problems: &mut Problems) -> Option<(IpAddr, u8)> {
    let text = &scalar(node, "a network", problems)?.text;
    let (address, length) = text
        .split_once('/')
        .map_or((text.as_str(), None), |(address, length)| {
            (address, Some(length))
        });
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Some(most), |length| length.parse::<u8>().ok())?;
        (length <= most).then_some((address, length))
    });
    let Some((address, length)) = parsed else {
        problems.error(
            Code::Network,
            node.span,
            format!("a network is an address and a length such as 10.0.0.0/8, not `{text}`"),
        );
        return None;
    };
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let host_bits = width - u32::from(length);
    if host_bits > 0 && bits & (u128::MAX >> (128 - host_bits)) != 0 {
        problems.error(
            Code::Network,
            node.span,
            format!("`{text}` has bits set behind its length"),
        );
    }
    Some((address, length))
}
