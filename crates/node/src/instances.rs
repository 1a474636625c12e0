//! Keeps instances as the newest snapshot wants them, each by a task of its own while it changes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_fabric::Fabric;
use lath_feed::stream::Source;
use lath_feed::{Instance, InstanceKind, InstancePhase, Power, Snapshot, SnapshotReceiver, Vpc};
use lath_instance::{InstanceError, InstanceSpec, Instances, Kind, Limits};
use lath_model::WorkloadId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clusters;
use crate::faults::Down;
use crate::network::NetworkObserved;

/// How often everything is looked at again although nothing changed.
const PERIOD: Duration = Duration::from_secs(15);
/// Instances that are started or stopped at the same time: each boot costs processes and mounts.
const AT_ONCE: usize = 16;

pub(crate) async fn run(
    instances: Instances,
    fabric: Arc<Fabric>,
    mut snapshots: SnapshotReceiver,
    mut networks: watch::Receiver<NetworkObserved>,
    source: watch::Receiver<Source>,
    mut down: watch::Receiver<Down>,
    stop: CancellationToken,
) {
    let mut observed = instances.watch();
    let mut changing = Changing::default();
    let mut full_look = tokio::time::interval(PERIOD);
    full_look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut everything = true;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let network = networks.borrow_and_update().clone();
        observed.borrow_and_update();
        // What was kept on disk may lack the newest instances: their files are not to be lost for that.
        let strangers = *source.borrow() == Source::Control;
        let killed = down.borrow_and_update().clone();
        for work in wanted(
            &instances, &fabric, &snapshot, &network, &killed, everything, strangers,
        ) {
            changing.begin(&instances, &fabric, work);
        }
        everything = false;
        tokio::select! {
            () = stop.cancelled() => break,
            _ = full_look.tick() => everything = true,
            gone = snapshots.changed() => if gone.is_err() { break },
            gone = networks.changed() => if gone.is_err() { break },
            _ = observed.changed() => {}
            Ok(()) = down.changed() => {}
            () = changing.one_ended() => {}
        }
    }
    changing.tasks.join_all().await;
}

/// One thing to do with one instance.
enum Work {
    Run(Box<InstanceSpec>),
    Stop(WorkloadId),
    Kill(WorkloadId),
    Remove(WorkloadId),
}

impl Work {
    fn id(&self) -> &WorkloadId {
        match self {
            Self::Run(spec) => &spec.id,
            Self::Stop(id) | Self::Kill(id) | Self::Remove(id) => id,
        }
    }
}

/// The instances that a task works on.
#[derive(Default)]
struct Changing {
    /// With whether the work may wait for processes to end, which a kill does not wait for.
    ids: BTreeMap<WorkloadId, bool>,
    tasks: JoinSet<WorkloadId>,
}

impl Changing {
    /// Begins unless the instance is worked on or too many are: the next look comes when one has ended.
    fn begin(&mut self, instances: &Instances, fabric: &Arc<Fabric>, work: Work) {
        if !self.may_begin(&work) {
            return;
        }
        let waits = matches!(work, Work::Stop(_) | Work::Remove(_));
        self.ids.insert(work.id().clone(), waits);
        let (instances, fabric) = (instances.clone(), Arc::clone(fabric));
        self.tasks.spawn(async move {
            let id = work.id().clone();
            if let Err(error) = perform(&instances, &fabric, work).await {
                tracing::warn!(instance.id = %id, error = format!("{error:#}"), "an instance is not as it should be");
                // Work that fails at once must not spin.
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            id
        });
    }

    /// A kill overtakes a shutdown: of an instance that is worked on and must end at once, nothing is waited for.
    fn may_begin(&self, work: &Work) -> bool {
        match self.ids.get(work.id()) {
            None => self.ids.len() < AT_ONCE,
            Some(waits) => *waits && matches!(work, Work::Kill(_)),
        }
    }

    async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(id)) => drop(self.ids.remove(&id)),
            // A task that panicked does not say whose it was: look at everything again.
            Some(Err(_)) => self.ids.clear(),
            None => std::future::pending().await,
        }
    }
}

async fn perform(instances: &Instances, fabric: &Fabric, work: Work) -> anyhow::Result<()> {
    match work {
        Work::Run(spec) => match instances.ensure_running(&spec).await {
            // Its state says so; control decides what follows.
            Err(InstanceError::Died { .. }) => Ok(()),
            Ok(()) if matches!(spec.kind, Kind::Node) => connect(instances, fabric, &spec.id).await,
            outcome => Ok(outcome?),
        },
        Work::Stop(id) => Ok(instances.ensure_stopped(&id).await?),
        Work::Kill(id) => Ok(instances.ensure_killed(&id).await?),
        Work::Remove(id) => Ok(instances.ensure_absent(&id).await?),
    }
}

