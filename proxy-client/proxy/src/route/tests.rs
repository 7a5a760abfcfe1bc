//! Where connections that are not HTTP go.

use mixer_client::At;
use mixer_documents::{PolicySet, Sources};

use super::*;
use crate::exchange::Protocol;

const SERVICE: &str = r#"
service: db.shop
protocol: tcp
endpoints: ["10.0.0.1:5432"]
subsets:
  old: { endpoints: ["10.0.0.2:5432"] }
  new: { endpoints: ["10.0.0.3:5432"] }
"#;

fn routed(rules: &str) -> (PolicySet, Routed) {
    let route = format!("route: r\nfor: destination.service == \"db.shop\"\nrules:\n{rules}");
    let text = format!("{SERVICE}---\n{route}");
    let set = mixer_documents::load(Sources::from_texts([("s.yaml".to_owned(), text)])).unwrap();
    let service = &set.services[0];
    let whole = Upstream::new(service.clone(), None);
    let parts = service.subsets.iter().map(|subset| {
        let part = Upstream::part(&whole, subset, None);
        (subset.name.clone(), Arc::new(part))
    });
    let subsets = parts.collect();
    let routed = Routed {
        whole: Arc::new(whole),
        subsets,
        table: set.route_table(&service.name, service.namespace.as_deref()),
        budget: Arc::default(),
    };
    (set, routed)
}

/// Where a connection of a caller at `ip` goes: the subset and the route.
fn chosen(
    (set, routed): &(PolicySet, Routed),
    ip: [u8; 4],
    random: &Random,
) -> (Option<String>, Option<String>) {
    let facts = Facts {
        at: At::Outbound,
        peer: (ip, 40_000).into(),
        meant: ([10, 0, 0, 1], 5432).into(),
        connection_id: "c",
        service: Some("db.shop"),
        namespace: Some("shop"),
        labels: None,
        protocol: Protocol::Tcp,
        secured: None,
        namespaces_count: false,
        principal: None,
    };
    let (target, route) = choose_for_connection(routed, &facts, &set.references, random);
    let text = |text: &Arc<str>| text.to_string();
    (target.subset.as_ref().map(text), route.as_ref().map(text))
}

fn is(found: (Option<String>, Option<String>), subset: Option<&str>, route: Option<&str>) {
    let found = (found.0.as_deref(), found.1.as_deref());
    assert_eq!(found, (subset, route));
}

#[test]
fn a_connection_takes_the_first_rule_that_asks_for_no_request() {
    let random = Random::from_seed(1);
    let rules = routed(
        r#"
  - { when: 'request.method == "GET"', to: { old: 100 } }
  - { when: '!has(request.path)', to: { old: 100 } }
  - { when: 'source.ip == "10.9.9.9"', to: { old: 100 } }
  - { to: { new: 100 } }
"#,
    );
    is(
        chosen(&rules, [10, 9, 9, 9], &random),
        Some("old"),
        Some("r"),
    );
    is(
        chosen(&rules, [10, 9, 9, 8], &random),
        Some("new"),
        Some("r"),
    );
    let none = routed("  - { when: 'request.method == \"GET\"', to: { old: 100 } }\n");
    is(chosen(&none, [10, 9, 9, 9], &random), None, None);
    let whole = routed("  - { timeout: 1s }\n");
    is(chosen(&whole, [10, 9, 9, 9], &random), None, Some("r"));
}

#[test]
fn connections_are_split_by_weight_or_by_what_sticks() {
    let random = Random::from_seed(7);
    let share = |rules: &(PolicySet, Routed)| {
        let went = (0..1_000).filter(|at| {
            let ip = [10, 0, (at / 250) as u8, (at % 250) as u8];
            chosen(rules, ip, &random).0.as_deref() == Some("new")
        });
        went.count()
    };
    let split = routed("  - { to: { old: 80, new: 20 } }\n");
    let sticky = routed("  - { to: { old: 80, new: 20 }, sticky: source.ip }\n");
    for rules in [&split, &sticky] {
        let new = share(rules);
        // Six standard deviations.
        assert!((124..=276).contains(&new), "{new}");
    }
    let to = |_| chosen(&sticky, [10, 0, 0, 1], &random).0;
    let mut subsets: Vec<_> = (0..50).map(to).collect();
    subsets.dedup();
    assert_eq!(subsets.len(), 1);
}
