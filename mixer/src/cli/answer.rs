//! `--answer ADAPTER=ANSWER`: what adapters answer, where they are not to be asked.

use std::sync::Arc;

use mixer_documents::GivenAnswer;

use crate::snapshot::Snapshot;

/// One `--answer`.
#[derive(Clone, Debug)]
pub(super) struct Given {
    adapter: String,
    answer: GivenAnswer,
}

impl std::str::FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (adapter, answer) = text
            .split_once('=')
            .ok_or("it takes ADAPTER=ANSWER, such as blocklist=match")?;
        let answer = match answer {
            "match" => GivenAnswer::Match,
            "no-match" | "no match" => GivenAnswer::NoMatch,
            "unavailable" => GivenAnswer::Unavailable,
            other => {
                return Err(format!(
                    "an adapter answers match, no-match or unavailable, not `{other}`"
                ));
            }
        };
        let adapter = adapter.to_owned();
        Ok(Self { adapter, answer })
    }
}

/// The answers, by adapters that `snapshot` has and rules can ask.
pub(super) fn known(
    given: &[Given],
    snapshot: &Snapshot,
) -> Result<Vec<(Arc<str>, GivenAnswer)>, String> {
    let one = |given: &Given| {
        if let Some(adapter) = snapshot.adapter(&given.adapter) {
            return if adapter.handler().can_check() {
                Ok((adapter.name().clone(), given.answer))
            } else {
                Err(format!(
                    "--answer: no rule can ask the adapter `{}`",
                    given.adapter
                ))
            };
        }
        let names = snapshot.adapters.iter().map(|adapter| &**adapter.name());
        Err(match mixer_documents::nearest(&given.adapter, names) {
            Some(near) => format!(
                "--answer: there is no adapter `{}`; did you mean `{near}`?",
                given.adapter
            ),
            None => format!("--answer: there is no adapter `{}`", given.adapter),
        })
    };
    given.iter().map(one).collect()
}
