//! The names of keys.
//!
//! `PREFIX:{GROUP}:ALGORITHM:QUOTA|PART|PART`. What stands in braces is all that a Cluster looks at, so that the keys of one
//! group are on one node and one script can take from all of them. A group is a policy, as long as its counters are not spread
//! further. A counter's algorithm is part of its name: what one algorithm remembers means nothing to another.
//!
//! Names can be read by people as long as they are short. `%`, `|`, `#`, braces and what cannot be printed are escaped, so that no
//! two counters share a name; a name that gets long is replaced by its digest.

use std::fmt::Write;

use mixer_adapter::{Ask, CounterKey};
use sha2::{Digest, Sha256};

/// The longest name of a counter that is written out.
const LONG: usize = 128;

/// How keys are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naming {
    pub(crate) prefix: String,
    /// Groups per policy.
    pub(crate) spread: u64,
}

impl Naming {
    /// The group of an ask's counter: its quota's policy, which is what stands before the first `/` of a quota's id.
    pub(crate) fn group(&self, ask: &Ask<'_>) -> String {
        let mut group = policy(ask.quota);
        if self.spread > 1 {
            let digest = Sha256::digest(ask.key.join("\0"));
            let number = digest[..8]
                .iter()
                .fold(0u64, |number, byte| number << 8 | u64::from(*byte));
            let _ = write!(group, "#{}", number % self.spread);
        }
        group
    }

    /// All groups that counters of a quota are in.
    pub(crate) fn groups(&self, quota: &str) -> Vec<String> {
        let policy = policy(quota);
        if self.spread <= 1 {
            return vec![policy];
        }
        let numbers = 0..self.spread;
        numbers.map(|number| format!("{policy}#{number}")).collect()
    }

    /// The key of an ask's counter.
    pub(crate) fn counter(&self, group: &str, algorithm: char, ask: &Ask<'_>) -> String {
        let mut name = escaped(ask.quota);
        for part in ask.key {
            name.push('|');
            name.push_str(&escaped(part));
        }
        let (prefix, name) = (&self.prefix, shortened(name));
        format!("{prefix}:{{{group}}}:{algorithm}:{name}")
    }

    /// The key that remembers what was answered to these asks, of these kinds, under this id.
    pub(crate) fn answer(&self, group: &str, id: &str, asks: &[&Ask<'_>], kinds: &str) -> String {
        let mut digest = Sha256::new();
        let mut field = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        field(id.as_bytes());
        field(kinds.as_bytes());
        for ask in asks {
            field(ask.quota.as_bytes());
            field(&(ask.key.len() as u64).to_le_bytes());
            ask.key.iter().for_each(|part| field(part.as_bytes()));
            field(&ask.cost.to_le_bytes());
            field(&ask.extra.to_le_bytes());
        }
        let digest = hex(&digest.finalize()[..16]);
        format!("{}:{{{group}}}:id:{digest}", self.prefix)
    }
}

/// What a group is called that is not spread.
fn policy(quota: &str) -> String {
    let policy = quota.split('/').next().unwrap_or_default();
    let group = shortened(escaped(policy));
    // An empty group would be none: a Cluster then looks at the whole key.
    if group.is_empty() {
        return "%".to_owned();
    }
    group
}

/// The key that the rest of a name, behind the algorithm, says; it must be written out.
pub(crate) fn key_of(rest: &str) -> Option<CounterKey> {
    let parts = rest.split('|').skip(1).map(unescaped);
    Some(CounterKey::Values(parts.collect::<Option<_>>()?))
}

/// What [`escaped`] was given; `None` for what it never gives.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next()?.bytes());
    for part in parts {
        let (escape, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(escape, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The pattern that matches a text and nothing else.
pub(crate) fn pattern(text: &str) -> String {
    text.chars().fold(String::new(), |mut pattern, character| {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
        pattern
    })
}

pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '|' | '{' | '}' | '#') || character.is_control() {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(escaped, "%{byte:02X}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// The name, or `#` and its digest where it is long; no name that is written out has a `#`.
fn shortened(name: String) -> String {
    if name.len() <= LONG {
        name
    } else {
        format!("#{}", hex(&Sha256::digest(name)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