/// Gives the fabric the network namespace that a node has made. The fabric knows it already, unless the node or Lath was
/// started again.
async fn connect(instances: &Instances, fabric: &Fabric, id: &WorkloadId) -> anyhow::Result<()> {
    // One that has just ended is looked at again.
    if let Some(netns) = instances.netns(id) {
        let handed = fabric.hand_over(id, netns).await;
        handed.context("its network namespace cannot be taken over")?;
    }
    Ok(())
}

fn wanted(
    instances: &Instances,
    fabric: &Fabric,
    snapshot: &Snapshot,
    network: &NetworkObserved,
    killed: &Down,
    everything: bool,
    strangers: bool,
) -> Vec<Work> {
    let mut work: Vec<Work> = snapshot
        .instances
        .values()
        .filter_map(|instance| match instance.power {
            Power::On if killed.contains(&WorkloadId::from(instance.id.clone())) => {
                let id = instance.id.clone().into();
                runs(instances, &id).then_some(Work::Kill(id))
            }
            Power::On => start(instances, fabric, snapshot, network, instance, everything),
            Power::Off => stop(instances, snapshot, instance),
        })
        .collect();
    // What other services run is started elsewhere, but what a drill wants down is ended here.
    let managed = killed.iter().filter(|id| id.instance().is_none());
    let managed = managed.filter(|id| runs(instances, id));
    work.extend(managed.cloned().map(Work::Kill));
    if !strangers {
        return work;
    }
    match instances.list() {
        Ok(there) => {
            let strange = there
                .into_iter()
                .filter(|id| snapshot.placement(id).is_none());
            work.extend(strange.map(|id| {
                // What is killed has stopped, and goes the next time.
                if is_cut(snapshot, &id) && runs(instances, &id) {
                    Work::Kill(id)
                } else {
                    Work::Remove(id)
                }
            }));
        }
        Err(error) => tracing::warn!(%error, "the instances on this host cannot be listed"),
    }
    work
}

fn start(
    instances: &Instances,
    fabric: &Fabric,
    snapshot: &Snapshot,
    network: &NetworkObserved,
    instance: &Instance,
    everything: bool,
) -> Option<Work> {
    let known = instances
        .status(&instance.id.clone().into())
        .filter(|known| known.boot == instance.boot);
    match known.map(|known| known.state) {
        // Its network may have been made anew: that is looked for now and then.
        Some(InstancePhase::Running) if !everything && !is_awaited(network, instance) => {
            return None;
        }
        // Control decides what becomes of it.
        Some(InstancePhase::Failed { .. }) => return None,
        _ => {}
    }
    if !network_is_ready(snapshot, network, instance) {
        return None;
    }
    let setup = match clusters::setup_of(snapshot, instance, instances.clock()) {
        Ok(setup) => setup,
        Err(reason) => {
            tracing::warn!(instance.id = %instance.id, reason, "an instance cannot be a node");
            return None;
        }
    };
    let kind = match instance.kind {
        InstanceKind::Ordinary => {
            let netns = fabric.workload_netns(&instance.id.clone().into()).ok()?;
            let netns = Arc::new(netns);
            Kind::Ordinary { netns }
        }
        InstanceKind::Node => Kind::Node,
    };
    let vpc = snapshot.vpcs.get(&instance.vpc)?;
    let nameservers = vpc.name_servers().into_iter().map(IpAddr::V4);
    let key = instance
        .metadata
        .key
        .as_ref()
        .map(|(_, public)| public.clone());
    Some(Work::Run(Box::new(InstanceSpec {
        id: instance.id.clone().into(),
        kind,
        root: instance.root.clone(),
        hostname: own_name(vpc, instance),
        nameservers: nameservers.collect(),
        search: vpc.search_domains(&instance.hostname),
        hosts: BTreeMap::new(),
        authority: Arc::clone(&snapshot.authority),
        user_data: instance.user_data.clone(),
        boot: instance.boot,
        ssh_keys: key.into_iter().collect(),
        limits: Limits {
            memory_bytes: instance.capacity.memory_bytes,
            vcpus: instance.capacity.vcpus,
            ..Limits::default()
        },
        setup,
    })))
}

/// What it calls itself at its first boot: one name, although DHCP options may have several domains. A node of a cluster has
/// its private name, by which its cluster knows it.
fn own_name(vpc: &Vpc, instance: &Instance) -> String {
    let assigned = vpc.local_hostname(&instance.hostname);
    match (instance.kind, assigned.split_whitespace().next()) {
        (InstanceKind::Ordinary, Some(first)) => first.to_owned(),
        _ => instance.hostname.clone(),
    }
}

