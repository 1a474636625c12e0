//! The objectives of a drill.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits for the worst repetition. Unset objectives are ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    /// From the fault until the system reports it.
    pub detection: Option<Duration>,
    /// From the fault until every request succeeds again in time.
    pub recovery: Option<Duration>,
    /// Failed requests in one repetition.
    pub failed: Option<u64>,
    /// Late responses in one repetition.
    pub late: Option<u64>,
}

/// The text is not an objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no objective: detection=DURATION, recovery=DURATION, failed=COUNT or late=COUNT, such as recovery=500ms"
)]
pub struct InvalidObjective(pub String);

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: a number and ms, s or m, such as 500ms")]
pub struct InvalidDuration(pub String);

/// Parses a duration such as `500ms`, `2s`, `1.5s` or `3m`; at most a day.
///
/// # Errors
/// When the text cannot be parsed.
pub fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    let wrong = || InvalidDuration(text.chars().take(32).collect());
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * scale;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}

impl std::fmt::Display for Objectives {
    /// Prints for example `recovery within 2000 ms, at most 0 failed`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |name: &str, bound: Option<Duration>| {
            bound.map(|bound| format!("{name} within {} ms", bound.as_millis()))
        };
        let number =
            |name: &str, bound: Option<u64>| bound.map(|most| format!("at most {most} {name}"));
        let all = [
            time("detection", self.detection),
            time("recovery", self.recovery),
            number("failed", self.failed),
            number("late", self.late),
        ];
        let words: Vec<String> = all.into_iter().flatten().collect();
        f.write_str(if words.is_empty() { "nothing" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}

impl Objectives {
    /// Sets one objective, such as `recovery=2s`.
    ///
    /// # Errors
    /// When the text cannot be parsed.
    pub fn set(&mut self, text: &str) -> Result<(), InvalidObjective> {
        let wrong = || InvalidObjective(text.chars().take(64).collect());
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        match name {
            "detection" => self.detection = Some(duration(value).map_err(|_| wrong())?),
            "recovery" => self.recovery = Some(duration(value).map_err(|_| wrong())?),
            "failed" => self.failed = Some(value.parse().map_err(|_| wrong())?),
            "late" => self.late = Some(value.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        for (given, want) in [
            ("500ms", Some(500)),
            ("2s", Some(2000)),
            ("1.5s", Some(1500)),
            ("2m", Some(120_000)),
            ("0s", Some(0)),
            ("-1s", None),
            ("NaNs", None),
            ("infs", None),
            ("s", None),
            ("5", None),
            ("5h", None),
        ] {
            let got = duration(given).ok().map(|d| d.as_millis());
            assert_eq!(got, want, "{given}");
        }
    }

    #[test]
    fn objectives_are_read_or_refused() {
        let mut objectives = Objectives::default();
        for text in ["recovery=1s", "failed=0", "detection=200ms", "late=3"] {
            objectives.set(text).unwrap();
        }
        assert_eq!(objectives.recovery, Some(Duration::from_secs(1)));
        assert_eq!(objectives.failed, Some(0));
        let words =
            "detection within 200 ms, recovery within 1000 ms, at most 0 failed, at most 3 late";
        assert_eq!(objectives.to_string(), words);
        assert_eq!(Objectives::default().to_string(), "nothing");
        for text in ["", "recovery", "recovery=", "failed=-1", "colour=red"] {
            assert!(objectives.set(text).is_err(), "{text}");
        }
    }
}
