//! The forms in which timestamps travel.

use jiff::fmt::strtime;
use lath_model::Timestamp;

/// How a protocol prints timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2023-05-06T04:41:04.122Z`.
    Iso8601Millis,
    /// `2023-05-06T04:41:04Z`, with milliseconds only when there are any.
    Iso8601,
    /// Seconds since the epoch, with a fraction only when there is one.
    EpochSeconds,
}

impl TimeFormat {
    /// Prints a moment.
    pub(crate) fn print(self, moment: Timestamp) -> String {
        match self {
            Self::Iso8601Millis => moment.iso8601_millis(),
            Self::Iso8601 if moment.as_millis().rem_euclid(1000) == 0 => moment.iso8601_seconds(),
            Self::Iso8601 => moment.iso8601_millis(),
            Self::EpochSeconds => epoch_seconds(moment),
        }
    }
}

fn epoch_seconds(moment: Timestamp) -> String {
    let millis = moment.as_millis();
    let (seconds, rest) = (millis / 1000, (millis % 1000).unsigned_abs());
    let sign = if millis < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    if rest == 0 {
        format!("{sign}{seconds}")
    } else {
        format!("{sign}{seconds}.{rest:03}")
    }
}

/// Seconds since the epoch, to the nearest millisecond.
#[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
pub(crate) fn from_seconds(seconds: f64) -> Option<Timestamp> {
    let millis = (seconds * 1000.0).round();
    (millis.abs() < 1e15).then(|| Timestamp::from_millis(millis as i64))
}

/// Reads ISO 8601 (UTC where no zone is given), an HTTP date, or seconds since the epoch.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    Timestamp::parse_iso8601(text)
        .or_else(|| Timestamp::parse_iso8601(&format!("{text}Z")))
        .or_else(|| Timestamp::parse_iso8601(&format!("{text}T00:00:00Z")))
        .or_else(|| http_date(text))
        .or_else(|| from_seconds(text.parse().ok()?))
}

/// `Mon, 31 Aug 2015 12:36:00 GMT` (RFC 9110 section 5.6.7, the preferred form).
fn http_date(text: &str) -> Option<Timestamp> {
    let parsed = strtime::parse("%a, %d %b %Y %H:%M:%S GMT", text).ok()?;
    let zoned = parsed
        .to_datetime()
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_timestamp_is_read() {
        let want = Timestamp::from_millis(1_440_938_160_000);
        for text in [
            "2015-08-30T12:36:00Z",
            "2015-08-30T12:36:00",
            "2015-08-30T14:36:00+02:00",
            "2015-08-30T12:36:00.000Z",
            "Sun, 30 Aug 2015 12:36:00 GMT",
            "1440938160",
            "1440938160.0",
            "1.44093816e9",
        ] {
            assert_eq!(parse(text), Some(want), "{text}");
        }
        assert_eq!(
            parse("2015-08-30"),
            Some(Timestamp::from_millis(1_440_892_800_000))
        );
        for text in ["", "yesterday", "1e300", "NaN"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_form_of_a_timestamp_is_printed() {
        let cases = [
            (TimeFormat::EpochSeconds, 1_500, "1.500"),
            (TimeFormat::EpochSeconds, -1_500, "-1.500"),
            (TimeFormat::EpochSeconds, 2_000, "2"),
            (TimeFormat::Iso8601, 2_000, "1970-01-01T00:00:02Z"),
            (TimeFormat::Iso8601, 2_001, "1970-01-01T00:00:02.001Z"),
            (TimeFormat::Iso8601Millis, 2_000, "1970-01-01T00:00:02.000Z"),
        ];
        for (format, millis, want) in cases {
            assert_eq!(format.print(Timestamp::from_millis(millis)), want);
        }
    }
}
