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
    /// Run Lath on this machine: AWS APIs, networks, proxies.
    Serve(Serve),
    /// Run the control plane of one region; `lath serve --regions` starts it.
    #[command(hide = true)]
    Control(Role),
    /// Run the node of one region; `lath serve --regions` starts it.
    #[command(hide = true)]
    Node(Role),
    /// Run the extra observer for an even number of regions; `lath serve --regions` starts it.
    #[command(hide = true)]
    Witness(Role),
    /// Print the settings for the aws CLI and SDKs: eval "$(lath env)".
    Env(Env),
    /// Print the root certificate of this installation's authority, which signs what ACM issues: lath ca --output root.pem.
    Ca(Ca),
    /// Run a command in an instance: lath exec i-... -- bash.
    Exec(Exec),
    /// Manage the container images that nodes of clusters pull.
    Image(Image),
    /// Work on a cluster of Kubernetes: lath k8s controller.
    K8s(crate::k8s::K8s),
    /// Show resources, health and traffic.
    Status(Status),
    /// Inject a fault under client load and measure its impact.
    Drill(Drill),
    /// Answer a container runtime as the network plugin of a cluster's node (CNI); configuration on standard input.
    #[command(hide = true)]
    Cni,
    /// Check what this machine lacks and how to get it; with --data-dir, check whether a data directory is intact.
    Doctor(Doctor),
    /// Inspect a state file in a process that may crash; Lath starts it.
    #[command(hide = true)]
    InspectState(Inspect),
    /// Inspect an archive in a process that may crash; Lath starts it.
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

/// The data directory of a Lath installation.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataDir {
    /// The data directory [default: /var/lib/lath as root, else $XDG_DATA_HOME/lath].
    #[arg(long, env = "LATH_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// A process that `lath serve --regions` starts.
#[derive(Debug, Args)]
pub(crate) struct Role {
    /// The configuration that the supervisor wrote for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) cell: PathBuf,
    /// The region, only to be seen in process listings.
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
/// directory is missing, damaged or another installation's (then nothing is changed).
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) data_dir_flag: DataDir,
    /// A configuration file (TOML); flags and LATH_* override it.
    #[arg(long, env = "LATH_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address of the AWS APIs.
    #[arg(long, env = "LATH_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// The address of the Prometheus endpoint /metrics (loopback only).
    #[arg(long, env = "LATH_ADMIN_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The address of the authoritative DNS server of the first region; each further region uses the next port.
    #[arg(long, env = "LATH_DNS_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) dns_listen: Option<SocketAddr>,
    /// The address of the image registry of the first region; each further region uses the next port.
    #[arg(long, env = "LATH_REGISTRY_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) registry_listen: Option<SocketAddr>,
    /// Serve this single region, in one process.
    #[arg(long, env = "LATH_REGION", conflicts_with = "regions")]
    pub(crate) region: Option<String>,
    /// Serve these regions, each with its own processes and network: us-east-1,us-west-2.
    #[arg(
        long,
        env = "LATH_REGIONS",
        value_delimiter = ',',
        value_name = "REGION,..."
    )]
    pub(crate) regions: Vec<String>,
    /// The home of the global services (IAM, Route 53) [default: the first region]. Cannot be changed later.
    #[arg(long, env = "LATH_HOME", value_name = "REGION")]
    pub(crate) home: Option<String>,
    /// The account id: twelve digits.
    #[arg(long, env = "LATH_ACCOUNT")]
    pub(crate) account: Option<String>,
    /// Lift AWS quotas and allow features that AWS does not have.
    #[arg(long, env = "LATH_EXTENDED")]
    pub(crate) extended: bool,
    /// Whether a new data directory begins with a default VPC in each region [default: true].
    #[arg(long, env = "LATH_DEFAULT_VPC", value_name = "BOOL")]
    pub(crate) default_vpc: Option<bool>,
    /// On exit, leave instances and networks running.
    #[arg(long, env = "LATH_KEEP")]
    pub(crate) keep: bool,
    /// Proxy threads [default: one per core].
    #[arg(long, env = "LATH_PROXY_THREADS", value_name = "N")]
    pub(crate) proxy_threads: Option<usize>,
    /// Start these regions with an empty state if theirs is missing or damaged: end their running instances and
    /// move the old files to DATA_DIR/set-aside-TIME. An intact state is kept.
    #[arg(long, value_delimiter = ',', value_name = "REGION,...")]
    pub(crate) start_anew: Vec<String>,
    /// Print the effective configuration with an explanation of each key, and exit.
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
    pub(crate) data_dir_flag: DataDir,
    /// Write a profile of this name to ~/.aws (or AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE).
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "lath")]
    pub(crate) profile: Option<String>,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `lath ca`.
