//! Looking at a file in a process of its own: the storage engine may panic, abort or never end on a damaged
//! one, and who starts must be able to say so.

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use lath_store::Report;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::cli;
use crate::output;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What [`lath_store::inspect`] says of a state.
///
/// # Errors
/// When no process can be started.
pub(crate) async fn inspect_state(file: &Path) -> anyhow::Result<Report> {
    inspect("inspect-state", file, |fault| Report {
        faults: vec![fault],
        ..Report::default()
    })
    .await
}

/// What [`lath_observe::inspect`] says of an archive.
///
/// # Errors
/// When no process can be started.
pub(crate) async fn inspect_archive(file: &Path) -> anyhow::Result<lath_observe::ArchiveReport> {
    inspect("inspect-archive", file, |fault| {
        lath_observe::ArchiveReport {
            faults: vec![fault],
            ..lath_observe::ArchiveReport::default()
        }
    })
    .await
}

async fn inspect<R: DeserializeOwned>(
    command: &str,
    file: &Path,
    of_fault: impl Fn(String) -> R,
) -> anyhow::Result<R> {
    let child = Command::new("/proc/self/exe")
        .arg0("lath")
        .arg(command)
        .arg(file)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = match tokio::time::timeout(PATIENCE, child).await {
        Ok(ended) => ended.context("no process can be started to look at the state")?,
        Err(_) => {
            return Ok(of_fault(
                "the storage engine does not come to an end".into(),
            ));
        }
    };
    let report = serde_json::from_slice(&ended.stdout).ok();
    Ok(report.unwrap_or_else(|| {
        of_fault(format!(
            "the storage engine cannot read it ({})",
            ended.status
        ))
    }))
}

/// `lath inspect-state FILE`.
///
/// # Errors
/// When the report cannot be printed.
pub(crate) fn inspect_state_main(flags: &cli::Inspect) -> anyhow::Result<ExitCode> {
    print(&lath_store::inspect(&flags.file, &crate::services::kinds()))
}

/// `lath inspect-archive FILE`.
///
/// # Errors
/// When the report cannot be printed.
pub(crate) fn inspect_archive_main(flags: &cli::Inspect) -> anyhow::Result<ExitCode> {
    print(&lath_observe::inspect(&flags.file))
}

fn print(report: &impl Serialize) -> anyhow::Result<ExitCode> {
    output::print(&serde_json::to_string(report)?)?;
    Ok(ExitCode::SUCCESS)
}
