//! Policies and rules for destinations that are not.

use mixer_attributes::vocabulary;

use super::{ReadPolicy, Reading, warn};
use crate::suggest::nearest;
use crate::{Code, Diagnostic, Protocol};

pub(super) fn look(read: &Reading<'_>, policy: &ReadPolicy<'_>, found: &mut Vec<Diagnostic>) {
    let declared = &read.set.services;
    let Some(named) = policy.policy.selector.only(vocabulary::DESTINATION_SERVICE) else {
        return;
    };
    let service = |name: &str| declared.iter().find(|service| &*service.name == name);
    if !declared.is_empty() && !named.iter().any(|name| service(name).is_some()) {
        let list = named
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let host = declared.iter().find(|service| {
            named
                .iter()
                .any(|name| service.hosts.iter().any(|host| host == name))
        });
        let near = named
            .iter()
            .find_map(|name| nearest(name, declared.iter().map(|service| &*service.name)));
        let help = match (host, near) {
            (Some(service), _) => {
                format!("`destination.service` is the name: \"{}\"", service.name)
            }
            (None, Some(near)) => format!("did you mean \"{near}\"?"),
            (None, None) => "add a `service` document for it".to_owned(),
        };
        let message = format!("no `service` document declares {list}, which this policy is for");
        warn(found, Code::ForUnknown, policy.policy.span, message, help);
    }
    let tcp = !named.is_empty()
        && named
            .iter()
            .all(|name| service(name).is_some_and(|one| one.protocol == Some(Protocol::Tcp)));
    if tcp {
        for rule in policy.rules.iter().filter(|rule| rule.rule.reads_request) {
            warn(
                found,
                Code::RuleOfTcp,
                rule.rule.span,
                "this rule is never asked: it reads `request.*`, and the service is declared `protocol: tcp`",
                "a connection has `source.*`, `destination.*` and `connection.*`",
            );
        }
    }
}
