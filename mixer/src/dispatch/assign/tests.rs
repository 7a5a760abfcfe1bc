//! Envoys that do what they are told, in virtual time: what passes, summed over all of them, against what the limit says.

mod bounds;
mod model;
mod outcomes;
