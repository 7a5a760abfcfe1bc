//! HTTP/2 used against its server: what is sent costs little, what it makes the server do should cost little too. Each attack
//! runs against a process of its own; other callers are served meanwhile, and its memory stays where it was.

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::frames::*;
use crate::process::Sidecar;
use crate::raw::{get as get1, send, spawn, status};
use crate::soon;

/// How much the memory may grow: what one connection may buffer, and what the allocator keeps.
const GROWTH: u64 = 64 << 20;

/// An application whose answers are larger than anybody's buffer.
async fn large() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(async move {
                let service = hyper::service::service_fn(|request: http::Request<_>| async move {
                    let _: hyper::body::Incoming = request.into_body();
                    let chunk = Bytes::from_static(&[7; 64 << 10]);
                    let chunks = (0..128).map(move |_| Ok(Frame::data(chunk.clone())));
                    let body = StreamBody::new(tokio_stream::iter(chunks)).boxed();
                    Ok::<_, std::convert::Infallible>(Response::new(
                        body.map_err(|never: std::convert::Infallible| never),
                    ))
                });
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// What becomes of the attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its connection was ended.
    Cut,
    /// It may go on, which costs nobody anything.
    Borne,
}

struct Attack {
    name: &'static str,
    opening: Vec<u8>,
    /// What is sent for each number.
    unit: fn(u32) -> Vec<u8>,
    times: u32,
    /// Whether it reads what it is answered.
    reads: bool,
    end: End,
}

fn odd(number: u32) -> u32 {
    2 * number + 1
}

fn open(stream: u32) -> Vec<u8> {
    let head: [(&[u8], &[u8]); 4] = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", b"/"),
    ];
    frame(HEADERS, END_HEADERS, stream, &hpack(&head))
}

fn get_frame(stream: u32) -> Vec<u8> {
    frame(HEADERS, END, stream, &get(b"/", &[]))
}

/// A head that puts 4,000 bytes into the table and reads them as often as it says, with a byte each time.
fn unfolding(stream: u32, times: usize) -> Vec<u8> {
    let mut block = get(b"/", &[]);
    // RFC 7541 section 6.2.1: a literal that enters the table, index 62 from then on.
    block.extend([0x40, 1, b'x', 127, 0xa1, 30]);
    block.extend([b'a'; 4_000]);
    block.extend(vec![0x80 | 62; times]);
    frame(HEADERS, END, stream, &block)
}

fn attacks() -> Vec<Attack> {
    let attack = |name, unit| Attack {
        name,
        opening: Vec::new(),
        unit,
        times: 50_000,
        reads: true,
        end: End::Cut,
    };
    let on = |opening: Vec<u8>, attack: Attack| Attack { opening, ..attack };
    vec![
        attack("rapid reset", |number| {
            let reset = frame(RST_STREAM, 0, odd(number), &8_u32.to_be_bytes());
            [get_frame(odd(number)), reset].concat()
        }),
        attack("requests that make this side reset", |number| {
            let nothing = frame(WINDOW_UPDATE, 0, odd(number), &[0; 4]);
            [open(odd(number)), nothing].concat()
        }),
        attack("requests with data after their end", |number| {
            [get_frame(odd(number)), frame(DATA, 0, odd(number), b"x")].concat()
        }),
        attack("malformed requests", |number| {
            let upper = get(b"/", &[(b"connection", b"close")]);
            frame(HEADERS, END, odd(number), &upper)
        }),
        attack("settings", |_| {
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])
        }),
        attack("pings", |_| frame(PING, 0, 0, &[0; 8])),
        Attack {
            reads: false,
            ..attack("pings whose answers are not read", |_| {
                frame(PING, 0, 0, &[0; 8])
            })
        },
        Attack {
            reads: false,
            ..attack("settings whose answers are not read", |_| {
                frame(SETTINGS, 0, 0, &[])
            })
        },
        attack("priorities", |number| {
            frame(PRIORITY, 0, odd(number), &[0, 0, 0, 0, 1])
        }),
        on(
            open(1),
            attack("data of no bytes", |_| frame(DATA, 0, 1, &[])),
        ),
        on(
            open(1),
            attack("data of padding alone", |_| {
                frame(DATA, PADDED, 1, &[8, 0, 0, 0, 0, 0, 0, 0, 0])
            }),
        ),
        on(
            open(1),
            attack("window updates", |_| {
                frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())
            }),
        ),
        attack("frames of an unknown kind", |_| frame(0xbe, 0, 0, b"x")),
        on(
            frame(HEADERS, END_STREAM, 1, &get(b"/", &[])),
            attack("a head that does not end", |_| {
                frame(CONTINUATION, 0, 1, &hpack(&[(b"x", b"y")]))
            }),
        ),
        on(
            frame(HEADERS, END_STREAM, 1, &get(b"/", &[])),
            attack("a head that does not end, of nothing", |_| {
                frame(CONTINUATION, 0, 1, &[])
            }),
        ),
        attack("heads that unfold to 16 MB", |number| {
            unfolding(odd(number), 4_000)
        }),
        // A window of nothing, and responses of 8 MiB.
        Attack {
            opening: frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
            times: 200,
            end: End::Borne,
            ..attack("responses that are not taken", |number| {
                get_frame(odd(number))
            })
        },
        Attack {
            times: 200,
            reads: false,
            end: End::Borne,
            ..attack("responses that are not read", |number| {
                get_frame(odd(number))
            })
        },
    ]
}

