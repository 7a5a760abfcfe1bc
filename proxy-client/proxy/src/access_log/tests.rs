//! What lines look like, and what happens to lines that cannot be written.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::*;

fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

/// 2026-01-01T00:00:00.250Z.
fn time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_250)
}

fn line<'a>() -> Line<'a> {
    Line {
        time: time(),
        reporter: "destination",
        method: Some("GET"),
        path: Some("/products/1"),
        protocol: Some("HTTP/1.1"),
        status: 200,
        grpc_status: None,
        flags: "-",
        received: 0,
        sent: 154,
        duration: Duration::from_micros(3_900),
        service_time: Some(Duration::from_millis(2)),
        forwarded_for: None,
        user_agent: Some(b"curl/8"),
        request_id: Some(b"cc21d9b0"),
        authority: Some(b"products.shop"),
        upstream: Some(at(8080)),
        service: Some("products.shop"),
        route: None,
        local: at(15006),
        peer: at(40_000),
    }
}

fn written(line: &Line<'_>, format: LogFormat) -> String {
    let mut out = Vec::new();
    line.write(format, &mut Seconds::default(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn text_is_envoys_default_format() {
    assert_eq!(
        written(&line(), LogFormat::Text),
        "[2026-01-01T00:00:00.250Z] \"GET /products/1 HTTP/1.1\" 200 - 0 154 3 2 \"-\" \"curl/8\" \"cc21d9b0\" \
         \"products.shop\" \"10.0.0.1:8080\"\n"
    );
    let opaque = Line {
        method: None,
        path: None,
        protocol: None,
        status: 0,
        flags: "UF",
        service_time: None,
        user_agent: None,
        request_id: None,
        authority: None,
        upstream: None,
        ..line()
    };
    assert_eq!(
        written(&opaque, LogFormat::Text),
        "[2026-01-01T00:00:00.250Z] \"- - -\" 0 UF 0 154 3 - \"-\" \"-\" \"-\" \"-\" \"-\"\n"
    );
}

#[test]
fn json_has_the_names_of_envoy_and_istio() {
    let text = written(&line(), LogFormat::Json);
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "start_time": "2026-01-01T00:00:00.250Z",
        "reporter": "destination",
        "method": "GET",
        "path": "/products/1",
        "protocol": "HTTP/1.1",
        "response_code": 200,
        "grpc_status": null,
        "response_flags": "-",
        "bytes_received": 0,
        "bytes_sent": 154,
        "duration": 3,
        "upstream_service_time": 2,
        "x_forwarded_for": null,
        "user_agent": "curl/8",
        "request_id": "cc21d9b0",
        "authority": "products.shop",
        "upstream_host": "10.0.0.1:8080",
        "upstream_cluster": "products.shop",
        "route_name": null,
        "downstream_local_address": "10.0.0.1:15006",
        "downstream_remote_address": "10.0.0.1:40000",
    });
    assert_eq!(object, expected);
}

#[test]
fn nobody_writes_a_line_or_a_field_of_his_own() {
    let agent =
        b"a\" 200 - 0\n[2026] \"GET / \\ \x1b[31m\x00\x7f \xc2\x85\xe2\x80\xa8 \xff\xc3\xa9";
    let hostile = Line {
        user_agent: Some(agent),
        ..line()
    };
    let text = written(&hostile, LogFormat::Text);
    assert!(
        text.contains(
            r#" "a\x22 200 - 0\x0A[2026] \x22GET / \x5C \x1B[31m\x00\x7F \xC2\x85\xE2\x80\xA8 \xFF\xC3\xA9" "cc21d9b0""#
        ),
        "{text}"
    );
    let json = written(&hostile, LogFormat::Json);
    for text in [&text, &json] {
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        let mut letters = text.trim_end().chars();
        assert!(
            letters.all(|letter| !letter.is_control() && letter != '\u{2028}'),
            "{text:?}"
        );
    }
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = "a\" 200 - 0\n[2026] \"GET / \\ \u{1b}[31m\0\u{7f} \u{85}\u{2028} \u{fffd}é";
    assert_eq!(object["user_agent"], expected);
}

#[test]
fn a_long_value_is_cut() {
    let long = vec![b'x'; 64 << 10];
    let line = Line {
        user_agent: Some(&long),
        ..line()
    };
    for format in [LogFormat::Text, LogFormat::Json] {
        let text = written(&line, format);
        assert!(text.len() < 6 << 10 && text.contains("products.shop"));
    }
}

#[test]
fn who_forwarded_is_told_whole_and_a_password_is_not() {
    let request = http::Request::get("/")
        .header("host", "user:s3cret@shop.example")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-for", "1.1.1.1, 2.2.2.2");
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let mut entry = Entry::http(time(), &parts);
    let forwarded = |entry: &Entry| entry.head.as_ref()?.forwarded_for.clone();
    assert_eq!(
        forwarded(&entry),
        None,
        "it is not known yet whether he may say so"
    );
    entry.settle(&parts.headers);
    assert_eq!(forwarded(&entry).unwrap(), "6.6.6.6, 1.1.1.1, 2.2.2.2");
    let head = entry.head.unwrap();
    assert_eq!(head.authority(), Some(&b"shop.example"[..]));
}

#[test]
fn a_second_is_written_once_and_a_new_one_anew() {
    let mut seconds = Seconds::default();
    let mut out = Vec::new();
    for millis in [0, 999, 1_000, 0] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        seconds.write(time, &mut out);
        out.push(b' ');
    }
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "1970-01-01T00:00:00.000Z 1970-01-01T00:00:00.999Z 1970-01-01T00:00:01.000Z 1970-01-01T00:00:00.000Z "
    );
}

