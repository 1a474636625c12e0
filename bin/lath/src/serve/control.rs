//! The control plane of a region: state, APIs, reconcilers, the publisher of the feed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_ca::Authority;
use lath_cloudwatch::{CloudWatch, Delivery, Limits};
use lath_control::{Cell, Mode, Publisher};
use lath_door::FrontDoor;
use lath_ec2::images::{ImageDirectory, offer_directories};
use lath_feed::telemetry::{AccessLog, LogLines, MetricSample, Sink};
use lath_feed::{
    Hidden, InstallationKeys, Mesh, NodeQueries, ObservedReceiver, SnapshotReceiver, Topology,
};
use lath_judge::Judge;
use lath_lattice::CanaryWatch;
use lath_model::Partition;
use lath_secrets::{RootKey, SealingKey};
use lath_store::{Condition, Db, Rewording, Store, StoreError, View};
use lath_tasks::Group;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{BoundRegistry, registry, token_issuers};
use crate::config::Config;
use crate::installation::{self, RegionDir};
use crate::services::{Apps, SECTIONS, contributions, kinds};

/// How often expired logs, metrics and idempotency tokens are removed.
const SWEEP: Duration = Duration::from_secs(60);

/// A region's database and keys. Only one can exist: it locks the data directory.
pub(crate) struct State {
    db: Db,
    key: RootKey,
    seal: SealingKey,
    authority: Authority,
}

impl State {
    /// Opens the region's state and the installation's keys.
    ///
    /// # Errors
    /// [`installation::Refused`] when the state is missing, damaged or another installation's.
    pub(crate) async fn open(region_dir: RegionDir<'_>) -> anyhow::Result<Self> {
        let store = installation::open_state(region_dir).await?;
        let db = open_db(store, region_dir.region).await.with_context(|| {
            format!("cannot read the state in {}", region_dir.data_dir.display())
        })?;
        let key = RootKey::load_or_create(region_dir.installation)?;
        let seal = lath_secrets::sealing_key(region_dir.installation)?;
        let authority = installation::authority::load_or_create(region_dir.installation)?;
        Ok(Self {
            db,
            key,
            seal,
            authority,
        })
    }
}

/// Older versions wrote ARNs of the partition `aws` in every region: elsewhere they are made ones of the region's.
async fn open_db(store: Arc<dyn Store>, region: &str) -> Result<Db, StoreError> {
    let partition = Partition::of_region(region);
    if partition == Partition::Aws {
        return Db::open(store, kinds()).await;
    }
    let rewording = Rewording {
        mark: "partition",
        from: "arn:aws:".to_owned(),
        to: format!("arn:{partition}:"),
    };
    Db::open_reworded(store, kinds(), rewording).await
}

/// The inputs of a control plane.
pub(crate) struct ControlInputs {
    /// All regions and their addresses.
    pub(crate) topology: Arc<Topology>,
    /// What the node observes.
    pub(crate) observed: ObservedReceiver,
    /// Queries to the node.
    pub(crate) node: Arc<dyn NodeQueries>,
    /// The exchange with other regions, if there are any.
    pub(crate) mesh: Option<Mesh>,
    /// The image registry.
    pub(crate) registry: BoundRegistry,
}

/// Where what nodes measure goes: into the archive, and to canaries.
pub(crate) struct Telemetry {
    delivery: Arc<Delivery>,
    canaries: Arc<CanaryWatch>,
}

impl Sink for Telemetry {
    fn access_log(&self, record: AccessLog) {
        self.delivery.access_log(record);
    }

    fn log_lines(&self, lines: LogLines) {
        self.delivery.log_lines(lines);
    }

    fn metric(&self, sample: MetricSample) {
        self.canaries.metric(sample.clone());
        self.delivery.metric(sample);
    }
}

/// A running control plane.
pub(crate) struct Control {
    pub(crate) cell: Cell,
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) delivery: Arc<Delivery>,
    /// Takes what nodes measure.
    pub(crate) sink: Arc<Telemetry>,
    judge: Arc<Judge>,
    cloudwatch: Arc<CloudWatch>,
    apps: Apps,
    registry_trouble: watch::Receiver<Option<String>>,
    /// What publishes, reconciles and sweeps.
    work: Group,
    /// Stops last, because it takes the node's last telemetry.
    archive: Group,
}

