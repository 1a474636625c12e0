use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;

/// Files that exist only if there was a state.
const FILES: [(&str, &str); 8] = [
    ("state.mark", "the state's high-water mark"),
    ("state.reserve", "the space reserved for the state"),
    ("session-key", "the key of its sessions"),
    ("archive.redb", "its logs and metrics"),
    ("snapshot.cbor", "its node's last snapshot"),
    ("health-checks.json", "the verdicts of its health checks"),
    ("serve.json", "the record of its last server"),
    ("cells.json", "the list of its regions"),
];

/// Directories with one entry per instance.
const INSTANCES: [&str; 3] = ["instances", "instances-removed", "run/instances"];

/// The evidence that a data directory had a state, in words. A root key alone is none: machines that share one get it
/// before their first start.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn evidence(data_dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut shown = Vec::new();
    for (name, what) in FILES {
        let path = data_dir.join(name);
        let there = path.try_exists();
        if there.with_context(|| format!("cannot check for {}", path.display()))? {
            shown.push(format!("{name} ({what})"));
        }
    }
    for name in INSTANCES {
        let path = data_dir.join(name);
        let count = entries(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if count > 0 {
            shown.push(format!("{name} with {count} of its instances"));
        }
    }
    Ok(shown)
}

fn entries(directory: &Path) -> io::Result<usize> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_state_leaves_shows_that_there_was_one() {
        for name in FILES.map(|(name, _)| name) {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("root-key.json"), "{}").unwrap();
            fs::create_dir(directory.path().join("instances")).unwrap();
            assert_eq!(evidence(directory.path()).unwrap(), Vec::<String>::new());
            fs::write(directory.path().join(name), "").unwrap();
            let shown = evidence(directory.path()).unwrap();
            assert!(shown[0].starts_with(name), "{shown:?}");
        }
        for name in INSTANCES {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir_all(directory.path().join(name).join("i-1")).unwrap();
            let shown = evidence(directory.path()).unwrap();
            assert_eq!(shown, [format!("{name} with 1 of its instances")]);
        }
    }
}
