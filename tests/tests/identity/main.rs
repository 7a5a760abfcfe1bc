//! Identity and encryption: services know each other by their certificates, and applications know nothing of it. Judged by
//! others: OpenSSL and Envoy's SPIFFE validator take what we take, and we refuse what no SVID may be, whichever side it is shown on.

#![allow(clippy::unwrap_used)] // A helper of a test fails it like the test itself.

mod authority;
mod envoy;
mod issued;
mod mesh;
mod openssl;
mod outage;
mod peers;
mod report;
