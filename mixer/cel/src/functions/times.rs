//! Timestamps and durations: reading and writing them, their ranges, and their parts in a time zone.
//!
//! The ranges are those of CEL: years 1 to 9999, and durations of 64-bit nanoseconds, about 292 years.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, TimeDelta, Timelike};
use chrono_tz::Tz;
use mixer_attributes::{Duration, Timestamp};

use super::{Definition, Result, Signature, Sort};
use crate::budget::Budget;
use crate::{EvalError, Val};

const NANOS: i128 = 1_000_000_000;
/// 0001-01-01T00:00:00Z and the second after 9999-12-31T23:59:59Z.
const FIRST: i128 = -62_135_596_800 * NANOS;
const BEYOND: i128 = 253_402_300_800 * NANOS;

const PART: &[Signature] = &[
    (&[Sort::Timestamp], Sort::Int),
    (&[Sort::Timestamp, Sort::String], Sort::Int),
];
const PART_OR_COUNT: &[Signature] = &[
    (&[Sort::Timestamp], Sort::Int),
    (&[Sort::Timestamp, Sort::String], Sort::Int),
    (&[Sort::Duration], Sort::Int),
];

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "getFullYear",
        member: true,
        signatures: PART,
        run: year,
    },
    Definition {
        name: "getMonth",
        member: true,
        signatures: PART,
        run: month,
    },
    Definition {
        name: "getDate",
        member: true,
        signatures: PART,
        run: date,
    },
    Definition {
        name: "getDayOfMonth",
        member: true,
        signatures: PART,
        run: day_of_month,
    },
    Definition {
        name: "getDayOfWeek",
        member: true,
        signatures: PART,
        run: day_of_week,
    },
    Definition {
        name: "getDayOfYear",
        member: true,
        signatures: PART,
        run: day_of_year,
    },
    Definition {
        name: "getHours",
        member: true,
        signatures: PART_OR_COUNT,
        run: hours,
    },
    Definition {
        name: "getMinutes",
        member: true,
        signatures: PART_OR_COUNT,
        run: minutes,
    },
    Definition {
        name: "getSeconds",
        member: true,
        signatures: PART_OR_COUNT,
        run: seconds,
    },
    Definition {
        name: "getMilliseconds",
        member: true,
        signatures: PART_OR_COUNT,
        run: milliseconds,
    },
];

/// A timestamp within CEL's range.
pub(super) fn checked_timestamp(nanos: i128) -> Result<Timestamp> {
    if !(FIRST..BEYOND).contains(&nanos) {
        return Err(EvalError::Overflow("timestamp"));
    }
    Ok(Timestamp {
        seconds: nanos.div_euclid(NANOS) as i64,
        nanos: nanos.rem_euclid(NANOS) as u32,
    })
}

/// A duration within CEL's range.
pub(super) fn checked_duration(nanos: i128) -> Result<Duration> {
    match i64::try_from(nanos) {
        Ok(_) => Ok(Duration::from_nanos(nanos)),
        Err(_) => Err(EvalError::Overflow("duration")),
    }
}

/// RFC 3339.
pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp> {
    let start: String = text.chars().take(40).collect();
    let invalid =
        || EvalError::Invalid("timestamp", format!("{start:?} is no RFC 3339 time").into());
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| invalid())?;
    // chrono reads a leap second as nanoseconds beyond the second.
    checked_timestamp(
        i128::from(time.timestamp()) * NANOS + i128::from(time.timestamp_subsec_nanos()),
    )
}

/// A signed sum of decimals with units `h`, `m`, `s`, `ms`, `us`, `ns`, as Go writes durations.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let start: String = text.chars().take(40).collect();
    let invalid = || {
        EvalError::Invalid(
            "duration",
            format!("{start:?} is no duration such as \"1h30m\"").into(),
        )
    };
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(invalid)?;
        let (number, after) = rest.split_at(end);
        let units: [(&str, i128); 7] = [
            ("ns", 1),
            ("us", 1_000),
            ("\u{b5}s", 1_000),
            ("ms", 1_000_000),
            ("h", 3_600 * NANOS),
            ("m", 60 * NANOS),
            ("s", NANOS),
        ];
        let (unit, nanos) = units
            .into_iter()
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or_else(invalid)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(invalid());
        }
        let count = |digits: &str| {
            if digits.is_empty() {
                Ok(0)
            } else {
                digits.parse::<u64>().map_err(|_| invalid())
            }
        };
        let fraction = &fraction[..fraction.len().min(15)];
        let part = i128::from(count(fraction)?) * nanos / 10_i128.pow(fraction.len() as u32);
        total += i128::from(count(whole)?) * nanos + part;
        rest = &after[unit.len()..];
    }
    checked_duration(if negative { -total } else { total })
}

