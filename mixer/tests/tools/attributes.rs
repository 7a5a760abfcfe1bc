//! `mixer attributes` and `mixer completion`.

use crate::{Place, has};

#[test]
fn the_vocabulary_is_a_table_of_every_attribute() {
    let place = Place::with([]);
    let out = place.says(0, &["attributes"]);
    has(
        &out,
        &[
            "NAME",
            "\nsource.namespace ",
            " verified ",
            "\nresponse.code ",
        ],
    );
    let json = place.says(0, &["attributes", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.as_array().unwrap().len(), out.lines().count() - 1);
    let markdown = place.says(0, &["attributes", "request.method", "-o", "markdown"]);
    assert_eq!(
        markdown,
        "| name | type | when | trust | meaning |\n| --- | --- | --- | --- | --- |\n| `request.method` | string | check | client | HTTP method |\n"
    );
}

#[test]
fn a_family_is_shown_alone_and_a_slip_is_answered_with_the_nearest() {
    let place = Place::with([]);
    let out = place.says(0, &["attributes", "connection"]);
    assert_eq!(out.lines().count(), 4, "{out}");
    let err = place.complains(64, &["attributes", "source.namespce"]);
    has(&err, &["did you mean `source.namespace`?"]);
}

#[test]
fn documents_add_their_own() {
    let place = Place::with([(
        "mine/a.yaml",
        "attributes: [ { name: cart.size, type: int, meaning: items in the cart } ]\n",
    )]);
    let out = place.says(0, &["attributes", "cart", "--policies", "mine"]);
    has(&out, &["cart.size  int ", "items in the cart"]);
    place.complains(65, &["attributes", "--policies", "gone"]);
    place.complains(64, &["attributes", "cart.size"]);
}

#[test]
fn every_shell_has_a_script_that_knows_the_verbs() {
    let place = Place::with([]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        has(
            &place.says(0, &["completion", shell]),
            &["mixer", "replay", "attributes"],
        );
    }
    place.complains(64, &["completion", "tcsh"]);
    place.complains(64, &["completion"]);
}
