//! The keys of those who issue tokens: fetched here, in the background, and sent to the proxies that verify with them.
//!
//! So a provider is asked by a few Mixers and not by every proxy, and no request waits for it. What was fetched is used for
//! `keep` after the last fetch that succeeded; then the issuer's tokens cannot be verified, which is its own answer (503) and
//! neither a pass nor a bad token. Keys belong to an address, not to a set of documents: a reload that leaves the address as it
//! was fetches nothing and forgets nothing.

mod source;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use mixer_adapter::http::Url;
use mixer_adapter::{Exposition, HttpClient};
use mixer_documents::{Code, Diagnostic, Jwt, KeySet, KeySource};
use mixer_proto::v1;
use mixer_runtime::{Clock, Random, Tasks};
use tokio::sync::watch;

use source::{Held, Source};

/// The keys of the jwt documents in force.
#[derive(Debug)]
pub(crate) struct Keys {
    tools: Tools,
    held: Mutex<HashMap<Source, Arc<Held>>>,
}

/// What fetching needs.
#[derive(Clone, Debug)]
struct Tools {
    http: HttpClient,
    clock: Clock,
    random: Arc<Random>,
    tasks: Tasks,
    /// Rises when what is known of some keys has changed.
    changed: watch::Sender<u64>,
}

/// Where the keys of a document come from, checked; and what they are now, if that is a file.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    source: Source,
    now: Option<Arc<KeySet>>,
}

/// Checks the `jwks` of a document, and reads the file that it names.
pub(crate) fn check(jwt: &Jwt) -> Result<Checked, Box<Diagnostic>> {
    let wrong = |code: Code, why: String| Diagnostic {
        span: Some(jwt.keys_span),
        ..Diagnostic::directory(code, why)
    };
    match &jwt.keys {
        KeySource::Url { url, refresh, keep } => match Url::parse("url", url) {
            Ok(_) => Ok(Checked {
                source: Source::Url {
                    url: url.clone(),
                    refresh: *refresh,
                    keep: *keep,
                },
                now: None,
            }),
            Err(invalid) => {
                let problems = invalid.problems.iter().map(|problem| &*problem.message);
                let why = problems.collect::<Vec<_>>().join("; ");
                Err(Box::new(wrong(Code::KeysAddress, why)))
            }
        },
        KeySource::File(file) => {
            let path = jwt.directory.join(file);
            let read = read(&path);
            let set = read.map_err(|why| Box::new(wrong(Code::KeysFile, why)))?;
            Ok(Checked {
                source: Source::File(path),
                now: Some(Arc::new(set)),
            })
        }
    }
}

/// The set of keys in a file.
fn read(path: &PathBuf) -> Result<KeySet, String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    KeySet::read(&text).map_err(|why| format!("{shown} is no set of keys: {why}"))
}

impl Keys {
    /// None yet; they will be fetched by tasks like those.
    pub(crate) fn new(http: HttpClient, clock: Clock, random: Arc<Random>, tasks: Tasks) -> Self {
        Self {
            tools: Tools {
                http,
                clock,
                random,
                tasks,
                changed: watch::Sender::new(0),
            },
            held: Mutex::default(),
        }
    }

    /// Told when what is known of some keys has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.tools.changed.subscribe()
    }

    /// Fetches what these need from now on, and nothing else any more.
    pub(crate) fn adopt(&self, checked: &[Checked]) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *held);
        for Checked { source, now } in checked {
            if held.contains_key(source) {
                continue;
            }
            let kept = match before.get(source) {
                Some(kept) => kept.clone(),
                None => {
                    // Another `refresh` or `keep` is no reason to forget what came from there.
                    let same = before.values().find(|held| held.source.is_at(source));
                    Held::start(source.clone(), same.map(|same| &**same), &self.tools)
                }
            };
            if let Some(now) = now {
                kept.take(now.clone());
            }
            held.insert(source.clone(), kept);
        }
    }

    /// What proxies are told of the keys of a document.
    pub(crate) fn told(&self, name: &str, checked: &Checked) -> v1::IssuerKeys {
        use v1::issuer_keys::Keys as Told;
        let mut told = v1::IssuerKeys {
            issuer: name.to_owned(),
            ..v1::IssuerKeys::default()
        };
        told.keys = Some(match self.of(checked).map(|held| held.keys()) {
            None | Some(source::Known::Nothing) => Told::Pending(true),
            Some(source::Known::Lost) => Told::Lost(true),
            Some(source::Known::Keys(set)) => {
                told.digest = set.digest.to_string();
                Told::Jwks(set.text.to_string())
            }
        });
        told
    }

    /// What is known of the keys of a document, in a word: the name of the set, `pending` or `lost`.
    pub(crate) fn word(&self, checked: &Checked) -> String {
        match self.of(checked).map(|held| held.keys()) {
            None | Some(source::Known::Nothing) => "pending".to_owned(),
            Some(source::Known::Lost) => "lost".to_owned(),
            Some(source::Known::Keys(set)) => set.digest.to_string(),
        }
    }

    /// Fetches the keys of a document again, unless a token had that done lately, and waits for it. The name of the set known then.
    pub(crate) async fn refresh(&self, checked: &Checked) -> Option<Arc<str>> {
        let held = self.of(checked)?;
        held.refresh(&self.tools.clock).await;
        match held.keys() {
            source::Known::Keys(set) => Some(set.digest.clone()),
            source::Known::Nothing | source::Known::Lost => None,
        }
    }

    /// Writes what became of fetching, by document.
    pub(crate) fn expose<'d>(
        &self,
        documents: impl Iterator<Item = (&'d str, &'d Checked)>,
        page: &mut Exposition,
    ) {
        for (name, checked) in documents {
            let Some(held) = self.of(checked) else {
                continue;
            };
            let labels = [("issuer", name)];
            let count = match held.keys() {
                source::Known::Keys(set) => set.count,
                source::Known::Nothing | source::Known::Lost => 0,
            };
            let help =
                "Keys that tokens of an issuer can be verified with; 0: they are answered with 503";
            page.gauge("mixer_issuer_keys", help, &labels, count as f64);
            let help = "Fetches of an issuer's keys that failed.";
            let failures = held.failures.load(Ordering::Relaxed);
            page.counter("mixer_issuer_key_failures", help, &labels, failures as f64);
            if let Some(age) = held.age(&self.tools.clock) {
                let help = "Time since the keys of an issuer were last fetched.";
                let name = "mixer_issuer_keys_age_seconds";
                page.gauge(name, help, &labels, age.as_secs_f64());
            }
        }
    }

    fn of(&self, checked: &Checked) -> Option<Arc<Held>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&checked.source).cloned()
    }
}

#[cfg(test)]
mod tests;
