//! How a quota counts: its algorithm, and the limit in that algorithm's terms.

use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};
use mixer_attributes::vocabulary::Producer;
use mixer_cel::{Expect, Kind};

use crate::context::Context;
use crate::diagnostics::Problems;
use crate::fields::Fields;
use crate::scalar::{at_once, integer, limit, scalar, span, word};
use crate::suggest::nearest;
use crate::yaml::{Node, Value};
use crate::{Algorithm, Calendar, Code, Denied, Limit, LimitTable, Period, Span};

/// What `algorithm:` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    SlidingWindow,
    Gcra,
    FixedWindow,
    Concurrency,
}

/// A limit as it was written.
#[derive(Clone, Copy, Debug)]
struct Row {
    limit: Limit,
    period: Option<Period>,
    span: Span,
}

/// Stands in for a limit that cannot be read.
const NOTHING: Limit = Limit {
    amount: 1,
    window: Duration::from_secs(1),
};

/// The limits and the algorithm.
pub(super) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> (LimitTable, Algorithm) {
    let problems = &mut context.problems;
    let words = [
        ("sliding-window", Word::SlidingWindow),
        ("gcra", Word::Gcra),
        ("fixed-window", Word::FixedWindow),
        ("concurrency", Word::Concurrency),
    ];
    let given = fields.get("algorithm");
    let word = given.map_or(Some(Word::SlidingWindow), |node| {
        word(node, "`algorithm`", &words, &[], problems)
    });
    // Of an algorithm that is misspelt it is not known what goes with it.
    if let Some(word) = word {
        for (key, needs, name) in [
            ("burst", Word::Gcra, "gcra"),
            ("window", Word::FixedWindow, "fixed-window"),
            ("hold", Word::Concurrency, "concurrency"),
        ] {
            if word != needs {
                let why = format!("has no meaning without `algorithm: {name}`");
                fields.refuse(key, &why, problems);
            }
        }
    }
    let word = word.unwrap_or(Word::SlidingWindow);
    let hold = (word == Word::Concurrency).then(|| hold(fields, problems));
    let (table, rows) = limits(fields, hold, context);
    let problems = &mut context.problems;
    let algorithm = match word {
        Word::SlidingWindow => Algorithm::SlidingWindow,
        Word::Gcra => {
            let burst = fields
                .get("burst")
                .and_then(|node| integer(node, "`burst`", 1..=i64::MAX as u64, problems));
            Algorithm::Gcra {
                burst: burst.unwrap_or(table.otherwise.amount),
            }
        }
        Word::FixedWindow => Algorithm::FixedWindow {
            calendar: calendar(fields, &rows, problems),
        },
        Word::Concurrency => Algorithm::Concurrency {
            hold: hold.unwrap_or(NOTHING.window),
        },
    };
    (table, algorithm)
}

/// `denied: counts`.
pub(super) fn denied(fields: &Fields<'_>, algorithm: Algorithm, problems: &mut Problems) -> Denied {
    let Some(node) = fields.get("denied") else {
        return Denied::Free;
    };
    let words = [("free", Denied::Free), ("counts", Denied::Counts)];
    let denied = word(node, "`denied`", &words, &[], problems).unwrap_or(Denied::Free);
    if denied == Denied::Counts && matches!(algorithm, Algorithm::Concurrency { .. }) {
        problems.error(Code::NoMeaning,
            node.span,
            "`denied: counts` has no meaning with `algorithm: concurrency`: a refused request holds nothing",
        );
    }
    denied
}

fn hold(fields: &Fields<'_>, problems: &mut Problems) -> Duration {
    let why = "`algorithm: concurrency` needs `hold`: how long a request is counted that nobody says is over";
    fields
        .need(
            "hold",
            why,
            "longer than any request takes, such as `hold: 30s`",
            problems,
        )
        .and_then(|node| span(node, "`hold`", problems))
        .unwrap_or(NOTHING.window)
}

