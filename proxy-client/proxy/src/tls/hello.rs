//! Whose TLS it is: the proxy's, or the application's own, which passes unread.
//!
//! A service whose bytes are opaque may speak TLS itself. Only a caller that offers [`OURS`] means the proxy.

use std::io;

use rustls::server::Acceptor;

use super::OURS;
use crate::detect::Prefixed;

/// A hello has a certificate of nobody and few extensions; what is longer is not waited for.
const LONGEST: usize = 32 << 10;

/// Whether the ClientHello that `io` begins with offers the proxy's own protocol. What was read is read again.
pub(crate) async fn offers_ours(io: &mut Prefixed) -> io::Result<bool> {
    let mut acceptor = Acceptor::default();
    let mut fed = 0;
    loop {
        while let Some(mut rest) = io.held().get(fed..).filter(|rest| !rest.is_empty()) {
            match acceptor.read_tls(&mut rest) {
                Ok(0) | Err(_) => return Ok(false),
                Ok(count) => fed += count,
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    return Ok(hello
                        .alpn()
                        .is_some_and(|mut offered| offered.any(|name| name == OURS)));
                }
                Err(_) => return Ok(false),
            }
        }
        if fed >= LONGEST || io.read_behind().await? == 0 {
            return Ok(false);
        }
    }
}
