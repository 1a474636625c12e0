//! Faults that drills order against workloads: this node injects them, and ends them when the order is
//! withdrawn or over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lath_drill::Scenario;
use lath_drill::order::{Order, Orders};
use lath_fabric::{Fault, Faults, Netns};
use lath_feed::{Snapshot, SnapshotReceiver};
use lath_instance::Instances;
use lath_model::id::{InstanceId, VpcId};
use lath_model::{ManagedId, WorkloadId};
use lath_net::Network;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clusters::drills;

/// How soon an order is seen.
const LOOK: Duration = Duration::from_millis(25);

/// Workloads that must not run now, whatever the snapshot says.
pub(crate) type Down = BTreeSet<WorkloadId>;

/// Nodes of clusters that pods must leave now.
pub(crate) type Draining = BTreeSet<InstanceId>;

/// What lasts as long as its orders, and is carried out by those who look after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lasting {
    down: Down,
    draining: Draining,
}

pub(crate) struct FaultInjector {
    orders: Orders,
    /// Where routers are pinned.
    pins: PathBuf,
    instances: Instances,
    network: Arc<dyn Network>,
    snapshots: SnapshotReceiver,
    down: watch::Sender<Down>,
    draining: watch::Sender<Draining>,
    /// What stands, by the order's name.
    standing: BTreeMap<String, Injected>,
}

/// What is to be undone.
enum Injected {
    /// It ends with its order, or it was over at once.
    Nothing,
    Silent(VpcId, Vec<Ipv4Addr>),
    Refused,
}

impl FaultInjector {
    pub(crate) fn new(
        orders: Orders,
        pins: PathBuf,
        instances: Instances,
        network: Arc<dyn Network>,
        snapshots: SnapshotReceiver,
    ) -> (Self, watch::Receiver<Down>, watch::Receiver<Draining>) {
        // Orders that stood before this process began hold their victims from the first look on.
        let lasting = {
            let snapshot = snapshots.borrow();
            lasting(&in_region(orders.active(), &snapshot), &snapshot)
        };
        let (down, down_rx) = watch::channel(lasting.down);
        let (draining, draining_rx) = watch::channel(lasting.draining);
        let injector = Self {
            orders,
            pins,
            instances,
            network,
            snapshots,
            down,
            draining,
            standing: BTreeMap::new(),
        };
        (injector, down_rx, draining_rx)
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.look().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let orders = in_region(self.orders.active(), &snapshot);
        let gone: Vec<String> = self
            .standing
            .keys()
            .filter(|name| !orders.iter().any(|order| order.name == **name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(injected) = self.standing.remove(&name) {
                self.end(injected);
            }
        }
        let lasting = lasting(&orders, &snapshot);
        set(&self.down, lasting.down);
        set(&self.draining, lasting.draining);
        for order in orders {
            if !self.standing.contains_key(&order.name) {
                self.begin(order).await;
            }
        }
    }

    async fn begin(&mut self, order: Order) {
        // A predecessor may have done it: what it silenced is still silent, what it killed stays down.
        if self.orders.outcome(&order.name).is_some() {
            let injected = self.adopted(&order);
            self.standing.insert(order.name, injected);
            return;
        }
        let outcome = self.inject(&order).await;
        let (injected, error) = match outcome {
            Ok(injected) => (injected, None),
            Err(reason) => (Injected::Refused, Some(reason)),
        };
        if let Err(error) = self.orders.report(&order.name, error) {
            tracing::warn!(order = order.name, %error, "the outcome of a drill's fault cannot be recorded");
        }
        tracing::info!(order = order.name, scenario = %order.scenario, victim = order.victim.as_ref().map(|id| id.as_str()), "a drill's fault");
        self.standing.insert(order.name, injected);
    }

    fn adopted(&self, order: &Order) -> Injected {
        let snapshot = self.snapshots.borrow();
        let silenced = order.victim.as_ref();
        let silenced = silenced.filter(|_| order.scenario == Scenario::BlackholeTarget);
        let Some(victim) = silenced else {
            return Injected::Nothing;
        };
        match snapshot.placement(victim) {
            Some((vpc, _)) => Injected::Silent(vpc.clone(), addresses(&snapshot, victim)),
            None => Injected::Refused,
        }
    }

    async fn inject(&self, order: &Order) -> Result<Injected, String> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        match order.scenario {
            Scenario::KillCluster => {
                let cluster = order.cluster.as_ref();
                let victims = drills::workloads(&snapshot, cluster);
                if victims.is_empty() {
                    let what = cluster.map_or("a cluster", ManagedId::name);
                    return Err(format!("{what} does not exist in {}", order.region));
                }
                return self.kill_all(victims).await;
            }
            Scenario::KillPod => {
                let cluster = order.cluster.as_ref();
                let cluster = cluster.ok_or("the order names no cluster")?;
                let plane = snapshot.control_planes.get(cluster);
                let plane = plane
                    .ok_or_else(|| format!("{cluster:?} does not exist in {}", order.region))?;
                let pods = order.pods.as_ref().ok_or("the order names no pods")?;
                let from = (&self.network, &self.instances, self.orders.clock());
                drills::kill_pods(from, &snapshot, plane, pods).await?;
                return Ok(Injected::Nothing);
            }
            _ => {}
        }
        let victim = order.victim.as_ref().ok_or("the order names no victim")?;
        let (vpc, _) = snapshot
            .placement(victim)
            .ok_or_else(|| format!("{victim} does not exist in {}", order.region))?;
        if order.scenario.hits_node() {
            drills::membership(&snapshot, victim)?;
        }
        match order.scenario {
            Scenario::KillTarget | Scenario::KillNode | Scenario::LoseNode
                if self.instances.status(victim).is_none() =>
            {
                Err(format!("no processes of {victim} run here"))
            }
            Scenario::KillTarget | Scenario::KillNode => {
                self.kill_all(BTreeSet::from([victim.clone()])).await
            }
            Scenario::LoseNode => {
                let lost = self
                    .instances
                    .ensure_lost(victim, "killed by a drill")
                    .await;
                lost.map(|()| Injected::Nothing).map_err(|e| e.to_string())
            }
            Scenario::DrainNode => {
                drills::cordon((&self.network, self.orders.clock()), &snapshot, victim).await?;
                Ok(Injected::Nothing)
            }
            _ => self.silence(order, &snapshot, (victim, vpc)),
        }
    }

