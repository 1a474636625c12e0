//! Holds: a drill that kills a region wants it to stay dead for a while. It leaves a file with a deadline, so
//! that the region comes back whatever becomes of the drill, and of the supervisor.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lath_model::Timestamp;
use serde::Deserialize;

use super::process::Role;

/// No hold lasts longer than this after its file was written.
const LONGEST: Duration = Duration::from_secs(600);

/// What a drill writes.
#[derive(Debug, Deserialize)]
struct Hold {
    until: Until,
    what: What,
}

/// A moment.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Until {
    Millis(i64),
    Text(String),
}

/// Which processes of the region stay dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Region,
    Control,
    Node,
}

impl What {
    fn covers(self, role: Role) -> bool {
        match self {
            Self::Region => true,
            Self::Control => role == Role::Control,
            Self::Node => role == Role::Node,
        }
    }
}

fn file(faults: &Path, region: &str) -> PathBuf {
    faults.join(format!("hold-{region}.json"))
}

/// Whether a process is not to be started now. Removes what has expired or makes no sense.
pub(crate) fn holds(faults: &Path, region: &str, role: Role) -> bool {
    let path = file(faults, region);
    let Ok(bytes) = fs::read(&path) else {
        return false;
    };
    match serde_json::from_slice::<Hold>(&bytes)
        .ok()
        .map(|hold| (end(&hold, &path), hold))
    {
        Some((Some(end), hold)) if end > SystemTime::now() => hold.what.covers(role),
        _ => {
            // Whoever wrote it may have removed it.
            let _ = fs::remove_file(&path);
            false
        }
    }
}

/// When it ends: as it says, but not later than a while after it was written.
fn end(hold: &Hold, path: &Path) -> Option<SystemTime> {
    let millis = match &hold.until {
        Until::Millis(millis) => *millis,
        Until::Text(text) => Timestamp::parse_iso8601(text)?.as_millis(),
    };
    let said = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).ok()?);
    let written = fs::metadata(path).and_then(|file| file.modified()).ok()?;
    Some(said.min(written + LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_covers_what_it_names_until_it_ends() {
        let faults = tempfile::tempdir().unwrap();
        let path = file(faults.path(), "us-east-1");
        let soon = Timestamp::now().plus(Duration::from_secs(60));
        let (millis, text) = (soon.as_millis(), soon.to_string());
        for (name, given, want, kept) in [
            (
                "a region",
                format!(r#"{{"until":{millis},"what":"region"}}"#),
                [true, true],
                true,
            ),
            (
                "a node",
                format!(r#"{{"until":"{text}","what":"node"}}"#),
                [false, true],
                true,
            ),
            (
                "control",
                format!(r#"{{"until":{millis},"what":"control"}}"#),
                [true, false],
                true,
            ),
            (
                "one that is over",
                r#"{"until":1000,"what":"region"}"#.into(),
                [false, false],
                false,
            ),
            (
                "one before all time",
                r#"{"until":-1,"what":"region"}"#.into(),
                [false, false],
                false,
            ),
            (
                "one of nothing",
                format!(r#"{{"until":{millis},"what":"moon"}}"#),
                [false, false],
                false,
            ),
            ("no JSON", "until".into(), [false, false], false),
        ] {
            fs::write(&path, given).unwrap();
            let held =
                [Role::Control, Role::Node].map(|role| holds(faults.path(), "us-east-1", role));
            assert_eq!(held, want, "{name}");
            assert_eq!(path.exists(), kept, "{name}");
        }
    }

    #[test]
    fn no_hold_outlasts_ten_minutes() {
        let faults = tempfile::tempdir().unwrap();
        let path = file(faults.path(), "us-east-1");
        let far = Timestamp::now()
            .plus(Duration::from_secs(86_400))
            .as_millis();
        fs::write(&path, format!(r#"{{"until":{far},"what":"region"}}"#)).unwrap();
        assert!(holds(faults.path(), "us-east-1", Role::Node));
        let long_ago = SystemTime::now() - LONGEST;
        fs::File::open(&path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        assert!(!holds(faults.path(), "us-east-1", Role::Node));
        assert!(!path.exists());
    }
}
