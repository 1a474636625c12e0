//! `lath serve`: everything on one machine. What starts, and in which order it stops, is a list here.

mod assembly;
mod control;
mod report;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use assembly::{listen, node_config, owner};
pub(crate) use control::{Around, Control, State};
pub(crate) use report::{Reporter, internal};

use crate::cells;
use crate::cli::Serve;
use crate::config::Config;
use crate::output;
use crate::telemetry;

/// Below this many descriptors, ordinary use may meet the limit.
const FEW_DESCRIPTORS: u64 = 4096;

pub(crate) fn main(flags: &Serve) -> anyhow::Result<()> {
    if flags.print_config {
        return print_config(flags);
    }
    // As an ordinary user, root in a user namespace of our own: before there is a second thread.
    if !nix::unistd::geteuid().is_root() {
        // Only a quiet look: what is wrong with the configuration is said once there is a log.
        let data_dir = Config::load(flags).map(|config| config.data_dir);
        if !data_dir.is_ok_and(|it| cells::join_survivors(&it).unwrap_or(false)) {
            lath_fabric::enter_user_namespace().context("Lath needs root, or a user namespace")?;
        }
    }
    telemetry::init(flags.log_json);
    raise_descriptor_limit();
    let config = Config::load(flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lath-control")
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve(config))
}

/// Connections, namespaces and stores take descriptors: as many as the owner of this machine grants.
pub(crate) fn raise_descriptor_limit() {
    match lath_net::descriptors::raise() {
        Ok(limit) if limit < FEW_DESCRIPTORS => {
            tracing::warn!(
                limit,
                "few open files are allowed (RLIMIT_NOFILE): Lath serves few clients at once"
            );
        }
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit on open files cannot be raised"),
    }
}

fn print_config(flags: &Serve) -> anyhow::Result<()> {
    output::print(&Config::load(flags)?.print()?)
}

/// What was started: one region alone, or several under a supervisor.
enum Running {
    Alone(Box<assembly::Assembly>),
    Cells(Box<cells::Supervisor>),
}

impl Running {
    async fn start(config: Config) -> anyhow::Result<Self> {
        if config.regions.is_empty() {
            cells::refuse_if_cells(&config)?;
            return Ok(Self::Alone(Box::new(
                assembly::Assembly::start(config).await?,
            )));
        }
        Ok(Self::Cells(Box::new(cells::supervise(config).await?)))
    }

    async fn failed(&mut self) -> &'static str {
        match self {
            Self::Alone(assembly) => assembly.failed().await,
            Self::Cells(supervisor) => supervisor.failed().await,
        }
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Alone(assembly) => assembly.stop().await,
            Self::Cells(supervisor) => supervisor.stop().await,
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // What a start that was broken off has made is adopted or removed by the next one.
    let mut running = tokio::select! {
        started = Running::start(config) => started?,
        _ = terminate.recv() => anyhow::bail!("stopped by SIGTERM while starting"),
        _ = interrupt.recv() => anyhow::bail!("stopped by SIGINT while starting"),
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        failed = running.failed() => tracing::error!(part = failed, "a part ended: stopping"),
    }
    // A second signal ends at once; what is left is adopted or removed by the next start.
    tokio::select! {
        stopped = running.stop() => stopped,
        _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal"),
    }
}