    /// Takes the power away from all of them, at the same time.
    async fn kill_all(&self, victims: Down) -> Result<Injected, String> {
        let mut tasks = JoinSet::new();
        for victim in victims {
            let instances = self.instances.clone();
            tasks.spawn(async move { instances.ensure_killed(&victim).await });
        }
        for killed in tasks.join_all().await {
            killed.map_err(|error| error.to_string())?;
        }
        Ok(Injected::Nothing)
    }

    fn silence(
        &self,
        order: &Order,
        snapshot: &Snapshot,
        (victim, vpc): (&WorkloadId, &VpcId),
    ) -> Result<Injected, String> {
        let addresses = addresses(snapshot, victim);
        let left = self.orders.left(order).ok_or("the order's time is over")?;
        let faults = self.faults(vpc)?;
        for address in &addresses {
            let silent = faults.for_duration(&Fault::Address(*address), left);
            silent.map_err(|error| format!("{address} cannot be silenced: {error}"))?;
        }
        Ok(Injected::Silent(vpc.clone(), addresses))
    }

    fn end(&self, injected: Injected) {
        let Injected::Silent(vpc, addresses) = injected else {
            return;
        };
        // What cannot be ended here ends by its time.
        let Ok(faults) = self.faults(&vpc) else {
            return;
        };
        for address in addresses {
            if let Err(error) = faults.end(&Fault::Address(address)) {
                tracing::warn!(target.addr = %address, %error, "a drill's fault lasts until its time is over");
            }
        }
    }

    fn faults(&self, vpc: &VpcId) -> Result<Faults, String> {
        let netns = Netns::pinned(&self.pins, vpc.as_str());
        let netns = netns.map_err(|error| format!("the router of {vpc}: {error}"))?;
        Ok(Faults::in_namespace(netns))
    }
}

fn set<T: PartialEq>(tx: &watch::Sender<T>, now: T) {
    tx.send_if_modified(|known| {
        let differs = *known != now;
        *known = now;
        differs
    });
}

/// Those that are for this region: all regions of an installation have the same orders.
fn in_region(orders: Vec<Order>, snapshot: &Snapshot) -> Vec<Order> {
    let orders = orders.into_iter();
    let orders = orders.filter(|it| it.scenario.is_within_region() && it.region == snapshot.region);
    orders.collect()
}

/// What these orders ask for as long as they stand.
fn lasting(orders: &[Order], snapshot: &Snapshot) -> Lasting {
    let mut lasting = Lasting::default();
    for order in orders {
        let victim = order.victim.clone();
        match order.scenario {
            Scenario::KillTarget | Scenario::KillNode => lasting.down.extend(victim),
            Scenario::KillCluster => {
                let victims = drills::workloads(snapshot, order.cluster.as_ref());
                lasting.down.extend(victims);
            }
            Scenario::DrainNode => {
                let node = victim.as_ref().and_then(WorkloadId::instance);
                lasting.draining.extend(node.cloned());
            }
            _ => {}
        }
    }
    lasting
}

/// Private and public ones: packets are looked at before and after translation.
fn addresses(snapshot: &Snapshot, victim: &WorkloadId) -> Vec<Ipv4Addr> {
    snapshot
        .interfaces_of(victim)
        .flat_map(|interface| {
            let public = interface.addresses.iter().filter_map(|it| it.public);
            interface.owned_addresses().chain(public)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_another_region_are_not_for_this_one() {
        let order = |name: &str, scenario, region: &str| Order {
            name: name.into(),
            scenario,
            region: region.into(),
            victim: None,
            cluster: None,
            pods: None,
            until_ms: u64::MAX,
        };
        let snapshot = Snapshot {
            region: "us-east-1".into(),
            ..Snapshot::default()
        };
        let orders = vec![
            order("own", Scenario::KillCluster, "us-east-1"),
            order("other", Scenario::KillCluster, "us-west-2"),
            order("whole", Scenario::KillRegion, "us-east-1"),
        ];
        let found = in_region(orders, &snapshot);
        let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["own"]);
    }
}
