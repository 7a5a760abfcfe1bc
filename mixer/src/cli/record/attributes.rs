//! Fields to attributes.
//!
//! | attribute | fields, the first that is there |
//! | --- | --- |
//! | any | its own name, dotted, nested, or with underscores for dots |
//! | `source.principal` and what it says | `source_principal`, `downstream_peer_uri_san` |
//! | `source.ip`, `source.port` | `downstream_direct_remote_address`, `downstream_remote_address` |
//! | `request.client_ip` | `client_ip`; else the peer and `x_forwarded_for`, as `mesh.client_ip` says |
//! | `destination.service`, `.namespace` | `destination_service`, the host of `upstream_cluster` (`outbound\|80\|\|HOST`; beside a `reporter` all of it), `authority` |
//! | `request.method`, `.host`, `.useragent`, `.id`, `.time` | `method`, `authority`, `user_agent`, `request_id`, `start_time` or `time` |
//! | `request.path`, `.raw_path`, `.query` | `path`: the whole target; in lines of Mixer's own the path alone |
//! | `context.reporter`, `context.route` | `reporter`, `route_name` |
//! | `api.protocol` | `protocol` |
//! | `connection.requested_server_name` | `requested_server_name` |

use std::collections::{BTreeMap, HashMap};

use mixer_attributes::host::address;
use mixer_attributes::vocabulary::{self as v, Attribute, AttributeId, Producer};
use mixer_attributes::{Dynamic, OwnedBag, OwnedValue, Type, host};
use mixer_documents::{Directory, Mesh, PolicySet};
use serde_json::Value;

use super::{Record, Request};
use crate::cli::facts::{self, Caller, text};

/// Reads records for one set of documents.
pub(in crate::cli) struct Reader {
    directory: Directory,
    mesh: Mesh,
    /// Attributes that are known at check time, with their names and these with underscores.
    attributes: Vec<(Attribute, String)>,
    maps: HashMap<String, AttributeId>,
}

impl Reader {
    /// For the vocabulary, services and mesh of `set`.
    pub(in crate::cli) fn new(set: &PolicySet) -> Self {
        let all = set.vocabulary.iter();
        let attributes: Vec<(Attribute, String)> = all
            .filter(|attribute| attribute.producer == Producer::Check)
            .map(|attribute| (attribute.clone(), attribute.name.replace('.', "_")))
            .collect();
        let maps = attributes
            .iter()
            .filter(|(attribute, _)| attribute.kind == Type::Map)
            .map(|(attribute, _)| (format!("{}.", attribute.name), attribute.id));
        Self {
            directory: Directory::new(set.services.iter().cloned()),
            mesh: set.mesh.clone(),
            maps: maps.collect(),
            attributes,
        }
    }

    /// The request that `record` tells of. An error names the field that makes no sense.
    pub(in crate::cli) fn request(&self, record: &Record) -> Result<Request, String> {
        let mut filling = Filling {
            record,
            request: Request::default(),
        };
        filling.reporter();
        filling.caller(&self.mesh);
        filling.addresses(&self.mesh)?;
        filling.destination(&self.directory);
        filling.target(&self.directory)?;
        filling.plain();
        self.named(&mut filling)?;
        let bag = &mut filling.request.attributes;
        let (protocol, known) = (v::API_PROTOCOL, &mut filling.request.known);
        if bag.value(protocol).is_none() && bag.value(v::REQUEST_METHOD).is_some() {
            bag.set(protocol, text("http"));
        }
        if bag.value(protocol).is_some() {
            known.extend([protocol, v::API_SERVICE, v::API_OPERATION]);
        }
        Ok(filling.request)
    }

    /// Fields that have the names of attributes.
    fn named(&self, filling: &mut Filling<'_>) -> Result<(), String> {
        for (attribute, underscored) in &self.attributes {
            let field = filling.record.field(&attribute.name);
            let Some(field) = field.or_else(|| filling.record.0.get(underscored)) else {
                continue;
            };
            filling.request.known.insert(attribute.id);
            if let Some(value) = value(field, attribute)? {
                filling.request.attributes.set(attribute.id, value);
            }
        }
        for (name, field) in &filling.record.0 {
            let map = self.maps.iter().find_map(|(map, id)| {
                let key = name.strip_prefix(map.as_str())?;
                Some((*id, key.to_owned()))
            });
            let Some((id, key)) = map else { continue };
            if let Some(text) = scalar(field) {
                let bag = &mut filling.request.attributes;
                match bag.value_mut(id) {
                    Some(OwnedValue::Map(map)) => drop(map.insert(key.clone(), text)),
                    _ => drop(bag.set(id, OwnedValue::Map(BTreeMap::from([(key.clone(), text)])))),
                }
            }
            filling.request.keys.insert((id, key));
        }
        Ok(())
    }
}

struct Filling<'r> {
    record: &'r Record,
    request: Request,
}

