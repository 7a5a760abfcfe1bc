//! Attributes that own their values: what tools, tests and given requests start from. Requests in flight use
//! [`AttributeBag`] alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{AttributeBag, AttributeId, Duration, Dynamic, Timestamp, Type, Value};

/// An owned attribute value; see [`Value`] for the shapes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum OwnedValue {
    String(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    Timestamp(Timestamp),
    Duration(Duration),
    Ip(IpAddr),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
    Dynamic(Dynamic),
}

impl OwnedValue {
    /// The value as a bag holds it.
    pub fn borrow(&self) -> Value<'_> {
        match self {
            OwnedValue::String(text) => Value::String(text),
            OwnedValue::Int(number) => Value::Int(*number),
            OwnedValue::Double(number) => Value::Double(*number),
            OwnedValue::Bool(bit) => Value::Bool(*bit),
            OwnedValue::Bytes(bytes) => Value::Bytes(bytes),
            OwnedValue::Timestamp(time) => Value::Timestamp(*time),
            OwnedValue::Duration(span) => Value::Duration(*span),
            OwnedValue::Ip(address) => Value::Ip(*address),
            OwnedValue::List(items) => Value::List(items),
            OwnedValue::Map(map) => Value::Map(map),
            OwnedValue::Dynamic(tree) => Value::Dynamic(tree),
        }
    }

    /// The declared type this value has.
    pub fn kind(&self) -> Type {
        self.borrow().kind()
    }
}

/// Attributes by id, owning their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnedBag {
    values: BTreeMap<AttributeId, OwnedValue>,
}

impl OwnedBag {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an attribute, replacing what it had.
    pub fn set(&mut self, id: AttributeId, value: OwnedValue) -> &mut Self {
        self.values.insert(id, value);
        self
    }

    /// Unsets an attribute.
    pub fn unset(&mut self, id: AttributeId) {
        self.values.remove(&id);
    }

    /// The attribute's value, `None` when it is unset.
    pub fn value(&self, id: AttributeId) -> Option<&OwnedValue> {
        self.values.get(&id)
    }

    /// For changing a value in place, above all to fill a map.
    pub fn value_mut(&mut self, id: AttributeId) -> Option<&mut OwnedValue> {
        self.values.get_mut(&id)
    }

    /// Every attribute that is set, in id order.
    pub fn iter(&self) -> impl Iterator<Item = (AttributeId, &OwnedValue)> {
        self.values.iter().map(|(id, value)| (*id, value))
    }

    /// The bag that policies are evaluated against.
    pub fn bag(&self) -> AttributeBag<'_> {
        let mut bag = AttributeBag::new();
        for (id, value) in &self.values {
            bag.set(*id, value.borrow());
        }
        bag
    }
}
