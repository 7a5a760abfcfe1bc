//! The request that is asked about: what a proxy says of a GET by a browser.

use mixer_proto::v1::attribute::Value;
use mixer_proto::v1::{Attribute, CheckRequest, StringMap, StringMapEntry, Time};

/// `GET /products/1` of products.shop, with the attributes and the headers a browser's request has.
pub(crate) fn check() -> CheckRequest {
    let text = |text: &str| Value::String(text.to_owned());
    let ip = |octets: [u8; 4]| Value::Ip(octets.to_vec());
    let attributes = [
        ("source.ip", ip([127, 0, 0, 1])),
        ("source.port", Value::Int(40_000)),
        ("destination.service", text("products.shop")),
        ("destination.namespace", text("shop")),
        ("destination.ip", ip([127, 0, 0, 1])),
        ("destination.port", Value::Int(15_006)),
        ("connection.mtls", Value::Bool(false)),
        ("request.method", text("GET")),
        ("request.path", text("/products/1")),
        ("request.raw_path", text("/products/1")),
        ("request.query", map(&[])),
        ("request.host", text("products")),
        ("request.scheme", text("http")),
        ("request.headers", map(HEADERS)),
        ("request.cookies", map(&[("session", "8c2b1f0a9e7d4c3b")])),
        ("request.client_ip", ip([127, 0, 0, 1])),
        ("request.id", text("f3c8f6a2-8f5e-4d41-9d36-3f0d7f1f5f1c")),
        (
            "request.time",
            Value::Timestamp(Time {
                seconds: 1_767_225_600,
                nanos: 0,
            }),
        ),
        ("request.useragent", text("Mozilla/5.0 (X11; Linux x86_64)")),
        ("api.protocol", text("http")),
        ("context.reporter", text("destination")),
    ];
    let attributes = attributes.into_iter().map(|(name, value)| Attribute {
        id: id(name),
        value: Some(value),
        ..Attribute::default()
    });
    CheckRequest {
        attributes: attributes.collect(),
        client: "bench".to_owned(),
        ..CheckRequest::default()
    }
}

const HEADERS: &[(&str, &str)] = &[
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-US,en;q=0.5"),
    ("cookie", "session=8c2b1f0a9e7d4c3b"),
    ("host", "products"),
    ("referer", "http://frontend/"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("x-request-id", "f3c8f6a2-8f5e-4d41-9d36-3f0d7f1f5f1c"),
];

fn map(entries: &[(&str, &str)]) -> Value {
    let entry = |(key, value): &(&str, &str)| StringMapEntry {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
        ambiguous: false,
    };
    Value::Map(StringMap {
        entries: entries.iter().map(entry).collect(),
    })
}

fn id(name: &str) -> u32 {
    let attribute = mixer_attributes::vocabulary::builtin()
        .iter()
        .find(|attribute| attribute.name == name);
    u32::from(
        attribute
            .unwrap_or_else(|| panic!("no attribute {name}"))
            .id
            .number(),
    )
}
