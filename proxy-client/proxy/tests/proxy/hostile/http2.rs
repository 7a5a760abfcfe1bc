//! HTTP/2: malformed heads and frames, and what becomes of a head that leaves as HTTP/1.

use super::wire::Wire;
use crate::frames::*;
use crate::mixer::TestMixer;
use crate::{config, start};

/// What the sender gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Status(u16),
    /// The stream ends with this code; the connection goes on.
    Reset(u32),
    /// The connection ends with this code.
    GoAway(u32),
    /// The connection ends without a word.
    Close,
}

use Answer::{GoAway, Reset, Status};

const PROTOCOL: u32 = 1;
const FLOW: u32 = 3;
const SIZE: u32 = 6;

type Field<'a> = (&'a [u8], &'a [u8]);

const METHOD: Field<'_> = (b":method", b"GET");
const SCHEME: Field<'_> = (b":scheme", b"http");
const AUTHORITY: Field<'_> = (b":authority", b"a");
const PATH: Field<'_> = (b":path", b"/");

/// A head on stream 1 that ends the request.
fn one(fields: &[Field<'_>]) -> Vec<u8> {
    head(1, &hpack(fields))
}

/// A good head with one field more.
fn with(name: &[u8], value: &[u8]) -> Vec<u8> {
    frame(HEADERS, END, 1, &get(b"/", &[(name, value)]))
}

/// A good head but for one field.
fn but(name: &[u8], value: &[u8]) -> Vec<u8> {
    let fields: Vec<Field<'_>> = [METHOD, SCHEME, AUTHORITY, PATH]
        .into_iter()
        .map(|field| {
            if field.0 == name {
                (name, value)
            } else {
                field
            }
        })
        .collect();
    one(&fields)
}

fn post(length: &[u8], data: &[Vec<u8>]) -> Vec<u8> {
    let fields = [
        (b":method".as_slice(), b"POST".as_slice()),
        SCHEME,
        AUTHORITY,
        PATH,
        (b"content-length", length),
    ];
    [
        vec![frame(HEADERS, END_HEADERS, 1, &hpack(&fields))],
        data.to_vec(),
    ]
    .concat()
    .concat()
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

fn good(stream: u32) -> Vec<u8> {
    frame(HEADERS, END, stream, &get(b"/good", &[]))
}

/// Name, bytes, answer, the requests the application saw.
#[rustfmt::skip]
fn rows() -> Vec<(&'static str, Vec<u8>, Answer, &'static [&'static str])> {
    vec![
        ("a good one", good(1), Status(200), &["GET /good"]),
        // Pseudo headers.
        ("pseudo header after a header", one(&[METHOD, (b"x", b"y"), SCHEME, AUTHORITY, PATH]), Reset(PROTOCOL), &[]),
        ("two methods", one(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH]), Reset(PROTOCOL), &[]),
        ("two paths", one(&[METHOD, SCHEME, AUTHORITY, PATH, (b":path", b"/evil")]), Reset(PROTOCOL), &[]),
        ("two authorities", one(&[METHOD, SCHEME, AUTHORITY, (b":authority", b"evil"), PATH]), Reset(PROTOCOL), &[]),
        ("unknown pseudo header", one(&[METHOD, SCHEME, AUTHORITY, PATH, (b":evil", b"a")]), GoAway(PROTOCOL), &[]),
        ("a response's pseudo header", one(&[METHOD, SCHEME, AUTHORITY, PATH, (b":status", b"200")]), Reset(PROTOCOL), &[]),
        ("no method", one(&[SCHEME, AUTHORITY, PATH]), Reset(PROTOCOL), &[]),
        ("no path", one(&[METHOD, SCHEME, AUTHORITY]), Reset(PROTOCOL), &[]),
        ("no scheme", one(&[METHOD, AUTHORITY, PATH]), Reset(PROTOCOL), &[]),
        ("empty path", but(b":path", b""), Reset(PROTOCOL), &[]),
        ("path without a slash", but(b":path", b"evil"), Reset(PROTOCOL), &[]),
        ("path that is a query", but(b":path", b"?query"), Status(200), &["GET /?query"]),
        ("path with a space", but(b":path", b"/a HTTP/1.1"), Reset(PROTOCOL), &[]),
        ("path with a line", but(b":path", b"/ HTTP/1.1\r\nhost: evil\r\n\r\nGET /evil"), Reset(PROTOCOL), &[]),
        ("path with a NUL", but(b":path", b"/\0evil"), Reset(PROTOCOL), &[]),
        ("asterisk with GET", but(b":path", b"*"), Status(400), &[]),
        ("absolute path", but(b":path", b"http://evil/"), Reset(PROTOCOL), &[]),
        ("scheme of another world", but(b":scheme", b"ftp"), Status(400), &[]),
        ("scheme with a line", but(b":scheme", b"http\r\nevil: a"), Reset(PROTOCOL), &[]),
        ("scheme that is a URL", but(b":scheme", b"http://evil/?"), Reset(PROTOCOL), &[]),
        ("method with a space", but(b":method", b"GET /evil HTTP/1.1"), GoAway(PROTOCOL), &[]),
        ("method with a line", but(b":method", b"GET / HTTP/1.1\r\nevil: a"), GoAway(PROTOCOL), &[]),
        ("empty method", but(b":method", b""), GoAway(PROTOCOL), &[]),
        ("method in lower case", but(b":method", b"delete"), Status(400), &[]),
        ("TRACE", but(b":method", b"TRACE"), Status(405), &[]),
        ("CONNECT", one(&[(b":method", b"CONNECT"), (b":authority", b"a:1")]), Status(405), &[]),
        ("extended CONNECT nobody offered", one(&[(b":method", b"CONNECT"), (b":protocol", b"websocket"), SCHEME, AUTHORITY, PATH]), Reset(PROTOCOL), &[]),
        ("authority with a user", but(b":authority", b"evil@a"), Status(400), &[]),
        ("authority with a line", but(b":authority", b"a\r\nevil: b"), Reset(PROTOCOL), &[]),
        ("another host than the authority", with(b"host", b"evil"), Status(400), &[]),
        ("the authority as host too", with(b"host", b"a"), Status(200), &["GET /"]),
        ("neither authority nor host", one(&[METHOD, SCHEME, PATH]), Status(200), &["GET /"]),
        ("host alone, twice", one(&[METHOD, SCHEME, PATH, (b"host", b"a"), (b"host", b"evil")]), Status(400), &[]),
        // Headers.
        ("name in capitals", with(b"X-Evil", b"a"), GoAway(PROTOCOL), &[]),
        ("name with a colon", with(b"x:evil", b"a"), GoAway(PROTOCOL), &[]),
        ("name with a space", with(b"x evil", b"a"), GoAway(PROTOCOL), &[]),
        ("name with a line", with(b"x: a\r\nevil", b"a"), GoAway(PROTOCOL), &[]),
        ("empty name", with(b"", b"evil"), GoAway(PROTOCOL), &[]),
        ("value with a line", with(b"x", b"a\r\nevil: b"), GoAway(PROTOCOL), &[]),
        ("value with LF", with(b"x", b"a\nevil: b"), GoAway(PROTOCOL), &[]),
        ("value with NUL", with(b"x", b"a\0evil"), GoAway(PROTOCOL), &[]),
        ("value that begins with a space", with(b"x", b" evil"), Status(400), &[]),
        ("connection", with(b"connection", b"close"), Reset(PROTOCOL), &[]),
        ("transfer-encoding", with(b"transfer-encoding", b"chunked"), Reset(PROTOCOL), &[]),
        ("upgrade", with(b"upgrade", b"evil"), Reset(PROTOCOL), &[]),
        ("keep-alive", with(b"keep-alive", b"evil"), Reset(PROTOCOL), &[]),
        ("proxy-connection", with(b"proxy-connection", b"evil"), Reset(PROTOCOL), &[]),
        ("te that is not trailers", with(b"te", b"gzip"), Reset(PROTOCOL), &[]),
        ("te: trailers", with(b"te", b"trailers"), Status(200), &["GET /"]),
        ("coding with an underscore", with(b"transfer_encoding", b"evil"), Status(400), &[]),
        ("claims of identity", with(b"x-mixer-principal", b"evil"), Status(200), &["GET /"]),
        ("claims of origin", with(b"x-forwarded-for", b"evil"), Status(200), &["GET /"]),
        ("large head", head(1, &get(b"/evil", &[(b"x", &[b'a'; 70_000])])), Status(431), &[]),
        ("many headers", head(1, &get(b"/evil", &[(b"x" as &[u8], b"y" as &[u8]); 101])), Status(431), &[]),
        ("a head just below", head(1, &get(b"/", &[(b"x", &[b'a'; 60_000])])), Status(200), &["GET /"]),
        // Lengths.
        ("more data than its length", post(b"1", &[frame(DATA, END_STREAM, 1, b"evil")]), Reset(PROTOCOL), &[]),
        ("less data than its length", post(b"9", &[frame(DATA, END_STREAM, 1, b"evil")]), Reset(PROTOCOL), &[]),
        ("length without data", frame(HEADERS, END, 1, &get(b"/", &[(b"content-length", b"4")])), Reset(PROTOCOL), &[]),
        ("signed length", post(b"+4", &[frame(DATA, END_STREAM, 1, b"evil")]), Reset(PROTOCOL), &[]),
        ("list of lengths", post(b"4, 4", &[frame(DATA, END_STREAM, 1, b"evil")]), Reset(PROTOCOL), &[]),
        ("two lengths", frame(HEADERS, END, 1, &get(b"/", &[(b"content-length", b"0"), (b"content-length", b"4")])), Reset(PROTOCOL), &[]),
        // Streams.
        ("data on a stream that is not open", frame(DATA, END_STREAM, 1, b"evil"), GoAway(PROTOCOL), &[]),
        ("data after the end", [good(1), frame(DATA, 0, 1, b"evil")].concat(), GoAway(PROTOCOL), &["GET /good"]),
        ("an even stream", good(2), GoAway(PROTOCOL), &[]),
        ("a stream below the last", [good(5), frame(HEADERS, END, 3, &get(b"/evil", &[]))].concat(), GoAway(PROTOCOL), &["GET /good"]),
        ("a head on stream 0", good(0), GoAway(PROTOCOL), &[]),
        ("data on stream 0", frame(DATA, 0, 0, b"evil"), GoAway(PROTOCOL), &[]),
        ("a frame within a head", [frame(HEADERS, END_STREAM, 1, &get(b"/evil", &[])), frame(PING, 0, 0, &[0; 8])].concat(), GoAway(PROTOCOL), &[]),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &get(b"/evil", &[])), GoAway(PROTOCOL), &[]),
        ("a continuation of another stream", [frame(HEADERS, END_STREAM, 1, &get(b"/evil", &[])), frame(CONTINUATION, END_HEADERS, 3, &[])].concat(), GoAway(PROTOCOL), &[]),
        ("a block that is no HPACK", frame(HEADERS, END, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]), GoAway(PROTOCOL), &[]),
        ("more padding than payload", frame(HEADERS, END | PADDED, 1, &[200, 0x82]), GoAway(PROTOCOL), &[]),
        ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &[[0, 0, 0, 2].to_vec(), get(b"/evil", &[])].concat()), GoAway(PROTOCOL), &[]),
        ("reset of a stream that is not open", frame(RST_STREAM, 0, 1, &[0; 4]), GoAway(PROTOCOL), &[]),
        ("priority on itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), Reset(PROTOCOL), &[]),
        // Sizes and settings.
        ("frame larger than agreed", frame(DATA, 0, 1, &vec![0; 17 << 10]), GoAway(SIZE), &[]),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), GoAway(PROTOCOL), &[]),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[]), GoAway(PROTOCOL), &[]),
        ("acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), GoAway(PROTOCOL), &[]),
        ("push neither on nor off", setting(2, 2), GoAway(PROTOCOL), &[]),
        ("window beyond 31 bits", setting(4, 1 << 31), GoAway(PROTOCOL), &[]),
        ("frame size below the least", setting(5, 100), GoAway(PROTOCOL), &[]),
        ("ping of seven bytes", frame(PING, 0, 0, &[0; 7]), GoAway(PROTOCOL), &[]),
        ("window update of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), GoAway(PROTOCOL), &[]),
        ("window of the connection overflows", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()), GoAway(FLOW), &[]),
        ("no preface", b"GET / HTTP/2.0\r\n\r\n".to_vec(), GoAway(SIZE), &[]),
    ]
}

