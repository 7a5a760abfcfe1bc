//! The forms in which problems are told.

use serde_json::{Value, json};

use super::*;
use crate::load;

/// An error in the second file, behind a letter of two bytes, with a fix; and a warning.
fn problems() -> Diagnostics {
    let sources = Sources::from_texts([
        ("a/p.yaml", "policy: p\nfor: always\n"),
        (
            "a/q, 50%.yaml",
            "policy: é\nfor: always\notherwise: deny\nrulse: []\n",
        ),
    ]);
    load(sources).expect_err("a key is unknown")
}

#[test]
fn json_has_every_member_that_is_documented() {
    let json = problems().json();
    assert_eq!(
        (&json["version"], &json["errors"], &json["warnings"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(
        json["problems"][1],
        json!({
            "code": "MX1004",
            "severity": "error",
            "message": "unknown key `rulse` in a policy",
            "help": ["did you mean `rules`?"],
            "label": null,
            "path": "a/q, 50%.yaml",
            "line": 4,
            "column": 1,
            "end": { "line": 4, "column": 6 },
            "fix": [{ "text": "rules", "path": "a/q, 50%.yaml", "line": 4, "column": 1, "end": { "line": 4, "column": 6 } }],
        })
    );
    let nowhere = Diagnostics {
        list: vec![Diagnostic::directory(Code::Unreadable, "gone")],
        ..Default::default()
    };
    assert_eq!(nowhere.json()["problems"][0]["path"], Value::Null);
}

/// SARIF 2.1.0: section 3.13 (log), 3.14 (run), 3.19 (component), 3.27 (result), 3.29 (location), 3.30 (region), 3.49 (rule),
/// 3.55 (fix): what must be there, and that references hold.
#[test]
fn sarif_has_what_the_standard_demands() {
    let sarif = problems().sarif();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "mixer");
    let rules = driver["rules"].as_array().expect("rules");
    let results = run["results"].as_array().expect("results");
    assert_eq!((rules.len(), results.len()), (2, 2));
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(result["ruleId"], rules[index]["id"]);
        assert!(
            !rules[index]["shortDescription"]["text"]
                .as_str()
                .expect("a text")
                .is_empty()
        );
        assert!(["error", "warning"].contains(&result["level"].as_str().expect("a level")));
        assert!(result["message"]["text"].is_string());
        let place = &result["locations"][0]["physicalLocation"];
        assert!(
            place["artifactLocation"]["uri"]
                .as_str()
                .expect("a uri")
                .starts_with("a/")
        );
        let region = &place["region"];
        for key in ["startLine", "startColumn", "endLine", "endColumn"] {
            assert!(
                region[key].as_u64().is_some_and(|number| number >= 1),
                "{key}"
            );
        }
    }
    assert_eq!(
        results[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
        "a/q%2C%2050%25.yaml"
    );
    let change = &results[1]["fixes"][0]["artifactChanges"][0];
    assert_eq!(
        change["replacements"][0]["insertedContent"]["text"],
        "rules"
    );
    assert_eq!(change["replacements"][0]["deletedRegion"]["startLine"], 4);
}

#[test]
fn github_is_given_one_line_each_with_what_it_would_eat_escaped() {
    let text = problems().github();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[1],
        "::error file=a/q%2C 50%25.yaml,line=4,endLine=4,col=1,endColumn=6,title=MX1004 An unknown key::unknown key `rulse` in a policy%0Ahelp: did you mean `rules`?"
    );
    assert!(
        lines[0].starts_with("::warning file=a/p.yaml,line=1,"),
        "{}",
        lines[0]
    );
}
