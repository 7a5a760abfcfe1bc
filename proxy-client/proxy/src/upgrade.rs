//! Connections that stop being HTTP (WebSocket and the like): the bytes of both sides are carried until both are done.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::exchange::Exchange;
use crate::flag::Flag;
use crate::forward::Held;
use crate::worker::spawn;

/// Joins the two once both have changed protocol. The exchange ends with them.
pub(crate) fn join(caller: OnUpgrade, server: OnUpgrade, held: Held, mut exchange: Exchange) {
    spawn(async move {
        let _held = held;
        let (caller, server) = match (caller.await, server.await) {
            (Ok(caller), Ok(server)) => (caller, server),
            (Err(_), _) => return exchange.cut(Flag::DownstreamTermination),
            (_, Err(_)) => return exchange.cut(Flag::UpstreamTermination),
        };
        let (mut caller, mut server) = (TokioIo::new(caller), TokioIo::new(server));
        let connection = exchange.connection.clone();
        tokio::select! {
            copied = copy_bidirectional(&mut caller, &mut server) => {
                if let Ok((sent, received)) = copied {
                    exchange.carried(sent, received);
                }
            }
            () = connection.until_too_plain() => exchange.cut(Flag::Plaintext),
        }
    });
}
