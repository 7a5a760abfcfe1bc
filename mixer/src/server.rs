//! The protocols Mixer speaks.
