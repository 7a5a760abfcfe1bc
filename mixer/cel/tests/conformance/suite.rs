//! The CEL specification's own cases, run and counted by the file they come from. The data lies beside the repository.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use mixer_cel::cases::{self, Failure, FailureKind};
use serde_json::Value as Json;

/// What cannot be asked of an evaluator without protobuf messages, host functions, blocks, or an answer that is a type.
const OUT_OF_SCOPE: [&str; 4] = [
    "needs_proto",
    "needs_function_decl",
    "needs_block",
    "check_only",
];

/// The suite's cases, counted.
#[derive(Debug, Default)]
pub(crate) struct Suite {
    /// By file.
    pub(crate) files: BTreeMap<String, Count>,
    /// Cases answered otherwise than expected, those out of scope included.
    pub(crate) wrong: Vec<String>,
}

/// The cases of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) cases: usize,
    pub(crate) in_scope: usize,
    pub(crate) passed: usize,
    /// Cases in scope that were refused at load, and the reasons.
    pub(crate) refused: BTreeMap<String, usize>,
    /// Cases out of scope that were answered right.
    pub(crate) beyond: usize,
}

impl Suite {
    /// Runs the suite; `None` when the data is not there.
    pub(crate) fn run() -> Option<Self> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/cel_conformance.json");
        let text = std::fs::read_to_string(path).ok()?;
        let data: Json = serde_json::from_str(&text).expect("the data is JSON");
        let mut suite = Self::default();
        for case in data["cases"].as_array().expect("a list of cases") {
            suite.case(case);
        }
        Some(suite)
    }

    fn case(&mut self, case: &Json) {
        let file = case["file"].as_str().expect("the form of the data");
        let count = self.files.entry(file.to_owned()).or_default();
        let flags = case["flags"].as_array().into_iter().flatten();
        let in_scope = !flags.into_iter().any(|flag| {
            let flag = flag.as_str().expect("the form of the data");
            OUT_OF_SCOPE.contains(&flag)
        });
        count.cases += 1;
        count.in_scope += usize::from(in_scope);
        let expected = &case["expect"];
        let right = match cases::answer(case).outcome {
            // Those that only ask for a type are right by having a value.
            Ok(_) if expected.get("value").is_none() && expected.get("type").is_some() => Ok(true),
            Ok(value) if cases::same(&value, &expected["value"]) => Ok(true),
            Ok(value) => Err(value.to_string()),
            Err(_) if expected.get("error").is_some() => Ok(true),
            Err(Failure { message, kind })
                if kind == FailureKind::Unsupported || in_scope && kind != FailureKind::Eval =>
            {
                if in_scope {
                    *count.refused.entry(message).or_default() += 1;
                }
                Ok(false)
            }
            Err(Failure {
                kind: FailureKind::Eval,
                message,
            }) => Err(message),
            // Out of scope a problem of types is a refusal: what is missing is what would type it.
            Err(_) => Ok(false),
        };
        match right {
            Ok(true) if in_scope => count.passed += 1,
            Ok(true) => count.beyond += 1,
            Ok(false) => {}
            Err(found) => self.wrong.push(format!(
                "{file}: {}\n    found {found}, wanted {expected}",
                case["expr"]
            )),
        }
    }

    /// All files in one.
    pub(crate) fn total(&self) -> Count {
        let mut total = Count::default();
        for count in self.files.values() {
            total.cases += count.cases;
            total.in_scope += count.in_scope;
            total.passed += count.passed;
            total.beyond += count.beyond;
            for (reason, times) in &count.refused {
                *total.refused.entry(reason.clone()).or_default() += times;
            }
        }
        total
    }

    /// As a table of a README.
    pub(crate) fn table(&self) -> String {
        let mut table = "| file | cases | in scope | passed | refused at load | out of scope, passed all the same |\n| --- | ---: | ---: | ---: | --- | ---: |\n".to_owned();
        let total = self.total();
        let named = self
            .files
            .iter()
            .map(|(file, count)| (file.as_str(), count));
        for (file, count) in named.chain([("**all**", &total)]) {
            let refused: Vec<String> = count
                .refused
                .iter()
                .map(|(reason, times)| format!("{times}: {reason}"))
                .collect();
            let _ = writeln!(
                table,
                "| {file} | {} | {} | {} | {} | {} |",
                count.cases,
                count.in_scope,
                count.passed,
                refused.join("; "),
                count.beyond
            );
        }
        table
    }
}
