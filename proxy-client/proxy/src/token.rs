//! Tokens of callers: verified here, at the destination, before policy is asked.
//!
//! A request carries one token or none. It is judged by the jwt document whose issuer is its `iss`, with keys that Mixer fetched;
//! nobody is called while a request waits, but for a token that names a key nobody knows: then Mixer is asked, seldom, to look
//! again. What was verified becomes `auth.*`. What cannot be verified ends the request: the token never chooses how it is checked,
//! and nothing it says of its own key (`jwk`, `jku`, `x5u`) is looked at.
//!
//! A signature is expensive and a token comes many times, so what was verified is remembered, under a digest of the token and
//! only as long as these documents and keys are in force. That it has not expired is asked every time.

mod json;
mod kept;
mod parse;
mod place;
mod refresh;
mod refuse;
mod verify;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::request::Parts;
use mixer_attributes::vocabulary as name;
use mixer_attributes::{AttributeBag, Dynamic, Value};
use mixer_client::{Client, Keys};
use mixer_documents::{Jwt, KeySource, TokenPlace};
use mixer_runtime::{Clock, Instant};

use crate::shared::Shared;
use kept::Kept;
use parse::Token;
use place::Found;
use verify::Verifier;

pub(crate) use refresh::{Refreshing, look_again};
pub(crate) use refuse::Refused;

/// How far the clocks of issuers may be from this one.
const LEEWAY: Duration = Duration::from_secs(30);

/// The issuers whose tokens are verified here, with their keys. Made for one state of Watch; it never changes.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    issuers: Vec<Issuer>,
    kept: Kept,
}

/// One jwt document that applies to the proxy's own service.
#[derive(Debug)]
struct Issuer {
    jwt: Arc<Jwt>,
    /// What it says, to be compared.
    document: String,
    known: Known,
}

/// The keys of an issuer.
#[derive(Clone, Debug)]
enum Known {
    /// Mixer tells them; or told them until then, and has not fetched them since it started anew.
    Keys(Arc<Verifier>, Option<Instant>),
    /// Nobody knows them yet.
    Nothing,
    /// They could not be fetched for too long.
    Lost,
}

/// What a token said, and that its issuer said it.
#[derive(Debug, PartialEq)]
pub(crate) struct Verified {
    /// The document's index.
    issuer: usize,
    name: Arc<str>,
    principal: Option<String>,
    audiences: Vec<String>,
    claims: Dynamic,
    /// Seconds since the Unix epoch.
    expires: i64,
    begins: Option<i64>,
}

/// A request's token that was verified.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) verified: Arc<Verified>,
    /// Where the application is not to see it.
    strip: Option<TokenPlace>,
}

/// When and where a token is judged.
#[derive(Clone, Copy, Debug)]
struct Now {
    time: SystemTime,
    instant: Instant,
    /// How long no Mixer has confirmed what Watch told.
    unconfirmed: Duration,
}

impl Now {
    fn of(clock: &Clock, client: Option<&Client>) -> Self {
        Self {
            time: clock.wall(),
            instant: clock.now(),
            unconfirmed: client.map_or(Duration::ZERO, Client::unconfirmed_for),
        }
    }

