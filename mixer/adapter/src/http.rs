//! HTTP for adapters: lists that are fetched, spans that are posted.

/// A client with a deadline and a bound on what it reads; http and https (rustls, the system's roots).
#[derive(Clone, Debug)]
pub struct HttpClient {}
