//! Join tokens: how a workload on another machine gets its first certificate.
//!
//! A token is 256 random bits. What is kept is its digest alone, as the name of a file, so that who reads the directory cannot
//! join. Using it renames that file among the members: the file system lets one of any number of callers do so, whatever process
//! they ask, and a token that was used is used after a crash too. Members may renew what they have until they are struck off.

use std::fmt;
use std::time::{Duration, SystemTime};

use mixer_identity::SpiffeId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::certificate::{SigningFailed, hex, random, seconds};
use crate::{Directory, DirectoryError};

/// The join tokens and members of an authority.
#[derive(Clone, Debug)]
pub struct Tokens(Directory);

/// A token, to be given to who joins with it and to nobody else.
pub struct JoinToken(String);

/// What is known of a token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    id: String,
    expires: u64,
}

/// Who joined with a token.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) id: SpiffeId,
    /// The beginning of the token's digest, for the log.
    pub(crate) token: String,
}

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Never given out, or used.
    #[error("the join token is not known, or was used: each is good once")]
    Unknown,
    /// Too late.
    #[error("the join token has expired")]
    Expired,
    /// It is for somebody else.
    #[error("the join token is not for {0}")]
    Other(String),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Why no token is made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] SigningFailed),
}

impl Tokens {
    /// Those of a directory.
    pub fn of(directory: &Directory) -> Self {
        Self(directory.clone())
    }

    /// A token that is good once, for `id`, until `life` is over.
    pub fn create(
        &self,
        id: &SpiffeId,
        life: Duration,
        now: SystemTime,
    ) -> Result<JoinToken, TokenError> {
        self.drop_expired(now)?;
        let token = JoinToken(hex(&random::<32>()?));
        let grant = Grant {
            id: id.as_str().to_owned(),
            expires: seconds(now + life),
        };
        let name = format!("tokens/{}", digest(&token.0));
        let text = serde_json::to_string(&grant).map_err(|error| self.0.damaged(&name, error))?;
        self.0.write(&name, &text)?;
        Ok(token)
    }

    /// Uses a token up. `wanted` is the id that the caller takes itself for, if it said one.
    pub(crate) fn take(
        &self,
        token: &str,
        wanted: Option<&SpiffeId>,
        now: SystemTime,
    ) -> Result<Joined, Refused> {
        let digest = digest(token);
        let name = format!("tokens/{digest}");
        let text = self.0.read(&name)?.ok_or(Refused::Unknown)?;
        let (id, expires) = self.grant(&name, &text)?;
        if expires <= seconds(now) {
            return Err(Refused::Expired);
        }
        if let Some(wanted) = wanted.filter(|wanted| **wanted != id) {
            return Err(Refused::Other(wanted.to_string()));
        }
        if !self.0.rename(&name, &member(&id))? {
            return Err(Refused::Unknown);
        }
        let token = digest[..16].to_owned();
        Ok(Joined { id, token })
    }

    /// Whether `id` joined with a token and was not struck off.
    pub fn is_member(&self, id: &SpiffeId) -> Result<bool, DirectoryError> {
        Ok(self.0.read(&member(id))?.is_some())
    }

    /// Who joined, in no order.
    pub fn members(&self) -> Result<Vec<SpiffeId>, DirectoryError> {
        let mut members = Vec::new();
        for file in self.0.list("members")? {
            let name = format!("members/{file}");
            if let Some(text) = self.0.read(&name)? {
                members.push(self.grant(&name, &text)?.0);
            }
        }
        Ok(members)
    }

    /// Strikes a member off: what it has runs out, and it gets no other without a new token. `false` when it was none.
    pub fn strike_off(&self, id: &SpiffeId) -> Result<bool, DirectoryError> {
        let mut known = self.0.remove(&member(id))?;
        // Nor with a token that it has not used.
        for file in self.0.list("tokens")? {
            let name = format!("tokens/{file}");
            if let Some(text) = self.0.read(&name)?
                && self.grant(&name, &text)?.0 == *id
            {
                known |= self.0.remove(&name)?;
            }
        }
        Ok(known)
    }

    /// Removes the tokens whose time is over.
    pub(crate) fn drop_expired(&self, now: SystemTime) -> Result<(), DirectoryError> {
        for file in self.0.list("tokens")? {
            let name = format!("tokens/{file}");
            if let Some(text) = self.0.read(&name)?
                && self.grant(&name, &text)?.1 <= seconds(now)
            {
                self.0.remove(&name)?;
            }
        }
        Ok(())
    }

    fn grant(&self, name: &str, text: &str) -> Result<(SpiffeId, u64), DirectoryError> {
        let grant: Grant =
            serde_json::from_str(text).map_err(|error| self.0.damaged(name, error))?;
        let id = SpiffeId::parse(&grant.id).map_err(|error| self.0.damaged(name, error))?;
        Ok((id, grant.expires))
    }
}

