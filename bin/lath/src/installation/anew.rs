//! Starting a region with an empty state. Nothing is deleted: the old files move aside.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lath_store::state_file;

use super::{RegionDir, aside, evidence, inspect_state};

/// The files of a state, in the order in which they move. The mark is last: it proves that there was a state until
/// everything else has moved.
const MOVED: [&str; 9] = [
    "state.redb",
    "archive.redb",
    "snapshot.cbor",
    "health-checks.json",
    "instances",
    "instances-removed",
    "serve.json",
    "state.reserve",
    "state.mark",
];

/// The result of `--start-anew` for a region.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Anew {
    /// Its state is intact, or it never had one: nothing was done.
    NotNeeded,
    /// The old files are in this directory.
    SetAside(PathBuf),
}

/// Whether the region's state is missing or damaged, so that `--start-anew` applies to it.
///
/// # Errors
/// When the directory cannot be read, or Lath is running there.
pub(crate) async fn is_needed(region_dir: RegionDir<'_>) -> anyhow::Result<bool> {
    let file = state_file(region_dir.data_dir);
    if !file.exists() {
        return Ok(region_dir.was_served || !evidence(region_dir.data_dir)?.is_empty());
    }
    let report = inspect_state(&file).await?;
    // A state in use works: a running Lath reads and writes it.
    Ok(!report.in_use && !report.is_whole())
}

/// Ends running instances and moves the state and the files that depend on it aside. Keys stay, because clients use
/// them. The next node removes the networks, as no snapshot contains them.
///
/// # Errors
/// When a file could not be moved. Files that were moved stay aside; the next try moves the rest.
pub(crate) async fn set_aside_state(region_dir: RegionDir<'_>) -> anyhow::Result<Anew> {
    if !is_needed(region_dir).await? {
        tracing::warn!(
            region = region_dir.region,
            "--start-anew has nothing to do: the state is intact and is kept"
        );
        return Ok(Anew::NotNeeded);
    }
    let killed = lath_instance::kill_all(region_dir.data_dir, &lath_clock::Clock::system());
    let killed = match killed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        killed => killed.context("running instances cannot be ended")?,
    };
    let aside = aside(region_dir.data_dir);
    move_all(region_dir.data_dir, &aside)
        .with_context(|| format!("the old state cannot be moved to {}", aside.display()))?;
    tracing::warn!(
        region = region_dir.region,
        aside = %aside.display(),
        instances_ended = killed,
        "the region starts with an empty state: the old one was moved aside"
    );
    Ok(Anew::SetAside(aside))
}

fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)?;
    for name in MOVED {
        match fs::rename(from.join(name), to.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::File::open(to)?.sync_all()?;
    fs::File::open(from)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_shows_a_state_moves_and_keys_stay() {
        let directory = tempfile::tempdir().unwrap();
        for name in MOVED {
            let path = directory.path().join(name);
            if name.starts_with("instances") {
                fs::create_dir_all(path.join("i-0123456789abcdef0")).unwrap();
            } else {
                fs::write(path, name).unwrap();
            }
        }
        fs::write(directory.path().join("root-key.json"), "key").unwrap();
        assert!(!evidence(directory.path()).unwrap().is_empty());
        let to = aside(directory.path());
        move_all(directory.path(), &to).unwrap();
        assert!(evidence(directory.path()).unwrap().is_empty());
        assert_eq!(fs::read_dir(&to).unwrap().count(), MOVED.len());
        assert!(directory.path().join("root-key.json").exists());
    }
}
