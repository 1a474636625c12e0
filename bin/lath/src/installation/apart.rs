//! Inspects a file in a separate process: on a damaged file the storage engine may panic, abort or never return, and
//! the start must survive to report it.

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

/// The time limit of an inspection.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs [`lath_store::inspect`] on a state.
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

/// Runs [`lath_cloudwatch::inspect`] on an archive.
///
/// # Errors
/// When no process can be started.
pub(crate) async fn inspect_archive(file: &Path) -> anyhow::Result<lath_cloudwatch::ArchiveReport> {
    inspect("inspect-archive", file, |fault| {
        lath_cloudwatch::ArchiveReport {
            faults: vec![fault],
            ..lath_cloudwatch::ArchiveReport::default()
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
        Ok(ended) => ended.context("no process can be started to inspect the state")?,
        Err(_) => {
            return Ok(of_fault("the storage engine does not return".into()));
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
    print(&lath_cloudwatch::inspect(&flags.file))
}

fn print(report: &impl Serialize) -> anyhow::Result<ExitCode> {
    output::print(&serde_json::to_string(report)?)?;
    Ok(ExitCode::SUCCESS)
}
