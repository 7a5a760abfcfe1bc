//! Probes that anybody may send: what is passed on without a check is then a door in the policy.

use super::{Reading, warn};
use crate::{Code, Diagnostic};

pub(super) fn look(read: &Reading<'_>, found: &mut Vec<Diagnostic>) {
    for service in &read.set.services {
        let from = service.probes.iter().flat_map(|probes| &probes.from);
        for (address, _) in from.filter(|(_, length)| *length == 0) {
            warn(
                found,
                Code::ProbesOfAll,
                service.span,
                format!("`{address}/0` is everybody: no policy applies to the paths of `probes`"),
                "name the networks that probes come from",
            );
        }
    }
}