#[tokio::test]
async fn hostile_frames_are_refused_and_never_reach_the_application() {
    let wire = Wire::start().await;
    let mixer = TestMixer::allowing(crate::mixer::scope(), &[]).await;
    let proxy = start(config(&mixer, wire.address)).await;
    let rows = rows();
    println!(
        "{} hostile HTTP/2 callers: answer, what the application saw",
        rows.len()
    );
    let mut wrong = Vec::new();
    for (name, bytes, expected, requests) in rows {
        let mut caller = Caller::connect(proxy.inbound().unwrap()).await;
        caller.send(&bytes).await;
        let mut answer = Answer::Close;
        while let Some(read) = caller.next(&[HEADERS, RST_STREAM, GOAWAY]).await {
            answer = match read.kind {
                HEADERS => Status(read.status()),
                // That the rest of a request is not wanted is no answer.
                RST_STREAM if read.code() == 0 => continue,
                RST_STREAM => Reset(read.code()),
                _ => GoAway(read.code()),
            };
            break;
        }
        // What ends one stream leaves the others.
        if matches!(answer, Reset(_)) {
            caller.send(&frame(PING, 0, 0, b"are you?")).await;
            let pong = caller.next(&[PING, GOAWAY]).await;
            assert!(pong.is_some_and(|pong| pong.kind == PING), "{name}");
        }
        let seen = wire.seen();
        let lines: Vec<String> = seen.iter().map(|request| request.line()).collect();
        println!(
            "{name:45} {:22} {}",
            format!("{answer:?}"),
            lines.join(", ")
        );
        let arrived = format!("{seen:?}").contains("evil");
        // A request that was good may have come and gone before its connection was ended.
        let fewer = matches!(expected, GoAway(_)) && lines.is_empty();
        if answer != expected || arrived || (lines != requests && !fewer) {
            wrong.push(format!(
                "{name}: {answer:?}, not {expected:?}; the application saw {seen:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
