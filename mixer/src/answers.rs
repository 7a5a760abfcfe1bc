//! Adapters that answer what somebody says they do: for tests of policies, and for tools that ask nobody outside.
//!
//! [`offline`] replaces whatever would leave the process: lists that stand in the documents answer themselves, counters are
//! fresh memory, and every other adapter answers what is given, or notes that it was asked in vain. [`instead`] replaces only
//! the adapters that are given an answer.

use std::sync::{Arc, Mutex, PoisonError};

use mixer_adapter::{
    Answer, Check, Env, Handler, Inputs, Instance, Keep, Registry, Unavailable, ValidFor,
};
use mixer_documents::{AdapterDocument, GivenAnswer};

use crate::dispatch::Installed;
use crate::snapshot::{Snapshot, Surroundings, env};

/// What adapters answer, by name.
pub(crate) type Answers = [(Arc<str>, GivenAnswer)];

/// Adapters in the order of the set, and those that were asked and had no answer.
pub(crate) struct Given {
    pub(crate) adapters: Vec<Arc<Installed>>,
    pub(crate) unanswered: Unanswered,
}

/// Names of adapters.
#[derive(Clone, Default)]
pub(crate) struct Unanswered(Arc<Mutex<Vec<Arc<str>>>>);

impl Unanswered {
    /// The first that was asked since this was asked last.
    pub(crate) fn take(&self) -> Option<Arc<str>> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = std::mem::take(&mut *names);
        names.into_iter().next()
    }
}

/// Adapters that leave the process alone.
pub(crate) fn offline(
    snapshot: &Snapshot,
    registry: &Registry,
    surroundings: &Surroundings,
    answers: &Answers,
) -> Result<Given, String> {
    let unanswered = Unanswered::default();
    let surroundings = surroundings.fresh();
    let mut adapters = Vec::with_capacity(snapshot.adapters.len());
    for (document, installed) in snapshot.set.adapters.iter().zip(&snapshot.adapters) {
        let given = answers
            .iter()
            .find(|(name, _)| *name == document.name)
            .map(|(_, answer)| *answer);
        let env = env(document, &surroundings);
        adapters.push(if installed.handler().can_quota() {
            let memory = registry
                .by_type("memory-quota")
                .ok_or("this build has no memory-quota")?;
            let handler = memory.build(serde_json::Value::Null, &Inputs::default(), &env);
            Arc::new(Installed::new(
                handler.map_err(|invalid| invalid.to_string())?,
                env,
            ))
        } else if given.is_none() && stands_in_documents(document) {
            installed.clone()
        } else {
            scripted(document, given, &unanswered, env)
        });
    }
    Ok(Given {
        adapters,
        unanswered,
    })
}

/// The adapters of `snapshot`, those that `answers` names replaced.
pub(crate) fn instead(
    snapshot: &Snapshot,
    surroundings: &Surroundings,
    answers: &Answers,
) -> Vec<Arc<Installed>> {
    let pairs = snapshot.set.adapters.iter().zip(&snapshot.adapters);
    let one = |(document, installed): (&AdapterDocument, &Arc<Installed>)| match answers
        .iter()
        .find(|(name, _)| *name == document.name)
    {
        Some((_, answer)) => scripted(
            document,
            Some(*answer),
            &Unanswered::default(),
            env(document, surroundings),
        ),
        None => installed.clone(),
    };
    pairs.map(one).collect()
}

fn scripted(
    document: &AdapterDocument,
    given: Option<GivenAnswer>,
    unanswered: &Unanswered,
    env: Env,
) -> Arc<Installed> {
    let scripted = Scripted {
        name: document.name.clone(),
        given,
        unanswered: unanswered.clone(),
    };
    let handler = Handler::new().with_check(Arc::new(scripted));
    Arc::new(Installed::new(handler, env))
}

impl Surroundings {
    /// Where nobody has counted or kept anything yet.
    pub(crate) fn fresh(&self) -> Self {
        Self {
            keep: Keep::default(),
            ledger: Arc::default(),
            tallies: Arc::default(),
            ..self.clone()
        }
    }
}

/// A list whose entries are known without asking anybody.
fn stands_in_documents(document: &AdapterDocument) -> bool {
    &*document.kind == "list"
        && ["entries", "file"]
            .iter()
            .any(|key| document.config.get(key).is_some())
}

/// Answers what it is told.
struct Scripted {
    name: Arc<str>,
    given: Option<GivenAnswer>,
    unanswered: Unanswered,
}

impl Check for Scripted {
    async fn check(&self, _: &Instance<'_>) -> Result<Answer, Unavailable> {
        let matched = match self.given {
            Some(GivenAnswer::Match) => true,
            Some(GivenAnswer::NoMatch) => false,
            Some(GivenAnswer::Unavailable) => {
                return Err(Unavailable {
                    reason: "it is said to be unavailable".into(),
                    retry: true,
                });
            }
            None => {
                let mut unanswered = self
                    .unanswered
                    .0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                unanswered.push(self.name.clone());
                return Err(Unavailable {
                    reason: "nobody says what it answers".into(),
                    retry: true,
                });
            }
        };
        Ok(Answer {
            matched,
            status: None,
            message: None,
            headers: Vec::new(),
            valid_for: ValidFor::Version,
        })
    }
}
