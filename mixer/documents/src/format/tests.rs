//! Documents keep their meaning and their comments, and a second time nothing happens.

use proptest::prelude::*;

use super::*;

const PARTS: [&str; 7] = [
    "for: destination.service == \"a.shop\"   # where\n",
    "# Who may.\nrules:\n  - allow: the shop   \n    when: |\n      connection.mtls   \n\n\n      && source.port == 1\n\n",
    "otherwise: { deny: only the shop }\n\n\n",
    "# Costs.\n# More of them.\nquotas:\n- { quota: q, key: [], limit: 1 per day }\n",
    "guard: false\n\n# At the end of guard.\n\n",
    "fail: open\n",
    "tests:\n    -   { allow: any, given: { request: { headers: { a: 'b\n\n\n          c' } } } }\n",
];

fn formatted(text: &str) -> String {
    let done = format(Sources::from_texts([("f.yaml", text)]))
        .unwrap_or_else(|problems| panic!("{}\n{text}", problems.render(false)));
    assert!(
        done.kept.is_empty(),
        "it would have changed the meaning of\n{text}"
    );
    done.changed()
        .next()
        .map_or(text, |(_, text)| text)
        .to_owned()
}

#[test]
fn keys_are_in_order_with_the_comments_above_them() {
    let text = "# Head.\n\n\npolicy: p  \n# Otherwise.\notherwise: deny # so\n\nrules:\n- allow: a   # a\n\n\n\n  when: connection.mtls\nfor: always\n# Before the next.\n---\ntype: log\nadapter: b\n# End.";
    let right = "# Head.\n\npolicy: p\nfor: always\nrules:\n- allow: a   # a\n\n  when: connection.mtls\n# Otherwise.\notherwise: deny # so\n\n# Before the next.\n---\nadapter: b\n# End.\ntype: log\n";
    assert_eq!(formatted(text), right);
}

#[test]
fn what_cannot_be_moved_by_lines_stays() {
    for text in [
        "{ otherwise: deny, policy: p, for: always }\n",
        "--- { otherwise: deny, policy: p, for: always }\n",
        "  for: always\n  policy: p\n  otherwise: deny\n",
        "mesh:\n  outbound: allow\n  default: deny\n",
    ] {
        assert_eq!(formatted(text), text);
    }
}

#[test]
fn documents_that_do_not_load_are_not_formatted() {
    let sources = Sources::from_texts([("f.yaml", "policy: p\nfro: always\n")]);
    assert_eq!(format(sources).expect_err("a key is unknown").errors(), 1);
}

#[test]
fn every_key_of_a_document_has_its_place() {
    for order in ORDER {
        let kind = if order[0] == "apiVersion" {
            "kubernetes"
        } else {
            order[0]
        };
        let (_, shape) = crate::load::SHAPES
            .iter()
            .find(|(name, _)| *name == kind)
            .unwrap_or_else(|| panic!("no shape {kind}"));
        let missing: Vec<_> = shape
            .keys
            .iter()
            .filter(|key| !order.contains(key))
            .collect();
        assert!(missing.is_empty(), "{kind}: {missing:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_formatted_means_the_same_and_stays_as_it_is(
        parts in Just(PARTS.to_vec()).prop_shuffle(),
        first in 0usize..7,
        crlf in any::<bool>(),
    ) {
        let mut text = String::new();
        for (at, part) in parts.iter().enumerate() {
            if at == first {
                text.push_str("policy: p\n");
            }
            text.push_str(part);
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let once = formatted(&text);
        prop_assert_eq!(&formatted(&once), &once);
        let set = |text: &str| load(Sources::from_texts([("f.yaml", text)])).expect("it loads");
        prop_assert_eq!(set(&text).revision(), set(&once).revision());
        let sorted = |text: &str| { let mut all = comments(text); all.sort(); all };
        prop_assert_eq!(sorted(&text), sorted(&once));
        prop_assert_eq!(sorted(&once).len(), 5);
    }
}
