//! A data directory: its identity, the check that its state exists and is intact, and the refusal to start otherwise.
//!
//! An absent state is not an empty one: a start without the state would find every instance unknown and remove it.
//! So when anything shows that there was a state, a start without it is refused with a separate exit code.

mod anew;
mod apart;
pub(crate) mod authority;
mod evidence;
mod identity;

use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_clock::Clock;
use lath_store::{Identity, Opening, Report, Store, state_file};

pub(crate) use anew::{Anew, is_needed, set_aside_state};
pub(crate) use apart::{inspect_archive, inspect_archive_main, inspect_state, inspect_state_main};
pub(crate) use evidence::evidence;
pub(crate) use identity::load as installation_id;

/// The exit code when the state is missing, damaged or another's.
pub(crate) const REFUSED: u8 = 3;

/// How often a state that another process has open is tried: a killed process needs a moment to release it.
const TRIES: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
const DAMAGED: &str = "its state is damaged";
/// The number of damaged records that a message lists.
const NAMED: usize = 5;

/// The state is missing, damaged or another installation's. Nothing was changed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// For clients of the region: without paths and ids.
    pub(crate) summary: &'static str,
    /// For the operator: what is wrong, where, and what to do.
    pub(crate) text: String,
}

impl Refused {
    pub(crate) fn new(summary: &'static str, text: String) -> Self {
        Self { summary, text }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {}

/// A region within an installation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegionDir<'a> {
    /// The directory of the installation.
    pub(crate) installation: &'a Path,
    /// The directory of the region; for a single region the same as `installation`.
    pub(crate) data_dir: &'a Path,
    pub(crate) region: &'a str,
    /// Whether the list of regions says that the region has been served.
    pub(crate) was_served: bool,
    /// Whether its old state has just been set aside, so that it starts empty.
    pub(crate) anew: bool,
}

/// Opens a region's state. Creates it at the region's first start.
///
/// # Errors
/// [`Refused`] when an existing state is missing, damaged, or another installation's.
pub(crate) async fn open_state(region_dir: RegionDir<'_>) -> anyhow::Result<Arc<dyn Store>> {
    let file = state_file(region_dir.data_dir);
    let report = look(region_dir, &file).await?;
    make_private(region_dir.data_dir)?;
    let known = report.as_ref().and_then(|report| report.identity.as_ref());
    let installation = identity::load_or_create(
        region_dir.installation,
        known.map(|identity| identity.installation.as_str()),
    )?;
    let opening = Opening {
        identity: Some(Identity {
            installation,
            region: region_dir.region.to_owned(),
        }),
        repair: report.is_some_and(|report| report.repairable),
    };
    if opening.repair {
        tracing::warn!(path = %file.display(), "repairing damage outside of the records");
    }
    let directory = region_dir.data_dir.to_owned();
    let opened =
        tokio::task::spawn_blocking(move || lath_store::open_dir_with(&directory, &opening));
    opened.await?.map_err(|error| refusal(&file, error))
}

/// The directory contains secrets.
fn make_private(directory: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
}

/// Inspects the state file; `None` at a first start.
async fn look(region_dir: RegionDir<'_>, file: &Path) -> anyhow::Result<Option<Report>> {
    if !file.exists() {
        if region_dir.anew {
            return Ok(None);
        }
        let mut shown = evidence(region_dir.data_dir)?;
        if region_dir.was_served {
            shown.push("cells.json, which names the region as served".into());
        }
        if shown.is_empty() {
            return Ok(None);
        }
        return Err(missing(file, &shown, region_dir.region).into());
    }
    for _ in 0..TRIES {
        let report = inspect_state(file).await?;
        if !report.in_use {
            return whole(file, report, region_dir).map(Some);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    anyhow::bail!(
        "{} is in use by another process: is another lath running with this data directory?",
        file.display()
    )
}

fn missing(file: &Path, shown: &[String], region: &str) -> Refused {
    Refused::new(
        "its state is missing",
        format!(
            "the state {} is missing, but there was one, as these show: {}. Nothing was changed, and instances keep running. Restore the file from a backup; or, to start with an empty state, use --start-anew {region}: it ends running instances and moves the old files aside",
            file.display(),
            shown.join(", ")
        ),
    )
}

fn whole(file: &Path, report: Report, region_dir: RegionDir<'_>) -> anyhow::Result<Report> {
    if report.is_whole() {
        return Ok(report);
    }
    Err(Refused::new(DAMAGED, format!(
        "the state {} is damaged: {}. Nothing was changed, and instances keep running. `lath doctor --data-dir {}` shows details. Restore the file from a backup; {}or, to start with an empty state, use --start-anew {}: it ends running instances and moves the old files aside",
        file.display(),
        damage(&report),
        region_dir.installation.display(),
        quarantine_hint(&report, region_dir.installation),
        region_dir.region
    ))
    .into())
}

fn quarantine_hint(report: &Report, installation: &Path) -> String {
    if report.damaged.is_empty() {
        return String::new();
    }
    format!(
        "or continue without the damaged records, which are saved aside: `lath doctor --data-dir {} --quarantine`; ",
        installation.display()
    )
}

/// Lists the damage in one line.
pub(crate) fn damage(report: &Report) -> String {
    let records = report.damaged.iter().take(NAMED);
    let mut lines: Vec<String> = records
        .map(|it| format!("the record {}: {}", it.key, it.reason))
        .collect();
    if report.damaged.len() > NAMED {
        lines.push(format!("{} more records", report.damaged.len() - NAMED));
    }
    lines.extend(report.faults.iter().cloned());
    lines.join("; ")
}

/// A foreign state, and one that was damaged after the inspection, are refusals too.
fn refusal(file: &Path, error: lath_store::StoreError) -> anyhow::Error {
    match &error {
        lath_store::StoreError::Foreign { .. } => Refused::new("its state belongs to another installation", format!(
            "{error}. Nothing was changed. Use the --data-dir and --region that it belongs to, or restore the right file"
        ))
        .into(),
        lath_store::StoreError::Damaged { .. } => Refused::new(DAMAGED, error.to_string()).into(),
        _ => anyhow::Error::from(error)
            .context(format!("cannot open the state {}", file.display())),
    }
}

/// The path of a new directory for files that are set aside.
fn aside(directory: &Path) -> PathBuf {
    let now = Clock::system().now().as_millis();
    directory.join(format!("set-aside-{now}"))
}

/// Removes the damaged records from a region's state.
///
/// # Errors
/// When Lath is running, or the state cannot be opened at all.
pub(crate) fn quarantine(data_dir: &Path) -> anyhow::Result<lath_store::Quarantined> {
    let file = state_file(data_dir);
    lath_store::quarantine(&file, &crate::services::kinds(), &aside(data_dir)).with_context(|| {
        format!(
            "the damaged records of {} cannot be removed",
            file.display()
        )
    })
}
