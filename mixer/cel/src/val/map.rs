//! Maps: of the request, looked up where they lie, or built.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use mixer_attributes::{Dynamic, Entry, StringMap};

use super::{Text, Val};
use crate::EvalError;
use crate::compare::as_integer;

/// A map.
#[derive(Clone)]
pub struct Map<'a>(Entries<'a>);

#[derive(Clone)]
enum Entries<'a> {
    Strings(&'a (dyn StringMap + Sync + 'a)),
    Dynamic(&'a [(String, Dynamic)]),
    /// Sorted by [`key_order`].
    Built(Arc<[(Val<'a>, Val<'a>)]>),
}

/// What looking a key up found.
pub(crate) enum Looked<'a> {
    Absent,
    Ambiguous,
    Found(Val<'a>),
}

impl<'a> From<Entry<'a>> for Looked<'a> {
    fn from(entry: Entry<'a>) -> Self {
        match entry {
            Entry::Absent => Looked::Absent,
            Entry::Ambiguous => Looked::Ambiguous,
            Entry::Value(text) => Looked::Found(Val::String(Text::from(text))),
        }
    }
}

impl<'a> Map<'a> {
    pub(crate) fn strings(map: &'a (dyn StringMap + Sync + 'a)) -> Self {
        Self(Entries::Strings(map))
    }

    pub(crate) fn dynamic(members: &'a [(String, Dynamic)]) -> Self {
        Self(Entries::Dynamic(members))
    }

    /// A map of these entries; a key given twice is an error.
    pub fn build(mut entries: Vec<(Val<'a>, Val<'a>)>) -> Result<Self, EvalError> {
        if entries.iter().any(|(key, _)| !is_key(key)) {
            return Err(EvalError::Invalid("map", "unsupported key type".into()));
        }
        entries.sort_by(|a, b| key_order(&a.0, &b.0));
        if entries
            .windows(2)
            .any(|pair| key_order(&pair[0].0, &pair[1].0).is_eq())
        {
            return Err(EvalError::RepeatedKey);
        }
        Ok(Self(Entries::Built(entries.into())))
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        match &self.0 {
            Entries::Strings(map) => map.entries().len(),
            Entries::Dynamic(members) => members.len(),
            Entries::Built(entries) => entries.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn look(&self, key: &Val<'_>) -> Looked<'a> {
        match (&self.0, key) {
            (_, Val::String(key)) => self.look_text(key),
            (Entries::Built(entries), key)
                if matches!(key, Val::Bool(_)) || as_integer(key).is_some() =>
            {
                match entries.binary_search_by(|(held, _)| key_order(held, key)) {
                    Ok(at) => Looked::Found(entries[at].1.clone()),
                    Err(_) => Looked::Absent,
                }
            }
            _ => Looked::Absent,
        }
    }

    pub(crate) fn look_text(&self, key: &str) -> Looked<'a> {
        match &self.0 {
            Entries::Strings(map) => Looked::from(map.lookup(key)),
            Entries::Dynamic(members) => {
                match members.binary_search_by(|(name, _)| name.as_str().cmp(key)) {
                    Ok(at) => Looked::Found(Val::from(&members[at].1)),
                    Err(_) => Looked::Absent,
                }
            }
            Entries::Built(entries) => {
                match entries.binary_search_by(|(held, _)| key_order(held, &Val::text(key))) {
                    Ok(at) => Looked::Found(entries[at].1.clone()),
                    Err(_) => Looked::Absent,
                }
            }
        }
    }

    /// Its keys with what looking them up finds, in a fixed order.
    pub(crate) fn looked(&self) -> Vec<(Val<'a>, Looked<'a>)> {
        match &self.0 {
            Entries::Strings(map) => {
                let entries = map.entries().into_iter();
                entries
                    .map(|(key, entry)| (Val::String(Text::from(key)), Looked::from(entry)))
                    .collect()
            }
            Entries::Dynamic(members) => members
                .iter()
                .map(|(key, value)| (Val::text(key), Looked::Found(Val::from(value))))
                .collect(),
            Entries::Built(entries) => entries
                .iter()
                .map(|(key, value)| (key.clone(), Looked::Found(value.clone())))
                .collect(),
        }
    }

    /// Its keys and values in a fixed order; `None` when the request gives one of them more than once.
    pub fn entries(&self) -> Option<Vec<(Val<'a>, Val<'a>)>> {
        let found = |(key, looked)| match looked {
            Looked::Found(value) => Some((key, value)),
            Looked::Absent | Looked::Ambiguous => None,
        };
        self.looked().into_iter().map(found).collect()
    }
}

impl fmt::Debug for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entries() {
            Some(entries) => f.debug_map().entries(entries).finish(),
            None => f.write_str("{..}"),
        }
    }
}

fn is_key(value: &Val<'_>) -> bool {
    matches!(
        value,
        Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::String(_)
    )
}

/// An order of keys in which numerically equal ones are equal.
fn key_order(a: &Val<'_>, b: &Val<'_>) -> Ordering {
    let rank = |value: &Val<'_>| match value {
        Val::Bool(_) => 0,
        Val::String(_) => 2,
        _ => 1,
    };
    match (a, b) {
        (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
        (Val::String(a), Val::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        _ => rank(a)
            .cmp(&rank(b))
            .then_with(|| as_integer(a).cmp(&as_integer(b))),
    }
}
