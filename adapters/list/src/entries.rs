//! The entries of a list, and whether a value is among them.

use std::collections::HashSet;

use mixer_adapter::{Invalid, Problem, Unavailable};
use mixer_attributes::OwnedValue;
use sha2::{Digest, Sha256};

use crate::networks::{Network, Networks};
use crate::not_an_address;

/// How entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As texts. An entry that is a network (`10.0.0.0/8`) is only taken when somebody said that texts are meant: compared as
    /// a text it would never match an address, and a list that never matches blocks nothing.
    Strings { networks_too: bool },
    /// As addresses and networks.
    Networks,
}

/// Entries, in the form they are looked up in.
#[derive(Debug)]
pub(crate) struct Entries {
    set: Set,
    count: usize,
    digest: u64,
}

#[derive(Debug)]
enum Set {
    Strings(HashSet<Box<str>>),
    Networks(Networks),
}

impl Entries {
    /// Of a document's `entries`.
    pub(crate) fn given(entries: &[String], reading: Reading) -> Result<Self, Invalid> {
        let mut problems = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            if let Err(message) = check(entry, reading, true) {
                problems.push(Problem {
                    field: format!("entries.{at}"),
                    message,
                });
            }
        }
        if !problems.is_empty() {
            return Err(Invalid { problems });
        }
        Self::of(entries.iter().map(String::as_str), reading, true)
            .map_err(|wrong| Invalid::one("entries", wrong))
    }

    /// Of a text: one entry a line. Empty lines are skipped, and so is what follows `#` or `;` at the beginning of a line or
    /// after a space. With `strict` a network has no bits beyond its prefix. One line that is no entry makes the whole text
    /// no list: it may be a page that says "try again later".
    pub(crate) fn read(text: &str, reading: Reading, strict: bool) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let entry = without_comment(line);
            if entry.is_empty() {
                continue;
            }
            check(entry, reading, strict)
                .map_err(|wrong| format!("line {}: {wrong}", number + 1))?;
            entries.push(entry);
        }
        Self::of(entries.into_iter(), reading, strict)
    }

    /// Whether `value` is among them; an error when it is of no kind that could be.
    pub(crate) fn contain(&self, value: &OwnedValue) -> Result<bool, Unavailable> {
        match (&self.set, value) {
            (Set::Networks(networks), OwnedValue::Ip(address)) => Ok(networks.contain(*address)),
            (Set::Networks(networks), OwnedValue::String(text)) => match text.parse() {
                Ok(address) => Ok(networks.contain(address)),
                Err(_) => Err(not_an_address(value)),
            },
            (Set::Strings(strings), OwnedValue::String(text)) => {
                Ok(strings.contains(text.as_str()))
            }
            (Set::Networks(_), other) => Err(not_an_address(other)),
            (Set::Strings(_), other) => Err(Unavailable {
                reason: format!("a {} cannot be looked up among strings", other.kind()).into(),
                retry: false,
            }),
        }
    }

    /// How many entries were read, repeated ones included.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The same for the same content, in whatever order and however often written; never 0.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    fn of<'a>(
        entries: impl Iterator<Item = &'a str> + Clone,
        reading: Reading,
        strict: bool,
    ) -> Result<Self, String> {
        let count = entries.clone().count();
        let mut digest = Sha256::new();
        let set = match reading {
            Reading::Strings { .. } => {
                let strings: HashSet<Box<str>> = entries.map(Into::into).collect();
                let mut sorted: Vec<&str> = strings.iter().map(AsRef::as_ref).collect();
                sorted.sort_unstable();
                for text in sorted {
                    digest.update((text.len() as u64).to_be_bytes());
                    digest.update(text);
                }
                Set::Strings(strings)
            }
            Reading::Networks => {
                let networks: Networks = entries
                    .map(|entry| Network::parse(entry, strict))
                    .collect::<Result<_, _>>()?;
                digest.update([u8::MAX]);
                networks.canonical().for_each(|range| digest.update(range));
                Set::Networks(networks)
            }
        };
        let bytes = digest.finalize();
        let first = bytes.first_chunk().expect("a SHA-256 digest has 32 bytes");
        Ok(Self {
            set,
            count,
            digest: u64::from_be_bytes(*first).max(1),
        })
    }
}