/// The calendar that `window:` names. Windows that do not overlap are one row of windows for all limits of a table: a counter
/// that is asked about in turn by an hour's limit and a day's would begin anew with each.
fn calendar(fields: &Fields<'_>, rows: &[Row], problems: &mut Problems) -> Option<Calendar> {
    let zone = fields.get("window").map(|node| zone(node, problems));
    let first = rows.first()?;
    for row in rows {
        if zone.is_some() && row.period.is_none() {
            problems
                .error(
                    Code::Limit,
                    row.span,
                    "a window of the calendar is a second, minute, hour, day, week, month or year",
                )
                .help("such as `100 per day`; for any other time leave `window` out");
        } else if (row.limit.window, row.period) != (first.limit.window, first.period) {
            problems
                .error(
                    Code::LimitTable,
                    row.span,
                    "with `algorithm: fixed-window` all limits of a table are for the same time",
                )
                .help("`algorithm: sliding-window` counts for several");
        }
    }
    Some(Calendar {
        period: first.period?,
        zone: zone??,
    })
}

/// `calendar` (of UTC), `calendar Europe/Berlin`.
fn zone(node: &Node, problems: &mut Problems) -> Option<Tz> {
    let text = scalar(node, "`window`", problems)?.text.as_str();
    let mut words = text.split_whitespace();
    let (calendar, zone, more) = (words.next(), words.next(), words.next());
    if calendar != Some("calendar") || more.is_some() {
        problems
            .error(
                Code::UnknownWord,
                node.span,
                format!("`window` is `calendar` or `calendar` and a time zone, not `{text}`"),
            )
            .help("such as `window: calendar Europe/Berlin`; how long it is, the limit says");
        return None;
    }
    let name = zone.unwrap_or("UTC");
    let zone = name.parse().ok();
    if zone.is_none() {
        let error = problems.error(
            Code::UnknownWord,
            node.span,
            format!("there is no time zone `{name}`"),
        );
        if let Some(near) = nearest(name, TZ_VARIANTS.iter().map(|zone| zone.name())) {
            error.help(format!("did you mean `{near}`?"));
        } else {
            error.help("a name of the IANA time zone database, such as `Europe/Berlin`");
        }
    }
    zone
}

/// The table, and its limits as they were written. With a `hold` a limit is how many at once.
fn limits(
    fields: &Fields<'_>,
    hold: Option<Duration>,
    context: &mut Context<'_>,
) -> (LimitTable, Vec<Row>) {
    let mut limits = LimitTable {
        by: None,
        table: Vec::new(),
        otherwise: NOTHING,
    };
    let mut rows = Vec::new();
    let mut read = |node: &Node, problems: &mut Problems| {
        let (limit, period) = match hold {
            None => limit(node, problems)?,
            Some(window) => {
                let amount = at_once(node, problems)?;
                (Limit { amount, window }, None)
            }
        };
        let span = node.span;
        rows.push(Row {
            limit,
            period,
            span,
        });
        Some(limit)
    };
    let help = match hold {
        None => "such as `limit: 100 per minute`",
        Some(_) => "such as `limit: 20`",
    };
    let Some(node) = fields.need(
        "limit",
        "a quota needs a `limit`",
        help,
        &mut context.problems,
    ) else {
        return (limits, rows);
    };
    let Value::Map(_) = &node.value else {
        limits.otherwise = read(node, &mut context.problems).unwrap_or(NOTHING);
        return (limits, rows);
    };
    let Some(fields) = Fields::of(node, super::TABLE, &mut context.problems) else {
        return (limits, rows);
    };
    let why = "a table of limits needs `by`: an expression that names the row";
    if let Some(by) = fields.need("by", why, "", &mut context.problems) {
        limits.by = context.expression(by, "`by`", Producer::Check, Expect::Kind(Kind::String));
    }
    let why = "a table of limits needs `otherwise`: the limit when no row is named";
    if let Some(node) = fields.need("otherwise", why, "", &mut context.problems) {
        limits.otherwise = read(node, &mut context.problems).unwrap_or(NOTHING);
    }
    let why = "a table of limits needs `table`";
    let table = fields.need("table", why, "", &mut context.problems);
    match table.map(|table| (&table.value, table.span)) {
        Some((Value::Map(entries), span)) => {
            if entries.is_empty() {
                context
                    .problems
                    .error(Code::LimitTable, span, "the table of limits has no row");
            }
            for entry in entries {
                let limit = read(&entry.value, &mut context.problems).unwrap_or(NOTHING);
                limits.table.push((entry.key.as_str().into(), limit));
            }
        }
        Some((Value::Wrong, _)) | None => {}
        Some((_, span)) => drop(context.problems.error(
            Code::WrongShape,
            span,
            "`table` must be a map from names to limits",
        )),
    }
    (limits, rows)
}
