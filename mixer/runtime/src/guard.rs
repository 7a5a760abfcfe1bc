//! Who may change things through the admin listener, and see what callers are called.
//!
//! Three things keep strangers out, since a listener on loopback is reached by every process of the machine and by every page
//! that a browser there has open. A change takes a token that only its file tells (a browser never sends it by itself). A request
//! of another site's page is refused by its `Origin`. And keys of counters are shown without a token only where the listener
//! is on loopback, and only to who asks for an address or `localhost`: any other name may be one that a page's owner made point here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, StatusCode, header};
use sha2::{Digest, Sha256};

/// Bytes of a token at least.
const SHORTEST: usize = 16;

/// What is asked of those who ask.
#[derive(Clone, Debug)]
pub struct Guard {
    token: Option<PathBuf>,
    on_loopback: bool,
}

/// Why somebody gets no answer: a status, and a sentence for who asked.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Refusal {
    pub status: StatusCode,
    pub sentence: String,
}

impl Guard {
    /// Of a listener there, with the token of that file: it must have one now. Read again at each change, so that a token can be
    /// replaced.
    pub fn new(token: Option<PathBuf>, listener: SocketAddr) -> Result<Self, String> {
        if let Some(file) = &token {
            read(file)?;
        }
        Ok(Self {
            token,
            on_loopback: listener.ip().is_loopback(),
        })
    }

    /// May this request change something?
    pub async fn may_change(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        comes_from_no_other_site(headers)?;
        let Some(file) = self.token.clone() else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "no changes are taken: this was started without --admin-token-file",
            ));
        };
        // A file on a slow disk must not hold up those who are served.
        let expected = tokio::task::spawn_blocking(move || read(&file)).await;
        let expected = match expected.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(expected) => expected,
            Err(reason) => {
                tracing::warn!("a change was refused: {reason}");
                return Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    "the --admin-token-file cannot be read; the log says why",
                ));
            }
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        // Digests are compared: how long that takes tells nothing of the token.
        match given {
            Some(given) if Sha256::digest(given) == Sha256::digest(expected) => Ok(()),
            given => {
                let what = if given.is_some() {
                    "is another"
                } else {
                    "is missing"
                };
                Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    format!(
                        "the admin token {what}: it is in the file that --admin-token-file names"
                    ),
                ))
            }
        }
    }

    /// May this request see what callers are called?
    pub async fn may_see(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.on_loopback {
            return self.may_change(headers).await;
        }
        if !is_own(text(headers, &header::HOST).unwrap_or_default()) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this listener is asked by address or as localhost, not by another name",
            ));
        }
        comes_from_no_other_site(headers)
    }

    /// May this request change how the process runs (end it, have it log more) where that is nothing to others? With the token, if
    /// there is one, else as who may see.
    pub async fn may_operate(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.token {
            Some(_) => self.may_change(headers).await,
            None => self.may_see(headers).await,
        }
    }
}

impl Refusal {
    fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self {
            status,
            sentence: sentence.into(),
        }
    }
}

fn read(file: &PathBuf) -> Result<String, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("--admin-token-file {shown}: {error}"))?;
    let token = text.trim();
    if token.len() < SHORTEST {
        return Err(format!(
            "--admin-token-file {shown}: a token of {} bytes can be guessed; make one of at least {SHORTEST}, such as by \
             `openssl rand -hex 32`",
            token.len()
        ));
    }
    Ok(token.to_owned())
}

/// Refuses what the page of another site sent. What is no browser sends no origin.
fn comes_from_no_other_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = text(headers, &header::HOST);
    match text(headers, &header::ORIGIN) {
        None => Ok(()),
        Some(origin) if origin.strip_prefix("http://") == host => Ok(()),
        Some(_) => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "pages of other sites may not ask here",
        )),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?;
    // What is no text is nobody's own.
    Some(value.to_str().unwrap_or("?"))
}

