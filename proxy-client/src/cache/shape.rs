//! Shapes: what a decision read, without the values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use mixer_attributes::{AttributeBag, AttributeId, Entry, Value};

use super::held::Found;

/// An attribute, or one key of a map attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) attribute: AttributeId,
    /// `None`: the whole attribute.
    pub(crate) key: Option<Box<str>>,
}

/// References, sorted, each once.
#[derive(Debug)]
pub(crate) struct Shape {
    id: u64,
    references: Box<[Reference]>,
}

/// The shapes of one destination's answers. Read by every request and changed seldom, so it is copied to be changed.
#[derive(Debug)]
pub(crate) struct Shapes {
    list: ArcSwap<Vec<Arc<Shape>>>,
    made: AtomicU64,
}

/// Shapes kept per destination.
pub(super) const MOST_SHAPES: usize = 32;

impl Reference {
    /// What a request has there.
    #[inline]
    pub(super) fn find<'a>(&self, bag: &'a AttributeBag<'_>) -> Found<'a> {
        match (bag.value(self.attribute), &self.key) {
            (None, _) => Found::Unset,
            (Some(Value::String(text)), _) => Found::Text(text.into()),
            (Some(Value::Map(map)), Some(key)) => match map.lookup(key) {
                Entry::Absent => Found::NoKey,
                Entry::Ambiguous => Found::Ambiguous,
                Entry::Value(text) => Found::Text(text),
            },
            (Some(Value::Dynamic(tree)), Some(key)) => {
                tree.member(key).map_or(Found::NoKey, Found::Tree)
            }
            (Some(value), _) => Found::Other(value),
        }
    }
}

impl Shape {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter()
    }
}

/// Ids are given once per list of references within a destination, and keys of different destinations never meet.
impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.references == other.references
    }
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self {
            list: ArcSwap::default(),
            made: AtomicU64::new(0),
        }
    }

    /// What `visit` finds first, the newest shape first.
    pub(super) fn newest_first<T>(&self, visit: impl FnMut(&Arc<Shape>) -> Option<T>) -> Option<T> {
        self.list.load().iter().rev().find_map(visit)
    }

    /// The shape of these references, made if it is new, and whether an old one had to give way to it.
    pub(super) fn with(&self, references: impl Iterator<Item = Reference>) -> (Arc<Shape>, bool) {
        let mut references: Vec<Reference> = references.collect();
        references.sort_unstable();
        references.dedup();
        let known =
            self.newest_first(|shape| (*shape.references == *references).then(|| shape.clone()));
        if let Some(shape) = known {
            return (shape, false);
        }
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        let made = Arc::new(Shape {
            id,
            references: references.into(),
        });
        // Two threads may make the same shape at once: both stand, one is found first, and neither is wrong.
        let before = self.list.rcu(|list| {
            let keep = list.len().saturating_sub(MOST_SHAPES - 1);
            list[keep..]
                .iter()
                .cloned()
                .chain([made.clone()])
                .collect::<Vec<_>>()
        });
        (made, before.len() >= MOST_SHAPES)
    }
}
