//! Hosts that are none: what gRPC's C core (Python, C++, Ruby) and gRPC for Java send as `:authority` over a Unix socket.
//!
//! They send the path of the socket (`run%2Fworkload.sock`), and h2 ends the stream, since no host has a `%` or a `/`. Those are the
//! clients that workloads have, so their bytes are put right before h2 reads them: each byte that no host has becomes `-`. Nothing
//! gets longer or shorter, so that neither frames nor the compression of headers (RFC 7541) need be understood beyond where a
//! field begins. What is written in another way than these clients write it passes as it is, for h2 to judge.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an HTTP/2 connection begins with (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// Length, type, flags and stream of a frame.
const HEAD: usize = 9;
/// Bytes of a frame of headers that is looked into: h2 takes no longer one.
const LONGEST: usize = 16 << 10;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// `:authority` in the static table of HPACK.
const INDEX: usize = 1;
const NAME: &[u8] = b":authority";

/// A stream whose reader finds hosts where the peer sent paths.
pub(super) struct Hosts<S> {
    stream: S,
    /// What was read, and not handed on.
    held: Vec<u8>,
    /// How much of that is as it should be.
    ready: usize,
    /// Bytes to come that are none of ours: the preface, frames of other kinds.
    pass: usize,
}

impl<S> Hosts<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            held: Vec::new(),
            ready: 0,
            pass: PREFACE,
        }
    }

    /// Looks at what was read as far as it goes.
    fn look(&mut self) {
        loop {
            let there = (self.held.len() - self.ready).min(self.pass);
            self.ready += there;
            self.pass -= there;
            let Some((head, rest)) = self.held[self.ready..].split_at_mut_checked(HEAD) else {
                return;
            };
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            if kind == HEADERS && flags & END_HEADERS != 0 && length <= LONGEST {
                let Some(payload) = rest.get_mut(..length) else {
                    return;
                };
                if let Some(block) = fields(payload, flags) {
                    put_right(block);
                }
            }
            self.pass = HEAD + length;
        }
    }
}

/// The fields of a frame of headers, without padding and priority.
fn fields(mut payload: &mut [u8], flags: u8) -> Option<&mut [u8]> {
    if flags & PADDED != 0 {
        let (padding, rest) = payload.split_first_mut()?;
        let length = rest.len().checked_sub(usize::from(*padding))?;
        payload = rest.get_mut(..length)?;
    }
    if flags & PRIORITY != 0 {
        payload = payload.get_mut(5..)?;
    }
    Some(payload)
}

/// Puts the hosts of a block of fields right. `None`: it is not written as was expected, and the rest is left as it is.
fn put_right(mut block: &mut [u8]) -> Option<()> {
    while let Some(first) = block.first().copied() {
        // RFC 7541 section 6: how many bits of the first byte belong to a number, and whether texts follow.
        let (bits, literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let index = number(&mut block, bits)?;
        if !literal {
            continue;
        }
        let named = match index {
            INDEX => true,
            0 => text(&mut block)?.1 == NAME,
            _ => false,
        };
        let (coded, value) = text(&mut block)?;
        if named && !coded && Authority::try_from(&*value).is_err() {
            let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            value
                .iter_mut()
                .filter(|byte| !in_host(**byte))
                .for_each(|byte| *byte = b'-');
        }
    }
    Some(())
}

/// Takes a number off a block (RFC 7541 section 5.1).
fn number(block: &mut &mut [u8], bits: u8) -> Option<usize> {
    let mask = (1 << bits) - 1;
    let mut number = usize::from(take(block, 1)?[0] & mask);
    if number < usize::from(mask) {
        return Some(number);
    }
    for shift in [0, 7, 14] {
        let byte = take(block, 1)?[0];
        number += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes a text off a block, and whether it is Huffman-coded (RFC 7541 section 5.2).
fn text<'b>(block: &mut &'b mut [u8]) -> Option<(bool, &'b mut [u8])> {
    let coded = block.first()? & 0x80 != 0;
    let length = number(block, 7)?;
    Some((coded, take(block, length)?))
}

fn take<'b>(block: &mut &'b mut [u8], length: usize) -> Option<&'b mut [u8]> {
    let (taken, rest) = std::mem::take(block).split_at_mut_checked(length)?;
    *block = rest;
    Some(taken)
}