/// RFC 3339 in UTC, with as many digits of a second as it takes.
pub(super) fn timestamp_text(time: Timestamp) -> String {
    let Some(date) = DateTime::from_timestamp(time.seconds, time.nanos) else {
        return format!("{}s", time.seconds);
    };
    let mut text = date.format("%Y-%m-%dT%H:%M:%S").to_string();
    if time.nanos != 0 {
        text.push('.');
        text.push_str(format!("{:09}", time.nanos).trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// The time of day and date that a clock in the zone of the second argument shows.
fn local(function: &'static str, args: &[Val<'_>]) -> Result<NaiveDateTime> {
    let Val::Timestamp(time) = &args[0] else {
        return Err(EvalError::NoOverload(function));
    };
    let utc = DateTime::from_timestamp(time.seconds, time.nanos)
        .ok_or(EvalError::Overflow("timestamp"))?;
    match args.get(1) {
        None => Ok(utc.naive_utc()),
        Some(Val::String(zone)) => match zone.parse::<Tz>() {
            Ok(zone) => Ok(utc.with_timezone(&zone).naive_local()),
            Err(_) => match offset(zone).and_then(FixedOffset::east_opt) {
                Some(zone) => Ok(utc.with_timezone(&zone).naive_local()),
                None => {
                    let start: String = zone.chars().take(40).collect();
                    Err(EvalError::Invalid(
                        function,
                        format!("{start:?} is no time zone").into(),
                    ))
                }
            },
        },
        Some(_) => Err(EvalError::NoOverload(function)),
    }
}

/// Seconds east of UTC of `+hh:mm`.
fn offset(zone: &str) -> Option<i32> {
    let (sign, rest) = match zone.strip_prefix(['-', '+']) {
        Some(rest) => (if zone.starts_with('-') { -1 } else { 1 }, rest),
        None => (1, zone),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i32>())
    };
    let (hours, minutes) = (two(hours)?.ok()?, two(minutes)?.ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn number<'a>(number: impl Into<i64>) -> Result<Val<'a>> {
    Ok(Val::Int(number.into()))
}

fn year<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    number(local("getFullYear", args)?.year())
}

/// From zero, as CEL counts all but `getDate`.
fn month<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    number(local("getMonth", args)?.month0())
}

fn date<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    number(local("getDate", args)?.day())
}

fn day_of_month<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    number(local("getDayOfMonth", args)?.day0())
}

fn day_of_week<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    number(
        local("getDayOfWeek", args)?
            .weekday()
            .num_days_from_sunday(),
    )
}

fn day_of_year<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    number(local("getDayOfYear", args)?.ordinal0())
}

fn hours<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Duration(span) => number(delta(*span).num_hours()),
        _ => number(local("getHours", args)?.hour()),
    }
}

fn minutes<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Duration(span) => number(delta(*span).num_minutes()),
        _ => number(local("getMinutes", args)?.minute()),
    }
}

fn seconds<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Duration(span) => number(delta(*span).num_seconds()),
        _ => number(local("getSeconds", args)?.second()),
    }
}

/// Of a duration: the milliseconds beyond its last whole second.
fn milliseconds<'a>(args: &mut [Val<'a>], _: &mut Budget) -> Result<Val<'a>> {
    match &args[0] {
        Val::Duration(span) => number(delta(*span).subsec_nanos() / 1_000_000),
        _ => number(local("getMilliseconds", args)?.nanosecond() / 1_000_000),
    }
}

fn delta(span: Duration) -> TimeDelta {
    TimeDelta::new(span.seconds, span.nanos).unwrap_or(TimeDelta::MAX)
}