fn check(entry: &str, reading: Reading, strict: bool) -> Result<(), String> {
    match reading {
        Reading::Networks => Network::parse(entry, strict).map(drop),
        Reading::Strings { .. } if entry.is_empty() => Err("an entry must not be empty".to_owned()),
        Reading::Strings {
            networks_too: false,
        } if entry.contains('/') && Network::parse(entry, false).is_ok() => Err(format!(
            "`{entry}` is a network, but the input is no ip; say `kind: ip`, or `kind: strings` if texts are meant"
        )),
        Reading::Strings { .. } => Ok(()),
    }
}

fn without_comment(line: &str) -> &str {
    let is_mark = |at: usize| {
        line[..at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace)
    };
    let comment = line
        .char_indices()
        .find(|(at, c)| matches!(c, '#' | ';') && is_mark(*at));
    comment.map_or(line, |(at, _)| &line[..at]).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: Reading = Reading::Strings {
        networks_too: false,
    };

    fn text(value: &str) -> OwnedValue {
        OwnedValue::String(value.to_owned())
    }

    #[test]
    fn published_lists_are_read_as_they_are_published() {
        let drop = "\u{feff}; Spamhaus DROP List\r\n\r\n1.10.16.0/20 ; SBL256894\r\n2.56.192.0/22\t; SBL459831\r\n  # trailing\r\n2001:db8::/32\r\n";
        let entries = Entries::read(drop, Reading::Networks, false).unwrap();
        assert_eq!(entries.count(), 3);
        for (address, expected) in [
            ("1.10.31.255", true),
            ("1.10.32.0", false),
            ("2.56.192.9", true),
            ("2001:db8::9", true),
        ] {
            assert_eq!(
                entries.contain(&OwnedValue::Ip(address.parse().unwrap())),
                Ok(expected),
                "{address}"
            );
            assert_eq!(entries.contain(&text(address)), Ok(expected), "{address}");
        }
    }

    #[test]
    fn strings_are_compared_exactly() {
        let entries =
            Entries::read("alice\nBob # the builder\na#b\n/health\n", TEXTS, true).unwrap();
        for (value, expected) in [
            ("alice", true),
            ("Alice", false),
            ("Bob", true),
            ("a#b", true),
            ("a", false),
            ("/health", true),
            ("", false),
        ] {
            assert_eq!(entries.contain(&text(value)), Ok(expected), "{value}");
        }
    }

    #[test]
    fn a_value_that_could_not_be_on_the_list_is_an_error_and_not_a_no() {
        let networks = Entries::read("10.0.0.0/8", Reading::Networks, true).unwrap();
        for value in [
            text("localhost"),
            text(""),
            text("10.0.0.1:80"),
            OwnedValue::Int(1),
        ] {
            assert!(!networks.contain(&value).unwrap_err().retry, "{value:?}");
        }
        let strings = Entries::read("a", TEXTS, true).unwrap();
        assert!(
            strings
                .contain(&OwnedValue::Ip("10.0.0.1".parse().unwrap()))
                .is_err()
        );
    }

    #[test]
    fn one_bad_line_makes_a_text_no_list() {
        let wrong = Entries::read("10.0.0.0/8\n<html>\n", Reading::Networks, false).unwrap_err();
        assert!(wrong.starts_with("line 2: `<html>`"), "{wrong}");
    }

    #[test]
    fn networks_are_not_taken_for_texts_unless_that_is_said() {
        let wrong = Entries::given(&["ok".into(), "10.0.0.0/8".into()], TEXTS).unwrap_err();
        assert_eq!(wrong.problems[0].field, "entries.1");
        assert!(wrong.problems[0].message.contains("kind: ip"), "{wrong:?}");
        assert!(
            Entries::given(
                &["10.0.0.0/8".into()],
                Reading::Strings { networks_too: true }
            )
            .is_ok()
        );
    }

    #[test]
    fn the_digest_is_that_of_the_content() {
        let digest = |text: &str, reading| Entries::read(text, reading, false).unwrap().digest();
        assert_eq!(digest("a\nb\n", TEXTS), digest("# new\nb\na\na", TEXTS));
        assert_ne!(digest("a\nb", TEXTS), digest("a\nc", TEXTS));
        assert_ne!(digest("ab", TEXTS), digest("a\nb", TEXTS));
        assert_ne!(digest("", TEXTS), digest("", Reading::Networks));
        assert_eq!(
            digest("10.0.0.0/8", Reading::Networks),
            digest("10.128.0.0/9\n10.0.0.0/9", Reading::Networks)
        );
    }
}
