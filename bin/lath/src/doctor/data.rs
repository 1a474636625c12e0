//! `lath doctor --data-dir`: checks a data directory, offline or beside a running Lath, and changes nothing.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use lath_cloudwatch::ArchiveReport;
use lath_secrets::{RootKey, SealingKey};
use lath_store::{Quarantined, Report, state_file};
use serde::Serialize;

use crate::cells;
use crate::cli::{self, Output};
use crate::installation::{self, REFUSED, authority, evidence, inspect_archive, inspect_state};
use crate::output;
use crate::running::Running;

/// The contents of a data directory.
#[derive(Debug, Default, Serialize)]
struct DataDirReport {
    directory: PathBuf,
    /// The installation's name.
    installation: Option<String>,
    /// Free space there, in bytes.
    free_bytes: u64,
    files: Vec<FileFinding>,
    regions: Vec<RegionReport>,
    /// Whether `lath serve` would start with all of it.
    whole: bool,
}

/// A small file, and what is wrong with it.
#[derive(Debug, Serialize)]
struct FileFinding {
    path: PathBuf,
    problem: Option<String>,
}

/// A region's directory.
#[derive(Debug, Default, Serialize)]
struct RegionReport {
    /// `None` in an installation of a single region.
    region: Option<String>,
    directory: PathBuf,
    state: Option<Report>,
    /// The evidence that there was a state, when it is missing.
    state_missing: Vec<String>,
    archive: Option<ArchiveReport>,
    /// States, archives and records that were set aside before.
    set_aside: Vec<PathBuf>,
    quarantined: Option<Quarantined>,
}

/// The exit code is 3 when something is missing or damaged.
pub(super) fn main(directory: &Path, flags: &cli::Doctor) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        directory.is_dir(),
        "{} is not a directory",
        directory.display()
    );
    let quarantined = if flags.quarantine {
        quarantine(directory)?
    } else {
        Vec::new()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let mut report = runtime.block_on(report(directory))?;
    for (place, done) in quarantined {
        let mut regions = report.regions.iter_mut();
        if let Some(region) = regions.find(|region| region.directory == place) {
            region.quarantined = Some(done);
        }
    }
    output::print(&match flags.output {
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
        Output::Text => report.text()?,
    })?;
    Ok(if report.whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(REFUSED)
    })
}

/// Removes the damaged records from every state that has some.
fn quarantine(directory: &Path) -> anyhow::Result<Vec<(PathBuf, Quarantined)>> {
    let mut done = Vec::new();
    for (_, place) in places(directory) {
        let file = state_file(&place);
        if !file.exists() {
            continue;
        }
        let report = lath_store::inspect(&file, &crate::services::kinds());
        anyhow::ensure!(
            !report.in_use,
            "Lath is running with {}: stop it first",
            place.display()
        );
        if !report.is_whole() {
            done.push((place.clone(), installation::quarantine(&place)?));
        }
    }
    anyhow::ensure!(
        !done.is_empty(),
        "no state in {} has damaged records",
        directory.display()
    );
    Ok(done)
}

/// The regions of an installation with their directories; a single region has no name here.
fn places(directory: &Path) -> Vec<(Option<String>, PathBuf)> {
    let cells = cells::regions_in(directory);
    if cells.is_empty() {
        return vec![(None, directory.to_owned())];
    }
    let place = |region: String| (Some(region.clone()), directory.join(region));
    cells.into_iter().map(place).collect()
}

async fn report(directory: &Path) -> anyhow::Result<DataDirReport> {
    let space = nix::sys::statvfs::statvfs(directory)
        .with_context(|| format!("cannot read the free space of {}", directory.display()))?;
    let mut report = DataDirReport {
        directory: directory.to_owned(),
        installation: installation::installation_id(directory).ok().flatten(),
        free_bytes: space.blocks_available() * space.fragment_size(),
        files: files(directory),
        ..DataDirReport::default()
    };
    for (region, place) in places(directory) {
        report.regions.push(region_report(region, place).await?);
    }
    let files_whole = report.files.iter().all(|file| file.problem.is_none());
    report.whole = files_whole && report.regions.iter().all(RegionReport::is_whole);
    Ok(report)
}

async fn region_report(region: Option<String>, place: PathBuf) -> anyhow::Result<RegionReport> {
    let (state, archive) = (state_file(&place), place.join("archive.redb"));
    let mut report = RegionReport {
        set_aside: set_aside(&place),
        ..RegionReport::default()
    };
    if state.exists() {
        report.state = Some(inspect_state(&state).await?);
    } else if place.is_dir() {
        report.state_missing = evidence(&place)?;
    }
    if let Some(region) = &region
        && report.state.is_none()
        && cells::was_served(&place, region)
    {
        let served = "cells.json, which names the region as served".to_owned();
        report.state_missing.push(served);
    }
    if archive.exists() {
        report.archive = Some(inspect_archive(&archive).await?);
    }
    report.region = region;
    report.directory = place;
    Ok(report)
}

fn set_aside(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("set-aside-") || name.starts_with("archive-damaged-")
        })
        .collect();
    found.sort();
    found
}

