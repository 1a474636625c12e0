//! A node runs a control plane of the real programs: it gets ready, is reached from outside with a token of AWS's own
//! client, is found again by the next node, and goes. Nodes join it, and run pods.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod plane;
mod pods;
mod world;

use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};

use plane::a_cluster_lives;
use pods::pods_run_on_nodes;
use world::{programs, run};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|it| it == lath_instance::LAUNCHER_ARGUMENT)
    {
        return lath_instance::instance_init_main(arguments);
    }
    // In nodes it is the network plugin too.
    if let Some(code) = lath_cni::called_as_plugin() {
        return code;
    }
    let lists = std::env::args().any(|it| it == "--list");
    if lists {
        return ExitCode::SUCCESS;
    }
    let (Some(directory), true) = (programs(), nix::unistd::geteuid().is_root()) else {
        eprintln!("SKIPPED: no root, or no programs of Kubernetes");
        return ExitCode::SUCCESS;
    };
    if std::env::var_os(lath_kubernetes::binaries::VARIABLE).is_none() {
        let mut again = Command::new("/proc/self/exe");
        let status = again
            .env(lath_kubernetes::binaries::VARIABLE, directory)
            .status();
        let is_good = status.unwrap().success();
        return if is_good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    run("mount", &["--make-rprivate", "/"]);
    run("ip", &["link", "set", "lo", "up"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(a_cluster_lives());
    runtime.block_on(pods_run_on_nodes());
    eprintln!("ok");
    ExitCode::SUCCESS
}
