//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Self-hosted, wire-compatible service networking: VPC Lattice and the networking around it.
#[derive(Debug, Parser)]
#[command(name = "lath", version, max_term_width = 100, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `lath` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run Lath on this machine: the AWS APIs, the networks, the proxies.
    Serve(Serve),
    /// The control plane of one region, under `lath serve --regions`.
    #[command(hide = true)]
    Control(Role),
    /// The node of one region, under `lath serve --regions`.
    #[command(hide = true)]
    Node(Role),
    /// The further observer of an even number of regions, under `lath serve --regions`.
    #[command(hide = true)]
    Witness(Role),
    /// Print what the aws CLI and SDKs need: eval "$(lath env)".
    Env(Env),
    /// Open a process in an instance: lath exec i-... -- bash.
    Exec(Exec),
    /// Show what exists, what is healthy and what flows.
    Status(Status),
    /// Break something on purpose while clients call, and tell what it cost.
    Drill(Drill),
    /// Tell what this machine lacks and how to get it; with --data-dir, what a data directory holds and
    /// whether it is whole.
    Doctor(Doctor),
    /// Look a state over, for who must survive that.
    #[command(hide = true)]
    InspectState(Inspect),
    /// Look an archive over, for who must survive that.
    #[command(hide = true)]
    InspectArchive(Inspect),
    /// Print the version.
    Version(Version),
    /// Print a completion script: lath completions bash > /etc/bash_completion.d/lath.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where a running Lath keeps its things.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The data directory [default: /var/lib/lath as root, else $XDG_DATA_HOME/lath].
    #[arg(long, env = "LATH_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// A process that `lath serve --regions` starts.
#[derive(Debug, Args)]
pub(crate) struct Role {
    /// What the supervisor wrote for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) cell: PathBuf,
    /// The region, for whoever lists processes.
    #[arg(long)]
    pub(crate) region: Option<String>,
}

/// `lath inspect-state`, `lath inspect-archive`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The file.
    pub(crate) file: PathBuf,
}

/// `lath serve`.
///
/// Exit codes: 0 after a clean stop, 1 after a failure, 2 for a wrong command line, 3 when the state in the data
/// directory is missing, damaged or another installation's (nothing is touched then).
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) place: Place,
    /// A configuration file (TOML); flags and LATH_* override it.
    #[arg(long, env = "LATH_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the AWS APIs listen.
    #[arg(long, env = "LATH_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where Prometheus reads /metrics (loopback only).
    #[arg(long, env = "LATH_ADMIN_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Where public hosted zones are answered for: the first region here, each further one a port higher.
    #[arg(long, env = "LATH_DNS_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) dns_listen: Option<SocketAddr>,
    /// The region served, alone in one process.
    #[arg(long, env = "LATH_REGION", conflicts_with = "regions")]
    pub(crate) region: Option<String>,
    /// The regions served, each with processes and a network of its own: us-east-1,us-west-2.
    #[arg(
        long,
        env = "LATH_REGIONS",
        value_delimiter = ',',
        value_name = "REGION,..."
    )]
    pub(crate) regions: Vec<String>,
    /// The home of the global services (IAM, Route 53) [default: the first of the regions]. For ever.
    #[arg(long, env = "LATH_HOME", value_name = "REGION")]
    pub(crate) home: Option<String>,
    /// The account id: twelve digits.
    #[arg(long, env = "LATH_ACCOUNT")]
    pub(crate) account: Option<String>,
    /// Lift AWS's limits and allow what AWS cannot do.
    #[arg(long, env = "LATH_EXTENDED")]
    pub(crate) extended: bool,
    /// On exit, leave instances and networks as they are.
    #[arg(long, env = "LATH_KEEP")]
    pub(crate) keep: bool,
    /// Proxy threads [default: one per core].
    #[arg(long, env = "LATH_PROXY_THREADS", value_name = "N")]
    pub(crate) proxy_threads: Option<usize>,
    /// Where the state of these regions is missing or damaged: end what still runs, move what is left aside
    /// (into DATA_DIR/set-aside-TIME) and begin with an empty state. A whole state is kept.
    #[arg(long, value_delimiter = ',', value_name = "REGION,...")]
    pub(crate) start_anew: Vec<String>,
    /// Print the configuration that would be used, with what each key means, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Print log lines as JSON.
    #[arg(long, env = "LATH_LOG_JSON")]
    pub(crate) log_json: bool,
}

/// `lath env`.
#[derive(Debug, Args)]
pub(crate) struct Env {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Write a profile of this name into ~/.aws (or AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE).
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "lath")]
    pub(crate) profile: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `lath exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The instance's id, or its Name tag.
    pub(crate) instance: String,
    /// The command and its arguments [default: bash].
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

/// `lath status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `lath drill`.
#[derive(Debug, Args)]
pub(crate) struct Drill {
    #[command(flatten)]
    pub(crate) place: Place,
    /// kill-target, blackhole-target, kill-region, partition-region, kill-control-plane or kill-node-process.
    pub(crate) scenario: String,
    /// What is hit: an instance (its id or Name tag), or a region.
    #[arg(long, value_name = "INSTANCE|REGION")]
    pub(crate) victim: String,
    /// What clients ask meanwhile: http://NAME[:PORT][/PATH], or dns:NAME.
    #[arg(long, value_name = "URL|dns:NAME")]
    pub(crate) target: String,
    /// The instance that clients are in (needs root) [default: this machine].
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) from: Option<String>,
    /// Who resolves names [default: the VPC's resolver, or 127.0.0.1:4553 without --from].
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) resolver: Option<SocketAddr>,
    /// Requests per second, whether or not answers come.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) rate: u32,
    /// When a request counts as failed.
    #[arg(long, default_value = "1s", value_parser = lath_drill::objective::duration)]
    pub(crate) timeout: std::time::Duration,
    /// When an answer counts as late.
    #[arg(long, default_value = "500ms", value_parser = lath_drill::objective::duration)]
    pub(crate) late: std::time::Duration,
    /// How long everything must go well before and after the fault.
    #[arg(long, default_value = "1s", value_parser = lath_drill::objective::duration)]
    pub(crate) calm: std::time::Duration,
    /// How long the fault stands (at most 10m).
    #[arg(long, default_value = "5s", value_parser = lath_drill::objective::duration)]
    pub(crate) fault: std::time::Duration,
    /// How long calm is waited for.
    #[arg(long, default_value = "2m", value_parser = lath_drill::objective::duration)]
    pub(crate) patience: std::time::Duration,
    /// How often it is repeated.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) repeat: u32,
    /// What the worst repetition must meet: detection=TIME, recovery=TIME, failed=N, late=N. Repeatable.
    #[arg(long, value_name = "NAME=BOUND")]
    pub(crate) objective: Vec<String>,
    /// Where drill.json and drill.html are saved.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `lath doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Look this data directory over instead of the machine: what is there, whole or damaged, and how much
    /// space is free. Nothing is changed, and a running Lath is not disturbed.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Take damaged records out of the states in the data directory; their bytes and the files as they were
    /// are kept in a directory beside. Lath must not run.
    #[arg(long, requires = "data_dir")]
    pub(crate) quarantine: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `lath version`.
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
