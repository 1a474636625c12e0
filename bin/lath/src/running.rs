//! What a running `lath serve` says of itself, for the other commands: a file in its run directory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::private_file;

/// What the other commands need to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its process.
    pub(crate) pid: u32,
    /// Where the AWS APIs are.
    pub(crate) endpoint: String,
    /// Where metrics are.
    pub(crate) metrics: String,
    /// Its region; of several, the home of the global services.
    pub(crate) region: String,
    /// Its account.
    pub(crate) account: String,
    /// Where public hosted zones are answered for.
    #[serde(default)]
    pub(crate) dns: String,
    /// Every region of this machine, where each has processes and a data directory of its own.
    #[serde(default)]
    pub(crate) regions: Vec<String>,
}

/// Pins, sockets and marks of what runs.
pub(crate) fn run_dir(data_dir: &Path) -> PathBuf {
    lath_fabric::run_dir(data_dir)
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("serve.json")
}

/// Removes files (sockets, locks, records) of a run directory that ended processes have left, and its empty
/// directories. Pins are mounts, and whoever made them removes them.
///
/// # Errors
/// When something cannot be removed.
pub(crate) fn sweep(run_dir: &Path, goes: impl Fn(&Path) -> bool) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(run_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            // One that is not empty is still needed: by a namespace, or by an instance that is kept.
            let _ = std::fs::remove_dir(&path);
        } else if goes(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

impl Running {
    /// The data directories that hold instances.
    pub(crate) fn data_dirs(&self, data_dir: &Path) -> Vec<PathBuf> {
        if self.regions.is_empty() {
            return vec![data_dir.to_owned()];
        }
        let of = |region: &String| data_dir.join(region);
        self.regions.iter().map(of).collect()
    }

    /// Leaves the file: complete, or not at all.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        private_file::write_anyway(&file(data_dir), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads what the newest server of this data directory left.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = file(data_dir);
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "cannot read {}: has `lath serve` been started with this data directory (--data-dir)?",
                path.display()
            )
        })?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is damaged: start `lath serve`, which writes it anew",
                path.display()
            )
        })
    }
}