impl JoinToken {
    /// The secret: 64 hex digits.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

fn digest(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// An id may be longer than a file's name.
fn member(id: &SpiffeId) -> String {
    format!("members/{}", digest(id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn id(path: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://cluster.local/{path}")).unwrap()
    }

    fn tokens(place: &tempfile::TempDir) -> Tokens {
        Tokens(Directory::create(&place.path().join("ca")).unwrap())
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_token_is_good_once() {
        let place = tempfile::tempdir().unwrap();
        let tokens = tokens(&place);
        let token = tokens.create(&id("a"), HOUR, NOW).unwrap();
        assert_eq!(token.reveal().len(), 64);
        assert!(!tokens.is_member(&id("a")).unwrap());
        let joined = tokens.take(token.reveal(), None, NOW).unwrap();
        assert_eq!(joined.id, id("a"));
        assert!(tokens.is_member(&id("a")).unwrap());
        for _ in 0..2 {
            let refused = tokens.take(token.reveal(), None, NOW);
            assert!(matches!(refused, Err(Refused::Unknown)), "{refused:?}");
        }
    }

    #[test]
    fn the_secret_is_not_on_disk() {
        let place = tempfile::tempdir().unwrap();
        let tokens = tokens(&place);
        let token = tokens.create(&id("a"), HOUR, NOW).unwrap();
        let [file] = tokens.0.list("tokens").unwrap().try_into().unwrap();
        let text = tokens.0.read(&format!("tokens/{file}")).unwrap().unwrap();
        assert!(!file.contains(token.reveal()) && !text.contains(token.reveal()));
        assert_eq!(format!("{token:?}"), "JoinToken(..)");
    }

    #[test]
    fn a_token_ends_with_its_time() {
        let place = tempfile::tempdir().unwrap();
        let tokens = tokens(&place);
        let token = tokens.create(&id("a"), HOUR, NOW).unwrap();
        let late = tokens.take(token.reveal(), None, NOW + HOUR);
        assert!(matches!(late, Err(Refused::Expired)), "{late:?}");
        tokens.drop_expired(NOW + HOUR).unwrap();
        assert_eq!(tokens.0.list("tokens").unwrap().len(), 0);
        assert!(!tokens.is_member(&id("a")).unwrap());
    }

    #[test]
    fn a_token_for_one_is_not_used_up_by_another() {
        let place = tempfile::tempdir().unwrap();
        let tokens = tokens(&place);
        let token = tokens.create(&id("a"), HOUR, NOW).unwrap();
        let other = tokens.take(token.reveal(), Some(&id("b")), NOW);
        assert!(matches!(other, Err(Refused::Other(_))), "{other:?}");
        assert!(tokens.take(token.reveal(), Some(&id("a")), NOW).is_ok());
    }

    #[test]
    fn of_many_who_use_one_token_at_once_one_joins() {
        let place = tempfile::tempdir().unwrap();
        let tokens = tokens(&place);
        let token = tokens.create(&id("a"), HOUR, NOW).unwrap();
        let joined = std::thread::scope(|scope| {
            let users: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| tokens.take(token.reveal(), None, NOW)))
                .collect();
            users
                .into_iter()
                .filter_map(|user| user.join().unwrap().ok())
                .count()
        });
        assert_eq!(joined, 1);
    }

    #[test]
    fn who_is_struck_off_has_neither_membership_nor_tokens() {
        let place = tempfile::tempdir().unwrap();
        let tokens = tokens(&place);
        let used = tokens.create(&id("a"), HOUR, NOW).unwrap();
        tokens.take(used.reveal(), None, NOW).unwrap();
        let waiting = tokens.create(&id("a"), HOUR, NOW).unwrap();
        let others = tokens.create(&id("b"), HOUR, NOW).unwrap();
        assert_eq!(tokens.members().unwrap(), [id("a")]);
        assert!(tokens.strike_off(&id("a")).unwrap());
        assert!(!tokens.strike_off(&id("a")).unwrap());
        assert!(!tokens.is_member(&id("a")).unwrap());
        assert!(tokens.take(waiting.reveal(), None, NOW).is_err());
        assert!(tokens.take(others.reveal(), None, NOW).is_ok());
    }

    #[test]
    fn no_text_of_a_caller_leaves_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let tokens = tokens(&place);
        for text in ["", "../state.json", "/etc/passwd", "\0"] {
            let refused = tokens.take(text, None, NOW);
            assert!(matches!(refused, Err(Refused::Unknown)), "{refused:?}");
        }
    }
}
