//! The frames of an HTTP/2 caller, counted by what they are good for.
//!
//! A frame costs its sender a few bytes and this side a parse, perhaps an answer, perhaps a request begun and thrown away (CVE-
//! 2019-9512 to 9518, CVE-2023-44487, CVE-2024-27316). So frames that carry nothing cost points, and what carries something
//! earns them back: requests, their bodies, and bytes of responses, whose window updates and pings are only proper. Who spends
//! more than `Limits::control_frames` ahead of what was earned is cut off. The bounds that need to know a stream's state are the
//! library's own, set beside it in `connection.rs`.

/// RFC 9113 section 3.4.
const PREFACE: u32 = 24;
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;
const SETTINGS: u8 = 4;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct Http2 {
    head: [u8; HEAD],
    held: usize,
    /// Bytes to pass over: the preface, then of a frame's payload.
    skip: u32,
    in_head: bool,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            head: [0; HEAD],
            held: 0,
            skip: PREFACE,
            in_head: false,
        }
    }
}

impl Http2 {
    /// Whether a head has begun and not ended.
    pub(super) fn in_head(&self) -> bool {
        self.in_head
    }

    /// Reads along; the points the frames cost, negative if they earned some.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> i32 {
        let mut spent = 0;
        while !bytes.is_empty() {
            let passed = bytes
                .len()
                .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= passed as u32;
            bytes = &bytes[passed..];
            let count = bytes.len().min(HEAD - self.held);
            self.head[self.held..self.held + count].copy_from_slice(&bytes[..count]);
            self.held += count;
            bytes = &bytes[count..];
            if self.held == HEAD {
                self.held = 0;
                spent += self.frame();
            }
        }
        spent
    }

    fn frame(&mut self) -> i32 {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.skip = length;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_head = flags & END_HEADERS == 0;
        }
        match kind {
            HEADERS => -1,
            DATA if length > 0 => -1,
            DATA if flags & END_STREAM != 0 => 0,
            // A request undone costs more than it earned.
            RST_STREAM => 2,
            CONTINUATION if length > 0 => 0,
            SETTINGS if flags & ACK != 0 => 0,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![
            0,
            (payload >> 8) as u8,
            payload as u8,
            kind,
            flags,
            0,
            0,
            0,
            1,
        ];
        frame.resize(HEAD + payload, 0xff);
        frame
    }

    #[test]
    fn frames_cost_what_they_are_good_for_however_they_are_cut() {
        for (frames, cost) in [
            (vec![frame(HEADERS, 5, 20)], -1),
            (vec![frame(HEADERS, 5, 20), frame(RST_STREAM, 0, 4)], 1),
            (vec![frame(DATA, 0, 300), frame(DATA, 1, 0)], -1),
            (vec![frame(DATA, 0, 0), frame(6, 0, 8), frame(2, 0, 5)], 3),
            (vec![frame(SETTINGS, 0, 6), frame(SETTINGS, ACK, 0)], 1),
            (vec![frame(HEADERS, 0, 0), frame(CONTINUATION, 0, 0)], 0),
            (vec![frame(200, 0, 3)], 1),
        ] {
            let bytes: Vec<u8> = [vec![b'P'; 24], frames.concat()].concat();
            for size in [1, 2, 5, 9, bytes.len()] {
                let mut http2 = Http2::default();
                let spent: i32 = bytes.chunks(size).map(|piece| http2.follow(piece)).sum();
                assert_eq!(spent, cost, "{frames:?}, {size} at a time");
            }
        }
    }

    #[test]
    fn a_head_is_open_until_its_last_frame() {
        let mut http2 = Http2::default();
        http2.follow(&[b'P'; 24]);
        http2.follow(&frame(HEADERS, END_STREAM, 3));
        assert!(http2.in_head());
        http2.follow(&frame(CONTINUATION, 0, 3));
        assert!(http2.in_head());
        http2.follow(&frame(CONTINUATION, END_HEADERS, 3));
        assert!(!http2.in_head());
    }
}