/// Whether each interface of the instance was made by an apply that knew of it, or waits for a node's namespace.
fn network_is_ready(snapshot: &Snapshot, network: &NetworkObserved, instance: &Instance) -> bool {
    let its = interfaces_of(snapshot, network, instance);
    let awaited = is_awaited(network, instance);
    let is_ready = |(_, made): &Applied<'_>| match made {
        Some(made) => made.is_ok() || awaited,
        None => false,
    };
    !its.is_empty() && its.iter().all(is_ready)
}

/// Whether the fabric waits for the network namespace that a node makes.
fn is_awaited(network: &NetworkObserved, instance: &Instance) -> bool {
    let mut awaited = network.report.awaited.values();
    awaited.any(|id| *id == instance.id)
}

/// Whether an instance that runs lacks something of its network. An interface that is being attached to it lacks
/// nothing yet: it was there without it.
pub(crate) fn is_cut_off(
    snapshot: &Snapshot,
    network: &NetworkObserved,
    instance: &Instance,
) -> bool {
    lacks(&interfaces_of(snapshot, network, instance))
}

fn lacks(interfaces: &[Applied<'_>]) -> bool {
    let is_lost = |(device, made): &Applied<'_>| match made {
        Some(made) => made.is_err(),
        None => *device == 0,
    };
    interfaces.is_empty() || interfaces.iter().any(is_lost)
}

/// The device index of an interface, and what the last apply said of it.
type Applied<'a> = (u32, Option<&'a Result<(), String>>);

fn interfaces_of<'a>(
    snapshot: &'a Snapshot,
    network: &'a NetworkObserved,
    instance: &Instance,
) -> Vec<Applied<'a>> {
    let workload = WorkloadId::from(instance.id.clone());
    let interfaces = snapshot.interfaces_of(&workload);
    let applied = interfaces.filter_map(|interface| {
        let device = interface.device_at(&workload)?;
        Some((device, network.report.interfaces.get(&interface.id)))
    });
    applied.collect()
}

fn stop(instances: &Instances, snapshot: &Snapshot, instance: &Instance) -> Option<Work> {
    let id = instance.id.clone().into();
    runs(instances, &id).then(|| {
        if is_cut(snapshot, &id) {
            Work::Kill(id)
        } else {
            Work::Stop(id)
        }
    })
}

/// Whether its processes end without a word to them.
fn is_cut(snapshot: &Snapshot, id: &WorkloadId) -> bool {
    id.instance().is_some_and(|id| snapshot.cut.contains(id))
}

/// Whether there is anything of it to end.
fn runs(instances: &Instances, id: &WorkloadId) -> bool {
    let known = instances.status(id);
    known.is_some_and(|it| it.state != InstancePhase::Stopped)
}

/// Ends the processes of every instance; files stay. Goes on after a failure and tells the last one.
pub(crate) async fn stop_all(instances: &Instances) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for id in instances.list()? {
        let instances = instances.clone();
        tasks.spawn(async move { instances.ensure_stopped(&id).await });
    }
    if !tasks.is_empty() {
        tracing::info!(instances = tasks.len(), "instances are being stopped");
    }
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended.map_err(anyhow::Error::from).and_then(|it| Ok(it?)) {
            tracing::warn!(
                error = format!("{error:#}"),
                "an instance cannot be stopped"
            );
            outcome = Err(error);
        }
    }
    instances.sweep_groups().await;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_being_attached_cuts_nothing_off() {
        let (made, broken) = (Ok(()), Err("no link".to_owned()));
        for (interfaces, want) in [
            (vec![], true),
            (vec![(0, None)], true),
            (vec![(0, Some(&made))], false),
            (vec![(0, Some(&made)), (1, None)], false),
            (vec![(0, Some(&made)), (1, Some(&made))], false),
            (vec![(0, Some(&made)), (1, Some(&broken))], true),
            (vec![(0, Some(&broken))], true),
        ] {
            assert_eq!(lacks(&interfaces), want, "{interfaces:?}");
        }
    }

    #[test]
    fn a_kill_overtakes_a_shutdown_and_nothing_else() {
        let id = WorkloadId::from(lath_model::id::InstanceId::random());
        let may = |waits: Option<bool>, work: Work| {
            let mut changing = Changing::default();
            changing.ids.extend(waits.map(|waits| (id.clone(), waits)));
            changing.may_begin(&work)
        };
        assert!(may(Some(true), Work::Kill(id.clone())));
        assert!(!may(Some(false), Work::Kill(id.clone())));
        assert!(!may(Some(true), Work::Stop(id.clone())));
        assert!(!may(Some(true), Work::Remove(id.clone())));
        assert!(may(None, Work::Stop(id.clone())));
    }
}
