//! Tokens, from the issuer to the application: a real Mixer fetches the keys of a real server, real proxies verify with them. The
//! keys change, the server dies and comes back, tokens expire, documents change, and who passes is who should.

#![allow(clippy::unwrap_used)] // A helper of a test fails it like the test itself.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mixer_runtime::{Clock, Tasks};
use mixer_tests::http::{Client, fetch, get, with};
use mixer_tests::mesh::{Documents, Mixer, Proxy, ProxyConfig, counter};
use mixer_tests::service::Service;
use mixer_tests::{ports, servers, wait};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Who issues tokens: a server of keys, which counts how often it is asked.
struct Provider {
    address: SocketAddr,
    keys: Arc<Mutex<String>>,
    asked: Arc<Mutex<usize>>,
    running: Option<Tasks>,
}

impl Provider {
    async fn start(keys: &[&Key]) -> Self {
        let mut provider = Self {
            address: ports::free(),
            keys: Arc::default(),
            asked: Arc::default(),
            running: None,
        };
        provider.publish(keys);
        provider.rise().await;
        provider
    }

    fn publish(&self, keys: &[&Key]) {
        *self.keys.lock().unwrap() = set(keys);
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    async fn rise(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (keys, asked) = (self.keys.clone(), self.asked.clone());
        let tasks = Tasks::new();
        tasks.spawn("provider", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                if !head.starts_with(b"GET /jwks.json HTTP/1.1\r\n") {
                    continue;
                }
                *asked.lock().unwrap() += 1;
                let keys = keys.lock().unwrap().clone();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{keys}",
                    keys.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        self.running = Some(tasks);
    }

    /// Nobody listens there any more.
    fn die(&mut self) {
        self.running = None;
    }
}

/// A key with its name.
struct Key {
    id: &'static str,
    pkcs8: Vec<u8>,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        Self {
            id,
            pkcs8: made.unwrap().as_ref().to_vec(),
        }
    }

    fn jwk(&self) -> Value {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8).unwrap();
        let point = pair.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id,
            "x": text(&point[1..33]), "y": text(&point[33..]) })
    }

    /// A token for `subject` in `groups`, which expires in so many seconds.
    fn token(&self, subject: &str, groups: &[&str], expires_in: i64) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        let claims = json!({ "iss": "https://accounts.example", "sub": subject, "aud": ["products", "reviews"],
            "exp": now() + expires_in, "groups": groups });
        let key = EncodingKey::from_ec_der(&self.pkcs8);
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}

