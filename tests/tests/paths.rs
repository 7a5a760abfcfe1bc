//! What rules decide on is what the application gets. Hostile paths are written as bytes to a real proxy, and checked at what the
//! upstream receives: where a rule reads the path the one normal form or nothing, elsewhere every byte as it was sent.

use std::net::SocketAddr;

use mixer_tests::http::raw;
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig};
use mixer_tests::service::Recorder;
use mixer_tests::tidy::Tree;

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The upstream receives this request target.
    Reaches(Vec<u8>),
    /// Nothing reaches it; the caller reads this status, or 0: the connection is closed.
    Refused(u16),
}

struct Mesh {
    recorder: Recorder,
    /// Behind it a rule denies what starts with `/admin`.
    guarded: Proxy,
    /// Behind it no rule reads a path.
    open: Proxy,
    _mixer: Mixer,
    _documents: Documents,
}

async fn mesh() -> Mesh {
    let documents = Documents::new([(
        "policies.yaml",
        r#"
policy: guarded
for: destination.service == "guarded.shop"
rules:
  - deny: the admin pages are closed
    when: request.path == "/admin" || request.path.startsWith("/admin/")
---
policy: open
for: destination.service == "open.shop"
rules:
  - deny: nobody deletes
    when: request.method == "DELETE"
"#,
    )]);
    let mixer = Mixer::serve(&documents).await;
    let recorder = Recorder::start().await;
    let guarded = ProxyConfig::new("guarded.shop", recorder.addr, mixer.grpc)
        .start()
        .await;
    let open = ProxyConfig::new("open.shop", recorder.addr, mixer.grpc)
        .start()
        .await;
    Mesh {
        recorder,
        guarded,
        open,
        _mixer: mixer,
        _documents: documents,
    }
}

impl Mesh {
    /// Sends one request for `target` to `proxy` over a connection of its own.
    async fn fate(&self, proxy: SocketAddr, target: &[u8]) -> Fate {
        let request = [
            b"GET ",
            target,
            b" HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n",
        ]
        .concat();
        let answer = raw(proxy, &request)
            .await
            .unwrap_or_else(|error| panic!("{:?}: {error}", String::from_utf8_lossy(target)));
        let status = match answer.as_slice() {
            // A connection that is closed without a word.
            [] => 0,
            _ => answer
                .get(9..12)
                .and_then(|code| std::str::from_utf8(code).ok()?.parse().ok())
                .unwrap_or_else(|| {
                    panic!("no HTTP answer: {:?}", String::from_utf8_lossy(&answer))
                }),
        };
        let heads = self.recorder.take();
        match heads.as_slice() {
            [] => Fate::Refused(status),
            [head] => {
                assert_eq!(
                    status, 200,
                    "it reached the upstream, so its answer must reach the caller"
                );
                let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                let target = line
                    .strip_prefix(b"GET ")
                    .and_then(|rest| rest.strip_suffix(b" HTTP/1.1"));
                Fate::Reaches(
                    target
                        .unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(line)))
                        .to_vec(),
                )
            }
            _ => panic!("one request became {}: {heads:?}", heads.len()),
        }
    }
}

fn is_admin(path: &str) -> bool {
    path == "/admin" || path.starts_with("/admin/")
}

