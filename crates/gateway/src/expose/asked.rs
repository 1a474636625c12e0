//! What annotations of Services ask for, and which Services the controller's selector finds.

use std::collections::BTreeMap;

use super::{EXPOSE, HOSTNAME, LISTENERS, LONGEST_TTL, MOST_NAMES, Names, TTL, USUAL_TTL};
use crate::settings::Settings;
use crate::world::{Service, ServicePort};

/// Reads the controller's selector, in the form of `kubectl -l`: `a=b,c!=d,e,!f`.
///
/// # Errors
/// What is wrong with it.
pub fn selector(text: &str) -> Result<Vec<(String, Option<String>, bool)>, String> {
    let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    let parts = parts.map(|part| {
        let (key, value, wanted) = if let Some((key, value)) = part.split_once("!=") {
            (key, Some(value), false)
        } else if let Some((key, value)) = part.split_once('=') {
            (key, Some(value.trim_start_matches('=')), true)
        } else if let Some(key) = part.strip_prefix('!') {
            (key, None, false)
        } else {
            (part, None, true)
        };
        let key = key.trim();
        let good = |it: char| it.is_ascii_alphanumeric() || "-_./".contains(it);
        if key.is_empty() || !key.chars().all(good) {
            return Err(format!(
                "{part:?}: give KEY=VALUE, KEY!=VALUE, KEY or !KEY, with commas between"
            ));
        }
        Ok((key.to_owned(), value.map(|it| it.trim().to_owned()), wanted))
    });
    parts.collect()
}

fn selected(settings: &Settings, labels: &BTreeMap<String, String>) -> bool {
    let selector = &settings.discover_selector;
    let mut all = selector.iter();
    !selector.is_empty()
        && all.all(|(key, value, wanted)| {
            let label = labels.get(key);
            let found = match value {
                Some(value) => label == Some(value),
                None => label.is_some(),
            };
            found == *wanted
        })
}

/// Whether a Service is to be a service of Lattice: what its annotation says, else what the selector says.
pub(super) fn is_exposed(settings: &Settings, service: &Service) -> bool {
    match service.annotations.get(EXPOSE).map(String::as_str) {
        Some("true") => true,
        Some(_) => false,
        None => selected(settings, &service.labels),
    }
}

/// Seconds, or a duration such as `1m30s`.
fn ttl(text: &str) -> Result<i64, String> {
    let wrong = || {
        format!(
            "{TTL}: {text:?} is no time to live (seconds, or a duration such as 1m; 1 s to 7 days)"
        )
    };
    let mut seconds: i64 = 0;
    let mut number: Option<i64> = None;
    for letter in text.trim().chars() {
        if let Some(digit) = letter.to_digit(10) {
            let more = number.unwrap_or_default().checked_mul(10);
            number = more.and_then(|it| it.checked_add(i64::from(digit)));
            number.ok_or_else(wrong)?;
            continue;
        }
        let unit = match letter {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let part = number.take().and_then(|it| it.checked_mul(unit));
        seconds = part
            .and_then(|it| seconds.checked_add(it))
            .ok_or_else(wrong)?;
    }
    seconds = seconds.saturating_add(number.unwrap_or_default());
    match seconds {
        1..=LONGEST_TTL => Ok(seconds),
        _ => Err(wrong()),
    }
}

pub(super) fn names(annotations: &BTreeMap<String, String>) -> Result<Names, String> {
    let mut names = Names {
        ttl: USUAL_TTL,
        ..Names::default()
    };
    let text = annotations
        .get(HOSTNAME)
        .map(String::as_str)
        .unwrap_or_default();
    for name in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let good = |label: &str| {
            let mut letters = label.bytes();
            (1..=63).contains(&label.len())
                && letters.all(|it| {
                    it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-' || it == b'_'
                })
        };
        // With what is put before it the record of its owner has to be a name, too.
        if name.len() > 240 || !name.contains('.') || !name.split('.').all(good) {
            return Err(format!(
                "{HOSTNAME}: {name:?} is no name for a record (without wildcards)"
            ));
        }
        names.hostnames.insert(name);
    }
    if names.hostnames.len() > MOST_NAMES {
        return Err(format!("{HOSTNAME}: more than {MOST_NAMES} names"));
    }
    if let Some(text) = annotations.get(TTL) {
        names.ttl = ttl(text)?;
    }
    Ok(names)
}

/// The ports that listeners have, with those of the Service that they lead to.
pub(super) fn ports<'a>(
    service: &'a Service,
    asked: Option<&String>,
) -> Result<Vec<(i32, &'a ServicePort)>, String> {
    let Some(asked) = asked else {
        return Ok(service.ports.iter().map(|it| (it.port, it)).collect());
    };
    let mut ports: Vec<(i32, &ServicePort)> = Vec::new();
    for part in asked.split(',').map(str::trim) {
        let (listener, to) = part
            .split_once(':')
            .map_or((part, None), |(a, b)| (a, Some(b)));
        let number = listener.parse::<u16>().ok().filter(|it| *it > 0);
        let number = number.ok_or_else(|| {
            format!("{LISTENERS}: {part:?} is not PORT, or PORT:PORT_OF_THE_SERVICE")
        })?;
        let mut all = service.ports.iter();
        let port = match to {
            None => all.next(),
            Some(to) => all.find(|it| it.name == to || it.port.to_string() == to),
        };
        let port =
            port.ok_or_else(|| format!("{LISTENERS}: the Service has no such port: {part:?}"))?;
        if ports.iter().any(|(it, _)| *it == i32::from(number)) {
            return Err(format!("{LISTENERS}: {number} is there twice"));
        }
        ports.push((i32::from(number), port));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_seconds_or_durations() {
        for (text, want) in [
            ("60", Some(60)),
            ("1m", Some(60)),
            ("1h30m", Some(5400)),
            ("1m5", Some(65)),
        ] {
            assert_eq!(ttl(text).ok(), want, "{text}");
        }
        for text in ["", "0", "-1", "1d", "m", "99999999999999999999", "8000000h"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selectors_are_those_of_kubectl() {
        let parts = selector("a=b, c!=d,e,!f/g").unwrap();
        let owned = |key: &str, value: Option<&str>, wanted| {
            (key.to_owned(), value.map(str::to_owned), wanted)
        };
        let want = [
            owned("a", Some("b"), true),
            owned("c", Some("d"), false),
            owned("e", None, true),
            owned("f/g", None, false),
        ];
        assert_eq!(parts, want);
        assert!(selector("a in (b)").is_err());
        assert_eq!(selector(""), Ok(Vec::new()));
    }
}
