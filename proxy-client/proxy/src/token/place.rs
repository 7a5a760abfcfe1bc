//! Where requests carry tokens: found there, and taken away from there.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use mixer_attributes::{Entry, StringMap};
use mixer_documents::{Jwt, TokenPlace};
use percent_encoding::percent_decode_str;

use super::Refused;
use crate::attributes::{CookieView, QueryView};
use crate::target::with_path;

/// The one token of a request.
#[derive(Debug)]
pub(super) struct Found<'f> {
    pub(super) text: Cow<'f, str>,
    pub(super) place: &'f TokenPlace,
    /// The documents, by index, that look for tokens there.
    pub(super) documents: Vec<usize>,
}

/// The token of a request, wherever one of the documents looks for it.
pub(super) fn find<'f>(
    parts: &'f Parts,
    jwts: impl Iterator<Item = &'f Jwt>,
) -> Result<Option<Found<'f>>, Refused> {
    let mut found: Option<Found<'f>> = None;
    for (document, jwt) in jwts.enumerate() {
        for place in &jwt.from {
            if let Some(held) = &mut found
                && held.place == place
            {
                if !held.documents.contains(&document) {
                    held.documents.push(document);
                }
                continue;
            }
            let Some(text) = read(place, parts)? else {
                continue;
            };
            match &mut found {
                None => {
                    found = Some(Found {
                        text,
                        place,
                        documents: vec![document],
                    });
                }
                // The same header, read with another prefix: the longer one is what was meant.
                Some(held) if is_same_header(held.place, place) => {
                    if text.len() < held.text.len() {
                        *held = Found {
                            text,
                            place,
                            documents: vec![document],
                        };
                    }
                }
                Some(_) => return Err(Refused::Several),
            }
        }
    }
    Ok(found)
}

fn is_same_header(one: &TokenPlace, other: &TokenPlace) -> bool {
    match (one, other) {
        (TokenPlace::Header { name, .. }, TokenPlace::Header { name: other, .. }) => name == other,
        _ => false,
    }
}

/// The token at a place.
fn read<'r>(place: &TokenPlace, parts: &'r Parts) -> Result<Option<Cow<'r, str>>, Refused> {
    let (headers, query) = (&parts.headers, parts.uri.query().unwrap_or_default());
    match place {
        TokenPlace::Header { name, prefix } => {
            let mut values = headers.get_all(name.as_str()).iter();
            let mut token = None;
            for value in values.by_ref() {
                token = token.or(after(prefix, value)?);
            }
            match token {
                // One of several: an application may read another.
                Some(_) if headers.get_all(name.as_str()).iter().nth(1).is_some() => {
                    Err(Refused::Several)
                }
                token => Ok(token.map(Cow::Borrowed)),
            }
        }
        TokenPlace::Cookie(name) => once(owned(CookieView(headers).lookup(name))),
        TokenPlace::Query(name) => once(owned(QueryView(query).lookup(name))),
    }
}

/// What follows the prefix of a header's value, whose letters may be of either case, as those of a scheme may (RFC 9110 section
/// 11.1); a prefix with nothing behind it begins an empty token.
fn after<'v>(prefix: &str, value: &'v HeaderValue) -> Result<Option<&'v str>, Refused> {
    let bytes = value.as_bytes();
    let (prefix, bare) = (prefix.as_bytes(), prefix.trim_end().as_bytes());
    let rest = match bytes.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &bytes[prefix.len()..],
        _ if !bare.is_empty() && bytes.eq_ignore_ascii_case(bare) => &[],
        _ => return Ok(None),
    };
    let text = std::str::from_utf8(rest);
    let text = text.map_err(|_| Refused::Invalid("it is no base64url"))?;
    Ok(Some(text.trim_matches(' ')))
}

/// What a view found, with a life of its own.
fn owned(entry: Entry<'_>) -> Entry<'static> {
    match entry {
        Entry::Value(text) => Entry::Value(Cow::Owned(text.into_owned())),
        Entry::Absent => Entry::Absent,
        Entry::Ambiguous => Entry::Ambiguous,
    }
}

fn once(entry: Entry<'_>) -> Result<Option<Cow<'_, str>>, Refused> {
    match entry {
        Entry::Absent => Ok(None),
        Entry::Value(text) => Ok(Some(text)),
        Entry::Ambiguous => Err(Refused::Several),
    }
}

/// Takes the token away.
pub(super) fn strip(place: &TokenPlace, parts: &mut Parts) {
    match place {
        TokenPlace::Header { name, .. } => {
            parts.headers.remove(name.as_str());
        }
        TokenPlace::Cookie(name) => strip_cookie(name, &mut parts.headers),
        TokenPlace::Query(name) => strip_query(name, parts),
    }
}

/// Leaves the other cookies as they are.
fn strip_cookie(name: &str, headers: &mut HeaderMap) {
    let is_token = |pair: &[u8]| {
        let end = pair.iter().position(|byte| *byte == b'=');
        pair[..end.unwrap_or(pair.len())].trim_ascii() == name.as_bytes()
    };
    let values: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    headers.remove(header::COOKIE);
    for value in values {
        let pairs = value.as_bytes().split(|byte| *byte == b';');
        let rest: Vec<&[u8]> = pairs.filter(|pair| !is_token(pair)).collect();
        let rest = rest.join(&b';');
        let rest = rest.trim_ascii();
        if !rest.is_empty()
            && let Ok(rest) = HeaderValue::from_bytes(rest)
        {
            headers.append(header::COOKIE, rest);
        }
    }
}

/// Leaves the other parameters as they are.
fn strip_query(name: &str, parts: &mut Parts) {
    let Some(query) = parts.uri.query() else {
        return;
    };
    let is_token = |pair: &&str| {
        let key = pair.split('=').next().unwrap_or_default().replace('+', " ");
        percent_decode_str(&key).decode_utf8_lossy() == name
    };
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
    let rest = (!rest.is_empty()).then(|| rest.join("&"));
    let mut uri = parts.uri.clone().into_parts();
    // It was a target before, and is a part of it now.
    if let Ok(target) = with_path(parts.uri.path(), rest.as_deref()) {
        uri.path_and_query = Some(target);
        if let Ok(uri) = http::Uri::from_parts(uri) {
            parts.uri = uri;
        }
    }
}
