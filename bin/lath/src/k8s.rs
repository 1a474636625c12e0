//! `lath k8s`: programs that work on a Kubernetes cluster, of Lath or of another maker.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use lath_clock::Clock;
use lath_gateway::report::{self, Entry, Question};
use lath_gateway::{AWS_CONTROLLER, OWN_CONTROLLER, Settings};

use crate::cli::Output;
use crate::{output, telemetry};

/// `lath k8s`.
#[derive(Debug, Args)]
pub(crate) struct K8s {
    #[command(subcommand)]
    command: K8sCommand,
}

/// The programs.
#[derive(Debug, Subcommand)]
enum K8sCommand {
    /// Make Gateways and routes of a cluster services of VPC Lattice, at Lath or at AWS, until SIGTERM.
    Controller(Box<Controller>),
    /// Show what Gateways and routes became in VPC Lattice, a line each, and why not.
    Status(Status),
    /// Show all that is known of one: lath k8s explain httproute/NAME.
    Explain(Explain),
}

/// The cluster, the API, and whose Gateways it is about.
#[derive(Debug, Args)]
struct Where {
    /// The context of the kubeconfig; its current one unless given, and in a pod its service account.
    #[arg(long)]
    context: Option<String>,
    /// The region; that of the SDK unless given.
    #[arg(long, env = "REGION", default_value = "")]
    region: String,
    /// Where the API is: Lath's, or AWS's unless given (AWS_ENDPOINT_URL).
    #[arg(long)]
    endpoint_url: Option<String>,
    /// Only Gateways of GatewayClasses with this controllerName; may be repeated.
    #[arg(long = "controller-name", env = "CONTROLLER_NAMES", value_delimiter = ',',
          default_values = [AWS_CONTROLLER, OWN_CONTROLLER])]
    controller_names: Vec<String>,
}

/// What to ask for.
#[derive(Debug, Args)]
struct Asked {
    /// The namespace.
    #[arg(short, long)]
    namespace: Option<String>,
    #[command(flatten)]
    at: Where,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// `lath k8s status`. Credentials are those of AWS's SDKs; without them it says what the cluster knows.
#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    asked: Asked,
}

/// `lath k8s explain`.
#[derive(Debug, Args)]
struct Explain {
    /// The object: gateway/NAME, httproute/NAME, grpcroute/NAME, tlsroute/NAME or tcproute/NAME.
    object: String,
    #[command(flatten)]
    asked: Asked,
}

/// `lath k8s controller`. Credentials are those of AWS's SDKs; the environment variables are those of AWS's controller.
#[derive(Debug, Args)]
struct Controller {
    /// The cluster's name.
    #[arg(long, env = "CLUSTER_NAME")]
    cluster_name: String,
    /// The VPC that the cluster's pods have their addresses in.
    #[arg(long, env = "CLUSTER_VPC_ID")]
    vpc_id: String,
    /// The account that owns the resources.
    #[arg(long, env = "AWS_ACCOUNT_ID")]
    account_id: String,
    #[command(flatten)]
    at: Where,
    /// Make this service network at the start, with the VPC in it.
    #[arg(long, env = "DEFAULT_SERVICE_NETWORK")]
    default_service_network: Option<String>,
    /// Let all Gateways stand for the default service network.
    #[arg(long, env = "ENABLE_SERVICE_NETWORK_OVERRIDE")]
    service_network_override: bool,
    /// The API is a Lath's with --extended: give it filters, timeouts and retries of routes, which AWS's Lattice does not have.
    #[arg(long, env = "LATH_EXTENDED")]
    extended: bool,
    /// Give Gateways of lath.dev/gateway-api-controller an address, at which all of their routes are.
    #[arg(long, env = "LATH_GATEWAY_ADDRESSES", requires = "extended")]
    gateway_addresses: bool,
    /// Write only while holding a Lease, so that several may run.
    #[arg(long)]
    leader_elect: bool,
    /// The namespace of the Lease.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        default_value = "aws-application-networking-system"
    )]
    lease_namespace: String,
    /// Serve metrics (/metrics) and probes (/healthz, /readyz) here, or at none (0); at 127.0.0.1:8080 unless given, if that is free; :PORT is at all addresses.
    #[arg(long, env = "METRICS_BIND_ADDRESS")]
    metrics_bind_address: Option<String>,
    /// Serve the webhook that writes readiness gates into new pods, in namespaces with the label application-networking.k8s.aws/pod-readiness-gate-inject=enabled.
    #[arg(long, env = "WEBHOOK_ENABLED")]
    webhook: bool,
    /// Where the webhook is served; :PORT is at all addresses.
    #[arg(long, env = "WEBHOOK_BIND_ADDRESS", default_value = ":9443")]
    webhook_bind_address: String,
    /// The MutatingWebhookConfiguration that has the webhook, and gets its certificates.
    #[arg(
        long,
        env = "WEBHOOK_CONFIGURATION",
        default_value = "aws-appnet-gwc-mutating-webhook"
    )]
    webhook_configuration: String,
    /// Expose the Services with these labels (KEY=VALUE, KEY!=VALUE, KEY, !KEY, with commas between) that have no annotation lath.dev/expose.
    #[arg(long, env = "LATH_DISCOVER_SELECTOR", default_value = "")]
    discover_selector: String,
    /// The service networks that Services may ask for by lath.dev/service-network, besides the default one; * is all.
    #[arg(long, env = "LATH_DISCOVER_NETWORKS", value_delimiter = ',')]
    discover_networks: Vec<String>,
    /// The private zones of Route 53, by name or id, in which Services may have names.
    #[arg(long, env = "LATH_DISCOVER_ZONES", value_delimiter = ',')]
    discover_zones: Vec<String>,
    /// Export Services to, and import those of, the other clusters of this account that are in the ClusterSet of this name (multicluster.x-k8s.io).
    #[arg(long, env = "LATH_CLUSTER_SET")]
    cluster_set: Option<String>,
    /// The other regions that clusters of the ClusterSet are in; a Lath in extended mode alone forwards there.
    #[arg(long, env = "LATH_CLUSTER_SET_REGIONS", value_delimiter = ',')]
    cluster_set_regions: Vec<String>,
    /// From which controllers (the ManagedBy of their resources, ACCOUNT/CLUSTER/VPC; * is all) routes may take services over by allow-takeover-from.
    #[arg(long, env = "LATH_TAKEOVER_FROM", value_delimiter = ',')]
    takeover_from: Vec<String>,
    /// How many objects to work on at once.
    #[arg(long, env = "ROUTE_MAX_CONCURRENT_RECONCILES", default_value_t = 8)]
    workers: usize,
}

