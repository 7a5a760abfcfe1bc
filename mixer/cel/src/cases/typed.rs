//! Values with their types as JSON: `{"t": "int", "v": "1"}`.
//!
//! Numbers are texts, because JSON's lose what 64 bits hold: int and uint in decimal, double as its shortest decimal with
//! `NaN`, `Infinity` and `-Infinity`. Bytes are base64; a list is a list, a map a list of pairs; a duration or timestamp is
//! `[seconds, nanos]`, both of one sign; a type is its name, null has no `v`, and an optional has one if it holds a value.

use mixer_attributes::{Duration, Timestamp};
use serde_json::{Value as Json, json};

use crate::functions::{base64, from_base64, parse_cidr, parse_ip};
use crate::val::{Blob, List, Map};
use crate::{EvalError, Val};

const NANOS: i128 = 1_000_000_000;

/// The value as JSON. An error for a map of which the request gives a key twice: it has no value.
pub(super) fn to_json(value: &Val<'_>) -> Result<Json, String> {
    Ok(match value {
        Val::Null => json!({"t": "null"}),
        Val::Bool(bit) => json!({"t": "bool", "v": bit}),
        Val::Int(number) => json!({"t": "int", "v": number.to_string()}),
        Val::Uint(number) => json!({"t": "uint", "v": number.to_string()}),
        Val::Double(number) => json!({"t": "double", "v": double(*number)}),
        Val::String(text) => json!({"t": "string", "v": &**text}),
        Val::Bytes(bytes) => json!({"t": "bytes", "v": base64(bytes)}),
        Val::Timestamp(time) => json!({"t": "timestamp", "v": [time.seconds, time.nanos]}),
        Val::Duration(span) => {
            let nanos = span.total_nanos();
            let (seconds, nanos) = (nanos / NANOS, nanos % NANOS);
            json!({"t": "duration", "v": [seconds as i64, nanos as i64]})
        }
        Val::Ip(address) => json!({"t": "ip", "v": address.to_string()}),
        Val::Cidr(address, bits) => json!({"t": "cidr", "v": format!("{address}/{bits}")}),
        Val::Type(name) => json!({"t": "type", "v": name}),
        Val::List(list) => {
            let items: Result<Vec<Json>, String> = list.iter().map(|item| to_json(&item)).collect();
            json!({"t": "list", "v": items?})
        }
        Val::Map(map) => {
            let entries = map.entries().ok_or("a key is given more than once")?;
            let entries = entries
                .iter()
                .map(|(key, value)| Ok(json!([to_json(key)?, to_json(value)?])));
            json!({"t": "map", "v": entries.collect::<Result<Vec<Json>, String>>()?})
        }
        Val::Optional(None) => json!({"t": "optional"}),
        Val::Optional(Some(value)) => json!({"t": "optional", "v": to_json(value)?}),
    })
}

/// The value that JSON says; the error is what is wrong with it.
pub(super) fn from_json(json: &Json) -> Result<Val<'static>, String> {
    let kind = json["t"].as_str().ok_or("a value has a type `t`")?;
    let v = &json["v"];
    // Small numbers may be written as such.
    let text = || match v {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let wrong = || format!("{} is no {kind}", text());
    Ok(match kind {
        "null" => Val::Null,
        "bool" => Val::Bool(v.as_bool().ok_or_else(wrong)?),
        "int" => Val::Int(text().parse().map_err(|_| wrong())?),
        "uint" => Val::Uint(text().parse().map_err(|_| wrong())?),
        "double" => Val::Double(text().parse().map_err(|_| wrong())?),
        "string" => Val::from(v.as_str().ok_or_else(wrong)?.to_owned()),
        "bytes" => Val::Bytes(Blob::from(
            v.as_str().and_then(from_base64).ok_or_else(wrong)?,
        )),
        "timestamp" => {
            let nanos = nanos(v).ok_or_else(wrong)?;
            Val::Timestamp(Timestamp {
                seconds: i64::try_from(nanos.div_euclid(NANOS)).map_err(|_| wrong())?,
                nanos: nanos.rem_euclid(NANOS) as u32,
            })
        }
        "duration" => Val::Duration(Duration::from_nanos(nanos(v).ok_or_else(wrong)?)),
        "ip" => Val::Ip(parse_ip(&text()).map_err(|_| wrong())?),
        "cidr" => parse_cidr(&text())
            .map(|(address, bits)| Val::Cidr(address, bits))
            .map_err(|_| wrong())?,
        "list" => {
            let items = v.as_array().ok_or_else(wrong)?.iter().map(from_json);
            Val::List(items.collect::<Result<List<'_>, _>>()?)
        }
        "map" => {
            let entries = v.as_array().ok_or_else(wrong)?.iter();
            let entries = entries.map(|entry| Ok((from_json(&entry[0])?, from_json(&entry[1])?)));
            let entries = entries.collect::<Result<Vec<_>, String>>()?;
            Val::Map(Map::build(entries).map_err(|error: EvalError| error.to_string())?)
        }
        "optional" if v.is_null() => Val::Optional(None),
        "optional" => Val::some(from_json(v)?),
        other => return Err(format!("values of type {other}")),
    })
}

fn nanos(v: &Json) -> Option<i128> {
    let part = |v: &Json| match v {
        Json::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    Some(i128::from(part(&v[0])?) * NANOS + i128::from(part(&v[1])?))
}

/// The shortest decimal that reads back the same, with a point or an exponent.
fn double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent
        .strip_prefix('-')
        .map_or(("+", exponent), |exponent| ("-", exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Whether two typed values say the same: the order of a map's keys does not count, nor how a double is written. NaN is
/// itself, the sign of zero counts.
pub fn same(a: &Json, b: &Json) -> bool {
    if a["t"] != b["t"] {
        return false;
    }
    let (v, w) = (&a["v"], &b["v"]);
    match a["t"].as_str() {
        Some("double") => match (from_json(a), from_json(b)) {
            (Ok(Val::Double(a)), Ok(Val::Double(b))) => {
                a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
            }
            _ => false,
        },
        Some("list") => match (v.as_array(), w.as_array()) {
            (Some(v), Some(w)) => v.len() == w.len() && v.iter().zip(w).all(|(v, w)| same(v, w)),
            _ => false,
        },
        Some("map") => match (v.as_array(), w.as_array()) {
            (Some(v), Some(w)) => {
                v.len() == w.len()
                    && v.iter().all(|entry| {
                        w.iter()
                            .any(|other| same(&entry[0], &other[0]) && same(&entry[1], &other[1]))
                    })
            }
            _ => false,
        },
        Some("duration" | "timestamp") => nanos(v) == nanos(w),
        Some("optional") if !v.is_null() && !w.is_null() => same(v, w),
        _ => v == w,
    }
}
