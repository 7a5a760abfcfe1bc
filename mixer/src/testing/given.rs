//! The adapters of a test: what it says they answer, lists that stand in the documents, and fresh counters.

use std::sync::{Arc, Mutex, PoisonError};

use mixer_adapter::{
    Answer, Check, Handler, Inputs, Instance, Keep, Registry, Unavailable, ValidFor,
};
use mixer_documents::{AdapterDocument, GivenAnswer};

use crate::dispatch::Installed;
use crate::snapshot::{Snapshot, Surroundings, env};

/// Adapters in the order of the set, and those that were asked and had no answer.
pub(super) struct Given {
    pub(super) adapters: Vec<Arc<Installed>>,
    pub(super) unanswered: Unanswered,
}

/// Names of adapters.
#[derive(Clone, Default)]
pub(super) struct Unanswered(Arc<Mutex<Vec<Arc<str>>>>);

impl Unanswered {
    /// The first that was asked.
    pub(super) fn first(&self) -> Option<Arc<str>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .first()
            .cloned()
    }
}

pub(super) fn adapters(
    snapshot: &Snapshot,
    registry: &Registry,
    surroundings: &Surroundings,
    answers: &[(Arc<str>, GivenAnswer)],
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
            let scripted = Scripted {
                name: document.name.clone(),
                given,
                unanswered: unanswered.clone(),
            };
            Arc::new(Installed::new(
                Handler::new().with_check(Arc::new(scripted)),
                env,
            ))
        });
    }
    Ok(Given {
        adapters,
        unanswered,
    })
}

impl Surroundings {
    /// Where nobody has counted or kept anything yet.
    pub(super) fn fresh(&self) -> Self {
        Self {
            keep: Keep::default(),
            ledger: Arc::default(),
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

/// Answers what a test says.
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
                    reason: "the test says so".into(),
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
                    reason: "the test does not say what it answers".into(),
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
