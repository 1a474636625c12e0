use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, in whole milliseconds since 1970-01-01T00:00:00Z.
///
/// In records it is a plain integer. Wire codecs recognise the newtype name [`Timestamp::NEWTYPE`] and
/// print it in their protocol's form (ISO 8601, seconds, CBOR tag 1); on reading they hand over an
/// integer of milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The newtype-struct name that serde codecs look for.
    pub const NEWTYPE: &'static str = "lath.Timestamp";

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and `by` more.
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The time from `earlier` until this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `2023-05-06T04:41:04.122Z`.
    pub fn iso8601_millis(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S%.3fZ")
    }

    /// `2023-05-06T04:41:04Z`.
    pub fn iso8601_seconds(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    /// Formats in UTC with [`jiff::fmt::strtime`] directives.
    pub fn format(self, directives: &str) -> String {
        let clamped = self.0.clamp(-377_705_023_201_000, 253_402_207_200_999);
        jiff::Timestamp::from_millisecond(clamped).map_or_else(
            |_| String::new(),
            |moment| {
                moment
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .strftime(directives)
                    .to_string()
            },
        )
    }

    /// Reads RFC 3339 / ISO 8601 text with an offset or `Z`.
    pub fn parse_iso8601(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|moment| Self(moment.as_millisecond()))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => Self(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

impl From<Timestamp> for SystemTime {
    /// A time that the machine cannot express is the epoch.
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_millis(time.0.unsigned_abs());
        let moved = match time.0 < 0 {
            true => UNIX_EPOCH.checked_sub(distance),
            false => UNIX_EPOCH.checked_add(distance),
        };
        moved.unwrap_or(UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso8601_millis())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(Self::NEWTYPE, &self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Millis;
        impl<'de> Visitor<'de> for Millis {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("milliseconds since the epoch")
            }
            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<Timestamp, E> {
                Ok(Timestamp(millis))
            }
            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Timestamp, E> {
                i64::try_from(millis).map(Timestamp).map_err(E::custom)
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Timestamp, D::Error> {
                i64::deserialize(inner).map(Timestamp)
            }
        }
        deserializer.deserialize_newtype_struct(Self::NEWTYPE, Millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso8601_goes_there_and_back() {
        let text = "2023-05-06T04:41:04.122Z";
        assert_eq!(
            Timestamp::parse_iso8601(text).unwrap().iso8601_millis(),
            text
        );
    }

    #[test]
    fn system_times_go_there_and_back() {
        for millis in [-1_500, 0, 1_500] {
            let time = Timestamp(millis);
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
    }

    #[test]
    fn records_hold_an_integer() {
        let json = serde_json::to_string(&Timestamp::from_millis(1_500)).unwrap();
        assert_eq!(json, "1500");
        assert_eq!(
            serde_json::from_str::<Timestamp>(&json).unwrap(),
            Timestamp(1_500)
        );
    }
}