impl Control {
    /// Starts everything but the API, which the caller serves with [`Control::door`].
    pub(crate) async fn start(
        config: &Config,
        state: State,
        inputs: ControlInputs,
    ) -> anyhow::Result<Self> {
        let State {
            db,
            key,
            seal,
            authority,
        } = state;
        let cell = Cell {
            region: config.region.clone(),
            account: config.account.clone(),
            mode: if config.extended {
                Mode::Extended
            } else {
                Mode::Strict
            },
            topology: inputs.topology,
            db,
            observed: inputs.observed,
            keys: Some(Arc::new(installation_keys(&key, &seal))),
            authority: Some(Arc::new(authority)),
            node: inputs.node,
        };
        let judge = Judge::new(key, config.account.clone())
            .with_iam(seal, cell.clone())
            .with_resource_policies(resource_policy);
        let judge = Arc::new(judge);
        // Before anything else is written: a state that was written is not new.
        if config.default_vpc && lath_ec2::furnish_default_vpc(&cell).await? {
            tracing::info!("made the default VPC of a new data directory");
        }
        offer_directories(&cell, image_directories(config)).await?;
        pin_trust_policies(&cell).await;
        complete_network_acls(&cell).await;

        let limits = Limits {
            log_bytes: config.log_bytes,
            ..Limits::default()
        };
        let cloudwatch = CloudWatch::open(cell.clone(), &config.data_dir, limits)?;
        let (delivery, writer) = Delivery::new(Arc::clone(&cloudwatch));
        let mut archive = Group::new("the archive");
        archive.spawn("the archive's writer", writer.run(archive.token()));

        let mut publisher = Publisher::new(&cell, &contributions());
        let (feed, snapshots) = watch::channel(publisher.compile(&cell.db.view()));
        let mut work = Group::new("control");
        let publishing = publisher.publish(cell.clone(), feed);
        work.spawn_until_stop("the publisher", publishing);
        if let Some(mesh) = inputs.mesh {
            let exchange = lath_control::exchange(cell.clone(), SECTIONS.to_vec(), mesh);
            work.spawn_until_stop("the exchange with other regions", exchange);
        }
        let BoundRegistry { at, port } = inputs.registry;
        let (registry_tx, registry_trouble) = watch::channel(None);
        let canaries = Arc::new(CanaryWatch::new(cell.db.clock().clone()));
        let sink = Arc::new(Telemetry {
            delivery: Arc::clone(&delivery),
            canaries: Arc::clone(&canaries),
        });
        let (observing, judging) = (Arc::clone(&cloudwatch), Arc::clone(&judge));
        let (data_dir, registry) = (&config.data_dir, &at);
        let apps = Apps::new(&cell, observing, judging, registry, data_dir, canaries);
        let serving = registry::serve(
            (port, at.listen),
            Arc::clone(apps.ecr()),
            registry_tx,
            work.token(),
        );
        work.spawn("the image registry", serving);
        apps.spawn_reconcilers(&mut work);
        spawn_sweeps(&cell, Arc::clone(&cloudwatch), &mut work);
        Ok(Self {
            cell,
            snapshots,
            delivery,
            sink,
            judge,
            cloudwatch,
            apps,
            registry_trouble,
            work,
            archive,
        })
    }

    /// The API of this region.
    pub(crate) fn door(&self) -> FrontDoor {
        let judge = Arc::clone(&self.judge);
        let others = self.cell.topology.regions.keys();
        let others = others.filter(|name| **name != self.cell.region).cloned();
        let documents = token_issuers::documents(&self.cell);
        FrontDoor::new(Arc::<Judge>::clone(&judge))
            .with_clock(self.cell.db.clock().clone())
            .with_judge(judge)
            .with_internal("/id/", documents)
            .with_region(self.cell.region.clone(), self.apps.services())
            .with_regions_elsewhere(others)
    }

    /// A reader of the current problems of state and archive.
    pub(crate) fn trouble(&self) -> Trouble {
        Trouble {
            state: self.cell.db.condition(),
            cloudwatch: Arc::clone(&self.cloudwatch),
            registry: self.registry_trouble.clone(),
        }
    }

