//! One line: Envoy's own text format, or Envoy's and Istio's names in JSON.
//!
//! What callers choose is escaped byte by byte. In text whatever is not visible ASCII, and the quotation mark, becomes `\xHH`; in
//! JSON controls (also those above ASCII, and the separators that some readers take for ends of lines) become `\uHHHH`, and bytes
//! that are no UTF-8 become U+FFFD. No value is longer than [`LONGEST`] bytes.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use crate::config::LogFormat;

/// Bytes of a value.
const LONGEST: usize = 4 << 10;

/// What a line tells. What does not apply, or is not known, is `None`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) time: SystemTime,
    pub(crate) reporter: &'a str,
    pub(crate) method: Option<&'a str>,
    /// Without the query.
    pub(crate) path: Option<&'a str>,
    pub(crate) protocol: Option<&'a str>,
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u16>,
    pub(crate) flags: &'a str,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) duration: Duration,
    /// Until the head of the server's response.
    pub(crate) service_time: Option<Duration>,
    pub(crate) forwarded_for: Option<&'a [u8]>,
    pub(crate) user_agent: Option<&'a [u8]>,
    pub(crate) request_id: Option<&'a [u8]>,
    pub(crate) authority: Option<&'a [u8]>,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) service: Option<&'a str>,
    pub(crate) route: Option<&'a str>,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

/// The last second that was written, so that most lines need no calendar.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    second: Option<i64>,
    text: String,
}

impl Seconds {
    /// RFC 3339, UTC, milliseconds.
    pub(super) fn write(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let time = DateTime::<Utc>::from(time);
        if self.second != Some(time.timestamp()) {
            self.second = Some(time.timestamp());
            self.text = time.format("%Y-%m-%dT%H:%M:%S").to_string();
        }
        out.extend_from_slice(self.text.as_bytes());
        put(out, format_args!(".{:03}Z", time.timestamp_subsec_millis()));
    }
}

impl Line<'_> {
    /// Writes it, with its end.
    pub(super) fn write(&self, format: LogFormat, seconds: &mut Seconds, out: &mut Vec<u8>) {
        match format {
            LogFormat::Text => self.text(seconds, out),
            LogFormat::Json => self.json(seconds, out),
        }
        out.push(b'\n');
    }

    fn text(&self, seconds: &mut Seconds, out: &mut Vec<u8>) {
        out.push(b'[');
        seconds.write(self.time, out);
        out.extend_from_slice(b"] \"");
        let first = [self.method, self.path, self.protocol];
        for (at, value) in first.into_iter().enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            visible(value.map(str::as_bytes), out);
        }
        put(
            out,
            format_args!(
                "\" {} {} {} {} {} ",
                self.status,
                self.flags,
                self.received,
                self.sent,
                self.duration.as_millis()
            ),
        );
        match self.service_time {
            Some(time) => put(out, format_args!("{}", time.as_millis())),
            None => out.push(b'-'),
        }
        for value in [
            self.forwarded_for,
            self.user_agent,
            self.request_id,
            self.authority,
        ] {
            out.extend_from_slice(b" \"");
            visible(value, out);
            out.push(b'"');
        }
        match self.upstream {
            Some(upstream) => put(out, format_args!(" \"{upstream}\"")),
            None => out.extend_from_slice(b" \"-\""),
        }
    }

    fn json(&self, seconds: &mut Seconds, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"start_time\":\"");
        seconds.write(self.time, out);
        out.push(b'"');
        let plain = |text: Option<&'_ str>, name: &str, out: &mut Vec<u8>| {
            member(name, text.map(str::as_bytes), out);
        };
        plain(Some(self.reporter), "reporter", out);
        plain(self.method, "method", out);
        plain(self.path, "path", out);
        plain(self.protocol, "protocol", out);
        number("response_code", Some(self.status.into()), out);
        number("grpc_status", self.grpc_status.map(u64::from), out);
        plain(Some(self.flags), "response_flags", out);
        number("bytes_received", Some(self.received), out);
        number("bytes_sent", Some(self.sent), out);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        number("duration", Some(millis(self.duration)), out);
        number("upstream_service_time", self.service_time.map(millis), out);
        member("x_forwarded_for", self.forwarded_for, out);
        member("user_agent", self.user_agent, out);
        member("request_id", self.request_id, out);
        member("authority", self.authority, out);
        match self.upstream {
            Some(upstream) => put(out, format_args!(",\"upstream_host\":\"{upstream}\"")),
            None => member("upstream_host", None, out),
        }
        plain(self.service, "upstream_cluster", out);
        plain(self.route, "route_name", out);
        put(
            out,
            format_args!(
                ",\"downstream_local_address\":\"{}\",\"downstream_remote_address\":\"{}\"}}",
                self.local, self.peer
            ),
        );
    }
}

/// Writing to a vector cannot fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn number(name: &str, value: Option<u64>, out: &mut Vec<u8>) {
    match value {
        Some(value) => put(out, format_args!(",\"{name}\":{value}")),
        None => put(out, format_args!(",\"{name}\":null")),
    }
}

/// A member of an object, whose value is text or null.
fn member(name: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
    put(out, format_args!(",\"{name}\":"));
    let Some(value) = value else {
        return out.extend_from_slice(b"null");
    };
    out.push(b'"');
    for chunk in shortened(value).utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\u{2028}' | '\u{2029}' => put(out, format_args!("\\u{:04x}", u32::from(letter))),
                _ if letter.is_control() => put(out, format_args!("\\u{:04x}", u32::from(letter))),
                _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Text between quotation marks.
fn visible(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else {
        return out.push(b'-');
    };
    for byte in shortened(value) {
        match byte {
            b'"' | b'\\' => put(out, format_args!("\\x{byte:02X}")),
            b' '..=b'~' => out.push(*byte),
            _ => put(out, format_args!("\\x{byte:02X}")),
        }
    }
}

fn shortened(value: &[u8]) -> &[u8] {
    &value[..value.len().min(LONGEST)]
}
