//! `mixer bench`: what it shows, not how fast.

use crate::{PRODUCTS, Place, has};

fn place() -> Place {
    Place::with([
        ("policies/products.yaml", PRODUCTS),
        (
            "policies/other.yaml",
            "policy: other\nfor: destination.service == \"other.shop\"\nrules: [ { deny: x, when: 'request.method == \"PUT\"' } ]\n",
        ),
    ])
}

#[test]
fn every_condition_has_a_figure_dearest_first_and_the_decision_one() {
    let place = place();
    let ran = place.run(&["bench", "policies", "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&json["requests"], &json["not_measured"]),
        (&3.into(), &1.into())
    );
    let rules = json["rules"].as_array().unwrap();
    let ns: Vec<f64> = rules
        .iter()
        .map(|rule| rule["ns"].as_f64().unwrap())
        .collect();
    assert!(ns.len() == 2 && ns[0] >= ns[1] && ns[1] > 0.0, "{ns:?}");
    assert!(json["decision_ns"].as_f64().unwrap() > 0.0);

    let text = place.run(&["bench", "policies", "--top", "1"]).out;
    has(
        &text,
        &[
            "a whole decision: ",
            "and 1 more (--top 0)",
            "1 not measured",
            "another machine has other figures",
        ],
    );
}

#[test]
fn requests_may_come_from_a_file() {
    let place = place();
    place.write(
        "requests.jsonl",
        "nonsense\n{\"destination_service\":\"other.shop\",\"method\":\"GET\"}\n",
    );
    let ran = place.run(&["bench", "policies", "--requests", "requests.jsonl"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    has(&ran.out, &["deny \"x\" of policy other", "2 not measured"]);
}

#[test]
fn nothing_to_measure_with_is_unreadable() {
    let place = place();
    place.complains(65, &["bench", "policies/other.yaml"]);
    place.write("bad.jsonl", "x\n");
    place.complains(65, &["bench", "policies", "--requests", "bad.jsonl"]);
    place.complains(65, &["bench", "policies", "--requests", "gone.jsonl"]);
    place.complains(65, &["bench", "gone"]);
    place.complains(64, &["bench"]);
}
