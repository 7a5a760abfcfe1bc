//! Windows of the calendar: which one a moment is in, in a time zone.
//!
//! A day is from midnight to midnight there, so that one day in spring has 23 hours and one in autumn 25; a week begins on
//! Monday. A midnight that a change of the clocks skips is the first moment after the gap, one that comes twice is the first.

use std::time::{Duration, SystemTime};

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;

/// A row of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// How long each is.
    pub period: Period,
    /// Where midnight is.
    pub zone: Tz,
}

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Period {
    Second,
    Minute,
    Hour,
    Day,
    /// From Monday on.
    Week,
    Month,
    Year,
}

/// One window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarWindow {
    /// When it begins, in seconds since 1970.
    pub begins: i64,
    /// From the moment asked about to its end.
    pub ends_in: Duration,
}

impl Period {
    /// The words of a limit.
    pub(crate) const WORDS: [(&str, Period); 7] = [
        ("second", Period::Second),
        ("minute", Period::Minute),
        ("hour", Period::Hour),
        ("day", Period::Day),
        ("week", Period::Week),
        ("month", Period::Month),
        ("year", Period::Year),
    ];

    /// How long it is where no calendar says otherwise: a month is 30 days, a year 365.
    pub fn span(self) -> Duration {
        Duration::from_secs(match self {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3_600,
            Period::Day => 86_400,
            Period::Week => 7 * 86_400,
            Period::Month => 30 * 86_400,
            Period::Year => 365 * 86_400,
        })
    }
}

impl Calendar {
    /// The window that `at` is in.
    pub fn window(&self, at: SystemTime) -> CalendarWindow {
        let at = DateTime::<Utc>::from(at);
        let local = at.with_timezone(&self.zone);
        let (begins, ends) = match self.days(local.date_naive()) {
            Some((first, next)) => (self.midnight(first), self.midnight(next)),
            None => {
                // Shorter than any change of the clocks: by the offset there is now.
                let offset = i64::from(local.offset().fix().local_minus_utc());
                let period = self.period.span().as_secs() as i64;
                let begins = at.timestamp() - (at.timestamp() + offset).rem_euclid(period);
                (begins, begins + period)
            }
        };
        let ends = TimeDelta::seconds(ends - at.timestamp());
        let passed = TimeDelta::nanoseconds(at.timestamp_subsec_nanos().into());
        CalendarWindow {
            begins,
            ends_in: (ends - passed).to_std().unwrap_or_default(),
        }
    }

    /// The first day of the window that has `day`, and of the next; `None` for what is shorter than a day.
    fn days(&self, day: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        let (first, next) = match self.period {
            Period::Second | Period::Minute | Period::Hour => return None,
            Period::Day => (Some(day), day.checked_add_days(Days::new(1))),
            Period::Week => {
                let since = day.weekday().num_days_from_monday();
                let monday = day.checked_sub_days(Days::new(since.into()));
                (
                    monday,
                    monday.and_then(|monday| monday.checked_add_days(Days::new(7))),
                )
            }
            Period::Month => {
                let first = day.with_day(1);
                (
                    first,
                    first.and_then(|first| first.checked_add_months(Months::new(1))),
                )
            }
            Period::Year => {
                let first = day.with_day(1).and_then(|day| day.with_month(1));
                (
                    first,
                    first.and_then(|first| first.checked_add_months(Months::new(12))),
                )
            }
        };
        Some((first?, next?))
    }