impl Filling<'_> {
    /// Notes what the first of `fields` says of `id`: a text, or that there is none.
    fn text(&mut self, id: AttributeId, fields: &[&str]) {
        if let Some(said) = self.record.text(fields) {
            self.request.known.insert(id);
            if let Some(said) = said {
                self.request.attributes.set(id, OwnedValue::String(said));
            }
        }
    }

    fn reporter(&mut self) {
        self.text(v::CONTEXT_REPORTER, &["context.reporter", "reporter"]);
        if self.request.attributes.value(v::CONTEXT_REPORTER).is_none() {
            self.request
                .attributes
                .set(v::CONTEXT_REPORTER, text("destination"));
        }
        // Who logs requests is no rate limit service.
        self.request
            .known
            .extend([v::CONTEXT_REPORTER, v::RATE_LIMIT_DOMAIN]);
    }

    fn caller(&mut self, mesh: &Mesh) {
        let fields = [
            "source.principal",
            "source_principal",
            "downstream_peer_uri_san",
        ];
        let said = match self.record.text(&fields) {
            Some(said) => said,
            None if self.record.is_own() => None,
            None => return,
        };
        let caller = match said {
            // Istio writes principals without the scheme.
            Some(id) if id.starts_with("spiffe://") => Caller::Principal(id),
            Some(id) => Caller::Principal(format!("spiffe://{id}")),
            None => Caller::Nobody,
        };
        caller.fill(mesh, &mut self.request.attributes);
        self.request.known.extend([
            v::SOURCE_PRINCIPAL,
            v::SOURCE_TRUST_DOMAIN,
            v::SOURCE_NAMESPACE,
            v::SOURCE_SERVICE_ACCOUNT,
            v::CONNECTION_MTLS,
        ]);
    }

    fn addresses(&mut self, mesh: &Mesh) -> Result<(), String> {
        let fields = [
            "source.ip",
            "downstream_direct_remote_address",
            "downstream_remote_address",
        ];
        let mut peer = None;
        if let Some(said) = self.record.text(&fields).flatten() {
            let (address, port) =
                address(&said).ok_or_else(|| format!("the peer `{said}` is no address"))?;
            peer = Some(address);
            let bag = &mut self.request.attributes;
            bag.set(v::SOURCE_IP, OwnedValue::Ip(address));
            self.request.known.insert(v::SOURCE_IP);
            if let Some(port) = port {
                bag.set(v::SOURCE_PORT, OwnedValue::Int(port.into()));
                self.request.known.insert(v::SOURCE_PORT);
            }
        }
        let said = self
            .record
            .text(&["request.client_ip", "client_ip"])
            .flatten();
        let client = match said {
            Some(said) => {
                let found = address(&said);
                Some(
                    found
                        .ok_or_else(|| format!("the client `{said}` is no address"))?
                        .0,
                )
            }
            None if self.record.is_own() => None,
            None => {
                let forwarded = self.record.text(&["x_forwarded_for"]);
                match (peer, &mesh.client_ip, forwarded) {
                    // Envoy took the client from the header already, as it was told to.
                    (Some(peer), None, _) => Some(peer),
                    (Some(peer), Some(rule), Some(said)) if rule.header == "x-forwarded-for" => {
                        let said = said.as_deref().filter(|said| !said.is_empty());
                        rule.client(peer, said.map(str::as_bytes).into_iter())
                    }
                    _ => return Ok(()),
                }
            }
        };
        self.request.known.insert(v::REQUEST_CLIENT_IP);
        if let Some(client) = client {
            self.request
                .attributes
                .set(v::REQUEST_CLIENT_IP, OwnedValue::Ip(client));
        }
        Ok(())
    }

    fn destination(&mut self, directory: &Directory) {
        let said = self
            .record
            .text(&["destination.service", "destination_service"]);
        let said = said.flatten().or_else(|| {
            let cluster = self.record.text(&["upstream_cluster"]).flatten()?;
            let host = match cluster.strip_prefix("outbound|") {
                Some(rest) => rest.rsplit('|').next()?,
                // The proxy's access log has the name, and a `reporter`; an Envoy's cluster may be called anything.
                None => Some(&*cluster).filter(|_| self.record.text(&["reporter"]).is_some())?,
            };
            Some(host.to_owned()).filter(|host| !host.is_empty())
        });
        let authority = || {
            self.record
                .text(&["authority", ":authority", "host"])
                .flatten()
        };
        let Some(said) = said.or_else(authority) else {
            return;
        };
        facts::destination(&said, directory, &mut self.request.attributes);
        self.request
            .known
            .extend([v::DESTINATION_SERVICE, v::DESTINATION_NAMESPACE]);
    }

    fn target(&mut self, directory: &Directory) -> Result<(), String> {
        let Some(Some(said)) = self.record.text(&["path", ":path"]) else {
            return Ok(());
        };
        let bag = &mut self.request.attributes;
        self.request.known.insert(v::REQUEST_PATH);
        if self.record.is_own() {
            // Mixer writes what rules read.
            bag.set(v::REQUEST_PATH, OwnedValue::String(said));
            return Ok(());
        }
        let keep = match bag.value(v::DESTINATION_SERVICE) {
            Some(OwnedValue::String(name)) => directory
                .resolve(name)
                .is_some_and(|service| service.keep_encoded_slash),
            _ => false,
        };
        self.request
            .known
            .extend([v::REQUEST_RAW_PATH, v::REQUEST_QUERY]);
        facts::target(&said, keep, bag).map_err(|why| format!("the target `{said}`: {why}"))
    }

    fn plain(&mut self) {
        self.text(v::SOURCE_WORKLOAD, &["source_workload"]);
        self.text(v::REQUEST_METHOD, &["method", ":method"]);
        self.text(v::REQUEST_USERAGENT, &["user_agent"]);
        self.text(v::REQUEST_ID, &["request_id"]);
        self.text(v::CONTEXT_ROUTE, &["route_name"]);
        self.text(
            v::CONNECTION_REQUESTED_SERVER_NAME,
            &["requested_server_name"],
        );
        if let Some(said) = self.record.text(&["authority", ":authority"]).flatten()
            && let Some(host) = host::normalize(&said)
        {
            self.request.attributes.set(v::REQUEST_HOST, text(&host));
            self.request.known.insert(v::REQUEST_HOST);
        }
        if let Some(said) = self.record.text(&["protocol"]).flatten() {
            let name = match said.as_str() {
                "http" | "grpc" | "tcp" => said.as_str(),
                said if said.starts_with("HTTP/") => "http",
                _ => "tcp",
            };
            self.request.attributes.set(v::API_PROTOCOL, text(name));
        }
        let started = self.record.text(&["start_time", "time"]).flatten();
        let time = started.and_then(|said| {
            let rare = format!("request.time: '{}'", said.replace('\'', ""));
            let read = mixer_documents::request("time", &rare, &v::Vocabulary::new()).ok()?;
            read.value(v::REQUEST_TIME).cloned()
        });
        if let Some(time) = time {
            self.request.attributes.set(v::REQUEST_TIME, time);
            self.request.known.insert(v::REQUEST_TIME);
        }
    }
}

