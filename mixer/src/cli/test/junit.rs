//! Results as JUnit XML, which build servers read: a suite for each policy or route, a case for each test.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use crate::testing::{Ran, Report};

/// Writes `report` to `file`.
pub(super) fn write(file: &Path, report: &Report) -> Result<(), String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", file.display());
    let text = junit(report).to_string().map_err(|error| failed(&error))?;
    std::fs::write(file, text).map_err(|error| failed(&error))
}

fn junit(report: &Report) -> Junit {
    let mut all = Junit::new("mixer test");
    all.set_time(report.tests.iter().map(|test| test.took).sum());
    // The tests of one document stand together.
    for tests in report
        .tests
        .chunk_by(|a, b| (a.kind, &a.policy) == (b.kind, &b.policy))
    {
        let mut suite = TestSuite::new(&*tests[0].policy);
        suite.set_time(tests.iter().map(|test| test.took).sum());
        suite.add_test_cases(tests.iter().map(case));
        all.add_test_suite(suite);
    }
    all
}

fn case(test: &Ran) -> TestCase {
    let status = match &test.failure {
        None => TestCaseStatus::success(),
        Some(failure) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_type("failed")
                .set_message(&*failure.message)
                .set_description(format!(
                    "{}: {}\n{}",
                    test.place, failure.message, failure.why
                ));
            status
        }
    };
    let mut case = TestCase::new(&*test.test, status);
    case.set_classname(&*test.policy).set_time(test.took);
    case
}
