//! Attributes and answers on the wire: the only place of this crate that knows `mixer.v1` messages.
