//! Which counters are apart, and which are together.

use std::collections::HashSet;
use std::time::Duration;

use mixer_adapter::{Algorithm, Limit, Over};

use super::*;

fn ask<'a>(quota: &'a str, key: &'a [String]) -> Ask<'a> {
    Ask {
        quota,
        key,
        cost: 1,
        limit: Limit {
            amount: 10,
            window: Duration::from_secs(60),
        },
        algorithm: Algorithm::SlidingWindow,
        extra: 0,
        over: Over::Refuse,
        age: Duration::ZERO,
    }
}

fn naming(spread: u64) -> Naming {
    let prefix = "mixer".to_owned();
    Naming { prefix, spread }
}

#[test]
fn no_two_counters_share_a_name() {
    let long = "x".repeat(200);
    let parts = [
        "", "a", "b", "|", "%7C", "#", "{", "}", "%", "a|b", &long, "\n", "é",
    ];
    let mut keys: Vec<Vec<String>> = vec![vec![]];
    keys.extend(parts.map(|part| vec![part.to_owned()]));
    for first in parts {
        keys.extend(parts.map(|second| vec![first.to_owned(), second.to_owned()]));
    }
    let mut names = HashSet::new();
    for quota in ["p/q", "p/q|a", "p/q|", "p", &long] {
        for key in &keys {
            let ask = ask(quota, key);
            let group = naming(1).group(&ask);
            let name = naming(1).counter(&group, 'w', &ask);
            assert!(name.len() < 400, "{name}");
            assert!(names.insert(name.clone()), "{quota} {key:?}: {name}");
        }
    }
}

#[test]
fn quotas_of_one_policy_are_together_and_its_groups_are_told_by_the_key() {
    let keys: Vec<[String; 1]> = (0..100).map(|customer| [customer.to_string()]).collect();
    let groups = |spread| -> HashSet<String> {
        let of = |key| naming(spread).group(&ask("p/q", key));
        keys.iter().map(|key| of(key)).collect()
    };
    assert_eq!(groups(1), HashSet::from(["p".to_owned()]));
    assert_eq!(groups(4).len(), 4);
    for key in &keys {
        let (one, other) = (ask("p/q", key), ask("p/another", key));
        assert_eq!(naming(4).group(&one), naming(4).group(&other));
    }
    for odd in ["", "/", "{}", "a}b"] {
        let group = naming(1).group(&ask(odd, &[]));
        assert!(!group.is_empty() && !group.contains(['{', '}']), "{group}");
    }
}

#[test]
fn an_answer_is_remembered_for_these_asks_only() {
    let (a, b) = (["a".to_owned()], ["b".to_owned()]);
    let name = |id: &str, kinds: &str, ask: &Ask<'_>| naming(1).answer("p", id, &[ask], kinds);
    let mut names = HashSet::new();
    let twice = Ask {
        cost: 2,
        ..ask("q", &a)
    };
    for (id, kinds, ask) in [
        ("id", "w", ask("q", &a)),
        ("other", "w", ask("q", &a)),
        ("id", "g", ask("q", &a)),
        ("id", "w", ask("q", &b)),
        ("id", "w", ask("qa", &[])),
        ("id", "w", twice),
    ] {
        assert!(names.insert(name(id, kinds, &ask)));
    }
}

#[test]
fn a_name_says_which_key_it_is_of() {
    let keys: [&[&str]; 6] = [
        &[],
        &[""],
        &["", ""],
        &["c 17|{x}", "#5%"],
        &["\u{0}", "\u{e9}\u{2028}\n"],
        &["*", "[a-z]?"],
    ];
    for key in keys {
        let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        let name = naming(1).counter("p", 'w', &ask("p/q|%", &key));
        let rest = name.strip_prefix("mixer:{p}:w:").unwrap();
        assert_eq!(key_of(rest), Some(CounterKey::Values(key)), "{name}");
    }
    for broken in ["q|%", "q|%4", "q|%zz", "q|%FF", "q|%\u{e9}"] {
        assert_eq!(key_of(broken), None, "{broken}");
    }
}

#[test]
fn counters_are_in_one_of_the_groups_of_their_quota() {
    for spread in [1, 16] {
        let groups = naming(spread).groups("a*/q");
        assert_eq!(groups.len() as u64, spread);
        for customer in 0..100 {
            let key = [customer.to_string()];
            let group = naming(spread).group(&ask("a*/q", &key));
            assert!(groups.contains(&group), "{group}");
        }
    }
    assert_eq!(pattern("a*[b]?\\^"), "a\\*\\[b\\]\\?\\\\\\^");
}
