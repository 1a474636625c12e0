//! What policies that users write as JSON have in common.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Out of a policy's text, which is short.
///
/// # Errors
/// What is wrong, and where in the text.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let written: Result<Object<T>, _> = serde_json::from_str(text);
    written.map(|it| it.0).map_err(|error| error.to_string())
}

/// What is written as an object: serde reads a list of a struct's members in their order, too.
#[derive(Debug, Default)]
pub(crate) struct Object<T>(pub(crate) T);

/// A duration as <https://gateway-api.sigs.k8s.io/geps/gep-2257/> writes it: `1h30m`, `500ms`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

/// Up to four numbers of up to five digits, each with its unit.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let (mut rest, mut sum, mut parts) = (text, Duration::ZERO, 0);
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit())?;
        let (digits, after) = rest.split_at(end);
        if !(1..=5).contains(&digits.len()) || parts == 4 {
            return None;
        }
        let number: u64 = digits.parse().ok()?;
        let end = after.find(|it: char| it.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        sum += match unit {
            "h" => Duration::from_secs(3600 * number),
            "m" => Duration::from_secs(60 * number),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        (rest, parts) = (after, parts + 1);
    }
    (parts > 0).then_some(sum)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let message =
            || D::Error::custom(format!("{text:?} is no duration such as 500ms or 1m30s"));
        span(&text).map(Self).ok_or_else(message)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_gateway_api() {
        for (text, want) in [
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1m5s10ms", Some(65_010)),
            ("0s", Some(0)),
            ("99999h1ms", Some(99_999 * 3_600_000 + 1)),
            ("", None),
            ("5", None),
            ("1.5s", None),
            ("-1s", None),
            ("1d", None),
            ("100000s", None),
            ("1s1s1s1s1s", None),
            ("ms", None),
            ("1 s", None),
        ] {
            let want = want.map(Duration::from_millis);
            assert_eq!(span(text), want, "{text}");
        }
    }
}