impl<S: AsyncRead + Unpin> AsyncRead for Hosts<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready == 0 {
            let mut bytes = [0; 4 << 10];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                // What is left is the beginning of a frame that never came whole.
                this.ready = this.held.len();
                break;
            }
            this.held.extend_from_slice(read.filled());
            this.look();
        }
        let length = this.ready.min(buffer.remaining());
        buffer.put_slice(&this.held[..length]);
        this.held.drain(..length);
        this.ready -= length;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hosts<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
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
    use tokio::io::AsyncReadExt;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    /// A field whose name is of the static table and whose value is plain.
    fn field(first: u8, value: &[u8]) -> Vec<u8> {
        [&[first, value.len() as u8], value].concat()
    }

    async fn handed_on(sent: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        Hosts::new(sent).read_to_end(&mut read).await.unwrap();
        read
    }

    async fn host(block: &[u8], flags: u8) -> Vec<u8> {
        let sent = [
            vec![b'P'; PREFACE],
            frame(HEADERS, flags | END_HEADERS, block),
        ]
        .concat();
        let read = handed_on(&sent).await;
        assert_eq!(read.len(), sent.len());
        read[PREFACE + HEAD..].to_vec()
    }

    #[tokio::test]
    async fn a_path_becomes_a_host_of_the_same_length() {
        for (sent, expected) in [
            (&b"run%2Fw.sock"[..], &b"run-2Fw.sock"[..]),
            (b"/run/w.sock", b"-run-w.sock"),
            (b"localhost", b"localhost"),
            (b"[::1]:80", b"[::1]:80"),
        ] {
            // Indexed from now on, not indexed, never indexed; behind `:method: GET`; by its own name; padded; with a priority.
            for first in [0x41, 0x01, 0x11] {
                let block = [vec![0x82], field(first, sent)].concat();
                let right = [vec![0x82], field(first, expected)].concat();
                assert_eq!(host(&block, 0).await, right);
                let padded = [&[3], &*block, &[0; 3]].concat();
                assert_eq!(
                    host(&padded, PADDED).await,
                    [&[3], &*right, &[0; 3]].concat()
                );
                let urgent = [&[0; 5], &*block].concat();
                assert_eq!(host(&urgent, PRIORITY).await, [&[0; 5], &*right].concat());
            }
            let named =
                |value| [field(0x40, NAME), [&[value_length(value)], value].concat()].concat();
            assert_eq!(host(&named(sent), 0).await, named(expected));
        }
    }

    fn value_length(value: &[u8]) -> u8 {
        value.len() as u8
    }

    #[tokio::test]
    async fn what_is_no_host_passes_as_it_is() {
        let path = field(0x44, b"/Sign%2F");
        assert_eq!(host(&path, 0).await, path);
        let coded = [&[0x41, 0x80 | 3], &b"a%b"[..]].concat();
        assert_eq!(host(&coded, 0).await, coded);
        let cut = &field(0x41, b"a%2Fb")[..4];
        assert_eq!(host(cut, 0).await, cut);
        let data = [vec![b'P'; PREFACE], frame(0, 0, &field(0x41, b"a%b"))].concat();
        assert_eq!(handed_on(&data).await, data);
    }

    #[tokio::test]
    async fn however_it_is_cut_the_same_comes_out() {
        let block = field(0x41, b"run%2Fw.sock");
        let frames = [
            vec![b'P'; PREFACE],
            frame(4, 0, &[0; 6]),
            frame(HEADERS, END_HEADERS, &block),
            frame(0, 1, &[7; 300]),
            frame(HEADERS, END_HEADERS, &block),
        ];
        let sent = frames.concat();
        let whole = handed_on(&sent).await;
        assert!(!whole.contains(&b'%'));
        for size in [1, 2, 7, 33] {
            let (mut sender, receiver) = tokio::io::duplex(size);
            let mut hosts = Hosts::new(receiver);
            let mut read = Vec::new();
            let write = async {
                tokio::io::AsyncWriteExt::write_all(&mut sender, &sent)
                    .await
                    .unwrap();
                drop(sender);
            };
            tokio::join!(write, async { hosts.read_to_end(&mut read).await.unwrap() });
            assert_eq!(read, whole, "{size} bytes at a time");
        }
    }

    #[tokio::test]
    async fn no_bytes_panic_or_get_lost() {
        let random = mixer_runtime::Random::from_seed(11);
        for _ in 0..2_000 {
            let mut sent = vec![b'P'; PREFACE];
            for _ in 0..random.next() % 4 {
                let length = (random.next() % 40) as usize;
                let payload: Vec<u8> = (0..length).map(|_| random.next() as u8 & 0x6f).collect();
                let flags = random.next() as u8;
                sent.extend(frame(HEADERS, flags | END_HEADERS, &payload));
            }
            sent.truncate(sent.len() - (random.next() % 9) as usize);
            assert_eq!(handed_on(&sent).await.len(), sent.len());
        }
    }
}