#[derive(Debug, Args)]
pub(crate) struct Ca {
    #[command(flatten)]
    pub(crate) data_dir_flag: DataDir,
    /// Write it to this file instead of the standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `lath exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) data_dir_flag: DataDir,
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
    pub(crate) data_dir_flag: DataDir,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `lath image`: works whether Lath runs or not.
#[derive(Debug, Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

/// What to do with images.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ImageCommand {
    /// Add the images of an OCI layout (a directory or an archive) or of an archive of docker save.
    Load {
        #[command(flatten)]
        data_dir_flag: DataDir,
        /// The archive, which may be compressed by gzip, or the directory.
        path: PathBuf,
        /// The name that nodes pull it by, instead of its own; nginx means docker.io/library/nginx:latest.
        #[arg(long)]
        name: Option<lath_registry::Reference>,
    },
    /// Fetch an image from the registry of its name, for this machine's architecture.
    Pull {
        #[command(flatten)]
        data_dir_flag: DataDir,
        /// The name; nginx means docker.io/library/nginx:latest.
        name: lath_registry::Reference,
        /// The certificate authorities that registries are trusted by (PEM).
        #[arg(
            long,
            value_name = "FILE",
            default_value = crate::config::DEFAULT_AUTHORITIES
        )]
        authorities: PathBuf,
        /// User names and passwords of registries, in a file as `docker login` writes it.
        #[arg(long, value_name = "FILE")]
        credentials: Option<PathBuf>,
        /// The host that is asked in place of the registry, with https:// before it where it would be asked without TLS.
        #[arg(long, value_name = "HOST")]
        at: Option<String>,
    },
    /// List the images.
    List {
        #[command(flatten)]
        data_dir_flag: DataDir,
        /// The output format.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Remove an image's name, and its content if no other name has it. Nodes keep what they have pulled.
    Remove {
        #[command(flatten)]
        data_dir_flag: DataDir,
        /// The name.
        name: lath_registry::Reference,
    },
    /// Serve the images to docker push and pull until interrupted. Clients need no credentials.
    Serve {
        #[command(flatten)]
        data_dir_flag: DataDir,
        /// The address to listen on.
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5000")]
        listen: SocketAddr,
    },
}

/// `lath drill`.
#[derive(Debug, Args)]
pub(crate) struct Drill {
    #[command(flatten)]
    pub(crate) data_dir_flag: DataDir,
    /// kill-target, blackhole-target, kill-region, partition-region, kill-control-plane or kill-node-process; of clusters:
    /// kill-node (it boots again), lose-node (its node group starts another), drain-node, kill-cluster or kill-pod.
    pub(crate) scenario: String,
    /// The victim: an instance (its id or Name tag), a region, a node of a cluster (its name there, or the instance) or a
    /// cluster (its name, or REGION/NAME). kill-cluster takes a region too, for all clusters of it.
    #[arg(long, value_name = "INSTANCE|REGION|NODE|CLUSTER")]
    pub(crate) victim: String,
    /// What kill-pod kills in the cluster that is the victim.
    #[arg(long, value_name = "NAMESPACE/NAME|NAMESPACE/LABEL=VALUE")]
    pub(crate) pod: Option<String>,
    /// The target of the client load: `http://NAME[:PORT][/PATH]` or `dns:NAME`.
    #[arg(long, value_name = "URL|dns:NAME")]
    pub(crate) target: String,
    /// Send the load from this instance (needs root) [default: this machine].
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) from: Option<String>,
    /// The DNS server that resolves names [default: the VPC's resolver, or 127.0.0.1:4553 without --from].
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) resolver: Option<SocketAddr>,
    /// Requests per second, sent whether or not responses arrive.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) rate: u32,
    /// The response time after which a request counts as failed.
    #[arg(long, default_value = "1s", value_parser = lath_drill::objective::duration)]
    pub(crate) timeout: std::time::Duration,
    /// The response time after which a response counts as late.
    #[arg(long, default_value = "500ms", value_parser = lath_drill::objective::duration)]
    pub(crate) late: std::time::Duration,
    /// How long every request must succeed before and after the fault.
    #[arg(long, default_value = "1s", value_parser = lath_drill::objective::duration)]
    pub(crate) calm: std::time::Duration,
    /// The duration of the fault (at most 10m).
    #[arg(long, default_value = "5s", value_parser = lath_drill::objective::duration)]
    pub(crate) fault: std::time::Duration,
    /// How long to wait for that calm.
    #[arg(long, default_value = "2m", value_parser = lath_drill::objective::duration)]
    pub(crate) patience: std::time::Duration,
    /// The number of repetitions.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) repeat: u32,
    /// An objective for the worst repetition: detection=TIME, recovery=TIME, failed=N or late=N. Repeatable.
    #[arg(long, value_name = "NAME=BOUND")]
    pub(crate) objective: Vec<String>,
    /// Save drill.json and drill.html in this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `lath doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Check this data directory instead of the machine: what it contains, whether it is intact, and the free
    /// space. Changes nothing and does not disturb a running Lath.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Remove damaged records from the states in the data directory. The removed bytes and copies of the
    /// original files are kept in a directory beside them. Lath must not be running.
    #[arg(long, requires = "data_dir")]
    pub(crate) quarantine: bool,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// `lath version`.
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// The output format.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// The output format.
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