    /// Waits until a part ends unexpectedly. Returns its name.
    pub(crate) async fn failed(&mut self) -> &'static str {
        tokio::select! {
            part = self.work.failed() => part,
            part = self.archive.failed() => part,
        }
    }

    /// Stops publishing and reconciling.
    pub(crate) async fn rest(&mut self) {
        self.work.stop().await;
    }

    /// Flushes the archive and stops. Call it after the node has stopped, so that the node's last telemetry is
    /// archived.
    pub(crate) async fn stop(&mut self) {
        self.rest().await;
        self.archive.stop().await;
    }
}

/// Reads the current problems of state, archive and registry.
#[derive(Clone)]
pub(crate) struct Trouble {
    state: watch::Receiver<Condition>,
    cloudwatch: Arc<CloudWatch>,
    registry: watch::Receiver<Option<String>>,
}

impl Trouble {
    /// The problems, in words for the user; empty when there are none.
    pub(crate) fn now(&self) -> Vec<String> {
        let state = self.state.borrow().trouble();
        let state = state.map(|trouble| format!("the state: {trouble}"));
        let registry = self.registry.borrow().clone();
        let registry = registry.map(|trouble| format!("the image registry: {trouble}"));
        let troubles = state.into_iter().chain(self.cloudwatch.trouble());
        troubles.chain(registry).collect()
    }
}

/// The keys with which nodes verify signatures.
fn installation_keys(root: &RootKey, seal: &SealingKey) -> InstallationKeys {
    InstallationKeys {
        root_id: root.access_key_id.clone(),
        root_secret: Hidden(root.secret_access_key.reveal().to_owned()),
        sealing: Hidden(seal.reveal().to_owned()),
    }
}

/// The policy of the resource that an ARN names.
fn resource_policy(view: &View, arn: &str) -> Option<String> {
    let of_function = || lath_lambda::policy_of(view, arn);
    lath_ecr::policy_of(view, arn).or_else(of_function)
}

fn image_directories(config: &Config) -> Vec<ImageDirectory> {
    let image = |(name, path): (&String, &std::path::PathBuf)| ImageDirectory {
        name: name.clone(),
        description: format!("The directory {}", path.display()),
        path: path.clone(),
    };
    config.images.iter().map(image).collect()
}

fn spawn_sweeps(cell: &Cell, cloudwatch: Arc<CloudWatch>, group: &mut Group) {
    let sweep = move || {
        let cloudwatch = Arc::clone(&cloudwatch);
        async move { lath_cloudwatch::sweep(&cloudwatch).await }
    };
    let sweeping = run_periodically(group.token(), "the archive", sweep);
    group.spawn("the archive's sweep", sweeping);
    let db = cell.db.clone();
    let sweep = move || {
        let db = db.clone();
        async move { Ok(lath_control::sweep_tokens(&db).await.map(drop)?) }
    };
    let sweeping = run_periodically(group.token(), "used tokens", sweep);
    group.spawn("the sweep of used tokens", sweeping);
}

/// Brings the trust policies of older versions up to date. If the store cannot be written now, the next start tries
/// again.
async fn pin_trust_policies(cell: &Cell) {
    match lath_iam::pin_trust_policies(cell).await {
        Ok(0) => {}
        Ok(roles) => tracing::info!(
            roles,
            "pinned the principals of trust policies to unique ids"
        ),
        Err(error) => {
            tracing::warn!(%error, "trust policies of older versions still match principals by name");
        }
    }
}

/// Gives the VPCs of older versions their default network ACLs before a request can name one. If the store cannot be written
/// now, the reconciler of networks tries again.
async fn complete_network_acls(cell: &Cell) {
    match lath_ec2::complete_network_acls(cell).await {
        Ok(0) => {}
        Ok(vpcs) => tracing::info!(vpcs, "made the default network ACLs of VPCs"),
        Err(error) => {
            tracing::warn!(%error, "VPCs of older versions still have no default network ACL");
        }
    }
}

/// Unlike a reconciler, a sweep is not woken by changes, because nothing waits for it.
async fn run_periodically<F, Fut>(stop: CancellationToken, what: &'static str, pass: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), lath_wire::ApiError>>,
{
    loop {
        if let Err(error) = pass().await {
            tracing::error!(%error, cause = ?error.cause, kind = what, "expired entries could not be removed");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}
