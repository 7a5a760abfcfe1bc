//! What must be true of the parent module.
