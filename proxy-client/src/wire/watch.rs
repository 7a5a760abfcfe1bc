//! A WatchResponse as a state.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mixer_proto::v1;

use super::WireError;
use crate::{Keys, Scope};

/// What one message of the Watch stream tells.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) inbound: Arc<Scope>,
    pub(crate) outbound: HashMap<Arc<str>, Arc<Scope>>,
    pub(crate) outbound_default: Arc<Scope>,
    pub(crate) documents: Arc<[String]>,
    pub(crate) keys: Arc<BTreeMap<String, Keys>>,
}

/// Reads a whole state. A scope that is not told is one about which everything must be asked.
pub(crate) fn watch_response(response: v1::WatchResponse) -> Result<Told, WireError> {
    let inbound = response
        .inbound
        .map(|told| scope("inbound", told))
        .transpose()?;
    let outbound_default = response
        .outbound_default
        .map(|told| scope("outbound_default", told))
        .transpose()?;
    let mut outbound = HashMap::with_capacity(response.outbound.len());
    for (at, mut told) in response.outbound.into_iter().enumerate() {
        let destination: Arc<str> = std::mem::take(&mut told.destination).into();
        let scope = scope("outbound", told).map_err(|error| error.within("outbound", at))?;
        if destination.is_empty() || outbound.insert(destination, Arc::new(scope)).is_some() {
            return Err(WireError::new(
                format!("outbound[{at}].destination"),
                "is empty or there twice",
            ));
        }
    }
    Ok(Told {
        inbound: Arc::new(inbound.unwrap_or_else(untold)),
        outbound,
        outbound_default: Arc::new(outbound_default.unwrap_or_else(untold)),
        documents: response.documents.into(),
        keys: Arc::new(response.keys.into_iter().map(keys).collect()),
    })
}

fn keys(told: v1::IssuerKeys) -> (String, Keys) {
    let keys = match told.keys {
        Some(v1::issuer_keys::Keys::Jwks(jwks)) => Keys::Known {
            jwks: jwks.into(),
            digest: told.digest.into(),
        },
        Some(v1::issuer_keys::Keys::Pending(true)) => Keys::Pending,
        // What is not understood verifies nothing.
        Some(_) | None => Keys::Lost,
    };
    (told.issuer, keys)
}

fn scope(field: &'static str, told: v1::Scope) -> Result<Scope, WireError> {
    if !(0.0..=1.0).contains(&told.trace_sample) {
        return Err(WireError::new(
            field,
            "has a trace_sample that is not between 0 and 1",
        ));
    }
    Ok(Scope {
        revision: told.revision.into(),
        rules: told.rules,
        quotas: told.quotas,
        // What is not known is closed.
        fail_open: told.fail == i32::from(v1::Fail::Open),
        reads_path: told.reads_path,
        records: told.records,
        trace_sample: told.trace_sample,
        standard_metrics: told.standard_metrics,
        shadow: told.shadow,
        reads_claims: told.reads_claims,
    })
}

fn untold() -> Scope {
    Scope {
        revision: "".into(),
        rules: true,
        quotas: true,
        fail_open: false,
        reads_path: true,
        records: true,
        trace_sample: 0.0,
        standard_metrics: true,
        shadow: false,
        reads_claims: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_that_is_not_told_is_asked_about_and_closed() {
        let told = watch_response(v1::WatchResponse::default()).unwrap();
        for scope in [told.inbound, told.outbound_default] {
            assert!(scope.rules && scope.quotas && !scope.fail_open && scope.revision.is_empty());
        }
    }

    #[test]
    fn only_open_is_open() {
        for (fail, open) in [(0, false), (1, false), (2, true), (3, false)] {
            let inbound = Some(v1::Scope {
                fail,
                ..Default::default()
            });
            let told = watch_response(v1::WatchResponse {
                inbound,
                ..Default::default()
            })
            .unwrap();
            assert_eq!(told.inbound.fail_open, open, "{fail}");
        }
    }

    #[test]
    fn a_state_that_makes_no_sense_names_the_field() {
        let shop = v1::Scope {
            destination: "shop".into(),
            ..Default::default()
        };
        let cases = [
            (
                vec![shop.clone(), shop.clone()],
                "outbound[1].destination: is empty or there twice",
            ),
            (
                vec![v1::Scope::default()],
                "outbound[0].destination: is empty or there twice",
            ),
            (
                vec![v1::Scope {
                    trace_sample: f64::NAN,
                    ..shop
                }],
                "outbound[0].outbound: has a trace_sample that is not between 0 and 1",
            ),
        ];
        for (outbound, problem) in cases {
            let response = v1::WatchResponse {
                outbound,
                ..Default::default()
            };
            assert_eq!(watch_response(response).unwrap_err().to_string(), problem);
        }
    }
}
