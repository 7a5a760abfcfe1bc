//! A closed loop of gRPC calls, each with another key: 4 connections, 32 calls each, in HTTP/2 frames written as bytes.
//!
//! h2load sends one body over and over, which is one counter. This writes the frames itself: headers by the names that the
//! peer's table holds after the first call, one DATA frame, and of answers only where they end is read. It costs a small part
//! of what the server does, so that the server is what is measured.

use std::net::SocketAddr;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use mixer_runtime::{Clock, Instant};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: u32 = 4;
const CALLS: u32 = 32;
const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// The request of user `number`.
pub(crate) fn request(number: u32) -> RateLimitRequest {
    let entries = [
        ("method", "GET".to_owned()),
        ("path", "/part0".to_owned()),
        ("user_id", format!("user-{number:08}")),
    ];
    let entry = |(key, value): (&str, String)| Entry {
        key: key.to_owned(),
        value,
    };
    RateLimitRequest {
        domain: "edge".to_owned(),
        descriptors: vec![RateLimitDescriptor {
            entries: entries.map(entry).into(),
            ..RateLimitDescriptor::default()
        }],
        hits_addend: 1,
    }
}

/// `load ADDR SECONDS KEYS`: says how many calls were answered.
pub(crate) fn run(arguments: impl Iterator<Item = String>) {
    let arguments: Vec<String> = arguments.collect();
    let [addr, seconds, keys] = &arguments[..] else {
        panic!("load ADDR SECONDS KEYS");
    };
    let addr: SocketAddr = addr.parse().expect("an address");
    let seconds: u64 = seconds.parse().expect("seconds");
    let keys: u32 = keys.parse().expect("a number of keys");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had");
    let clock = Clock::system();
    let until = clock.now() + std::time::Duration::from_secs(seconds);
    let all = runtime.block_on(async {
        let loops = (0..CONNECTIONS).map(|connection| {
            let clock = clock.clone();
            async move {
                let mut one = Connection::open(addr, connection, keys).await;
                one.run(&clock, until).await
            }
        });
        let loops: Vec<_> = loops.collect();
        let [a, b, c, d]: [_; 4] = loops.try_into().ok().expect("four connections");
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        a + b + c + d
    });
    println!("answered {all}");
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    /// Read and not yet understood.
    held: Vec<u8>,
    next_stream: u32,
    next_key: u32,
    keys: u32,
    /// Bytes of DATA that the server takes.
    window: i64,
    waiting: u32,
    answered: u64,
}

impl Connection {
    async fn open(addr: SocketAddr, number: u32, keys: u32) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        stream.set_nodelay(true).expect("an option can be set");
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // An initial window of 2^31 - 1 for every stream, and as much for the connection.
        frame(&mut out, SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        frame(
            &mut out,
            WINDOW_UPDATE,
            0,
            0,
            &(0x7fff_ffff_u32 - 65_535).to_be_bytes(),
        );
        Self {
            stream,
            out,
            held: Vec::new(),
            next_stream: 1,
            next_key: number * (keys / CONNECTIONS),
            keys,
            window: 65_535,
            waiting: CALLS,
            answered: 0,
        }
    }

    async fn run(&mut self, clock: &Clock, until: Instant) -> u64 {
        let mut buffer = vec![0; 1 << 16];
        loop {
            while self.waiting > 0 && self.window > 1_024 {
                self.call();
            }
            self.stream
                .write_all(&self.out)
                .await
                .expect("the server reads");
            self.out.clear();
            let read = self
                .stream
                .read(&mut buffer)
                .await
                .expect("the server writes");
            assert!(read > 0, "the server closed the connection");
            self.held.extend_from_slice(&buffer[..read]);
            self.understand();
            if clock.now() >= until {
                return self.answered;
            }
        }
    }

    fn call(&mut self) {
        let message = request(self.next_key).encode_to_vec();
        let mut data = vec![0];
        data.extend((message.len() as u32).to_be_bytes());
        data.extend(message);
        let headers = if self.next_stream == 1 {
            first_headers()
        } else {
            // :method POST, :scheme http, then the four that the first call put into the table, the newest first.
            vec![0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]
        };
        frame(
            &mut self.out,
            HEADERS,
            END_HEADERS,
            self.next_stream,
            &headers,
        );
        frame(&mut self.out, DATA, END_STREAM, self.next_stream, &data);
        self.window -= data.len() as i64;
        self.next_stream += 2;
        self.next_key = (self.next_key + 1) % self.keys;
        self.waiting -= 1;
    }

    fn understand(&mut self) {
        let mut at = 0;
        while let Some(head) = self.held.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let Some(body) = self.held.get(at + 9..at + 9 + length) else {
                break;
            };
            match kind {
                HEADERS if flags & END_STREAM != 0 => {
                    self.answered += 1;
                    self.waiting += 1;
                }
                SETTINGS if flags & ACK == 0 => frame(&mut self.out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, body),
                WINDOW_UPDATE if stream == 0 => {
                    let more = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
                    self.window += i64::from(more);
                }
                3 | 7 => panic!("the server ended a call or the connection: {body:?}"),
                _ => {}
            }
            at += 9 + length;
        }
        self.held.drain(..at);
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, body: &[u8]) {
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(body);
}

/// With those headers that have no place in the static table put into the other one.
fn first_headers() -> Vec<u8> {
    let mut headers = vec![0x83, 0x86];
    let mut named = |index: u8, value: &str| {
        headers.extend([0x40 | index, value.len() as u8]);
        headers.extend(value.as_bytes());
    };
    named(4, PATH);
    named(1, "mixer");
    named(31, "application/grpc");
    headers.extend([0x40, 2]);
    headers.extend(b"te");
    headers.push(8);
    headers.extend(b"trailers");
    headers
}