/// Runs it; how many units were sent until the connection was ended, if it was.
async fn run(attack: &Attack, to: std::net::SocketAddr) -> (u32, bool) {
    let caller = Caller::connect(to).await;
    let (mut reader, mut writer) = caller.stream.into_split();
    writer.write_all(&attack.opening).await.unwrap();
    let reads = attack.reads;
    let read = async move {
        let mut sink = vec![0; 64 << 10];
        while reads && reader.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        reader
    };
    let write = async move {
        for number in 0..attack.times {
            let sent = writer.write_all(&(attack.unit)(number)).await;
            if sent.is_err() {
                return (number, writer);
            }
        }
        (attack.times, writer)
    };
    if attack.end == End::Borne {
        // What is asked for need not end.
        let read = tokio::time::timeout(std::time::Duration::from_secs(1), read);
        let (_reader, (sent, _writer)) = soon(async { tokio::join!(read, write) }).await;
        return (sent, sent < attack.times);
    }
    let (mut reader, (sent, _writer)) = soon(async { tokio::join!(read, write) }).await;
    let mut sink = Vec::new();
    let ended = tokio::time::timeout(
        std::time::Duration::from_secs(10),
        reader.read_to_end(&mut sink),
    );
    (sent, ended.await.is_ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abuse_of_http2_is_cut_off_and_costs_others_nothing() {
    let app = large().await;
    println!("attack: sent until it was cut, growth of memory, CPU");
    for attack in attacks() {
        let sidecar = Sidecar::start(app, "service: products.shop\n");
        let to = sidecar.inbound;
        // Everything that is allocated once.
        assert_eq!(status(&send(to, get1("/", "")).await), 200);
        let (memory, cpu) = (sidecar.memory(), sidecar.cpu());
        sidecar.peak();
        let others = async {
            for _ in 0..10 {
                let mut stream = TcpStream::connect(to).await.unwrap();
                stream.write_all(get1("/", "").as_bytes()).await.unwrap();
                let mut response = Vec::new();
                soon(stream.read_to_end(&mut response)).await.unwrap();
                assert!(response.starts_with(b"HTTP/1.1 200"), "{}", attack.name);
                assert!(response.len() > 8 << 20, "{}", attack.name);
            }
        };
        let ((sent, cut), ()) = tokio::join!(run(&attack, to), others);
        let grown = sidecar.peak().saturating_sub(memory);
        println!(
            "{:40} {:>6} of {:<6} {:>6} KiB {:>5} ms {}",
            attack.name,
            sent,
            attack.times,
            grown >> 10,
            sidecar.cpu() - cpu,
            if cut { "cut" } else { "borne" }
        );
        assert_eq!(cut, attack.end == End::Cut, "{}", attack.name);
        assert!(grown < GROWTH, "{}: {} KiB", attack.name, grown >> 10);
        assert_eq!(
            status(&send(to, get1("/", "")).await),
            200,
            "{}",
            attack.name
        );
    }
}

#[tokio::test]
async fn a_head_may_use_the_table() {
    let sidecar = Sidecar::start(large().await, "service: products.shop\n");
    let mut caller = Caller::connect(sidecar.inbound).await;
    caller.send(&unfolding(1, 3)).await;
    let head = caller.next(&[HEADERS, RST_STREAM, GOAWAY]).await.unwrap();
    assert_eq!((head.kind, head.status()), (HEADERS, 200));
}
