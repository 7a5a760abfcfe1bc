//! The strict reader, byte by byte and all at once.

use super::*;

const MOST: usize = 512;

/// Where it offends, or the state it ends in; the same in however many pieces the bytes come.
fn read(bytes: &[u8]) -> Result<State, usize> {
    let mut whole = Http1::new(MOST);
    let result = whole.follow(bytes).map(|()| whole.state);
    for size in 1..bytes.len().min(7) {
        let mut pieces = Http1::new(MOST);
        let mut at = 0;
        let result_in_pieces = bytes
            .chunks(size)
            .try_for_each(|piece| {
                let followed = pieces.follow(piece).map_err(|offset| at + offset);
                at += piece.len();
                followed
            })
            .map(|()| pieces.state);
        assert_eq!(
            result_in_pieces,
            result,
            "{size} at a time: {}",
            bytes.escape_ascii()
        );
    }
    result
}

#[test]
fn requests_are_followed_to_their_end() {
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\ncontent-length:\t3 \r\n\r\n\n\n\n",
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\nA;a=\"b\"\r\n0123456789\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n000\r\nx-sum: 1\r\nx-b: 2\r\n\r\n",
        "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\ncontent-length: 1\r\n\r\nxGET /3 HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(read(request.as_bytes()), Ok(State::Before), "{request:?}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_offends() {
    const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n";
    for (head, rest) in [
        ("GET / HTTP/1.1", "\nhost: a\r\n\r\n"),
        ("GET / HTTP/1.1\r\nhost: a", "\nx: b\r\n\r\n"),
        ("GET / HTTP/1.1\r\nhost: a\r\n", "\n"),
        ("", "\nGET / HTTP/1.1\r\n\r\n"),
        ("GET /a#b HTTP/1.1\r", "\n"),
        (" GET / HTTP/1.1\r", "\n"),
        ("GET / HTTP/1.1\r\nx: a\r\n b\r", "\n"),
        ("GET / HTTP/1.1\r\nx: a\rb: c\r", "\n"),
        (
            "GET / HTTP/1.1\r\ncontent-length: 1\r\nCONTENT-LENGTH: 1\r",
            "\n",
        ),
        ("GET / HTTP/1.1\r\ncontent-length: 1, 1\r", "\n"),
        ("GET / HTTP/1.1\r\ncontent-length: +1\r", "\n"),
        ("GET / HTTP/1.1\r\ncontent-length: 0x1\r", "\n"),
        ("GET / HTTP/1.1\r\ncontent-length:\r", "\n"),
        (
            "GET / HTTP/1.1\r\ncontent-length: 18446744073709551616\r",
            "\n",
        ),
        (
            "GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r",
            "\n",
        ),
        (&format!("{CHUNKED}content-length: 1\r"), "\n"),
        (&format!("{CHUNKED}\r\n-1\r"), "\n"),
        (&format!("{CHUNKED}\r\n0x1\r"), "\n"),
        (&format!("{CHUNKED}\r\n 1\r"), "\n"),
        (&format!("{CHUNKED}\r\n1 \r"), "\n"),
        (&format!("{CHUNKED}\r\n\r"), "\n"),
        (&format!("{CHUNKED}\r\n1"), "\nx\r\n"),
        (&format!("{CHUNKED}\r\n00000000000000001\r"), "\n"),
        (&format!("{CHUNKED}\r\n1;a\rb\r"), "\n"),
        (&format!("{CHUNKED}\r\n1;a"), "\n"),
        (&format!("{CHUNKED}\r\n1\r\na"), "\n0\r\n\r\n"),
        (&format!("{CHUNKED}\r\n1\r\na\r"), "0\r\n\r\n"),
        (&format!("{CHUNKED}\r\n1\r\n"), "x0\r\n\r\n"),
        (&format!("{CHUNKED}\r\n0\r\nx: a"), "\ny: b\r\n\r\n"),
        (&format!("{CHUNKED}\r\n0\r\nx: a\r\n b\r"), "\n"),
    ] {
        let bytes = format!("{head}{rest}");
        // The chunk of one byte reads what offends next to it.
        let at = head.len() + usize::from(head.ends_with("1\r\n"));
        assert_eq!(read(bytes.as_bytes()), Err(at), "{bytes:?}");
    }
}

#[test]
fn what_the_library_ends_by_itself_is_followed_no_further() {
    for request in [
        format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(MOST)),
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n\n", "a".repeat(MOST)),
        "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n\n".to_owned(),
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n\n"
            .to_owned(),
    ] {
        assert_eq!(read(request.as_bytes()), Ok(State::Over), "{request:?}");
    }
}

#[test]
fn trailers_and_extensions_have_their_bounds() {
    const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let trailers = format!("{CHUNKED}0\r\nx: {}\r\n\r\n", "a".repeat(MOST));
    assert!(read(trailers.as_bytes()).is_err());
    let chunk = format!("1;{}\r\nx\r\n", "a".repeat(400));
    let extended = format!("{CHUNKED}{}0\r\n\r\n", chunk.repeat(21));
    assert!(read(extended.as_bytes()).is_err());
    let fewer = format!("{CHUNKED}{}0\r\n\r\n", chunk.repeat(20));
    assert_eq!(read(fewer.as_bytes()), Ok(State::Before));
}
