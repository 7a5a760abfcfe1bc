//! What was loaded: a compiled set of documents and the adapters it names.
