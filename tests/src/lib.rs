//! The harness: real processes, real servers, one file a promise.
