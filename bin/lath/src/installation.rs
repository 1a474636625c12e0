//! A data directory: whose it is, whether its state is there and whole, and what is done when it is not.
//!
//! Absent is not empty: where anything shows that there was a state, a start without it would take every
//! instance for a stranger and remove it. Such a start is refused, with an exit code of its own.

mod anew;
mod apart;
mod evidence;
mod identity;

use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_store::{Identity, Opening, Report, Store, state_file};

pub(crate) use anew::{Anew, is_needed, set_aside_state};
pub(crate) use apart::{inspect_archive, inspect_archive_main, inspect_state, inspect_state_main};
pub(crate) use evidence::evidence;
pub(crate) use identity::load as installation_id;

/// The exit code when the state is missing, damaged or another's.
pub(crate) const REFUSED: u8 = 3;

/// How long a state that another process still holds is waited for: a killed one needs a moment.
const TRIES: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
const DAMAGED: &str = "its state is damaged";
/// How many damaged records a message names.
const NAMED: usize = 5;

/// The state is missing, damaged or another's. Nothing was touched.
#[derive(Debug)]
pub(crate) struct Refused {
    /// For clients of the region: no paths, no ids.
    pub(crate) summary: &'static str,
    /// For who runs Lath: what is wrong, where, and what to do.
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

/// A region's place in an installation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat<'a> {
    /// The directory of the installation.
    pub(crate) installation: &'a Path,
    /// The directory of the region; of one region alone, the same.
    pub(crate) data_dir: &'a Path,
    pub(crate) region: &'a str,
    /// Whether the installation remembers that the region was served.
    pub(crate) was_served: bool,
    /// Whether it was just decided that the region starts anew.
    pub(crate) anew: bool,
}

/// Opens the state of a region, or makes it at the region's first start.
///
/// # Errors
/// [`Refused`] when it is missing though there was one, damaged, or another's.
pub(crate) async fn open_state(seat: Seat<'_>) -> anyhow::Result<Arc<dyn Store>> {
    let file = state_file(seat.data_dir);
    let report = look(seat, &file).await?;
    make_private(seat.data_dir)?;
    let known = report.as_ref().and_then(|report| report.identity.as_ref());
    let installation = identity::load_or_create(
        seat.installation,
        known.map(|identity| identity.installation.as_str()),
    )?;
    let opening = Opening {
        identity: Some(Identity {
            installation,
            region: seat.region.to_owned(),
        }),
        mend: report.is_some_and(|report| report.mendable),
    };
    if opening.mend {
        tracing::warn!(path = %file.display(), "damage outside of the records is mended");
    }
    let directory = seat.data_dir.to_owned();
    let opened =
        tokio::task::spawn_blocking(move || lath_store::open_dir_with(&directory, &opening));
    opened.await?.map_err(|error| refusal(&file, error))
}

/// A directory that holds secrets.
fn make_private(directory: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))
}

/// What is in the file; nothing at a first start.
async fn look(seat: Seat<'_>, file: &Path) -> anyhow::Result<Option<Report>> {
    if !file.exists() {
        if seat.anew {
            return Ok(None);
        }
        let mut shown = evidence(seat.data_dir)?;
        if seat.was_served {
            shown.push("cells.json, which names the region as served".into());
        }
        if shown.is_empty() {
            return Ok(None);
        }
        return Err(missing(file, &shown, seat.region).into());
    }
    for _ in 0..TRIES {
        let report = inspect_state(file).await?;
        if !report.in_use {
            return whole(file, report, seat).map(Some);
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
            "the state {} is missing, and there was one: there is {}. Nothing was touched, and instances run on. Put the file back from a backup; or, to begin with an empty state, start with --start-anew {region}: that ends what still runs and moves what is left aside",
            file.display(),
            shown.join(", ")
        ),
    )
}

fn whole(file: &Path, report: Report, seat: Seat<'_>) -> anyhow::Result<Report> {
    if report.is_whole() {
        return Ok(report);
    }
    Err(Refused::new(DAMAGED, format!(
        "the state {} is damaged: {}. Nothing was touched, and instances run on. `lath doctor --data-dir {}` says more. Put the file back from a backup; {}or, to begin with an empty state, start with --start-anew {}: that ends what still runs and moves what is left aside",
        file.display(),
        damage(&report),
        seat.installation.display(),
        quarantine_hint(&report, seat.installation),
        seat.region
    ))
    .into())
}

fn quarantine_hint(report: &Report, installation: &Path) -> String {
    if report.damaged.is_empty() {
        return String::new();
    }
    format!(
        "or go on without the damaged records, which are kept aside: `lath doctor --data-dir {} --quarantine`; ",
        installation.display()
    )
}

/// What is wrong, in one line.
pub(crate) fn damage(report: &Report) -> String {
    let records = report.damaged.iter().take(NAMED);
    let mut lines: Vec<String> = records
        .map(|it| format!("the record {}: {}", it.key, it.reason))
        .collect();
    if report.damaged.len() > NAMED {
        lines.push(format!("{} records more", report.damaged.len() - NAMED));
    }
    lines.extend(report.faults.iter().cloned());
    lines.join("; ")
}

/// Another's state, and one that went bad between the look and the opening, are refusals too.
fn refusal(file: &Path, error: lath_store::StoreError) -> anyhow::Error {
    match &error {
        lath_store::StoreError::Foreign { .. } => Refused::new("its state is another's", format!(
            "{error}. Nothing was touched. Name its own --data-dir and --region, or put the right file in its place"
        ))
        .into(),
        lath_store::StoreError::Damaged { .. } => Refused::new(DAMAGED, error.to_string()).into(),
        _ => anyhow::Error::from(error)
            .context(format!("cannot open the state {}", file.display())),
    }
}

/// A name for a directory of things that were put aside now.
fn aside(directory: &Path) -> PathBuf {
    let now = lath_model::Timestamp::now().as_millis();
    directory.join(format!("set-aside-{now}"))
}

/// Takes the damaged records out of a region's state.
///
/// # Errors
/// When Lath runs, or the state cannot be opened at all.
pub(crate) fn quarantine(data_dir: &Path) -> anyhow::Result<lath_store::Quarantined> {
    let file = state_file(data_dir);
    lath_store::quarantine(&file, &crate::services::kinds(), &aside(data_dir))
        .with_context(|| format!("the records of {} cannot be taken out", file.display()))
}