/// A worker's end whose writer is not there yet.
fn unwritten(waiting: usize) -> (Rc<Lines>, Receiver<Job>) {
    let (jobs, given) = sync_channel(waiting);
    let lines = Lines {
        format: LogFormat::Text,
        tally: Arc::default(),
        jobs,
        clock: Clock::manual().0,
        buffer: RefCell::default(),
        awaited: Cell::new(false),
    };
    (Rc::new(lines), given)
}

#[test]
fn lines_that_find_no_room_are_counted_and_the_others_are_written() {
    let (lines, given) = unwritten(2);
    let tally = lines.tally.clone();
    let of_a_line = written(&line(), LogFormat::Text).len();
    let per_batch = BATCH.div_ceil(of_a_line) as u64;
    for _ in 0..5 * per_batch {
        lines.add(&line(), true);
    }
    // Dropped with nothing in its buffer.
    drop(lines);
    assert_eq!(tally.dropped(), 3 * per_batch);

    let directory = tempfile::tempdir().unwrap();
    let to = LogTo::File(directory.path().join("log"));
    let mut out = Out::open(&to).unwrap();
    write(&given, &mut out, &to, &tally);
    assert_eq!(tally.written(), 2 * per_batch);
    let text = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert_eq!(text.lines().count() as u64, 2 * per_batch);
}

#[test]
fn what_is_left_is_written_at_the_end() {
    let (lines, given) = unwritten(1);
    let tally = lines.tally.clone();
    lines.add(&line(), true);
    drop(lines);
    let directory = tempfile::tempdir().unwrap();
    let to = LogTo::File(directory.path().join("log"));
    write(&given, &mut Out::open(&to).unwrap(), &to, &tally);
    assert_eq!((tally.written(), tally.dropped()), (1, 0));
}

#[test]
fn a_file_that_cannot_be_written_loses_lines_and_says_so() {
    let (lines, given) = unwritten(1);
    let tally = lines.tally.clone();
    lines.add(&line(), true);
    drop(lines);
    let to = LogTo::File("/dev/full".into());
    write(&given, &mut Out::open(&to).unwrap(), &to, &tally);
    assert_eq!((tally.written(), tally.dropped()), (0, 1));
}

#[test]
fn where_the_new_file_cannot_be_opened_the_old_one_goes_on() {
    let (lines, given) = unwritten(1);
    let tally = lines.tally.clone();
    lines.add(&line(), true);
    drop(lines);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut out = Out::open(&LogTo::File(path.clone())).unwrap();
    tally.reopen.store(true, Ordering::Relaxed);
    let gone = LogTo::File(directory.path().join("gone").join("log"));
    write(&given, &mut out, &gone, &tally);
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
}
