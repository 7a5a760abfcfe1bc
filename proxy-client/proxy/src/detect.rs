//! What a connection speaks, by its first bytes.
//!
//! HTTP/2 begins with a fixed preface, HTTP/1 with a method: a token of at most 20 letters and a space, TLS with a
//! handshake record. Anything else is opaque,
//! which is no way around policy: an opaque connection is checked as one, without the attributes of a request, so that rules
//! about requests cannot be decided in its favour. A declared protocol is not second-guessed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::tls::Stream;

/// RFC 9113 section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
    /// A ClientHello: somebody's TLS.
    Tls,
    Opaque,
}

/// What `head` says, `None` while it could still be several things.
fn read(head: &[u8]) -> Option<Spoken> {
    let common = head.len().min(PREFACE.len());
    if head[..common] == PREFACE[..common] {
        return (common == PREFACE.len()).then_some(Spoken::Http2);
    }
    // RFC 8446 section 5.1: a handshake record of version 3.x. What comes before all else of it is a ClientHello.
    match head {
        [0x16] => return None,
        [0x16, 3, ..] => return Some(Spoken::Tls),
        _ => {}
    }
    for (at, &byte) in head.iter().enumerate() {
        match byte {
            // RFC 9112 section 2.2: empty lines before a request line are ignored.
            b'\r' | b'\n'
                if head[..at]
                    .iter()
                    .all(|before| matches!(before, b'\r' | b'\n')) => {}
            b' ' if at > 0 => return Some(Spoken::Http1),
            b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' if at < 20 => {}
            _ => return Some(Spoken::Opaque),
        }
    }
    (head.len() == PREFACE.len()).then_some(Spoken::Opaque)
}

/// Reads until it is plain what `io` speaks. `None`: closed before the first byte.
pub(crate) async fn detect(io: &mut Prefixed) -> io::Result<Option<Spoken>> {
    loop {
        let held = usize::from(io.len);
        let count = io.stream.read(&mut io.head[held..]).await?;
        if count == 0 {
            return Ok((held > 0).then_some(Spoken::Opaque));
        }
        io.len += u8::try_from(count).expect("the head is 24 bytes");
        if let Some(spoken) = read(&io.head[..usize::from(io.len)]) {
            return Ok(Some(spoken));
        }
    }
}

/// A connection whose first bytes were read already, and are read again.
#[derive(Debug)]
pub(crate) struct Prefixed {
    stream: Stream,
    head: [u8; 24],
    at: u8,
    len: u8,
    /// What was read behind the head: nothing, but where a hello had to be read to its end.
    behind: Vec<u8>,
}

impl Prefixed {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            head: [0; 24],
            at: 0,
            len: 0,
            behind: Vec::new(),
        }
    }

    /// What was read so far.
    pub(crate) fn held(&self) -> &[u8] {
        match self.behind.is_empty() {
            true => &self.head[..usize::from(self.len)],
            false => &self.behind,
        }
    }

    /// Reads more than a head, to be read again with it.
    pub(crate) async fn read_behind(&mut self) -> io::Result<usize> {
        if self.behind.is_empty() {
            self.behind = self.head[..usize::from(self.len)].to_vec();
            self.at = self.len;
        }
        self.stream.read_buf(&mut self.behind).await
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at < self.len {
            let waiting = &self.head[usize::from(self.at)..usize::from(self.len)];
            let count = waiting.len().min(buffer.remaining());
            buffer.put_slice(&waiting[..count]);
            self.at += count as u8;
            return Poll::Ready(Ok(()));
        }
        if !self.behind.is_empty() {
            let count = self.behind.len().min(buffer.remaining());
            buffer.put_slice(&self.behind[..count]);
            self.behind.drain(..count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_say_what_is_spoken() {
        let table: [(&[u8], Option<Spoken>); 18] = [
            (b"", None),
            (b"G", None),
            (b"GET", None),
            (b"GET ", Some(Spoken::Http1)),
            (b"get /", Some(Spoken::Http1)),
            (b"M-SEARCH * HTTP/1.1\r\n", Some(Spoken::Http1)),
            (b"\r\nGET /", Some(Spoken::Http1)),
            (b"PRI", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(Spoken::Http2)),
            (b"PROPFIND /", Some(Spoken::Http1)),
            (b"\x16", None),
            (b"\x16\x03", Some(Spoken::Tls)),
            (b"\x16\x02", Some(Spoken::Opaque)),
            (b" GET / HTTP/1.1", Some(Spoken::Opaque)),
            (b"GE\0T / HTTP/1.1", Some(Spoken::Opaque)),
            (b"*1\r\n$4\r\nPING\r\n", Some(Spoken::Opaque)),
            (b"ABCDEFGHIJKLMNOPQRSTUVWX", Some(Spoken::Opaque)),
        ];
        for (head, spoken) in table {
            assert_eq!(read(head), spoken, "{}", head.escape_ascii());
        }
    }
}
