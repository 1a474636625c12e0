//! Beginning with an empty state where there was one. Nothing is deleted: what is left moves aside.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lath_store::state_file;

use super::{Seat, aside, evidence, inspect_state};

/// What belongs to a state, in the order in which it moves. The mark is last: as long as something is left,
/// it shows.
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

/// What `--start-anew` did to a region.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Anew {
    /// Its state is whole, or it never had one: nothing was done.
    NotNeeded,
    /// What was left is there.
    SetAside(PathBuf),
}

/// Whether the region's state is missing or damaged, so that `--start-anew` applies to it.
///
/// # Errors
/// When the directory cannot be read, or Lath runs there.
pub(crate) async fn is_needed(seat: Seat<'_>) -> anyhow::Result<bool> {
    let file = state_file(seat.data_dir);
    if !file.exists() {
        return Ok(seat.was_served || !evidence(seat.data_dir)?.is_empty());
    }
    let report = inspect_state(&file).await?;
    // In use, it is read and written.
    Ok(!report.in_use && !report.is_whole())
}

/// Ends the instances that still run and moves the state and all that hangs on it aside. Keys stay: clients
/// have them. The network is removed by the next node, which finds it in no snapshot.
///
/// # Errors
/// What could not be moved. What was moved before stays aside; the next try moves the rest.
pub(crate) async fn set_aside_state(seat: Seat<'_>) -> anyhow::Result<Anew> {
    if !is_needed(seat).await? {
        tracing::warn!(
            region = seat.region,
            "--start-anew has nothing to do: the state is whole, and is kept"
        );
        return Ok(Anew::NotNeeded);
    }
    let killed = lath_instance::kill_all(seat.data_dir);
    let killed = match killed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        killed => killed.context("instances that still run cannot be ended")?,
    };
    let aside = aside(seat.data_dir);
    move_all(seat.data_dir, &aside)
        .with_context(|| format!("the old state cannot be moved to {}", aside.display()))?;
    tracing::warn!(
        region = seat.region,
        aside = %aside.display(),
        instances_ended = killed,
        "the region starts anew: its old state is kept aside"
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
