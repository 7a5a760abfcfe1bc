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
    list: ArcSwap<List>,
    made: AtomicU64,
}

/// Shapes of one destination have most references in common, so each reference has a position among all of them: what a
/// request has there is read once, however many shapes are tried.
#[derive(Debug, Default)]
struct List {
    /// The newest last.
    shapes: Vec<Listed>,
    references: Vec<Reference>,
}

/// A shape and the positions of its references.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) shape: Arc<Shape>,
    pub(super) positions: Box<[usize]>,
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
    pub(super) fn newest_first<T>(&self, visit: impl FnMut(&Listed) -> Option<T>) -> Option<T> {
        self.list.load().shapes.iter().rev().find_map(visit)
    }

    /// The shape of these references, made if it is new, and whether an old one had to give way to it.
    pub(super) fn with(&self, references: impl Iterator<Item = Reference>) -> (Arc<Shape>, bool) {
        let mut references: Vec<Reference> = references.collect();
        references.sort_unstable();
        references.dedup();
        let same = |listed: &Listed| *listed.shape.references == *references;
        if let Some(shape) = self.newest_first(|listed| same(listed).then(|| listed.shape.clone()))
        {
            return (shape, false);
        }
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        let made = Arc::new(Shape {
            id,
            references: references.into(),
        });
        // Two threads may make the same shape at once: both stand, one is found first, and neither is wrong.
        let before = self.list.rcu(|list| list.followed_by(&made));
        (made, before.shapes.len() >= MOST_SHAPES)
    }
}

impl List {
    fn followed_by(&self, newest: &Arc<Shape>) -> Self {
        let keep = self.shapes.len().saturating_sub(MOST_SHAPES - 1);
        let mut list = Self::default();
        for shape in self.shapes[keep..]
            .iter()
            .map(|listed| &listed.shape)
            .chain([newest])
        {
            let positions = shape
                .references()
                .map(|reference| list.position(reference))
                .collect();
            list.shapes.push(Listed {
                shape: shape.clone(),
                positions,
            });
        }
        list
    }

    fn position(&mut self, reference: &Reference) -> usize {
        let known = self.references.iter().position(|known| known == reference);
        known.unwrap_or_else(|| {
            self.references.push(reference.clone());
            self.references.len() - 1
        })
    }
}
