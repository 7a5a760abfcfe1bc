//! The zipkin adapter.
