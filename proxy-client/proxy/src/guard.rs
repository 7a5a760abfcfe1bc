//! What stands between a caller's socket and the HTTP library: it reads along, changes nothing, and ends what breaks the rules.
//!
//! The library is lenient where a proxy must not be. It takes a bare LF for the end of a line, drops a `Content-Length` beside
//! `Transfer-Encoding` without a word, and reads as many HTTP/2 control frames as come. Whoever stands before this proxy may have
//! read such bytes another way: that is how requests are smuggled. So the framing of HTTP/1 is followed here by a second,
//! strict reader ([`Http1`]), and the frames of HTTP/2 are counted ([`Http2`]). Neither gathers anything: a few bytes of state
//! each, one pass over what was read.
//!
//! A caller that breaks the framing gets its 400 from the library: the byte that offends is replaced by one that no parser takes,
//! and nothing after it is read. (An error instead would close the connection without a word.)

mod http1;
mod http2;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::http1::Http1;
use self::http2::Http2;
use crate::detect::Prefixed;
use crate::metrics::Counters;
use crate::pace::Pace;

/// What is read instead of what offends: NUL, which HTTP/1 has nowhere but in bodies, and the end of a head.
const OFFENCE: &[u8] = b"\0\r\n\r\n";

/// A caller's connection under guard.
#[derive(Debug)]
pub(crate) struct Guarded {
    io: Prefixed,
    pace: Arc<Pace>,
    follower: Follower,
    /// How much of [`OFFENCE`] was read; then nothing follows.
    offence: Option<usize>,
}

#[derive(Debug)]
enum Follower {
    Http1(Http1),
    Http2(Http2, Arc<Counters>),
}

impl Guarded {
    /// `most`: bytes of a head.
    pub(crate) fn http1(io: Prefixed, pace: Arc<Pace>, most: usize) -> Self {
        Self {
            io,
            pace,
            follower: Follower::Http1(Http1::new(most)),
            offence: None,
        }
    }

    /// `counters`: where it is counted that the caller was cut off.
    pub(crate) fn http2(io: Prefixed, pace: Arc<Pace>, counters: Arc<Counters>) -> Self {
        Self {
            io,
            pace,
            follower: Follower::Http2(Http2::default(), counters),
            offence: None,
        }
    }

    /// Hands out the next bytes of the offence, then the end of the stream.
    fn offend(&mut self, buffer: &mut ReadBuf<'_>) {
        let at = self.offence.unwrap_or_default();
        let count = buffer.remaining().min(OFFENCE.len() - at);
        buffer.put_slice(&OFFENCE[at..at + count]);
        self.offence = Some(at + count);
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.offence.is_some() {
            this.offend(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        match &mut this.follower {
            // After a change of protocol the bytes are not HTTP.
            Follower::Http1(_) if this.pace.is_upgraded() => {}
            Follower::Http1(http1) => {
                let followed = http1.follow(read);
                this.pace.in_head(http1.in_head());
                if let Err(at) = followed {
                    this.pace.refuse();
                    buffer.set_filled(before + at);
                    if at == 0 {
                        this.offend(buffer);
                    } else {
                        this.offence = Some(0);
                    }
                }
            }
            Follower::Http2(http2, counters) => {
                let spent = http2.follow(read);
                this.pace.in_head(http2.in_head());
                if !this.pace.spend(spent) {
                    counters.cut();
                    return Poll::Ready(Err(io::Error::other(
                        "too many HTTP/2 frames that carry nothing",
                    )));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Guarded {
    /// What was written to the caller pays for its control frames.
    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if let (Follower::Http2(..), Poll::Ready(Ok(count))) = (&self.follower, written) {
            self.pace.earn(*count as u64);
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
