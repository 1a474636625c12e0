//! `lath serve`: everything on one machine. What starts, and in which order it stops, is a list here.

mod assembly;
mod report;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Serve;
use crate::config::Config;
use crate::output;
use crate::telemetry;

pub(crate) fn main(flags: &Serve) -> anyhow::Result<()> {
    if flags.print_config {
        return print_config(flags);
    }
    // As an ordinary user, root in a user namespace of our own: before there is a second thread.
    if !nix::unistd::geteuid().is_root() {
        lath_fabric::enter_user_namespace().context("Lath needs root, or a user namespace")?;
    }
    telemetry::init(flags.log_json);
    let config = Config::load(flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lath-control")
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve(config))
}

fn print_config(flags: &Serve) -> anyhow::Result<()> {
    output::print(&Config::load(flags)?.print()?)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // What a start that was broken off has made is adopted or removed by the next one.
    let mut assembly = tokio::select! {
        started = assembly::Assembly::start(config) => started?,
        _ = terminate.recv() => anyhow::bail!("stopped by SIGTERM while starting"),
        _ = interrupt.recv() => anyhow::bail!("stopped by SIGINT while starting"),
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        failed = assembly.failed() => tracing::error!(part = failed, "a part ended: stopping"),
    }
    // A second signal ends at once; what is left is adopted or removed by the next start.
    tokio::select! {
        stopped = assembly.stop() => stopped,
        _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal"),
    }
}