    /// Seconds since the Unix epoch.
    fn seconds(&self) -> i64 {
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

impl Tokens {
    /// Those of `jwts`, with the keys that `told` has; what is known already is kept where Mixer does not know it yet. `None` when
    /// nothing differs from `before`.
    pub(crate) fn next(
        before: &Tokens,
        jwts: &[Arc<Jwt>],
        told: &std::collections::BTreeMap<String, Keys>,
        now: Instant,
    ) -> Option<Self> {
        let issuers = jwts.iter().map(|jwt| {
            let document = jwt.canonical();
            let same = before
                .issuers
                .iter()
                .find(|issuer| issuer.document == document);
            let known = match (told.get(&*jwt.name), same.map(|same| &same.known)) {
                (Some(Keys::Known { digest, .. }), Some(Known::Keys(held, _)))
                    if held.digest == *digest =>
                {
                    Known::Keys(held.clone(), None)
                }
                (Some(Keys::Known { jwks, digest }), _) => match Verifier::new(jwks, digest) {
                    Ok(verifier) => Known::Keys(Arc::new(verifier), None),
                    Err(why) => {
                        tracing::error!(issuer = &*jwt.name, "the keys Mixer sent are none: {why}");
                        Known::Lost
                    }
                },
                (Some(Keys::Pending) | None, Some(Known::Keys(held, since))) => {
                    Known::Keys(held.clone(), Some(since.unwrap_or(now)))
                }
                (Some(Keys::Pending) | None, _) => Known::Nothing,
                (Some(Keys::Lost), _) => Known::Lost,
            };
            let was_lost = same.is_some_and(|same| matches!(same.known, Known::Lost));
            if matches!(known, Known::Lost) && !was_lost {
                tracing::error!(
                    issuer = &*jwt.name,
                    "the keys of this issuer are lost: its tokens are answered with 503"
                );
            }
            Issuer {
                jwt: jwt.clone(),
                document,
                known,
            }
        });
        let issuers: Vec<Issuer> = issuers.collect();
        let same = issuers.len() == before.issuers.len()
            && issuers
                .iter()
                .zip(&before.issuers)
                .all(|(now, before)| now.is(before));
        (!same).then(|| Self {
            issuers,
            kept: Kept::default(),
        })
    }

    /// Whether a request without a token is refused.
    pub(crate) fn demanded(&self) -> bool {
        self.issuers.iter().any(|issuer| issuer.jwt.missing_denied)
    }

    /// What is known of the keys of each issuer, in a word: the name of the set, `pending` or `lost`.
    pub(crate) fn shown(&self) -> std::collections::BTreeMap<String, String> {
        let shown = self.issuers.iter().map(|issuer| {
            let word = match &issuer.known {
                Known::Keys(verifier, _) => verifier.digest.to_string(),
                Known::Nothing => "pending".to_owned(),
                Known::Lost => "lost".to_owned(),
            };
            (issuer.jwt.name.to_string(), word)
        });
        shown.collect()
    }

    /// Whether the keys of an issuer are those of this name.
    fn knows(&self, issuer: &str, digest: &str) -> bool {
        let mut issuers = self.issuers.iter();
        let issuer = issuers.find(|known| &*known.jwt.name == issuer);
        // Where the document is gone, there is nothing to wait for.
        issuer.is_none_or(
            |issuer| matches!(&issuer.known, Known::Keys(held, None) if *held.digest == *digest),
        )
    }

    /// Judges the token of a request, if it has one.
    fn judge(&self, parts: &Parts, now: Now) -> Result<Option<Passed>, Refused> {
        if self.issuers.is_empty() {
            return Ok(None);
        }
        let jwts = self.issuers.iter().map(|issuer| &*issuer.jwt);
        let Some(found) = place::find(parts, jwts)? else {
            return match self.demanded() {
                true => Err(Refused::Missing),
                false => Ok(None),
            };
        };
        let digest = kept::digest(&found.text);
        let known = self.kept.find(&digest);
        let known = known.filter(|verified| found.documents.contains(&verified.issuer));
        let verified = match known {
            Some(verified) => {
                self.issuers[verified.issuer].verifier(now)?;
                verified
            }
            None => {
                let verified = Arc::new(self.verify(&found, now)?);
                self.kept.keep(digest, found.text.len(), &verified);
                verified
            }
        };
        verified.is_timely(now)?;
        let strip = self.issuers[verified.issuer].jwt.strip;
        Ok(Some(Passed {
            verified,
            strip: strip.then(|| found.place.clone()),
        }))
    }

    /// Verifies a token by the first document that is about its issuer and takes it.
    fn verify(&self, found: &Found<'_>, now: Now) -> Result<Verified, Refused> {
        let token = Token::parse(&found.text)?;
        let of_issuer = found
            .documents
            .iter()
            .filter(|at| self.issuers[**at].jwt.issuer == token.issuer);
        let mut refused = None;
        for at in of_issuer {
            match self.issuers[*at].verify(*at, &token, now) {
                Ok(verified) => return Ok(verified),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        Err(refused.unwrap_or(Refused::Invalid("its issuer is none that is trusted here")))
    }
}

impl Issuer {
    /// Whether both say and know the same.
    fn is(&self, other: &Issuer) -> bool {
        let known = match (&self.known, &other.known) {
            (Known::Keys(keys, since), Known::Keys(others, other)) => {
                keys.digest == others.digest && since == other
            }
            (Known::Nothing, Known::Nothing) | (Known::Lost, Known::Lost) => true,
            _ => false,
        };
        known && self.document == other.document
    }

    /// Its keys, if they may be used now.
    fn verifier(&self, now: Now) -> Result<&Verifier, Refused> {
        let Known::Keys(verifier, since) = &self.known else {
            return Err(Refused::Unavailable);
        };
        let old = since.map_or(now.unconfirmed, |since| now.instant.since(since));
        match &self.jwt.keys {
            KeySource::Url { keep, .. } if old >= *keep => Err(Refused::Unavailable),
            _ => Ok(verifier),
        }
    }

    fn verify(&self, at: usize, token: &Token<'_>, now: Now) -> Result<Verified, Refused> {
        let keys = self.verifier(now)?;
        if !keys.has(token) {
            return Err(Refused::UnknownKey(at));
        }
        keys.verify(token)?;
        let claims = token.claims()?;
        // What has expired is said before whom it was for.
        let verified = Verified {
            issuer: at,
            name: self.jwt.name.clone(),
            principal: claims
                .subject
                .map(|subject| format!("{}/{subject}", token.issuer)),
            audiences: claims.audiences,
            claims: token.tree.clone(),
            expires: claims.expires,
            begins: claims.begins,
        };
        verified.is_timely(now)?;
        let meant = &self.jwt.audiences;
        match verified.audiences.iter().any(|one| meant.contains(one)) {
            true => Ok(verified),
            false => Err(Refused::Invalid("it is for another audience")),
        }
    }
}

impl Verified {
    /// Whether it holds now.
    fn is_timely(&self, now: Now) -> Result<(), Refused> {
        let (seconds, leeway) = (now.seconds(), LEEWAY.as_secs() as i64);
        if seconds >= self.expires.saturating_add(leeway) {
            return Err(Refused::Invalid("it has expired"));
        }
        match self.begins {
            Some(begins) if seconds < begins.saturating_sub(leeway) => {
                Err(Refused::Invalid("it is not valid yet"))
            }
            _ => Ok(()),
        }
    }

    /// Sets `auth.*`.
    pub(crate) fn fill<'a>(&'a self, bag: &mut AttributeBag<'a>) {
        bag.set(name::AUTH_ISSUER, Value::String(&self.name));
        if let Some(principal) = &self.principal {
            bag.set(name::AUTH_PRINCIPAL, Value::String(principal));
        }
        bag.set(name::AUTH_AUDIENCES, Value::List(&self.audiences));
        bag.set(name::AUTH_CLAIMS, Value::Dynamic(&self.claims));
    }
}

impl Passed {
    /// Takes the token out of the request, if its document says so.
    pub(crate) fn strip(&self, parts: &mut Parts) {
        if let Some(place) = &self.strip {
            place::strip(place, parts);
        }
    }
}

/// Judges the token of a request to the proxy's own service. `Err(Refused::UnknownKey)` is for [`look_again`].
pub(crate) fn judge(shared: &Shared, parts: &Parts) -> Result<Option<Passed>, Refused> {
    let now = || Now::of(&shared.clock, shared.client.as_ref());
    let tokens = shared.tokens.load();
    if tokens.issuers.is_empty() {
        return Ok(None);
    }
    tokens.judge(parts, now())
}

#[cfg(test)]
mod tests;
