//! Request paths, read one way by every proxy and protocol.
//!
//! A rule about `/admin` is worth nothing if the server behind the proxy also serves `/x/../admin`, `//admin` or `/%61dmin`. So
//! rules see a path that was decoded once and whose dot segments and double slashes are resolved, and where rules read it the
//! server receives exactly that path again, encoded anew. What servers are known to read in different ways (an encoded slash,
//! a backslash, `;`, controls, bad escapes, bytes that are no UTF-8) is [`Ambiguous`]: refused rather than guessed.
//!
//! Decoding comes before dot segments (`%2e%2e` is `..`), and never twice (`%252e` is the text `%2e`). Paths that are normal
//! already, which nearly all are, are borrowed.

use std::borrow::Cow;

/// A path without its query, read the one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Normalized<'a> {
    /// What rules see: decoded. Starts with `/`, or is `*`. A kept encoded slash stands as `%2F`.
    pub path: Cow<'a, str>,
    /// What the server is sent: the same path, encoded anew. Normalising it again changes nothing.
    pub encoded: Cow<'a, str>,
}

/// What becomes of an encoded slash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodedSlash {
    /// It makes the path ambiguous.
    #[default]
    Refuse,
    /// It stays encoded, also in what rules see: `paths: {encoded_slash: keep}`.
    Keep,
}

/// Why a path has no one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Ambiguous {
    #[error("the path has an encoded slash (%2F)")]
    EncodedSlash,
    #[error("the path has a backslash")]
    Backslash,
    #[error("the path has a semicolon")]
    Semicolon,
    #[error("the path has a control character")]
    Control,
    #[error("the path has a % that two hex digits do not follow")]
    BadEscape,
    #[error("the path is not UTF-8")]
    NotUtf8,
    #[error("the path does not start with a slash")]
    NotAbsolute,
    #[error("the path has a character that belongs to what follows it (? or #)")]
    Delimiter,
}

/// Reads `raw`, a path without its query as the client sent it.
///
/// ```
/// use mixer_attributes::path::{normalize, Ambiguous, EncodedSlash};
/// let read = normalize("//products/./%7Eme/../1", EncodedSlash::Refuse)?;
/// assert_eq!((&*read.path, &*read.encoded), ("/products/1", "/products/1"));
/// assert_eq!(normalize("/a%2fb", EncodedSlash::Refuse), Err(Ambiguous::EncodedSlash));
/// # Ok::<(), Ambiguous>(())
/// ```
pub fn normalize(raw: &str, slash: EncodedSlash) -> Result<Normalized<'_>, Ambiguous> {
    match raw {
        "" => {
            return Ok(Normalized {
                path: "/".into(),
                encoded: "/".into(),
            });
        }
        "*" => {
            return Ok(Normalized {
                path: raw.into(),
                encoded: raw.into(),
            });
        }
        _ if is_plain(raw.as_bytes()) => {
            return Ok(Normalized {
                path: raw.into(),
                encoded: raw.into(),
            });
        }
        _ => {}
    }
    let Some(rest) = raw.strip_prefix('/') else {
        return Err(Ambiguous::NotAbsolute);
    };

    let mut segments: Vec<Segment> = Vec::new();
    // Whether the path ends in a slash: after an empty last segment, and after `.` or `..`.
    let mut open = true;
    for raw_segment in rest.split('/') {
        let segment = Segment::read(raw_segment, slash)?;
        open = true;
        match &*segment.decoded {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => {
                segments.push(segment);
                open = false;
            }
        }
    }

    let mut path = String::with_capacity(raw.len());
    let mut encoded = String::with_capacity(raw.len());
    for segment in &segments {
        path.push('/');
        path.push_str(&segment.decoded);
        encoded.push('/');
        encoded.push_str(&segment.encoded);
    }
    if open {
        path.push('/');
        encoded.push('/');
    }
    Ok(Normalized {
        path: path.into(),
        encoded: encoded.into(),
    })
}

/// Splits a request target's path from its query, which goes without its `?`.
pub fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// Starts with a slash, holds only characters that stand for themselves, no empty segment but the last, no dot segment. A
/// segment that merely starts with a dot takes the long way.
fn is_plain(raw: &[u8]) -> bool {
    let mut before = 0u8;
    for &byte in raw {
        let joined = before == b'/' && matches!(byte, b'/' | b'.');
        if joined || !(byte == b'/' || stands_for_itself(byte)) {
            return false;
        }
        before = byte;
    }
    raw.first() == Some(&b'/')
}

/// `pchar` of RFC 3986 but for `%` and `;`.
fn stands_for_itself(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut at = 0;
        while at < 128 {
            let byte = at as u8;
            table[at] = byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'-' | b'.'
                        | b'_'
                        | b'~'
                        | b'!'
                        | b'$'
                        | b'&'
                        | b'\''
                        | b'('
                        | b')'
                        | b'*'
                        | b'+'
                )
                || matches!(byte, b',' | b'=' | b':' | b'@');
            at += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// One segment, decoded and encoded anew.
struct Segment {
    decoded: String,
    encoded: String,
}

impl Segment {
    fn read(raw: &str, slash: EncodedSlash) -> Result<Self, Ambiguous> {
        let mut decoded = Vec::with_capacity(raw.len());
        let mut encoded = String::with_capacity(raw.len());
        let mut bytes = raw.bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                    (Some(high), Some(low)) => high << 4 | low,
                    _ => return Err(Ambiguous::BadEscape),
                },
                b'?' | b'#' => return Err(Ambiguous::Delimiter),
                byte => byte,
            };
            match byte {
                b'/' if slash == EncodedSlash::Keep => {
                    decoded.extend(b"%2F");
                    encoded.push_str("%2F");
                    continue;
                }
                b'/' => return Err(Ambiguous::EncodedSlash),
                b'\\' => return Err(Ambiguous::Backslash),
                b';' => return Err(Ambiguous::Semicolon),
                0..0x20 | 0x7f => return Err(Ambiguous::Control),
                _ => {}
            }
            decoded.push(byte);
            if stands_for_itself(byte) {
                encoded.push(char::from(byte));
            } else {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                encoded.push('%');
                encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
                encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
        let decoded = String::from_utf8(decoded).map_err(|_| Ambiguous::NotUtf8)?;
        // C1 controls take two bytes.
        if decoded.chars().any(char::is_control) {
            return Err(Ambiguous::Control);
        }
        Ok(Self { decoded, encoded })
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests;
