//! Typed inputs: what `with` gives an adapter.

use mixer_attributes::{OwnedValue, Type};

use crate::{Invalid, Problem};

/// The inputs that an adapter's users give it: the same names and types from all of them.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Names and types; `None`: only known when it is evaluated (`dyn`). In the order of [`Instance::values`].
    pub declared: Vec<(String, Option<Type>)>,
    /// No rule asks: nothing is given, and nothing is missed.
    pub unasked: bool,
}

/// Where an input is in an [`Instance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// One asking: a value for each input.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// In the order of [`Inputs::declared`].
    pub values: &'a [OwnedValue],
}

impl Inputs {
    /// The slot of input `name`, which must be given (where anybody asks) and be of one of `types`.
    pub fn require(&self, name: &str, types: &[Type]) -> Result<Slot, Invalid> {
        let expected = types
            .iter()
            .map(Type::to_string)
            .collect::<Vec<_>>()
            .join(" or ");
        match self
            .declared
            .iter()
            .position(|(declared, _)| declared == name)
        {
            None if self.unasked => Ok(Slot(0)),
            None => Err(Invalid::one(
                "with",
                format!("needs the input `{name}` ({expected})"),
            )),
            Some(at) => match self.declared[at].1 {
                Some(kind) if !types.contains(&kind) => Err(Invalid::one(
                    format!("with.{name}"),
                    format!("must be {expected}, this is {kind}"),
                )),
                _ => Ok(Slot(at)),
            },
        }
    }

    /// Refuses inputs that are not among `known`.
    pub fn allow_only(&self, known: &[&str]) -> Result<(), Invalid> {
        let unknown = self
            .declared
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()));
        let problems: Vec<Problem> = unknown
            .map(|(name, _)| Problem {
                field: format!("with.{name}"),
                message: format!("unknown input; known: {}", known.join(", ")),
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Invalid { problems })
        }
    }
}

impl<'a> Instance<'a> {
    /// The value of an input.
    pub fn value(&self, slot: Slot) -> &'a OwnedValue {
        &self.values[slot.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_missed_only_where_somebody_asks() {
        let mut inputs = Inputs::default();
        assert!(inputs.require("value", &[Type::String]).is_err());
        inputs.unasked = true;
        assert!(inputs.require("value", &[Type::String]).is_ok());
    }
}
