//! The macros that go over a list or a map. Each turn costs steps of the budget.

use super::{Names, Result, Scope, Walk};
use crate::node::{Loop, LoopKind, Node};
use crate::val::{List, Looked, Map};
use crate::{EvalError, Val};

/// What a macro goes over.
enum Range<'a> {
    List(List<'a>),
    Map(Vec<(Val<'a>, Looked<'a>)>),
}

impl<'a> Range<'a> {
    fn len(&self) -> usize {
        match self {
            Range::List(list) => list.len(),
            Range::Map(entries) => entries.len(),
        }
    }

    /// What one name is bound to in turn `at`.
    fn one(&self, at: usize) -> Val<'a> {
        match self {
            Range::List(list) => list.element(at).unwrap_or(Val::Null),
            Range::Map(entries) => entries[at].0.clone(),
        }
    }

    /// What two names are bound to.
    fn two(&self, at: usize) -> Result<(Val<'a>, Val<'a>)> {
        match self {
            Range::List(list) => Ok((Val::Int(at as i64), list.element(at).unwrap_or(Val::Null))),
            Range::Map(entries) => match &entries[at] {
                (key, Looked::Found(value)) => Ok((key.clone(), value.clone())),
                (key, Looked::Absent | Looked::Ambiguous) => Err(crate::compare::ambiguous(key)),
            },
        }
    }
}

impl<'a> Walk<'_, 'a> {
    pub(super) fn run(&mut self, each: &'a Loop, names: Names<'_, 'a>) -> Result<Val<'a>> {
        let range = match self.value(&each.range, names)? {
            Val::List(list) => Range::List(list),
            Val::Map(map) => {
                let entries = map.looked();
                self.evaluation.budget.step(entries.len())?;
                Range::Map(entries)
            }
            _ => return Err(EvalError::NoOverload("a macro over a list or map")),
        };
        match each.kind {
            LoopKind::All => self.decide(each, &range, false, names).map(Val::Bool),
            LoopKind::Exists => self.decide(each, &range, true, names).map(Val::Bool),
            LoopKind::ExistsOne => self.exists_one(each, &range, names).map(Val::Bool),
            LoopKind::List => self.collect(each, &range, names),
            LoopKind::Map | LoopKind::Entries => self.collect_map(each, &range, names),
            LoopKind::Sort => self.sort(each, &range, names),
        }
    }

    /// Calls `then` with the names of one turn bound.
    fn bound<T>(
        &mut self,
        each: &'a Loop,
        range: &Range<'a>,
        at: usize,
        names: Names<'_, 'a>,
        then: impl FnOnce(&mut Self, Names<'_, 'a>) -> Result<T>,
    ) -> Result<T> {
        self.evaluation.budget.step(each.steps)?;
        if !each.pairs {
            let value = range.one(at);
            return then(
                self,
                Some(&Scope {
                    value,
                    outer: names,
                }),
            );
        }
        let (key, value) = range.two(at)?;
        let outer = Scope {
            value: key,
            outer: names,
        };
        then(
            self,
            Some(&Scope {
                value,
                outer: Some(&outer),
            }),
        )
    }

    fn passes(&mut self, filter: Option<&'a Node>, names: Names<'_, 'a>) -> Result<bool> {
        filter.map_or(Ok(true), |filter| self.truth(filter, names))
    }

    /// `exists` (until a turn is true) and `all` (until one is false): errors count only when no turn decides.
    fn decide(
        &mut self,
        each: &'a Loop,
        range: &Range<'a>,
        decides: bool,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        let mut first_error = None;
        // A question about the element's text needs no name bound.
        let test = match &each.body {
            Some(Node::Text(operand, test)) if !each.pairs => {
                Some(test).filter(|_| matches!(**operand, Node::Local(0)))
            }
            _ => None,
        };
        for at in 0..range.len() {
            let truth = match (test, range) {
                (Some(test), Range::List(list)) => {
                    let budget = &mut self.evaluation.budget;
                    budget.step(each.steps)?;
                    list.with_text(at, |text| test.of(text, budget))
                }
                _ => self.bound(each, range, at, names, |walk, names| {
                    walk.passes(each.body.as_ref(), names)
                }),
            };
            match truth {
                Ok(truth) if truth == decides => return Ok(decides),
                Ok(_) => {}
                Err(limit) if limit.is_limit() => return Err(limit),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(!decides), Err)
    }

    fn exists_one(
        &mut self,
        each: &'a Loop,
        range: &Range<'a>,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        let mut found = 0_usize;
        for at in 0..range.len() {
            let truth = self.bound(each, range, at, names, |walk, names| {
                walk.passes(each.body.as_ref(), names)
            })?;
            found += usize::from(truth);
        }
        Ok(found == 1)
    }

    fn collect(
        &mut self,
        each: &'a Loop,
        range: &Range<'a>,
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        let mut values = Vec::new();
        for at in 0..range.len() {
            let value = self.bound(each, range, at, names, |walk, names| {
                if !walk.passes(each.filter.as_ref(), names)? {
                    return Ok(None);
                }
                walk.evaluation.budget.elements(1)?;
                match &each.body {
                    Some(body) => walk.value(body, names).map(Some),
                    None => Ok(Some(super::local(names, 0).clone())),
                }
            })?;
            values.extend(value);
        }
        Ok(Val::List(values.into_iter().collect()))
    }

    fn collect_map(
        &mut self,
        each: &'a Loop,
        range: &Range<'a>,
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        let mut entries = Vec::new();
        let Some(body) = &each.body else {
            return Err(EvalError::NoOverload("transformMap"));
        };
        for at in 0..range.len() {
            let value = self.bound(each, range, at, names, |walk, names| {
                if !walk.passes(each.filter.as_ref(), names)? {
                    return Ok(None);
                }
                walk.evaluation.budget.elements(2)?;
                Ok(Some((
                    super::local(names, 1).clone(),
                    walk.value(body, names)?,
                )))
            })?;
            match value {
                Some((key, value)) if each.kind == LoopKind::Map => entries.push((key, value)),
                Some((_, Val::Map(map))) => {
                    let made = map
                        .entries()
                        .ok_or(EvalError::NoOverload("transformMapEntry"))?;
                    self.evaluation.budget.elements(made.len() * 2)?;
                    entries.extend(made);
                }
                Some(_) => return Err(EvalError::NoOverload("transformMapEntry")),
                None => {}
            }
        }
        Map::build(entries).map(Val::Map)
    }

    fn sort(&mut self, each: &'a Loop, range: &Range<'a>, names: Names<'_, 'a>) -> Result<Val<'a>> {
        let mut keyed = Vec::with_capacity(range.len());
        let Some(body) = &each.body else {
            return Err(EvalError::NoOverload("sortBy"));
        };
        for at in 0..range.len() {
            self.evaluation.budget.elements(2)?;
            keyed.push(self.bound(each, range, at, names, |walk, names| {
                Ok((walk.value(body, names)?, super::local(names, 0).clone()))
            })?);
        }
        crate::functions::sort(keyed, &mut self.evaluation.budget).map(Val::List)
    }
}
