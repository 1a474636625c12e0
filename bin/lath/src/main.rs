//! The `lath` binary: the server and its command line.

mod admin;
mod ca;
mod cells;
mod cli;
mod config;
mod doctor;
mod drill;
mod env;
mod exec;
mod image;
mod installation;
mod k8s;
mod output;
mod panics;
mod private_file;
mod running;
mod serve;
mod services;
mod status;
mod telemetry;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Cli, Command, Output};

fn main() -> ExitCode {
    // This binary is also the launcher of instances. It enters namespaces, which a process with threads cannot: so
    // before anything else.
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == lath_instance::LAUNCHER_ARGUMENT)
    {
        return lath_instance::instance_init_main(arguments);
    }
    // In nodes of clusters it is also the network plugin, which container runtimes call by its own name.
    if let Some(code) = lath_cni::called_as_plugin() {
        return code;
    }
    // In instances of images for Kubernetes it answers in the place of programs that cannot work there.
    if let Some(code) = lath_instance::called_as_program() {
        return code;
    }
    panics::abort_unless_contained();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // Prints the whole chain: each cause adds what the error before it does not say.
            eprintln!("lath: {error:#}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<installation::Refused>() {
        return ExitCode::from(installation::REFUSED);
    }
    ExitCode::FAILURE
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(flags) => serve::main(&flags)?,
        Command::Control(flags) => cells::control(&flags)?,
        Command::Node(flags) => cells::node(&flags)?,
        Command::Witness(flags) => cells::witness(&flags)?,
        Command::Env(flags) => env::main(&flags)?,
        Command::Ca(flags) => ca::main(&flags)?,
        Command::Exec(flags) => return exec::main(&flags),
        Command::Image(flags) => image::main(&flags)?,
        Command::K8s(flags) => k8s::main(&flags)?,
        Command::Status(flags) => status::main(&flags)?,
        Command::Cni => return Ok(lath_cni::plugin_main()),
        Command::Drill(flags) => return drill::main(&flags),
        Command::Doctor(flags) => return doctor::main(&flags),
        Command::InspectState(flags) => return installation::inspect_state_main(&flags),
        Command::InspectArchive(flags) => return installation::inspect_archive_main(&flags),
        Command::Version(flags) => print_version(flags.output)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lath", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_version(as_what: Output) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    output::print(&match as_what {
        Output::Text => format!("lath {version}\n"),
        Output::Json => format!("{}\n", serde_json::json!({ "version": version })),
    })
}
