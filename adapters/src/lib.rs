//! The adapters that come with Mixer.
