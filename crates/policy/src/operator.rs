//! The condition operators of
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>.

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use crate::pattern::arn_glob;
use crate::{Facts, Pattern};

/// The type of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Text,
    TextAnyCase,
    Like,
    Number(Relation),
    Date(Relation),
    Bool,
    Binary,
    Ip,
    Arn,
    /// Tests whether the key is absent.
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
        }
    }
}

/// The comparison of an operator name without qualifiers, and whether it is negated.
pub(crate) fn comparison(name: &str) -> Option<(Comparison, bool)> {
    use Comparison as C;
    use Relation as R;
    Some(match name {
        "StringEquals" => (C::Text, false),
        "StringNotEquals" => (C::Text, true),
        "StringEqualsIgnoreCase" => (C::TextAnyCase, false),
        "StringNotEqualsIgnoreCase" => (C::TextAnyCase, true),
        "StringLike" => (C::Like, false),
        "StringNotLike" => (C::Like, true),
        "NumericEquals" => (C::Number(R::Equal), false),
        "NumericNotEquals" => (C::Number(R::Equal), true),
        "NumericLessThan" => (C::Number(R::Less), false),
        "NumericLessThanEquals" => (C::Number(R::LessOrEqual), false),
        "NumericGreaterThan" => (C::Number(R::Greater), false),
        "NumericGreaterThanEquals" => (C::Number(R::GreaterOrEqual), false),
        "DateEquals" => (C::Date(R::Equal), false),
        "DateNotEquals" => (C::Date(R::Equal), true),
        "DateLessThan" => (C::Date(R::Less), false),
        "DateLessThanEquals" => (C::Date(R::LessOrEqual), false),
        "DateGreaterThan" => (C::Date(R::Greater), false),
        "DateGreaterThanEquals" => (C::Date(R::GreaterOrEqual), false),
        "Bool" => (C::Bool, false),
        "BinaryEquals" => (C::Binary, false),
        "IpAddress" => (C::Ip, false),
        "NotIpAddress" => (C::Ip, true),
        "ArnEquals" | "ArnLike" => (C::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (C::Arn, true),
        "Null" => (C::Null, false),
        _ => return None,
    })
}

impl Comparison {
    /// Whether a value of the request matches a value of the policy. A value that cannot be parsed matches none.
    pub(crate) fn holds(self, given: &str, wanted: &Pattern, facts: &dyn Facts) -> bool {
        match self {
            Self::Like => wanted.matches(given, facts),
            Self::Arn => wanted
                .tokens(facts)
                .is_some_and(|tokens| arn_glob(&tokens, given)),
            _ => wanted
                .literal(facts)
                .is_some_and(|wanted| self.compare(given, &wanted)),
        }
    }

    fn compare(self, given: &str, wanted: &str) -> bool {
        match self {
            Self::Text => given == wanted,
            Self::TextAnyCase => given.to_lowercase() == wanted.to_lowercase(),
            Self::Bool => given.eq_ignore_ascii_case(wanted),
            Self::Number(relation) => ordered(number(given), number(wanted), relation),
            Self::Date(relation) => ordered(date(given), date(wanted), relation),
            Self::Binary => {
                let bytes = |text: &str| STANDARD.decode(text).ok();
                bytes(given).is_some() && bytes(given) == bytes(wanted)
            }
            Self::Ip => match (given.parse::<IpAddr>(), block(wanted)) {
                (Ok(address), Some(block)) => block.contains(&address),
                _ => false,
            },
            Self::Like | Self::Arn | Self::Null => false,
        }
    }

    /// Whether this is a valid value for the comparison, as far as can be known without a request.
    pub(crate) fn accepts(self, wanted: &str) -> bool {
        if wanted.contains("${") {
            return true;
        }
        match self {
            Self::Number(_) => number(wanted).is_some(),
            Self::Date(_) => is_date(wanted),
            Self::Bool | Self::Null => {
                wanted.eq_ignore_ascii_case("true") || wanted.eq_ignore_ascii_case("false")
            }
            Self::Binary => STANDARD.decode(wanted).is_ok(),
            Self::Ip => block(wanted).is_some(),
            Self::Text | Self::TextAnyCase | Self::Like | Self::Arn => true,
        }
    }
}

fn ordered<T: PartialOrd>(given: Option<T>, wanted: Option<T>, relation: Relation) -> bool {
    match (given, wanted) {
        (Some(given), Some(wanted)) => given
            .partial_cmp(&wanted)
            .is_some_and(|order| relation.holds(order)),
        _ => false,
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
}

/// Parses a date to nanoseconds since the epoch: one of the W3C's ISO 8601 profiles, or seconds since the epoch.
fn date(text: &str) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    if let Ok(seconds) = text.parse::<i64>()
        && text.len() != 4
    {
        return Some(i128::from(seconds) * SECOND);
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_nanosecond());
    }
    let day = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    let date: jiff::civil::DateTime = match day.strip_suffix('Z').unwrap_or(&day).parse() {
        Ok(at) => at,
        Err(_) => day.parse::<jiff::civil::Date>().ok()?.into(),
    };
    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_nanosecond())
}

/// Whether AWS accepts the text as a date: seconds since the epoch, or ISO 8601 with any parts, such as `01T` or
/// `2016-12-13t2:00:00.5+23`. An accepted date that is not a moment in time matches none.
fn is_date(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    if !text.contains(['t', '-']) {
        return text.parse::<i64>().is_ok_and(|seconds| seconds >= 0);
    }
    let (day, time) = text.split_once('t').unwrap_or((&text, ""));
    let within = |part: &str, range: std::ops::RangeInclusive<i64>| {
        part.parse()
            .is_ok_and(|number: i64| range.contains(&number))
    };
    let (sign, day) = day.strip_prefix('-').map_or(("", day), |day| ("-", day));
    let mut parts = day.split('-');
    let year = format!("{sign}{}", parts.next().unwrap_or_default());
    within(&year, -292_275_054..=292_278_993)
        && parts.next().is_none_or(|month| within(month, 1..=12))
        && parts.next().is_none_or(|day| within(day, 1..=31))
        && parts.next().is_none()
        && is_time(time)
}

/// Whether this is a time: hours, minutes, and seconds with a fraction and a zone.
fn is_time(text: &str) -> bool {
    let within = |part: &str, most: u64| part.parse().is_ok_and(|number: u64| number <= most);
    let mut parts = text.splitn(3, ':');
    let hours = parts.next().unwrap_or_default();
    let minutes = parts.next();
    let Some(rest) = parts.next() else {
        return (hours.is_empty() || within(hours, 23)) && minutes.is_none_or(|it| within(it, 59));
    };
    let (clock, zone) = match rest.find(['z', '+', '-']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let two = |part: &str, most| part.len() == 2 && within(part, most);
    let zone_fits = match zone.split_at_checked(1) {
        None => true,
        Some(("z", rest)) => rest.is_empty(),
        Some((_, offset)) => {
            let (hours, minutes) = offset.split_once(':').unwrap_or((offset, "00"));
            two(hours, 23) && two(minutes, 59)
        }
    };
    within(hours, 23)
        && minutes.is_some_and(|it| within(it, 59))
        && within(seconds, 59)
        && within(fraction, 999_999_999)
        && zone_fits
}

fn block(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