/// A variable that is set to nothing is not set.
fn given(value: &Option<String>) -> Option<String> {
    value.clone().filter(|it| !it.is_empty())
}

pub(crate) fn main(flags: &K8s) -> anyhow::Result<()> {
    match &flags.command {
        K8sCommand::Controller(flags) => control(flags),
        K8sCommand::Status(flags) => print_report(&flags.asked, None),
        K8sCommand::Explain(flags) => print_report(&flags.asked, Some(flags.object.clone())),
    }
}

/// Prints what became of all Gateways and routes, or of one.
fn print_report(flags: &Asked, object: Option<String>) -> anyhow::Result<()> {
    let question = Question {
        context: given(&flags.at.context),
        namespace: given(&flags.namespace),
        region: flags.at.region.clone(),
        endpoint_url: given(&flags.at.endpoint_url),
        controller_names: flags.at.controller_names.clone(),
        object,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for requests")?;
    let entries = runtime.block_on(report::report(&question))?;
    output::print(&match (flags.output, &question.object) {
        (Output::Json, None) => format!("{}\n", serde_json::to_string_pretty(&entries)?),
        // Kinds have names of their own: one object is asked for, and one is found.
        (Output::Json, Some(_)) => format!("{}\n", serde_json::to_string_pretty(&entries.first())?),
        (Output::Text, None) => entries.iter().map(|it| it.line() + "\n").collect(),
        (Output::Text, Some(_)) => entries.iter().map(Entry::explanation).collect(),
    })
}

fn control(flags: &Controller) -> anyhow::Result<()> {
    telemetry::init(false);
    for (name, value) in [
        ("CLUSTER_NAME", &flags.cluster_name),
        ("CLUSTER_VPC_ID", &flags.vpc_id),
        ("AWS_ACCOUNT_ID", &flags.account_id),
    ] {
        if value.is_empty() {
            bail!("{name} is empty");
        }
    }
    let discover_selector = match lath_gateway::selector(&flags.discover_selector) {
        Ok(selector) => selector,
        Err(why) => bail!("--discover-selector: {why}"),
    };
    let cluster_set = given(&flags.cluster_set);
    if cluster_set.is_some() && flags.at.region.is_empty() {
        bail!("--cluster-set needs --region: it is part of the cluster's name in the set");
    }
    let filled = |all: &Vec<String>| {
        all.iter()
            .filter(|it| !it.is_empty())
            .cloned()
            .collect::<Vec<_>>()
    };
    let settings = Settings {
        controller_names: flags.at.controller_names.clone(),
        cluster_name: flags.cluster_name.clone(),
        vpc_id: flags.vpc_id.clone(),
        account_id: flags.account_id.clone(),
        region: flags.at.region.clone(),
        endpoint_url: given(&flags.at.endpoint_url),
        default_service_network: given(&flags.default_service_network),
        service_network_override: flags.service_network_override,
        extended: flags.extended,
        gateway_addresses: flags.gateway_addresses,
        leader_elect: flags.leader_elect,
        lease_namespace: flags.lease_namespace.clone(),
        workers: flags.workers,
        metrics_address: flags.metrics_bind_address.clone(),
        webhook_address: flags.webhook.then(|| flags.webhook_bind_address.clone()),
        webhook_configuration: flags.webhook_configuration.clone(),
        discover_selector,
        discover_networks: filled(&flags.discover_networks),
        discover_zones: filled(&flags.discover_zones),
        takeover_from: filled(&flags.takeover_from),
        cluster_set,
        cluster_set_regions: filled(&flags.cluster_set_regions)
            .into_iter()
            .filter(|it: &String| *it != flags.at.region)
            .collect(),
        context: given(&flags.at.context),
        clock: Clock::system(),
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime for the controller")?
        .block_on(lath_gateway::run(settings))
}
