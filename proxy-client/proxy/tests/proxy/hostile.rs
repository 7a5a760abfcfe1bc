//! Hostile requests on raw sockets: what each is answered with, and what the application behind saw of it.
//!
//! `cargo test -p mixer-proxy --test proxy hostile -- --nocapture` prints the tables.

mod http1;
mod http2;
mod wire;
