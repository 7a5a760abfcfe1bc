//! What is known about a request, as typed attributes.
//!
//! [`vocabulary`] fixes the names, ids and types; [`AttributeBag`] holds one request's values in slots, borrowed from whoever
//! decoded the request. Unset is unset: nothing here has a default value, since a default read by a policy is a hole in it.
//! No wire format and no async live here, so that proxy, Mixer and tools share one meaning of `request.path`.

mod bag;
pub mod host;
mod owned;
pub mod path;
pub mod standard;
mod time;
mod value;
pub mod vocabulary;

pub use bag::AttributeBag;
pub use owned::{OwnedBag, OwnedValue};
pub use time::{Duration, Timestamp};
pub use value::{Dynamic, Entry, StringMap, Value};
pub use vocabulary::{Attribute, AttributeId, Type, Vocabulary};
