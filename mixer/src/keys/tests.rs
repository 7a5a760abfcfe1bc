//! Keys over time, of a server that a test makes and breaks.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use mixer_documents::Sources;
use mixer_runtime::ManualClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use v1::issuer_keys::Keys as Told;

use super::*;

const GOOD: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
const OTHER: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"b","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;

/// Lets the server and what fetches from it go on.
async fn a_moment() {
    Clock::system().sleep(Duration::from_millis(1)).await;
}

/// A server that answers as it is told, and counts.
#[derive(Clone)]
struct Provider {
    address: SocketAddr,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    async fn start(tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new((200, GOOD.to_owned()))),
            asked: Arc::default(),
        };
        let told = provider.clone();
        tasks.spawn_until_stop("provider", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                told.asked.fetch_add(1, Ordering::Relaxed);
                let (status, body) = told.answer.lock().unwrap().clone();
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        provider
    }

    fn says(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

struct Bench {
    keys: Keys,
    hand: ManualClock,
    provider: Provider,
    _tasks: Tasks,
}

impl Bench {
    async fn new() -> Self {
        let (clock, hand) = Clock::manual();
        let tasks = Tasks::new();
        let provider = Provider::start(&tasks).await;
        let http = HttpClient::new(clock.clone());
        Self {
            keys: Keys::new(http, clock, Arc::new(Random::from_seed(1)), tasks.clone()),
            hand,
            provider,
            _tasks: tasks,
        }
    }

    fn url(&self, refresh: u64, keep: u64) -> Checked {
        Checked {
            source: Source::Url {
                url: format!("http://{}/keys", self.provider.address),
                refresh: Duration::from_secs(refresh),
                keep: Duration::from_secs(keep),
            },
            now: None,
        }
    }

    /// Lets time pass in steps until what is told is so.
    async fn until(&self, checked: &Checked, what: &str, is: impl Fn(&Told) -> bool) {
        for _ in 0..10_000 {
            if self.told(checked).as_ref().is_some_and(&is) {
                return;
            }
            self.hand.advance(Duration::from_millis(100));
            a_moment().await;
        }
        panic!("{what}: {:?}", self.told(checked));
    }

    fn told(&self, checked: &Checked) -> Option<Told> {
        self.keys.told("a", checked).keys
    }
}

fn has(kid: &'static str) -> impl Fn(&Told) -> bool {
    move |told| matches!(told, Told::Jwks(set) if set.contains(&format!("\"kid\":\"{kid}\"")))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_is_used_for_keep_and_then_lost_until_it_is_there_again() {
    let bench = Bench::new().await;
    let checked = bench.url(60, 300);
    bench.keys.adopt(std::slice::from_ref(&checked));
    assert_eq!(bench.told(&checked), Some(Told::Pending(true)));
    bench.until(&checked, "fetched", has("a")).await;
    bench.provider.says(200, OTHER);
    bench.until(&checked, "fetched again", has("b")).await;
    // Neither an error nor what is no set of keys takes the place of what is known.
    let before = bench.provider.asked();
    for (status, body) in [
        (500, OTHER),
        (200, "<html>"),
        (200, r#"{"keys":[]}"#),
        (304, ""),
    ] {
        bench.provider.says(status, body);
        let asked = bench.provider.asked();
        while bench.provider.asked() == asked {
            assert!(has("b")(&bench.told(&checked).unwrap()), "{status} {body}");
            bench.hand.advance(Duration::from_millis(100));
            a_moment().await;
        }
    }
    assert!(bench.provider.asked() > before);
    let mut changes = bench.keys.changes();
    changes.borrow_and_update();
    bench
        .until(&checked, "lost", |told| *told == Told::Lost(true))
        .await;
    // Whoever announces is told of the loss.
    for _ in 0..10_000 {
        if changes.has_changed().unwrap() {
            break;
        }
        bench.hand.advance(Duration::from_millis(100));
        a_moment().await;
    }
    assert!(changes.has_changed().unwrap());
    bench.provider.says(200, OTHER);
    bench.until(&checked, "back", has("b")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_leaves_the_address_forgets_nothing_and_another_begins_anew() {
    let bench = Bench::new().await;
    let (slow, quick) = (bench.url(3_600, 7_200), bench.url(60, 300));
    bench.keys.adopt(std::slice::from_ref(&slow));
    bench.until(&slow, "fetched", has("a")).await;
    let asked = bench.provider.asked();
    bench.keys.adopt(std::slice::from_ref(&slow));
    assert!(has("a")(&bench.told(&slow).unwrap()));
    bench.keys.adopt(std::slice::from_ref(&quick));
    assert!(has("a")(&bench.told(&quick).unwrap()));
    assert_eq!(bench.provider.asked(), asked);
    bench.keys.adopt(&[]);
    assert_eq!(bench.told(&quick), Some(Told::Pending(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_make_it_be_fetched_once_in_a_while() {
    let bench = Bench::new().await;
    let checked = bench.url(3_600, 7_200);
    bench.keys.adopt(std::slice::from_ref(&checked));
    bench.until(&checked, "fetched", has("a")).await;
    let asked = bench.provider.asked();
    bench.provider.says(200, OTHER);
    let digest = bench.keys.refresh(&checked).await;
    assert_eq!(bench.provider.asked(), asked + 1);
    assert!(has("b")(&bench.told(&checked).unwrap()));
    assert_eq!(*digest.unwrap(), bench.keys.told("a", &checked).digest);
    for _ in 0..10 {
        bench.keys.refresh(&checked).await;
    }
    assert_eq!(bench.provider.asked(), asked + 1);
    bench.hand.advance(Duration::from_secs(11));
    bench.keys.refresh(&checked).await;
    assert_eq!(bench.provider.asked(), asked + 2);
}

#[tokio::test]
async fn where_keys_come_from_is_checked_when_documents_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.json"), GOOD).unwrap();
    std::fs::write(folder.path().join("bad.json"), "{}").unwrap();
    for (jwks, code, why) in [
        ("{ file: good.json }", None, ""),
        ("{ file: none.json }", Some(Code::KeysFile), "cannot read"),
        (
            "{ file: bad.json }",
            Some(Code::KeysFile),
            "is no set of keys",
        ),
        ("{ url: \"https://a.example/keys\" }", None, ""),
        (
            "{ url: \"https://u:p@a.example/keys\" }",
            Some(Code::KeysAddress),
            "credentials",
        ),
        (
            "{ url: \"https://a.example/<keys>\" }",
            Some(Code::KeysAddress),
            "not an address",
        ),
    ] {
        let text = format!("jwt: a\nfor: always\nissuer: i\naudiences: [a]\njwks: {jwks}\n");
        std::fs::write(folder.path().join("jwt.yaml"), text).unwrap();
        let sources = Sources::read(&[folder.path().to_owned()]).unwrap();
        let set = mixer_documents::load(sources).unwrap();
        let checked = check(&set.jwts[0]);
        assert_eq!(
            checked.as_ref().err().map(|wrong| wrong.code),
            code,
            "{jwks}"
        );
        if let Err(wrong) = checked {
            assert!(wrong.message.contains(why), "{jwks}: {}", wrong.message);
            assert_eq!(wrong.span, Some(set.jwts[0].keys_span));
        }
    }
}
