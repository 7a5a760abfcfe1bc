//! HTTP/2 frame by frame, as no library would write them.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::soon;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
/// What ends a head and a request.
pub(crate) const END: u8 = END_STREAM | END_HEADERS;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields in HPACK, each a literal that enters no table (RFC 7541 section 6.2.2).
pub(crate) fn hpack(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // RFC 7541 section 5.1, with a prefix of 7 bits.
            let mut length = text.len();
            if length < 127 {
                block.push(length as u8);
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push((length % 128) as u8 | 128);
                    length /= 128;
                }
                block.push(length as u8);
            }
            block.extend(*text);
        }
    }
    block
}

/// A head in as many frames as it needs, ending the request.
pub(crate) fn head(stream: u32, block: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = block.chunks(16 << 10).collect();
    let mut frames = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let kind = if at == 0 { HEADERS } else { CONTINUATION };
        let first = if at == 0 { END_STREAM } else { 0 };
        let last = if at + 1 == pieces.len() {
            END_HEADERS
        } else {
            0
        };
        frames.extend(frame(kind, first | last, stream, piece));
    }
    frames
}

/// The head of a GET of `path`, with `more` fields.
pub(crate) fn get(path: &[u8], more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", path),
    ];
    fields.extend(more);
    hpack(&fields)
}

/// A frame that was read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
}

impl Read {
    /// The error code of RST_STREAM and GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status, which begins every head this proxy sends: an index of the static table, or a literal of three digits.
    pub(crate) fn status(&self) -> u16 {
        match self.payload[..] {
            [0x88, ..] => 200,
            [0x89, ..] => 204,
            [0x8c, ..] => 400,
            [0x8d, ..] => 404,
            [0x8e, ..] => 500,
            [0x48 | 0x08, 0x82, a, b, ..] => huffman([a, b, 0]),
            [0x48 | 0x08, 0x83, a, b, c, ..] => huffman([a, b, c]),
            [0x48 | 0x08, 3, a, b, c, ..] => {
                std::str::from_utf8(&[a, b, c]).unwrap().parse().unwrap()
            }
            _ => panic!("no status: {:02x?}", self.payload),
        }
    }
}

/// Three digits of HPACK's code (RFC 7541 appendix B) in at most three bytes: 0, 1 and 2 have 5 bits, the others 6.
fn huffman([a, b, c]: [u8; 3]) -> u16 {
    let bits = u32::from_be_bytes([a, b, c, 0]);
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = bits << at >> 27;
        let digit = if five < 3 {
            at += 5;
            five
        } else {
            let six = bits << at >> 26;
            at += 6;
            six - 0x19 + 3
        };
        number = number * 10 + digit;
    }
    number as u16
}

/// A caller that writes frames.
pub(crate) struct Caller {
    pub(crate) stream: TcpStream,
}

impl Caller {
    /// Connects, and sends the preface with empty settings.
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut caller = Self { stream };
        caller.send(PREFACE).await;
        caller.send(&frame(SETTINGS, 0, 0, &[])).await;
        caller
    }

    /// Sends bytes; whether they could be.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` once the connection is closed.
    pub(crate) async fn read(&mut self) -> Option<Read> {
        let mut head = [0; 9];
        soon(self.stream.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        soon(self.stream.read_exact(&mut payload)).await.ok()?;
        Some(Read {
            kind: head[3],
            flags: head[4],
            payload,
        })
    }

    /// The next frame of one of these kinds, other ones passed over.
    pub(crate) async fn next(&mut self, kinds: &[u8]) -> Option<Read> {
        loop {
            let read = self.read().await?;
            if kinds.contains(&read.kind) && !(read.kind == PING && read.flags & ACK == 0) {
                return Some(read);
            }
        }
    }
}
