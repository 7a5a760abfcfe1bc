//! One request: which counters are together, what is asked of them, and what is undone.
//!
//! Counters of one group live on one server, where a script takes from all of them or from none, in one round trip. A request
//! whose counters are in several groups takes from one group after the other; when one refuses, what was taken from those
//! before is given back, and those after it are only asked what they have.

mod call;
mod counters;

use std::sync::Arc;
use std::time::Duration;

use mixer_adapter::{Ask, Grant, Outcome, Over, Unavailable};

use self::call::{Call, Scripts};
use crate::keys::Naming;
use crate::link::Link;

/// The counters, wherever they are.
#[derive(Debug)]
pub(crate) struct Store {
    link: Arc<Link>,
    naming: Naming,
    timeout: Duration,
    scripts: Scripts,
}

/// The asks of a request whose counters are together, by their positions in it.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    name: String,
    members: Vec<usize>,
}

impl Store {
    pub(crate) fn new(link: Arc<Link>, naming: Naming, timeout: Duration) -> Self {
        Self {
            link,
            naming,
            timeout,
            scripts: Scripts::new(),
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Takes all or nothing; see [`mixer_adapter::Quota::allocate`].
    pub(crate) async fn allocate(
        &self,
        asks: &[Ask<'_>],
        id: &str,
    ) -> Result<Vec<Grant>, Unavailable> {
        let groups = self.groups(asks);
        let mut grants: Vec<Option<Grant>> = vec![None; asks.len()];
        let mut refused = false;
        for (at, group) in groups.iter().enumerate() {
            let call = Call {
                refused,
                ..Call::new(group, asks, id)
            };
            let answered = match self.call(&call).await {
                Ok(answered) => answered,
                Err(unavailable) => {
                    // It is as if the request had never been made: another try with the same id begins anew.
                    if !refused {
                        self.undo(&groups[..at], asks, &mut grants, id, true).await;
                    }
                    return Err(unavailable);
                }
            };
            let refuses = answered
                .iter()
                .any(|grant| grant.outcome == Outcome::Refused);
            for (member, grant) in group.members.iter().zip(answered) {
                grants[*member] = Some(grant);
            }
            if refuses && !refused {
                refused = true;
                self.undo(&groups[..at], asks, &mut grants, id, false).await;
            }
        }
        Ok(grants.into_iter().flatten().collect())
    }

    /// Gives back what was taken from `groups`. What cannot be given back is lost until its window passes: the limit holds, a
    /// little less may be spent.
    async fn undo(
        &self,
        groups: &[Group],
        asks: &[Ask<'_>],
        grants: &mut [Option<Grant>],
        id: &str,
        forget: bool,
    ) {
        for group in groups {
            let mut back = Vec::with_capacity(group.members.len());
            for member in &group.members {
                let (ask, grant) = (&asks[*member], grants[*member].as_mut());
                let extra = grant.map_or(0, |grant| std::mem::take(&mut grant.extra));
                // What is counted though the request is refused stays counted.
                let counted = ask.over == Over::Count && !forget;
                let cost = if counted { 0 } else { ask.cost.max(0) };
                let taken = cost.saturating_add_unsigned(extra);
                back.push(Ask {
                    cost: -taken,
                    extra: 0,
                    age: Duration::ZERO,
                    ..ask.clone()
                });
            }
            let undone = if id.is_empty() {
                String::new()
            } else {
                format!("{id}\0undo")
            };
            let all = Group {
                name: group.name.clone(),
                members: (0..back.len()).collect(),
            };
            let forgotten = (forget && !id.is_empty()).then(|| self.remembered(group, asks, id));
            let call = Call {
                forgotten,
                // What is forgotten may be taken and undone once more under the same id.
                id: if forget { "" } else { &undone },
                ..Call::new(&all, &back, "")
            };
            match self.call(&call).await {
                Ok(left) => {
                    for (member, left) in group.members.iter().zip(left) {
                        if let Some(grant) = grants[*member].as_mut() {
                            grant.remaining = left.remaining;
                        }
                    }
                }
                Err(why) => {
                    tracing::debug!(reason = %why.reason, "quota could not be given back");
                }
            }
        }
    }

    /// In the order of their first asks.
    fn groups(&self, asks: &[Ask<'_>]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (at, ask) in asks.iter().enumerate() {
            let name = self.naming.group(ask);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.members.push(at),
                None => groups.push(Group {
                    name,
                    members: vec![at],
                }),
            }
        }
        groups
    }
}
