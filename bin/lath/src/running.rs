//! The file in which a running `lath serve` describes itself for the other commands.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::private_file;

/// The description of a running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The process id.
    pub(crate) pid: u32,
    /// The URL of the AWS APIs.
    pub(crate) endpoint: String,
    /// The URL of the metrics.
    pub(crate) metrics: String,
    /// Its region; with several regions, the home of the global services.
    pub(crate) region: String,
    /// Its account.
    pub(crate) account: String,
    /// The address of the authoritative DNS server.
    #[serde(default)]
    pub(crate) dns: String,
    /// The regions that have their own processes and data directories; empty for a single region.
    #[serde(default)]
    pub(crate) regions: Vec<String>,
}

/// The directory of pins, sockets, locks and records.
pub(crate) fn run_dir(data_dir: &Path) -> PathBuf {
    lath_fabric::run_dir(data_dir)
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("serve.json")
}

/// Removes files (sockets, locks, records) that ended processes left in a run directory, and its empty directories.
/// Pins are mounts: their makers remove them.
///
/// # Errors
/// When a file cannot be removed.
pub(crate) fn sweep(run_dir: &Path, goes: impl Fn(&Path) -> bool) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(run_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            // A directory that is not empty is still needed by a namespace or a running instance.
            let _ = std::fs::remove_dir(&path);
        } else if goes(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

impl Running {
    /// The data directories that contain instances.
    pub(crate) fn data_dirs(&self, data_dir: &Path) -> Vec<PathBuf> {
        if self.regions.is_empty() {
            return vec![data_dir.to_owned()];
        }
        let of = |region: &String| data_dir.join(region);
        self.regions.iter().map(of).collect()
    }

    /// Writes the file completely or not at all.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        private_file::write_anyway(&file(data_dir), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the file that the last server of this data directory wrote.
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
                "{} is damaged: start `lath serve`, which rewrites it",
                path.display()
            )
        })
    }
}
