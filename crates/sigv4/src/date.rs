//! The basic ISO 8601 dates of SigV4.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Parses `20150830T123600Z`.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    if text.len() != 16 {
        return None;
    }
    let moment = DateTime::strptime(FORMAT, text).ok()?;
    let seconds = moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    let after = Duration::from_secs(u64::try_from(seconds).ok()?);
    Some(UNIX_EPOCH + after)
}

/// Prints `20150830T123600Z`.
pub(crate) fn print(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |after| i64::try_from(after.as_secs()).unwrap_or(0));
    let moment = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.to_zoned(TimeZone::UTC).strftime(FORMAT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        assert_eq!(
            print(parse("20150830T123600Z").unwrap()),
            "20150830T123600Z"
        );
        for bad in [
            "",
            "20150830",
            "20150830T1236000",
            "20151330T123600Z",
            "19600101T000000Z",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