    /// When a day begins, in seconds since 1970.
    fn midnight(&self, day: NaiveDate) -> i64 {
        /// A gap of the clocks is an hour; a whole day was skipped once.
        const LONGEST_GAP_MINUTES: i64 = 2 * 24 * 60;
        let midnight = NaiveDateTime::from(day);
        (0..LONGEST_GAP_MINUTES)
            .find_map(|minutes| {
                let local = midnight.checked_add_signed(TimeDelta::minutes(minutes))?;
                self.zone.from_local_datetime(&local).earliest()
            })
            .map_or_else(
                || midnight.and_utc().timestamp(),
                |begins| begins.timestamp(),
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> SystemTime {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    /// The window that has `at`, as its first moment and its length in seconds.
    fn window(period: Period, zone: Tz, at: &str) -> (String, i64) {
        let at = utc(at);
        let window = Calendar { period, zone }.window(at);
        let begins = DateTime::from_timestamp(window.begins, 0).unwrap();
        let ends = DateTime::<Utc>::from(at + window.ends_in);
        (
            begins.format("%FT%TZ").to_string(),
            (ends - begins).num_seconds(),
        )
    }

    #[test]
    fn windows_are_where_the_calendar_has_them() {
        const HOUR: i64 = 3_600;
        let (utc, berlin, nepal) = (Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kathmandu);
        let rows = [
            (
                Period::Second,
                utc,
                "2026-03-04T05:06:07.5Z",
                "2026-03-04T05:06:07Z",
                1,
            ),
            (
                Period::Minute,
                berlin,
                "2026-03-04T05:06:59Z",
                "2026-03-04T05:06:00Z",
                60,
            ),
            (
                Period::Hour,
                nepal,
                "2026-03-04T05:06:07Z",
                "2026-03-04T04:15:00Z",
                HOUR,
            ),
            (
                Period::Day,
                utc,
                "2026-03-04T23:59:59.999Z",
                "2026-03-04T00:00:00Z",
                24 * HOUR,
            ),
            (
                Period::Day,
                berlin,
                "2026-03-04T23:30:00Z",
                "2026-03-04T23:00:00Z",
                24 * HOUR,
            ),
            // The clocks of Berlin went forward on 29 March 2026, and go back on 25 October.
            (
                Period::Day,
                berlin,
                "2026-03-29T12:00:00Z",
                "2026-03-28T23:00:00Z",
                23 * HOUR,
            ),
            (
                Period::Day,
                berlin,
                "2026-10-25T12:00:00Z",
                "2026-10-24T22:00:00Z",
                25 * HOUR,
            ),
            (
                Period::Hour,
                berlin,
                "2026-10-25T00:30:00Z",
                "2026-10-25T00:00:00Z",
                HOUR,
            ),
            (
                Period::Hour,
                berlin,
                "2026-10-25T01:30:00Z",
                "2026-10-25T01:00:00Z",
                HOUR,
            ),
            // A Wednesday; a Sunday night that is Monday in Berlin.
            (
                Period::Week,
                utc,
                "2026-03-04T05:06:07Z",
                "2026-03-02T00:00:00Z",
                7 * 24 * HOUR,
            ),
            (
                Period::Week,
                berlin,
                "2026-03-08T23:00:00Z",
                "2026-03-08T23:00:00Z",
                7 * 24 * HOUR,
            ),
            (
                Period::Week,
                berlin,
                "2026-03-29T12:00:00Z",
                "2026-03-22T23:00:00Z",
                (7 * 24 - 1) * HOUR,
            ),
            (
                Period::Month,
                utc,
                "2028-02-29T12:00:00Z",
                "2028-02-01T00:00:00Z",
                29 * 24 * HOUR,
            ),
            (
                Period::Month,
                berlin,
                "2026-10-31T23:30:00Z",
                "2026-10-31T23:00:00Z",
                30 * 24 * HOUR,
            ),
            (
                Period::Year,
                utc,
                "2028-12-31T23:59:59Z",
                "2028-01-01T00:00:00Z",
                366 * 24 * HOUR,
            ),
            (
                Period::Year,
                utc,
                "1969-12-31T23:59:59Z",
                "1969-01-01T00:00:00Z",
                365 * 24 * HOUR,
            ),
            // Midnight did not come in Beirut on 26 March 2023 (the clocks went to 01:00), nor the whole 30th in Apia in 2011.
            (
                Period::Day,
                Tz::America__Havana,
                "2026-03-08T12:00:00Z",
                "2026-03-08T05:00:00Z",
                23 * HOUR,
            ),
            (
                Period::Day,
                Tz::Pacific__Apia,
                "2011-12-30T09:00:00Z",
                "2011-12-29T10:00:00Z",
                24 * HOUR,
            ),
        ];
        for (period, zone, at, begins, length) in rows {
            let expected = (begins.to_owned(), length);
            assert_eq!(window(period, zone, at), expected, "{period:?} {zone} {at}");
        }
    }

    /// Windows follow each other: a moment after one has ended is in the next, and numbers never fall.
    #[test]
    fn windows_leave_no_gap_and_do_not_overlap() {
        for zone in [
            Tz::UTC,
            Tz::Europe__Berlin,
            Tz::America__Havana,
            Tz::Pacific__Apia,
            Tz::Asia__Kathmandu,
        ] {
            for period in [Period::Day, Period::Week, Period::Month, Period::Year] {
                let calendar = Calendar { period, zone };
                let mut at = utc("2010-06-01T00:00:00Z");
                for _ in 0..400 {
                    let now = calendar.window(at);
                    let next = calendar.window(at + now.ends_in);
                    let ends = DateTime::<Utc>::from(at + now.ends_in).timestamp();
                    assert_eq!(next.begins, ends, "{period:?} {zone}");
                    let last = calendar.window(at + now.ends_in - Duration::from_nanos(1));
                    assert_eq!(last.begins, now.begins, "{period:?} {zone}");
                    at += now.ends_in;
                }
            }
        }
    }
}
