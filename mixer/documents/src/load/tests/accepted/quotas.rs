//! Quotas: every key, every algorithm.

use std::time::Duration;

use super::super::*;
use crate::{Absent, Algorithm, Calendar, Denied, LeaseLimit, Limit, Mode, Period, QuotaOnError};

#[test]
fn every_key_of_a_quota_means_what_it_says() {
    let set = set(SHOP);
    let [customer, bytes] = set.policies[0].quotas.as_slice() else {
        panic!()
    };
    assert_eq!(
        (&*customer.sentence, &*customer.id, customer.key.len()),
        ("requests per customer", "per-customer", 1)
    );
    assert_eq!(
        (customer.absent, customer.algorithm, customer.lease),
        (Absent::Share, Algorithm::SlidingWindow, LeaseLimit::Auto)
    );
    assert_eq!(
        (customer.on_error, customer.mode),
        (QuotaOnError::Allow, Mode::Enforce)
    );
    assert_eq!(&*set.adapters[customer.store].name, "shared");
    let minute = |amount| Limit {
        amount,
        window: Duration::from_secs(60),
    };
    assert_eq!(
        (customer.limit.row("pro"), customer.limit.row("none")),
        (minute(2000), minute(100))
    );
    assert_eq!(
        (&*bytes.id, bytes.mode),
        ("products/bytes per namespace", Mode::Shadow)
    );
    assert_eq!(
        bytes.limit.otherwise,
        Limit {
            amount: 5000,
            window: Duration::from_secs(10)
        }
    );
    assert_eq!(
        (bytes.algorithm, bytes.lease),
        (Algorithm::Gcra { burst: 100 }, LeaseLimit::AtMost(0))
    );
    assert_eq!(bytes.on_error, QuotaOnError::Local(10));
    assert_eq!(&*set.adapters[bytes.store].name, "memory");
}

#[test]
fn each_algorithm_is_what_it_says() {
    let algorithm = |keys: &str| {
        let set = set(&format!(
            "policy: p\nfor: always\nquotas: [{{ quota: q, key: [], {keys} }}]"
        ));
        let quota = &set.policies[0].quotas[0];
        let limit = quota.limit.otherwise;
        (
            quota.algorithm,
            limit.amount,
            limit.window.as_secs(),
            quota.denied,
        )
    };
    let fixed = |period, zone| Algorithm::FixedWindow {
        calendar: Some(Calendar { period, zone }),
    };
    let opened = Algorithm::FixedWindow { calendar: None };
    let (day, free) = (86_400, Denied::Free);
    let berlin = fixed(Period::Month, chrono_tz::Tz::Europe__Berlin);
    let hold = Duration::from_secs(90);
    for (keys, expected) in [
        (
            "limit: 5 per week",
            (Algorithm::SlidingWindow, 5, 7 * day, free),
        ),
        (
            "limit: 5 per month, denied: counts",
            (Algorithm::SlidingWindow, 5, 30 * day, Denied::Counts),
        ),
        (
            "limit: 5 per year, algorithm: fixed-window, denied: free",
            (opened, 5, 365 * day, free),
        ),
        (
            "limit: 5 per 366d, algorithm: fixed-window",
            (opened, 5, 366 * day, free),
        ),
        (
            "limit: 5 per hour, algorithm: fixed-window, window: calendar",
            (fixed(Period::Hour, chrono_tz::Tz::UTC), 5, 3_600, free),
        ),
        (
            "limit: { by: source.namespace, table: { a: 9 per month }, otherwise: 5 per month }, algorithm: fixed-window, window: calendar Europe/Berlin",
            (berlin, 5, 30 * day, free),
        ),
        (
            "limit: 20, algorithm: concurrency, hold: 90s, lease: 0",
            (Algorithm::Concurrency { hold }, 20, 90, free),
        ),
    ] {
        assert_eq!(algorithm(keys), expected, "{keys}");
    }
}
