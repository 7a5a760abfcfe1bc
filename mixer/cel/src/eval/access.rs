//! Reading: attributes, keys, elements, and the questions whether they are there.
//!
//! Every read notes its reference first, so that what is absent is referenced too.

use std::sync::Arc;

use mixer_attributes::{Entry, Value};

use super::{Names, Result, Walk};
use crate::node::{AttributeRead, KeyRead, Node};
use crate::val::{Looked, Map, Text};
use crate::{EvalError, Val};

impl<'a> Walk<'_, 'a> {
    pub(super) fn attribute(&mut self, read: &'a AttributeRead) -> Result<Val<'a>> {
        self.evaluation.touch_reference(read.reference);
        match self.evaluation.bag().value(read.attribute) {
            Some(value) => Ok(Val::from(value)),
            None => Err(EvalError::Unknown(read.name.clone())),
        }
    }

    pub(super) fn key(&mut self, read: &'a KeyRead) -> Result<Val<'a>> {
        match self.look_key(read)? {
            Some(Looked::Found(value)) => Ok(value),
            Some(Looked::Absent) => Err(EvalError::Missing(read.text.clone())),
            Some(Looked::Ambiguous) => Err(EvalError::Ambiguous(read.text.clone())),
            None => Err(EvalError::Unknown(read.name.clone())),
        }
    }

    /// What a map of strings has at a key; `None` when the attribute is no such map, or absent.
    pub(super) fn entry(&mut self, read: &'a KeyRead) -> Option<Entry<'a>> {
        self.evaluation.touch_reference(read.reference);
        match self.evaluation.bag().value(read.attribute) {
            Some(Value::Map(map)) => Some(map.lookup(&read.key)),
            _ => None,
        }
    }

    /// Whether a path leads to a value, without making it where it lies in the request.
    pub(super) fn has(&mut self, path: &'a Node, names: Names<'_, 'a>) -> Result<bool> {
        match path {
            Node::Attribute(read) => {
                self.evaluation.touch_reference(read.reference);
                Ok(self.evaluation.bag().value(read.attribute).is_some())
            }
            Node::Key(read) => match self.entry(read) {
                Some(Entry::Value(_)) => Ok(true),
                Some(Entry::Absent) => Ok(false),
                Some(Entry::Ambiguous) => Err(EvalError::Ambiguous(read.text.clone())),
                None => Ok(self.find(path, names)?.is_some()),
            },
            _ => Ok(self.find(path, names)?.is_some()),
        }
    }

    /// `None` when there is no map to look in.
    fn look_key(&mut self, read: &'a KeyRead) -> Result<Option<Looked<'a>>> {
        self.evaluation.touch_reference(read.reference);
        let Some(map) = self.evaluation.bag().value(read.attribute) else {
            return Ok(None);
        };
        self.look_in(map, &read.key).map(Some)
    }

    fn look_in(&mut self, map: Value<'a>, key: &str) -> Result<Looked<'a>> {
        match map {
            Value::Map(map) => Ok(match map.lookup(key) {
                Entry::Absent => Looked::Absent,
                Entry::Ambiguous => Looked::Ambiguous,
                Entry::Value(text) => {
                    if let std::borrow::Cow::Owned(text) = &text {
                        self.evaluation.budget.build(text.len())?;
                    }
                    Looked::Found(Val::String(Text::from(text)))
                }
            }),
            Value::Dynamic(tree) => Ok(tree
                .member(key)
                .map_or(Looked::Absent, |member| Looked::Found(Val::from(member)))),
            _ => Err(EvalError::NoOverload("[..]")),
        }
    }

    pub(super) fn dynamic_key(
        &mut self,
        map: &'a AttributeRead,
        key: &'a Node,
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        let key = self.value(key, names)?;
        match self.look_dynamic(map, &key)? {
            Some(Looked::Found(value)) => Ok(value),
            Some(Looked::Absent) => Err(EvalError::Missing(shown(map, &key))),
            Some(Looked::Ambiguous) => Err(EvalError::Ambiguous(shown(map, &key))),
            None => Err(EvalError::Unknown(map.name.clone())),
        }
    }

    fn look_dynamic(
        &mut self,
        read: &'a AttributeRead,
        key: &Val<'a>,
    ) -> Result<Option<Looked<'a>>> {
        let map = self.evaluation.bag().value(read.attribute);
        let Val::String(key) = key else {
            // No attribute has such keys; whether the map is known at all still decides between error and absence.
            self.evaluation.touch_reference(read.reference);
            return Ok(map.map(|_| Looked::Absent));
        };
        self.evaluation.touch_key(read.attribute, key)?;
        map.map(|map| self.look_in(map, key)).transpose()
    }

    pub(super) fn key_in(&mut self, read: &'a KeyRead) -> Result<bool> {
        match self.look_key(read)? {
            Some(looked) => Ok(!matches!(looked, Looked::Absent)),
            None => Err(EvalError::Unknown(read.name.clone())),
        }
    }

    pub(super) fn dynamic_key_in(
        &mut self,
        map: &'a AttributeRead,
        key: &'a Node,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        let key = self.value(key, names)?;
        match self.look_dynamic(map, &key)? {
            Some(looked) => Ok(!matches!(looked, Looked::Absent)),
            None => Err(EvalError::Unknown(map.name.clone())),
        }
    }

    pub(super) fn index(
        &mut self,
        operand: &'a Node,
        index: &'a Node,
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        let (operand, index) = self.operand(operand, index, names)?;
        if let Val::Optional(inner) = operand {
            let Some(inner) = inner else {
                return Ok(Val::Optional(None));
            };
            return Ok(Val::Optional(self.element(&inner, &index)?.map(Arc::new)));
        }
        match self.element(&operand, &index)? {
            Some(value) => Ok(value),
            None => Err(match (&operand, index) {
                (Val::List(_), Val::Int(index)) => EvalError::NoElement(index),
                (Val::List(_), _) => EvalError::NoElement(i64::MAX),
                (_, index) => EvalError::NoKey(index.shown().into()),
            }),
        }
    }

    /// A value and what it is indexed by. Of a variable, the key is what is read.
    fn operand(
        &mut self,
        operand: &'a Node,
        index: &'a Node,
        names: Names<'_, 'a>,
    ) -> Result<(Val<'a>, Val<'a>)> {
        let Node::Variable(variable, name) = operand else {
            return Ok((self.value(operand, names)?, self.value(index, names)?));
        };
        let Some(operand) = self.evaluation.variable(*variable) else {
            self.evaluation.touch_variable(*variable, None);
            return Err(EvalError::Unknown(name.clone()));
        };
        let index = self.value(index, names)?;
        self.evaluation.touch_variable(*variable, index.as_str());
        Ok((operand, index))
    }

    /// What is at `index` of a list or map; `None` when nothing is.
    fn element(&mut self, operand: &Val<'a>, index: &Val<'a>) -> Result<Option<Val<'a>>> {
        match operand {
            Val::Map(map) => match self.look(map, index)? {
                Looked::Found(value) => Ok(Some(value)),
                Looked::Absent => Ok(None),
                Looked::Ambiguous => Err(crate::compare::ambiguous(index)),
            },
            Val::List(list) => Ok(position(index)?.and_then(|at| list.element(at))),
            _ => Err(EvalError::NoOverload("[..]")),
        }
    }

    fn look(&mut self, map: &Map<'a>, key: &Val<'_>) -> Result<Looked<'a>> {
        if let Val::String(key) = key {
            self.evaluation.budget.read(key.len())?;
        }
        Ok(map.look(key))
    }

    /// What a path leads to: `None` when anything on the way is absent. Only attributes and what is read off them may be absent
    /// on the way; any other error stays one.
    pub(super) fn find(&mut self, path: &'a Node, names: Names<'_, 'a>) -> Result<Option<Val<'a>>> {
        match path {
            Node::Attribute(read) => {
                self.evaluation.touch_reference(read.reference);
                Ok(self.evaluation.bag().value(read.attribute).map(Val::from))
            }
            Node::Variable(index, _) => {
                self.evaluation.touch_variable(*index, None);
                Ok(self.evaluation.variable(*index))
            }
            Node::Defined(_) => match self.value(path, names) {
                Ok(value) => Ok(Some(value)),
                Err(error) if error.is_absence() => Ok(None),
                Err(error) => Err(error),
            },
            Node::Key(read) => match self.look_key(read)? {
                Some(Looked::Found(value)) => Ok(Some(value)),
                Some(Looked::Absent) | None => Ok(None),
                Some(Looked::Ambiguous) => Err(EvalError::Ambiguous(read.text.clone())),
            },
            Node::DynamicKey(read) => {
                let key = self.value(&read.1, names)?;
                match self.look_dynamic(&read.0, &key)? {
                    Some(Looked::Found(value)) => Ok(Some(value)),
                    Some(Looked::Absent) | None => Ok(None),
                    Some(Looked::Ambiguous) => Err(EvalError::Ambiguous(shown(&read.0, &key))),
                }
            }
            Node::Index(parts) => {
                let (operand, index) = if is_path(&parts.0) {
                    let Some(operand) = self.find(&parts.0, names)? else {
                        return Ok(None);
                    };
                    (operand, self.value(&parts.1, names)?)
                } else {
                    self.operand(&parts.0, &parts.1, names)?
                };
                match &operand {
                    Val::Optional(None) => Ok(None),
                    Val::Optional(Some(inner)) => self.element(inner, &index),
                    _ => self.element(&operand, &index),
                }
            }
            _ => self.value(path, names).map(Some),
        }
    }

    /// Whether a map has a key, or a list an element.
    pub(super) fn contained(
        &mut self,
        item: &'a Node,
        container: &'a Node,
        names: Names<'_, 'a>,
    ) -> Result<bool> {
        let item = self.value(item, names)?;
        match self.value(container, names)? {
            Val::List(list) => {
                for element in list.iter() {
                    self.evaluation.budget.step(1)?;
                    if crate::compare::equal(&item, &element, &mut self.evaluation.budget)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Val::Map(map) => match item {
                Val::String(_) | Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::Bool(_) => {
                    Ok(!matches!(self.look(&map, &item)?, Looked::Absent))
                }
                _ => Err(EvalError::NoOverload("in")),
            },
            _ => Err(EvalError::NoOverload("in")),
        }
    }

    pub(super) fn list(
        &mut self,
        elements: &'a [(bool, Node)],
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        self.evaluation.budget.elements(elements.len())?;
        let mut values = Vec::with_capacity(elements.len());
        for (optional, element) in elements {
            match (optional, self.value(element, names)?) {
                (true, Val::Optional(Some(value))) => values.push((*value).clone()),
                (true, Val::Optional(None)) => {}
                (true, _) => return Err(EvalError::NoOverload("[?..]")),
                (false, value) => values.push(value),
            }
        }
        Ok(Val::List(values.into_iter().collect()))
    }

    pub(super) fn map(
        &mut self,
        entries: &'a [(bool, Node, Node)],
        names: Names<'_, 'a>,
    ) -> Result<Val<'a>> {
        self.evaluation.budget.elements(entries.len() * 2)?;
        let mut values = Vec::with_capacity(entries.len());
        for (optional, key, value) in entries {
            let key = self.value(key, names)?;
            match (optional, self.value(value, names)?) {
                (true, Val::Optional(Some(value))) => values.push((key, (*value).clone())),
                (true, Val::Optional(None)) => {}
                (true, _) => return Err(EvalError::NoOverload("{?..}")),
                (false, value) => values.push((key, value)),
            }
        }
        Map::build(values).map(Val::Map)
    }
}

/// Whether a node reads off an attribute, so that absence on the way is absence and no mistake.
fn is_path(node: &Node) -> bool {
    match node {
        Node::Attribute(_) | Node::Key(_) | Node::DynamicKey(_) | Node::Defined(_) => true,
        Node::Index(parts) => is_path(&parts.0),
        _ => false,
    }
}

fn shown(map: &AttributeRead, key: &Val<'_>) -> Arc<str> {
    format!("{}[{:?}]", map.name, key.shown()).into()
}

/// A list index: an integer, or another number of integral value. `None` is no element's place.
fn position(index: &Val<'_>) -> Result<Option<usize>> {
    Ok(match index {
        Val::Int(at) => usize::try_from(*at).ok(),
        Val::Uint(at) => usize::try_from(*at).ok(),
        Val::Double(at) if at.fract() == 0.0 && *at >= 0.0 && *at < 9e15 => Some(*at as usize),
        _ => return Err(EvalError::NoOverload("[..]")),
    })
}