/// The cases of the path reader: what is sent, what the server receives or 400, and what rules see where that differs.
fn cases() -> Vec<(String, Fate)> {
    let file = Tree::workspace()
        .root()
        .join("mixer/attributes/src/path/hostile.txt");
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let cases = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split(" | ").collect();
            let seen = fields.get(2).unwrap_or(&fields[1]);
            let fate = match fields[1] {
                refused if refused.starts_with("400") => Fate::Refused(400),
                _ if is_admin(seen) => Fate::Refused(403),
                received => Fate::Reaches(received.as_bytes().to_vec()),
            };
            (fields[0].to_owned(), fate)
        });
    cases.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_rule_reads_the_path_the_upstream_gets_the_path_that_was_decided_on() {
    let mesh = mesh().await;
    let proxy = mesh.guarded.config.inbound;
    let cases = cases();
    assert!(cases.len() >= 60, "only {} hostile paths", cases.len());
    let denied = cases
        .iter()
        .filter(|(_, fate)| *fate == Fate::Refused(403))
        .count();
    assert!(denied >= 12, "too few ways to /admin are tried: {denied}");
    let mut wrong = Vec::new();
    for (sent, expected) in &cases {
        let fate = mesh.fate(proxy, sent.as_bytes()).await;
        if fate != *expected {
            wrong.push(format!("{sent}: {fate:?}, not {expected:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// Queries belong to the application: never read as path, never changed.
#[tokio::test(flavor = "multi_thread")]
async fn queries_pass_byte_for_byte() {
    let mesh = mesh().await;
    for (sent, received) in [
        ("/a?x=/../admin", "/a?x=/../admin"),
        ("/a?x=%2f%2e%2e", "/a?x=%2f%2e%2e"),
        ("/b/../a?x=%zz", "/a?x=%zz"),
        ("//a??x=1", "/a??x=1"),
        ("/%61?%61", "/a?%61"),
        ("/a?", "/a?"),
        ("/a?x;y=1&&", "/a?x;y=1&&"),
    ] {
        let fate = mesh
            .fate(mesh.guarded.config.inbound, sent.as_bytes())
            .await;
        assert_eq!(fate, Fate::Reaches(received.as_bytes().to_vec()), "{sent}");
    }
    let fate = mesh
        .fate(mesh.guarded.config.inbound, b"/x/../admin?x")
        .await;
    assert_eq!(fate, Fate::Refused(403));
}

/// Bytes that no text file of cases holds. An HTTP library may refuse them before the proxy looks; reach the upstream they may not
/// in a form that reads otherwise than was decided.
#[tokio::test(flavor = "multi_thread")]
async fn raw_bytes_never_reach_the_upstream_undecided() {
    let mesh = mesh().await;
    let targets: [&[u8]; 15] = [
        b"/ad\x00min",
        b"/ad\x01min",
        b"/ad\x7fmin",
        b"/ad\tmin",
        b"/ad min",
        b"/x\\..\\admin",
        b"\\admin",
        b"/caf\xc3\xa9/../admin",
        b"/\xc0\xae\xc0\xae/admin",
        b"/\xff/admin",
        b"/admin#x",
        b"admin",
        b"./admin",
        b"http://other/x/../admin",
        b"http://other/%61dmin?x",
    ];
    let mut wrong = Vec::new();
    for target in targets {
        let fate = mesh.fate(mesh.guarded.config.inbound, target).await;
        if !matches!(fate, Fate::Refused(0 | 400 | 403)) {
            wrong.push(format!("{:?}: {fate:?}", String::from_utf8_lossy(target)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // No server is sent what follows a `#`, and no client may: whatever it means, it is not read.
    let fragment = mesh
        .fate(mesh.guarded.config.inbound, b"/x#/../admin")
        .await;
    assert_eq!(fragment, Fate::Refused(400));
    let absolute = mesh
        .fate(mesh.guarded.config.inbound, b"http://other/x/../products")
        .await;
    assert!(
        [
            Fate::Reaches(b"/products".to_vec()),
            Fate::Reaches(b"http://other/products".to_vec())
        ]
        .contains(&absolute),
        "{absolute:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_rule_reads_the_path_every_byte_passes_as_it_was_sent() {
    let mesh = mesh().await;
    let mut tried = 0;
    for (sent, _) in cases() {
        let fate = mesh.fate(mesh.open.config.inbound, sent.as_bytes()).await;
        assert_eq!(fate, Fate::Reaches(sent.as_bytes().to_vec()), "{sent}");
        tried += 1;
    }
    assert!(tried >= 60, "only {tried}");
}

/// Requests whose end two readers may see at different places: one request in, one request at most out.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_cannot_hide_a_second_one() {
    let mesh = mesh().await;
    let inner = "GET /admin HTTP/1.1\r\nhost: shop\r\n\r\n";
    for head in [
        "POST /a HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\ncontent-length: 36\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: xchunked\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: shop\r\ncontent-length: +0\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: shop\r\nx: y\r\n z\r\n\r\n",
        "GET /a HTTP/1.1\nhost: shop\ntransfer-encoding : chunked\n\n",
    ] {
        let mut request = head.as_bytes().to_vec();
        request.extend(inner.as_bytes());
        let answer = raw_until_quiet(mesh.guarded.config.inbound, &request).await;
        for reached in mesh.recorder.take() {
            let reached = String::from_utf8_lossy(&reached).into_owned();
            if reached == "0\r\n\r\n" {
                continue; // The end of a chunked body, which the recorder takes for a head.
            }
            assert!(
                !reached.starts_with("GET /admin"),
                "{head:?} let this through: {reached:?}; answers: {answer:?}"
            );
            assert_eq!(
                reached.matches("HTTP/1.1").count(),
                1,
                "{head:?}: {reached:?}"
            );
            let length = reached.to_lowercase().contains("content-length:");
            let chunked = reached.to_lowercase().contains("transfer-encoding:");
            assert!(
                !(length && chunked),
                "{head:?}: two ways to find the end were sent on: {reached:?}"
            );
        }
    }
}

/// As [`raw`], for requests that leave the connection open: what was answered once the other side was told that nothing follows.
async fn raw_until_quiet(to: SocketAddr, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(to)
            .await
            .expect("the proxy listens");
        let mut answer = Vec::new();
        if stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok() {
            // A reset after an answer is an end too.
            let _ = stream.read_to_end(&mut answer).await;
        }
        answer
    };
    String::from_utf8_lossy(&mixer_tests::wait::ends("the connection", exchange).await).into_owned()
}
