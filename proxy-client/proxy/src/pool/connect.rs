//! Opening connections: TCP, its place among what may be open, and TLS over it where that is to be.

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::{ConnectError, Leaving, Pool, Way};
use crate::accept::keepalive;
use crate::intercept::{self, Loop, Noted};
use crate::tls::{DialError, Dialed, Dialer, Purpose, Secure, Speaks, Stream};
use crate::upstream::{Circuit, Kind, Permit};

/// What a connection holds while it is open.
#[derive(Debug, Default)]
pub(crate) struct Place {
    _permit: Option<Permit>,
    _noted: Option<Noted>,
}

/// A new connection.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) place: Place,
    /// `None`: in plaintext nobody says.
    pub(super) speaks: Option<Speaks>,
}

impl Pool {
    /// A new TCP connection, and its place in `circuit`.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        circuit: Option<&Arc<Circuit>>,
    ) -> Result<(TcpStream, Place), ConnectError> {
        let permit = match circuit.map(|circuit| circuit.take(Kind::Connections)) {
            None => None,
            Some(Some(permit)) => Some(permit),
            Some(None) => return Err(ConnectError::Overflow),
        };
        self.counters.connected();
        let connected = match self
            .clock
            .within(self.limits.connect, self.leave(address))
            .await
        {
            Some(Ok(stream)) => stream
                .set_nodelay(true)
                .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive()))
                .map(|()| stream)
                .map_err(|error| ConnectError::Refused(address, error.kind())),
            Some(Err(error)) => Err(ConnectError::Refused(address, error.kind())),
            None => Err(ConnectError::TimedOut(address)),
        };
        if connected.is_err() {
            self.counters.connect_failed();
        }
        let stream = connected?;
        let noted = match (&self.leaving, stream.local_addr()) {
            (Leaving::Watched(loops), Ok(local)) => {
                let noted = loops.made(local, address);
                Some(noted.map_err(|Loop| ConnectError::Loop(address))?)
            }
            _ => None,
        };
        let place = Place {
            _permit: permit,
            _noted: noted,
        };
        Ok((stream, place))
    }

    /// A new connection that leads `way`, over TLS where it is to be, for bytes that nobody reads.
    pub(crate) async fn carry(
        &self,
        way: Way<'_>,
        circuit: Option<&Arc<Circuit>>,
    ) -> Result<(Stream, Place), ConnectError> {
        let opened = self.dial(way, Purpose::Bytes, circuit).await?;
        Ok((opened.stream, opened.place))
    }

    pub(super) async fn dial(
        &self,
        way: Way<'_>,
        purpose: Purpose,
        circuit: Option<&Arc<Circuit>>,
    ) -> Result<Opened, ConnectError> {
        let (stream, place) = self.connect(way.address, circuit).await?;
        let Some(dialer) = way.dialer else {
            return Ok(Opened {
                stream: Stream::Plain(stream),
                place,
                speaks: None,
            });
        };
        let handshake = dialer.secure(stream, purpose);
        let dialed = match self.clock.within(self.limits.connect, handshake).await {
            Some(Ok(dialed)) => self.enter(dialed, dialer),
            Some(Err(error)) => Err(error),
            None => Err(DialError::Failed("it took too long".to_owned())),
        };
        match dialed {
            Ok((stream, speaks)) => {
                self.counters.dialed();
                Ok(Opened {
                    stream,
                    place,
                    speaks: Some(speaks),
                })
            }
            Err(DialError::Untrusted(why)) => {
                self.counters.upstream_untrusted();
                Err(ConnectError::Untrusted(way.address, why))
            }
            Err(DialError::Failed(why)) => {
                self.counters.dial_failed();
                Err(ConnectError::Tls(way.address, why))
            }
        }
    }

    /// Enters the server in the thread's books.
    fn enter(&self, dialed: Dialed, dialer: &Dialer) -> Result<(Stream, Speaks), DialError> {
        let Some((peer, before)) = dialed.peer else {
            return Ok((Stream::Outside(Box::new(dialed.stream)), dialed.speaks));
        };
        let now = dialer.source().and_then(|source| source.current());
        let entered = now.and_then(|now| {
            let wall = self.clock.wall();
            self.trusted.enter(peer, &before, &now, wall)
        });
        let trusted = entered.ok_or_else(|| {
            DialError::Untrusted("its authority was removed at this moment".to_owned())
        })?;
        let stream = Stream::Dialed(Box::new(Secure::new(dialed.stream, trusted)));
        Ok((stream, dialed.speaks))
    }

    async fn leave(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let source = match self.leaving {
            Leaving::AsUsual | Leaving::Watched(_) => None,
            Leaving::Unredirected => intercept::source(address),
        };
        let Some(source) = source else {
            return TcpStream::connect(address).await;
        };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(source)?;
        socket.connect(address).await
    }
}
