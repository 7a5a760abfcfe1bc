//! RFC 3339 times.

use mixer_attributes::Timestamp;

/// `2026-01-31T12:00:00Z`, with a fraction and an offset if wanted.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| text.get(range).and_then(super::digits);
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if !separators
        .iter()
        .all(|(at, byte)| text.as_bytes().get(*at) == Some(byte))
        || !matches!(text.as_bytes()[10], b'T' | b't')
    {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let days_in_month = match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if day == 0 || day > days_in_month || hour > 23 || minute > 59 || second > 59 || year == 0 {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => rest.split_at(
            rest.find(|c: char| !c.is_ascii_digit())
                .filter(|at| (1..=9).contains(at))?,
        ),
    };
    let nanos = if fraction.is_empty() {
        0
    } else {
        super::digits(fraction)? * 10u64.pow(9 - fraction.len() as u32)
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, clock) = (zone.get(..1)?, zone.get(1..)?);
            let (hours, minutes) = clock
                .split_once(':')
                .filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
            let (hours, minutes) = (super::digits(hours)?, super::digits(minutes)?);
            let seconds = (hours * 3600 + minutes * 60) as i64;
            match sign {
                "+" if hours < 24 && minutes < 60 => seconds,
                "-" if hours < 24 && minutes < 60 => -seconds,
                _ => return None,
            }
        }
    };
    let seconds = days(year as i64, month as i64, day as i64) * 86_400
        + (hour * 3600 + minute * 60 + second) as i64
        - offset;
    Some(Timestamp {
        seconds,
        nanos: nanos as u32,
    })
}

/// The end of a day such as `2026-01-31`, in UTC.
pub(crate) fn end_of_day(text: &str) -> Option<Timestamp> {
    let begins = timestamp(&format!("{text}T00:00:00Z")).filter(|_| text.len() == 10)?;
    Some(Timestamp {
        seconds: begins.seconds + 86_400,
        ..begins
    })
}

fn leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_the_epoch() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2026-01-01T00:00:00Z", 1_767_225_600, 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000),
            ("1969-12-31T23:59:59Z", -1, 0),
            ("2026-01-01T01:00:00+01:00", 1_767_225_600, 0),
            ("2025-12-31T23:30:00-00:30", 1_767_225_600, 0),
        ] {
            assert_eq!(
                timestamp(text),
                Some(Timestamp { seconds, nanos }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_day_ends_when_the_next_begins() {
        assert_eq!(end_of_day("2025-12-31"), timestamp("2026-01-01T00:00:00Z"));
        for text in ["2025-12-32", "2025-12-31T", "31.12.2025", "2025-12-31 "] {
            assert_eq!(end_of_day(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-01-01",
            "2026-01-01 00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00é",
            "é026-01-01T00:00:00Z",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }
}
