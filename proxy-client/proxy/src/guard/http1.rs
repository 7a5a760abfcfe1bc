//! The framing of HTTP/1 requests, read strictly: where each head and each body ends, and that there is one way to read it.
//!
//! RFC 9112. Refused are a line that ends in a bare LF, a folded line, a fragment in the target, more than one
//! `Content-Length`, one that is not digits, `Content-Length` beside `Transfer-Encoding`, and in a chunked body whatever is not
//! to the letter: a size that is not 1 to 16 hex digits, space around it, controls in an extension, another end than CRLF. What
//! else is wrong with a head the library refuses by itself, and closes; this reader only has to agree with it about the heads it
//! accepts.

/// Bytes of chunk extensions in one body.
const EXTENSIONS: usize = 8 << 10;
/// Bytes of a chunk's size: those of a 64-bit number.
const SIZE: usize = 16;

/// Follows the requests of one connection.
#[derive(Debug)]
pub(super) struct Http1 {
    state: State,
    /// The beginning of a line whose end was not read yet.
    line: Vec<u8>,
    /// Bytes of the head or the trailers so far.
    bytes: usize,
    /// Bytes a head may have; of a larger one the library makes 431.
    most: usize,
    framing: Framing,
    extensions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a request line, where empty lines are ignored.
    Before,
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    /// What a chunk's data ends with; so many of its two bytes were read.
    ChunkEnd(u8),
    Trailers,
    /// The library ends the connection after this head, whatever follows.
    Over,
}

/// What a head says about its body.
#[derive(Clone, Copy, Debug, Default)]
struct Framing {
    length: Option<u64>,
    coded: bool,
    /// Coded in a way that is answered with 501.
    unknown: bool,
}

/// What may not be.
#[derive(Debug)]
struct Offence;

impl Http1 {
    pub(super) fn new(most: usize) -> Self {
        Self {
            state: State::Before,
            line: Vec::new(),
            bytes: 0,
            most,
            framing: Framing::default(),
            extensions: 0,
        }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn in_head(&self) -> bool {
        self.state == State::Head || (self.state == State::Before && !self.line.is_empty())
    }

    /// Reads along. `Err`: the offset of what offends.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match &mut self.state {
                State::Over => return Ok(()),
                State::Body(left) | State::Chunk(left) => {
                    let count = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = match self.state {
                            State::Chunk(_) => State::ChunkEnd(0),
                            _ => State::Before,
                        };
                    }
                    count
                }
                State::ChunkEnd(read) => {
                    if rest[0] != b"\r\n"[usize::from(*read)] {
                        return Err(at);
                    }
                    self.state = if *read == 0 {
                        State::ChunkEnd(1)
                    } else {
                        State::ChunkSize
                    };
                    1
                }
                State::Before | State::Head | State::ChunkSize | State::Trailers => {
                    self.part(rest).map_err(|offset| at + offset)?
                }
            };
        }
        Ok(())
    }

    /// A line, or as much of it as there is; how much that was.
    fn part(&mut self, rest: &[u8]) -> Result<usize, usize> {
        let Some(end) = memchr::memchr(b'\n', rest) else {
            self.bytes += rest.len();
            if self.bytes > self.most {
                return self.too_large(rest.len());
            }
            self.line.extend_from_slice(rest);
            return Ok(rest.len());
        };
        self.bytes += end + 1;
        if self.bytes > self.most {
            return self.too_large(end + 1);
        }
        let before = if end > 0 {
            Some(&rest[end - 1])
        } else {
            self.line.last()
        };
        if before != Some(&b'\r') {
            return Err(end);
        }
        let read = if self.line.is_empty() {
            self.line(&rest[..end - 1])
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&rest[..end]);
            line.pop();
            let read = self.line(&line);
            line.clear();
            self.line = line;
            read
        };
        read.map(|()| end + 1).map_err(|Offence| end)
    }

    fn too_large(&mut self, count: usize) -> Result<usize, usize> {
        match self.state {
            State::Before | State::Head => {
                self.state = State::Over;
                Ok(count)
            }
            _ => Err(count - (self.bytes - self.most)),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Offence> {
        match self.state {
            State::Before if line.is_empty() => {}
            State::Before => {
                request_line(line)?;
                self.framing = Framing::default();
                self.state = State::Head;
            }
            State::Head if line.is_empty() => {
                (self.bytes, self.extensions) = (0, 0);
                self.state = match self.framing {
                    Framing { unknown: true, .. } => State::Over,
                    Framing { coded: true, .. } => State::ChunkSize,
                    Framing {
                        length: Some(length @ 1..),
                        ..
                    } => State::Body(length),
                    _ => State::Before,
                };
            }
            State::Head => self.framing.header(line)?,
            State::ChunkSize => {
                let (size, extension) = chunk(line)?;
                self.bytes = 0;
                self.extensions += extension;
                if self.extensions > EXTENSIONS {
                    return Err(Offence);
                }
                self.state = match size {
                    0 => State::Trailers,
                    size => State::Chunk(size),
                };
            }
            State::Trailers if line.is_empty() => {
                self.bytes = 0;
                self.state = State::Before;
            }
            State::Trailers if folded(line) => return Err(Offence),
            _ => {}
        }
        Ok(())
    }
}

impl Framing {
    fn header(&mut self, line: &[u8]) -> Result<(), Offence> {
        if folded(line) {
            return Err(Offence);
        }
        // Nearly no header begins like one of the two.
        if !matches!(line[0], b'c' | b'C' | b't' | b'T') {
            return Ok(());
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return Ok(());
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() || self.coded {
                return Err(Offence);
            }
            self.length = Some(digits(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.length.is_some() {
                return Err(Offence);
            }
            self.unknown |= self.coded || !value.eq_ignore_ascii_case(b"chunked");
            self.coded = true;
        }
        Ok(())
    }
}

/// RFC 9112 section 3.2: a target has no fragment. (The library would drop it, so that rules and callers saw two targets.)
fn request_line(line: &[u8]) -> Result<(), Offence> {
    if folded(line) || line.contains(&b'#') {
        return Err(Offence);
    }
    Ok(())
}

/// RFC 9112 section 5.2: no sender may fold lines. CR within a line is no end of it.
fn folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t')) || line.contains(&b'\r')
}

fn digits(value: &[u8]) -> Result<u64, Offence> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Offence);
    }
    let text = std::str::from_utf8(value).map_err(|_| Offence)?;
    text.parse().map_err(|_| Offence)
}

/// RFC 9112 section 7.1: the size of a chunk, and the bytes of its extension.
fn chunk(line: &[u8]) -> Result<(u64, usize), Offence> {
    let (size, extension) = match memchr::memchr(b';', line) {
        Some(at) => line.split_at(at),
        None => (line, &[][..]),
    };
    if size.is_empty() || size.len() > SIZE || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err(Offence);
    }
    if extension
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(Offence);
    }
    let text = std::str::from_utf8(size).map_err(|_| Offence)?;
    let size = u64::from_str_radix(text, 16).map_err(|_| Offence)?;
    Ok((size, extension.len()))
}

#[cfg(test)]
mod tests;