fn set(keys: &[&Key]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

fn now() -> i64 {
    let since = Clock::system().wall().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs() as i64
}

const POLICY: &str = "
policy: products
for: destination.service == \"products.shop\"
rules:
  - allow: admins
    when: '\"admins\" in auth.claims.groups'
  - allow: everybody reads
    when: request.method == \"GET\" && request.path == \"/open\"
otherwise: { deny: only admins }
---
mesh: { denials: { show: everyone } }
";

fn jwt(keys: &str) -> String {
    format!(
        "jwt: accounts\nfor: destination.service == \"products.shop\"\nissuer: https://accounts.example\naudiences: [products]\njwks: {keys}\n"
    )
}

struct Mesh {
    mixer: Mixer,
    proxy: Proxy,
    app: Service,
}

async fn mesh(documents: &Documents) -> Mesh {
    let app = Service::echo("products").await;
    let mixer = Mixer::serve(documents).await;
    let proxy = ProxyConfig::new("products.shop", app.addr, mixer.grpc)
        .start()
        .await;
    Mesh { mixer, proxy, app }
}

async fn ask(client: &mut Client, path: &str, token: &str) -> u16 {
    let mut request = get("products", path);
    if !token.is_empty() {
        request = with(request, "authorization", &format!("Bearer {token}"));
    }
    client.send(request).await.unwrap().status.as_u16()
}

async fn metric(mixer: &Mixer, name: &str, issuer: &str) -> f64 {
    let page = mixer.admin("/metrics").await.text();
    counter(&page, name, &[("issuer", issuer)])
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_are_lost_and_come_back_and_proxies_ask_nobody() {
    let (old, new) = (Key::new("2026-01"), Key::new("2026-02"));
    let mut provider = Provider::start(&[&old]).await;
    let keys = |times: &str| {
        let url = format!("http://{}/jwks.json", provider.address);
        jwt(&format!("{{ url: \"{url}\", {times} }}"))
    };
    let (slow, quick) = (
        keys("refresh: 1h, keep: 24h"),
        keys("refresh: 1s, keep: 2s"),
    );
    let documents = Documents::new([("policy.yaml", POLICY), ("jwt.yaml", &slow)]);
    let mut mesh = mesh(&documents).await;
    let second = ProxyConfig::new("products.shop", mesh.app.addr, mesh.mixer.grpc)
        .start()
        .await;
    let mut clients = Vec::new();
    for inbound in [mesh.proxy.config.inbound, second.config.inbound] {
        clients.push(Client::http1(inbound).await.unwrap());
    }
    let admin = old.token("alice", &["admins"], 600);
    let guest = old.token("bob", &["guests"], 600);
    for client in &mut clients {
        wait::until("the keys are there", async || {
            (ask(client, "/", &admin).await == 200).then_some(())
        })
        .await;
        // Each is decided by what its own token says, however often it comes and whoever came before.
        for _ in 0..5 {
            assert_eq!(ask(client, "/", &admin).await, 200);
            assert_eq!(ask(client, "/", &guest).await, 403);
            assert_eq!(ask(client, "/", "").await, 403);
            assert_eq!(ask(client, "/open", "").await, 200);
            assert_eq!(ask(client, "/open", "a.b.c").await, 401);
        }
    }
    let checks = |page: &str| counter(page, "mixer_check_total", &[]);
    let before = checks(&mesh.mixer.admin("/metrics").await.text());
    for _ in 0..20 {
        assert_eq!(ask(&mut clients[0], "/", &admin).await, 200);
    }
    assert!(before > 0.0);
    let after = checks(&mesh.mixer.admin("/metrics").await.text());
    assert_eq!(
        before, after,
        "what was decided of these claims is not asked again"
    );
    assert_eq!(provider.asked(), 1);

    // Rotated: the first token of the new key passes, since it makes Mixer look, once for both proxies.
    provider.publish(&[&new, &old]);
    let fresh = new.token("alice", &["admins"], 600);
    for client in &mut clients {
        assert_eq!(ask(client, "/", &fresh).await, 200);
    }
    assert_eq!(provider.asked(), 2);
    // Whoever makes up keys makes nobody look more often.
    let forger = Key::new("forged");
    for _ in 0..10 {
        let forged = forger.token("alice", &["admins"], 600);
        assert_eq!(ask(&mut clients[0], "/", &forged).await, 401);
    }
    assert_eq!(provider.asked(), 2);

    // Withdrawn: what was verified with it a moment ago does not pass any more.
    provider.publish(&[&new]);
    documents.write("jwt.yaml", &quick);
    wait::until("the old key is gone", async || {
        (ask(&mut clients[0], "/", &admin).await == 401).then_some(())
    })
    .await;
    assert_eq!(ask(&mut clients[0], "/", &fresh).await, 200);

    // Dead: tokens pass for a while, then they cannot be verified, which is neither good nor bad.
    provider.die();
    wait::until("the keys are lost", async || {
        match ask(&mut clients[0], "/", &fresh).await {
            503 => Some(()),
            status => {
                assert_eq!(status, 200);
                None
            }
        }
    })
    .await;
    assert_eq!(
        ask(&mut clients[0], "/open", "").await,
        200,
        "who has no token needs no key"
    );
    wait::until("the metric says so", async || {
        (metric(&mesh.mixer, "mixer_issuer_keys", "accounts").await == 0.0).then_some(())
    })
    .await;
    assert!(metric(&mesh.mixer, "mixer_issuer_key_failures_total", "accounts").await > 0.0);
    let dump = mesh.proxy.admin("/config_dump").await.json();
    assert_eq!(dump["issuer_keys"]["accounts"], "lost");
    let said = |line: &str| line.contains("keys could not be fetched for").then_some(());
    mesh.mixer.process().line("the loss in the log", said).await;
    let page = mesh.proxy.admin("/metrics").await.text();
    let counted = page.lines().any(|line| {
        line.starts_with("mixer_proxy_keys_unavailable_total ") && !line.ends_with(" 0")
    });
    assert!(counted, "{page}");

    // Alive again: nobody has to do anything.
    provider.rise().await;
    wait::until("the keys are back", async || {
        (ask(&mut clients[0], "/", &fresh).await == 200).then_some(())
    })
    .await;
    assert_eq!(
        metric(&mesh.mixer, "mixer_issuer_keys", "accounts").await,
        1.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_though_it_was_verified_and_decided_before() {
    let key = Key::new("k");
    let provider = Provider::start(&[&key]).await;
    let url = format!("http://{}/jwks.json", provider.address);
    let documents = Documents::new([
        ("policy.yaml", POLICY),
        ("jwt.yaml", &*jwt(&format!("{{ url: \"{url}\" }}"))),
    ]);
    let mesh = mesh(&documents).await;
    let mut client = Client::http1(mesh.proxy.config.inbound).await.unwrap();
    let long = key.token("alice", &["admins"], 600);
    wait::until("the keys are there", async || {
        (ask(&mut client, "/", &long).await == 200).then_some(())
    })
    .await;
    // Half a minute is what clocks may differ.
    let token = key.token("alice", &["admins"], -26);
    assert_eq!(ask(&mut client, "/", &token).await, 200);
    wait::until("it has expired", async || {
        (ask(&mut client, "/", &token).await == 401).then_some(())
    })
    .await;
    assert_eq!(ask(&mut client, "/", &long).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_file_and_documents_change_on_open_connections() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let document = jwt("{ file: keys.json }");
    let documents = Documents::new([
        ("keys.json", &*set(&[&old])),
        ("policy.yaml", POLICY),
        ("jwt.yaml", &document),
    ]);
    let mut mesh = mesh(&documents).await;
    let mut client = Client::http1(mesh.proxy.config.inbound).await.unwrap();
    let (before, after) = (
        old.token("a", &["admins"], 600),
        new.token("a", &["admins"], 600),
    );
    assert_eq!(ask(&mut client, "/", &before).await, 200);
    assert_eq!(ask(&mut client, "/", &after).await, 401);
    documents.write("keys.json", &set(&[&new]));
    wait::until("the new keys are in force", async || {
        (ask(&mut client, "/", &after).await == 200).then_some(())
    })
    .await;
    assert_eq!(ask(&mut client, "/", &before).await, 401);
    // What is no set of keys changes nothing, and is said.
    documents.write("keys.json", "{");
    let said = |line: &str| line.contains("is no set of keys").then_some(());
    mesh.mixer
        .process()
        .line("the broken file in the log", said)
        .await;
    assert_eq!(ask(&mut client, "/", &after).await, 200);
    documents.write("keys.json", &set(&[&new]));
    documents.write("jwt.yaml", &(document.clone() + "missing: deny\n"));
    wait::until("a token is demanded", async || {
        (ask(&mut client, "/open", "").await == 401).then_some(())
    })
    .await;
    assert_eq!(ask(&mut client, "/", &after).await, 200);
    documents.write("jwt.yaml", "# none\n");
    wait::until("tokens mean nothing any more", async || {
        (ask(&mut client, "/open", "nonsense").await == 200).then_some(())
    })
    .await;
    assert_eq!(ask(&mut client, "/", &after).await, 403);
    assert!(
        fetch(mesh.proxy.config.admin, "/healthz/ready")
            .await
            .is_ok()
    );
}

/// Makes a key of each kind, their set, and a token by each.
const PYTHON: &str = r#"
import json, sys, time, jwt
from jwt.algorithms import RSAAlgorithm, ECAlgorithm, OKPAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa, ec, ed25519
claims = {"iss": "https://accounts.example", "sub": "alice", "aud": "products", "exp": int(time.time()) + 600,
          "nbf": int(time.time()), "groups": ["admins"]}
pair = rsa.generate_private_key(public_exponent=65537, key_size=3072)
made = [
    ("r", pair, RSAAlgorithm, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
    ("e", ec.generate_private_key(ec.SECP256R1()), ECAlgorithm, ["ES256"]),
    ("f", ec.generate_private_key(ec.SECP384R1()), ECAlgorithm, ["ES384"]),
    ("d", ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm, ["EdDSA"]),
]
keys, tokens = [], {}
for kid, key, kind, algorithms in made:
    public = json.loads(kind.to_jwk(key.public_key()))
    keys.append({**public, "kid": kid})
    for algorithm in algorithms:
        tokens[algorithm] = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})
tokens["HS256"] = jwt.encode(claims, "a secret of more than thirty-two bytes", algorithm="HS256", headers={"kid": "r"})
json.dump({"set": {"keys": keys}, "tokens": tokens}, sys.stdout)
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pyjwt"]
async fn tokens_and_keys_that_pyjwt_makes_are_understood() {
    let made = Command::new(servers::installed("pyjwt"))
        .args(["-c", PYTHON])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let documents = Documents::new([
        ("keys.json", &*made["set"].to_string()),
        ("policy.yaml", POLICY),
        ("jwt.yaml", &jwt("{ file: keys.json }")),
    ]);
    let mesh = mesh(&documents).await;
    let mut client = Client::http1(mesh.proxy.config.inbound).await.unwrap();
    let tokens = made["tokens"].as_object().unwrap();
    assert_eq!(tokens.len(), 10);
    for (algorithm, token) in tokens {
        let expected = if algorithm == "HS256" { 401 } else { 200 };
        let status = ask(&mut client, "/", token.as_str().unwrap()).await;
        assert_eq!(status, expected, "{algorithm}");
    }
}