/// A field as the attribute's type has it; `None`: it says that there is none.
fn value(field: &Value, attribute: &Attribute) -> Result<Option<OwnedValue>, String> {
    let wrong = || format!("`{}` is {}, not `{field}`", attribute.name, attribute.kind);
    if field.is_null()
        || field
            .as_str()
            .is_some_and(|text| text.is_empty() || text == "-")
    {
        return Ok(None);
    }
    let value = match (attribute.kind, field) {
        (Type::String, _) => scalar(field).map(OwnedValue::String),
        (Type::Int, _) => scalar(field).and_then(|text| text.parse().ok().map(OwnedValue::Int)),
        (Type::Double, _) => {
            scalar(field).and_then(|text| text.parse().ok().map(OwnedValue::Double))
        }
        (Type::Bool, _) => scalar(field).and_then(|text| text.parse().ok().map(OwnedValue::Bool)),
        (Type::Ip, Value::String(text)) => address(text).map(|(ip, _)| OwnedValue::Ip(ip)),
        (Type::List, Value::Array(items)) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            items.map(OwnedValue::List)
        }
        (Type::Map, Value::Object(entries)) => {
            let entries = entries.iter();
            let entries: Option<BTreeMap<String, String>> = entries
                .map(|(key, value)| Some((key.clone(), scalar(value)?)))
                .collect();
            entries.map(OwnedValue::Map)
        }
        (Type::Dynamic, Value::Object(_)) => Some(OwnedValue::Dynamic(dynamic(field))),
        (Type::Timestamp | Type::Duration | Type::Bytes, Value::String(text)) => {
            let mut vocabulary = v::Vocabulary::new();
            let known = vocabulary.by_name(&attribute.name).map(|known| known.id);
            let id = known.or_else(|| {
                vocabulary.declare(&attribute.name, attribute.kind, Producer::Check, "")
            });
            // Rare types are read as documents write them.
            let rare = format!("{}: '{}'", attribute.name, text.replace('\'', "''"));
            let read = mixer_documents::request("record", &rare, &vocabulary).ok();
            read.and_then(|read: OwnedBag| read.value(id?).cloned())
        }
        _ => None,
    };
    value.map(Some).ok_or_else(wrong)
}

fn scalar(field: &Value) -> Option<String> {
    match field {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(field.to_string()),
        _ => None,
    }
}

fn dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::Null,
        Value::Bool(bit) => Dynamic::Bool(*bit),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Dynamic::Int(number),
            None => Dynamic::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Dynamic::String(text.clone()),
        Value::Array(items) => Dynamic::List(items.iter().map(dynamic).collect()),
        Value::Object(members) => {
            let members = members.iter();
            let mut members: Vec<(String, Dynamic)> = members
                .map(|(key, member)| (key.clone(), dynamic(member)))
                .collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Dynamic::Map(members)
        }
    }
}

#[cfg(test)]
mod tests;
