//! The state of deciding one request: its attributes, and what was read of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mixer_attributes::{AttributeBag, AttributeId, Entry, Value};

use crate::budget::Budget;
use crate::{EvalError, Reference, ReferenceId, References, Val};

/// Evaluates expressions against one request and keeps what they read.
///
/// One lives as long as the decision, so that its referenced set is that of the decision. Making one allocates nothing for up
/// to 256 references.
#[derive(Debug)]
pub struct Evaluation<'a> {
    bag: &'a AttributeBag<'a>,
    references: &'a References,
    variables: &'a [Option<Val<'a>>],
    seen: [u64; 4],
    seen_beyond: Vec<u64>,
    /// What was read that no expression names literally.
    others: BTreeMap<AttributeId, Others>,
    /// The variables that were read, and the keys of those that are maps.
    variables_read: BTreeSet<(usize, Option<Box<str>>)>,
    pub(crate) budget: Budget,
}

#[derive(Debug, Default)]
struct Others {
    whole: bool,
    keys: BTreeSet<Box<str>>,
}

impl<'a> Evaluation<'a> {
    /// For the request that `bag` describes and expressions compiled with `references`.
    pub fn new(bag: &'a AttributeBag<'a>, references: &'a References) -> Self {
        Self::with_variables(bag, references, &[])
    }

    /// The same, with values for the variables that [`crate::Compiler::variable`] declared, in that order; `None` is unset.
    pub fn with_variables(
        bag: &'a AttributeBag<'a>,
        references: &'a References,
        variables: &'a [Option<Val<'a>>],
    ) -> Self {
        let beyond = references.len().saturating_sub(256).div_ceil(64);
        let (seen_beyond, others, budget) = (vec![0; beyond], BTreeMap::new(), Budget::default());
        Self {
            bag,
            references,
            variables,
            seen: [0; 4],
            seen_beyond,
            others,
            variables_read: BTreeSet::new(),
            budget,
        }
    }

    /// The request.
    pub fn bag(&self) -> &'a AttributeBag<'a> {
        self.bag
    }

    /// Adds an attribute to the referenced set without evaluating anything (an index consulted it).
    pub fn touch(&mut self, attribute: AttributeId, key: Option<&str>) {
        match self.references.id(attribute, key) {
            Some(id) => self.touch_reference(id),
            None => {
                let others = self.others.entry(attribute).or_default();
                match key {
                    None => others.whole = true,
                    Some(key) if !others.keys.contains(key) => {
                        others.keys.insert(key.into());
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// The same for a reference known by number.
    #[inline]
    pub fn touch_reference(&mut self, id: ReferenceId) {
        let (word, bit) = (id.0 as usize / 64, 1_u64 << (id.0 % 64));
        match self.seen.get_mut(word) {
            Some(seen) => *seen |= bit,
            None => {
                if let Some(seen) = self.seen_beyond.get_mut(word - 4) {
                    *seen |= bit;
                }
            }
        }
    }

    /// Everything read so far, each once and sorted, with whether the request has it. Keys found ambiguous count as present.
    pub fn referenced(&self) -> Vec<(Reference, bool)> {
        let words = || self.seen.iter().chain(&self.seen_beyond);
        let known: u32 = words().map(|word| word.count_ones()).sum();
        let mut all: Vec<(Reference, bool)> = Vec::with_capacity(known as usize);
        let mut add = |reference: Reference| {
            let present = self.has(&reference);
            all.push((reference, present));
        };
        for (at, word) in words().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let bit = rest.trailing_zeros() as usize;
                if let Some(reference) = self.references.list.get(64 * at + bit) {
                    add(reference.clone());
                }
                rest &= rest - 1;
            }
        }
        for (attribute, others) in &self.others {
            let keys = others.keys.iter().map(|key| Some(Arc::from(&**key)));
            let whole = others.whole.then_some(None);
            for key in keys.chain(whole) {
                let attribute = *attribute;
                add(Reference { attribute, key });
            }
        }
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// The variables read so far, each once, by their number; with the key where one was read off a map.
    pub fn variables_read(&self) -> impl Iterator<Item = (usize, Option<&str>)> {
        let read = self.variables_read.iter();
        read.map(|(index, key)| (*index, key.as_deref()))
    }

    pub(crate) fn variable(&self, index: usize) -> Option<Val<'a>> {
        self.variables.get(index).cloned().flatten()
    }

    pub(crate) fn touch_variable(&mut self, index: usize, key: Option<&str>) {
        if index < self.variables.len() {
            self.variables_read.insert((index, key.map(Box::from)));
        }
    }

    /// Notes that a key was read that no expression names literally.
    pub(crate) fn touch_key(&mut self, attribute: AttributeId, key: &str) -> Result<(), EvalError> {
        if self.references.id(attribute, Some(key)).is_none()
            && !self
                .others
                .get(&attribute)
                .is_some_and(|others| others.keys.contains(key))
        {
            self.budget.build(key.len() + 32)?;
        }
        self.touch(attribute, Some(key));
        Ok(())
    }

    fn has(&self, reference: &Reference) -> bool {
        match (self.bag.value(reference.attribute), &reference.key) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(Value::Map(map)), Some(key)) => map.lookup(key) != Entry::Absent,
            (Some(Value::Dynamic(tree)), Some(key)) => tree.member(key).is_some(),
            (Some(_), Some(_)) => false,
        }
    }
}
