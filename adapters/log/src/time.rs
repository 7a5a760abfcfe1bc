//! Times as RFC 3339 writes them.

use mixer_attributes::Timestamp;

/// `2026-01-01T00:00:00.000000Z`: microseconds, UTC. Outside the years 0 to 9999, which RFC 3339 cannot write, the seconds
/// since 1970.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let (days, second) = (
        time.seconds.div_euclid(86_400),
        time.seconds.rem_euclid(86_400),
    );
    let Some((year, month, day)) = date(days) else {
        return time.seconds.to_string();
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = time.nanos / 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar. Years are counted from March, so that the leap
/// day is the last of its year, and in eras of 400 of them, which all have the same number of days.
fn date(days: i64) -> Option<(i64, i64, i64)> {
    const ERA: i64 = 146_097;
    let since_march_0000 = days.checked_add(719_468)?;
    let (era, day) = (
        since_march_0000.div_euclid(ERA),
        since_march_0000.rem_euclid(ERA),
    );
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era.checked_mul(400)? + year + next_year;
    (0..=9999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (seconds, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (1_767_225_600, 123_456_789, "2026-01-01T00:00:00.123456Z"),
            (951_782_399, 0, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59.000000Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59.000000Z"),
            (253_402_300_800, 0, "253402300800"),
            (i64::MAX, 0, "9223372036854775807"),
            (i64::MIN, 0, "-9223372036854775808"),
        ] {
            assert_eq!(rfc3339(Timestamp { seconds, nanos }), expected);
        }
    }
}
