//! `lath serve`: starts and stops everything on one machine.

mod assembly;
mod control;
mod hands;
mod registry;
mod report;
mod served;
pub(crate) mod token_issuers;
mod vpc_api;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(crate) use assembly::{listen, node_config, owner};
pub(crate) use control::{Control, ControlInputs, State};
pub(crate) use hands::ServiceHands;
pub(crate) use registry::{BoundRegistry, RegistryAt, RegistryLogins};
pub(crate) use report::{Reporter, internal};
pub(crate) use served::ServedControl;
pub(crate) use vpc_api::VpcApi;

use crate::cells;
use crate::cli::Serve;
use crate::config::Config;
use crate::output;
use crate::telemetry;

/// Below this limit ordinary use may run out of descriptors.
const FEW_DESCRIPTORS: u64 = 4096;

pub(crate) fn main(flags: &Serve) -> anyhow::Result<()> {
    if flags.print_config {
        return print_config(flags);
    }
    // An ordinary user becomes root in a new user namespace. The kernel allows that only with one thread.
    if !nix::unistd::geteuid().is_root() {
        // Ignore errors in the configuration here: they are reported below, once logging is set up.
        let data_dir = Config::load(flags).map(|config| config.data_dir);
        if !data_dir.is_ok_and(|it| cells::join_survivors(&it).unwrap_or(false)) {
            lath_fabric::enter_user_namespace().context("Lath needs root, or a user namespace")?;
        }
    }
    telemetry::init(flags.log_json);
    raise_descriptor_limit();
    let config = Config::load(flags)?;
    check_anew(&config, &flags.start_anew)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lath-control")
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve(config, &flags.start_anew))
}

/// `--start-anew` must name served regions.
fn check_anew(config: &Config, anew: &[String]) -> anyhow::Result<()> {
    let alone = std::slice::from_ref(&config.region);
    let served = match &config.regions[..] {
        [] => alone,
        regions => regions,
    };
    for region in anew {
        anyhow::ensure!(
            served.contains(region),
            "--start-anew names {region}, which is not served: {}",
            served.join(", ")
        );
    }
    Ok(())
}

/// Raises the soft limit of descriptors to the hard limit: connections, namespaces and stores need many.
pub(crate) fn raise_descriptor_limit() {
    match lath_net::descriptors::raise() {
        Ok(limit) if limit < FEW_DESCRIPTORS => {
            tracing::warn!(
                limit,
                "the limit on open files (RLIMIT_NOFILE) is low: Lath can serve only few clients at once"
            );
        }
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit on open files cannot be raised"),
    }
}

fn print_config(flags: &Serve) -> anyhow::Result<()> {
    output::print(&Config::load(flags)?.print()?)
}

/// A started server: one region, or several under a supervisor.
enum Running {
    Alone(Box<assembly::Assembly>),
    Cells(Box<cells::Supervisor>),
}

impl Running {
    /// Starts the server. When `stop` is cancelled, it stops waiting for regions.
    async fn start(
        config: Config,
        anew: &[String],
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        if config.regions.is_empty() {
            cells::refuse_if_cells(&config)?;
            let anew = !anew.is_empty();
            return Ok(Self::Alone(Box::new(
                assembly::Assembly::start(config, anew).await?,
            )));
        }
        let supervisor = cells::supervise(config, anew, stop).await?;
        Ok(Self::Cells(Box::new(supervisor)))
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

async fn serve(config: Config, anew: &[String]) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let mut start = std::pin::pin!(Running::start(config, anew, stop.clone()));
    let (mut running, stopped) = tokio::select! {
        started = &mut start => (started?, false),
        signal = either(&mut terminate, &mut interrupt) => {
            tracing::info!("{signal} while starting: stopping");
            stop.cancel();
            // An aborted start would leave half-made resources: let it finish, then stop everything.
            tokio::select! {
                started = &mut start => (started?, true),
                signal = either(&mut terminate, &mut interrupt) => {
                    anyhow::bail!("stopped at once by a second signal ({signal}); the next start adopts or removes what is left")
                }
            }
        }
    };
    if !stopped {
        tokio::select! {
            signal = either(&mut terminate, &mut interrupt) => tracing::info!("{signal}: stopping"),
            failed = running.failed() => tracing::error!(part = failed, "a part ended: stopping"),
        }
    }
    // A second signal ends the process at once; the next start adopts or removes what is left.
    tokio::select! {
        stopped = running.stop() => stopped,
        signal = either(&mut terminate, &mut interrupt) => {
            anyhow::bail!("stopped at once by a second signal ({signal})")
        }
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