/// An address, or `localhost`; a name that a page's owner can point anywhere is neither.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = given.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    fn guard(token: Option<PathBuf>, listener: &str) -> Guard {
        Guard::new(token, listener.parse().unwrap()).unwrap()
    }

    async fn changes(guard: &Guard, given: &[(&'static str, &'static str)]) -> u16 {
        match guard.may_change(&headers(given)).await {
            Ok(()) => 200,
            Err(problem) => problem.status.as_u16(),
        }
    }

    #[tokio::test]
    async fn a_change_takes_the_token_and_comes_from_no_other_site() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let guard = guard(Some(file.clone()), "127.0.0.1:15014");
        let host = ("host", "127.0.0.1:15014");
        let token = ("authorization", "Bearer 0123456789abcdef");
        let cases: [(&[_], u16); 8] = [
            (&[host, token], 200),
            // By the name of a service, for one.
            (&[("host", "mixer.infra:15014"), token], 200),
            (&[host, token, ("origin", "http://127.0.0.1:15014")], 200),
            (&[host], 401),
            (&[host, ("authorization", "Bearer 0123456789abcdeg")], 401),
            (&[host, ("authorization", "0123456789abcdef")], 401),
            (&[host, token, ("origin", "https://evil.example")], 403),
            (&[token, ("origin", "http://evil.example")], 403),
        ];
        for (given, status) in cases {
            assert_eq!(changes(&guard, given).await, status, "{given:?}");
        }
        // Replaced, and then gone.
        std::fs::write(&file, "another token, quite long").unwrap();
        assert_eq!(changes(&guard, &[host, token]).await, 401);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(changes(&guard, &[host, token]).await, 403);
    }

    #[tokio::test]
    async fn without_a_token_nothing_changes_and_keys_are_shown_on_loopback_only() {
        let host = &[("host", "10.0.0.1")];
        for (listener, sees) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
        ] {
            let guard = guard(None, listener);
            assert_eq!(changes(&guard, host).await, 403);
            let seen = guard.may_see(&headers(host)).await;
            assert_eq!(seen.is_ok(), sees, "{listener}");
        }
        let guard = guard(None, "127.0.0.1:1");
        let cases: [(&[_], bool); 7] = [
            (&[("host", "localhost:15014")], true),
            (&[("host", "[::1]:15014")], true),
            (
                &[("host", "127.0.0.1"), ("origin", "http://127.0.0.1")],
                true,
            ),
            (&[("host", "127.0.0.1:1"), ("origin", "null")], false),
            (&[("host", "evil.example:15014")], false),
            (
                &[("host", "evil.example"), ("origin", "http://evil.example")],
                false,
            ),
            (&[], false),
        ];
        for (given, sees) in cases {
            let seen = guard.may_see(&headers(given)).await;
            assert_eq!(seen.is_ok(), sees, "{given:?}");
        }
    }

    #[tokio::test]
    async fn a_process_is_operated_with_the_token_if_there_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let host = ("host", "127.0.0.1");
        let token = ("authorization", "Bearer 0123456789abcdef");
        let foreign = ("origin", "http://evil.example");
        let cases: [(Option<&PathBuf>, &str, &[_], bool); 7] = [
            (None, "127.0.0.1:1", &[host], true),
            (None, "127.0.0.1:1", &[host, foreign], false),
            (None, "127.0.0.1:1", &[("host", "evil.example")], false),
            (None, "0.0.0.0:1", &[host], false),
            (Some(&file), "127.0.0.1:1", &[host], false),
            (Some(&file), "127.0.0.1:1", &[host, token], true),
            (Some(&file), "0.0.0.0:1", &[host, token, foreign], false),
        ];
        for (file, listener, given, may) in cases {
            let guard = guard(file.cloned(), listener);
            let answer = guard.may_operate(&headers(given)).await;
            assert_eq!(answer.is_ok(), may, "{file:?} {listener} {given:?}");
        }
    }

    #[test]
    fn a_token_that_can_be_guessed_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let listener = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(Guard::new(Some(file.clone()), listener).is_err(), "no file");
        for text in ["", "\n", "   short    \n         \n"] {
            std::fs::write(&file, text).unwrap();
            let refused = Guard::new(Some(file.clone()), listener).unwrap_err();
            assert!(refused.contains("can be guessed"), "{refused}");
        }
    }
}