/// Checks the small files that a start reads.
fn files(directory: &Path) -> Vec<FileFinding> {
    let mut found = vec![
        secret(directory.join("root-key.json"), |path| {
            RootKey::read(path)
                .map(drop)
                .map_err(|error| error.to_string())
        }),
        secret(directory.join("session-key"), |path| {
            let text = std::fs::read(path).map_err(|error| error.to_string())?;
            let key = SealingKey::parse(&text);
            key.map(drop)
                .ok_or_else(|| "it does not hold the key that seals session tokens".into())
        }),
        secret(directory.join(authority::KEY), |path| {
            let text = std::fs::read(path).map_err(|error| error.to_string())?;
            let key = SealingKey::parse(&text);
            key.map(drop)
                .ok_or_else(|| "it does not hold the key that seals private keys".into())
        }),
        secret(directory.join(authority::AUTHORITY), |path| {
            let text = std::fs::read(path).map_err(|error| error.to_string())?;
            let stored: Result<lath_ca::Stored, _> = serde_json::from_slice(&text);
            stored.map(drop).map_err(|error| error.to_string())
        }),
        plain(directory.join("installation.json"), |path| {
            let id = installation::installation_id(path.parent().unwrap_or(path));
            id.map(drop).map_err(|error| format!("{error:#}"))
        }),
        plain(directory.join("serve.json"), |path| {
            let read = Running::read(path.parent().unwrap_or(path));
            read.map(drop).map_err(|error| format!("{error:#}"))
        }),
    ];
    found.extend(
        cells::check_files(directory)
            .into_iter()
            .map(|(path, check)| finding(path, |_| check.map_err(|error| format!("{error:#}")))),
    );
    let there = |file: &FileFinding| file.path.exists() || file.problem.is_some();
    found.retain(there);
    found
}

fn plain(path: PathBuf, check: impl Fn(&Path) -> Result<(), String>) -> FileFinding {
    finding(
        path,
        |path| if path.exists() { check(path) } else { Ok(()) },
    )
}

/// Checks a file that only its owner may read.
fn secret(path: PathBuf, check: impl Fn(&Path) -> Result<(), String>) -> FileFinding {
    plain(path, |path| {
        check(path)?;
        let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let mode = file.permissions().mode() & 0o777;
        if mode & 0o077 == 0 {
            return Ok(());
        }
        Err(format!(
            "others may read it (mode {mode:04o}); the next start sets it to 0600"
        ))
    })
}

fn finding(path: PathBuf, check: impl FnOnce(&Path) -> Result<(), String>) -> FileFinding {
    let problem = check(&path).err();
    FileFinding { path, problem }
}

impl RegionReport {
    fn is_whole(&self) -> bool {
        let state = self.state.as_ref();
        let state = state.is_none_or(|report| report.in_use || report.is_whole());
        let archive = self.archive.as_ref();
        state && self.state_missing.is_empty() && archive.is_none_or(|it| it.faults.is_empty())
    }
}

impl DataDirReport {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = format!("{}\n", self.directory.display());
        let installation = self.installation.as_deref().unwrap_or("has no name yet");
        writeln!(text, "installation  {installation}")?;
        writeln!(text, "free space    {} MiB", self.free_bytes >> 20)?;
        for file in &self.files {
            let verdict = file.problem.as_deref().unwrap_or("ok");
            writeln!(text, "file          {}: {verdict}", file.path.display())?;
        }
        for region in &self.regions {
            region.print(&mut text)?;
        }
        let verdict = if self.whole {
            "intact"
        } else {
            "NOT INTACT: `lath serve` refuses a damaged or missing file, except those that the lines above say it replaces"
        };
        writeln!(text, "\n{verdict}")?;
        Ok(text)
    }
}

impl RegionReport {
    fn print(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\n{}",
            self.region.as_deref().unwrap_or("the single region")
        )?;
        match &self.state {
            None if self.state_missing.is_empty() => writeln!(text, "state         none yet")?,
            None => writeln!(
                text,
                "state         MISSING, but there was one, as these show: {}",
                self.state_missing.join(", ")
            )?,
            Some(report) if report.in_use => {
                writeln!(
                    text,
                    "state         in use by a running Lath: see `lath status`"
                )?;
            }
            Some(report) => print_state(text, report)?,
        }
        match &self.archive {
            None => {}
            Some(report) if report.in_use => writeln!(text, "archive       in use")?,
            Some(report) => {
                writeln!(
                    text,
                    "archive       {} log events in {} streams, {} metric series in {} buckets",
                    report.events, report.streams, report.series, report.buckets
                )?;
                for fault in &report.faults {
                    writeln!(
                        text,
                        "DAMAGED       the archive: {fault}; the next start moves it aside and creates a new one"
                    )?;
                }
            }
        }
        for path in &self.set_aside {
            writeln!(text, "set aside     {}", path.display())?;
        }
        if let Some(done) = &self.quarantined {
            let (count, lost) = (done.records.len(), done.unreachable);
            writeln!(
                text,
                "quarantined   {count} records, saved in {}; {lost} could not be reached",
                done.directory.display()
            )?;
        }
        Ok(())
    }
}

fn print_state(text: &mut String, report: &Report) -> std::fmt::Result {
    let format = report
        .format
        .map_or_else(|| "unknown".into(), |it| it.to_string());
    let count: u64 = report.records.values().sum();
    writeln!(
        text,
        "state         format {format}, revision {}, {count} intact records, {} damaged",
        report.revision,
        report.damaged.len()
    )?;
    if let Some(identity) = &report.identity {
        writeln!(text, "              of {identity}")?;
    }
    for (kind, count) in &report.records {
        writeln!(text, "              {count:>6} {kind}")?;
    }
    for record in &report.damaged {
        writeln!(
            text,
            "DAMAGED       the record {}: {}",
            record.key, record.reason
        )?;
    }
    for fault in &report.faults {
        writeln!(text, "DAMAGED       the state: {fault}")?;
    }
    if report.repairable {
        writeln!(
            text,
            "repairable    damage outside of the records: the next start repairs it"
        )?;
    }
    Ok(())
}
