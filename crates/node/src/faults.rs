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
use lath_model::WorkloadId;
use lath_model::id::VpcId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How soon an order is seen.
const LOOK: Duration = Duration::from_millis(25);

/// Workloads that must not run now, whatever the snapshot says.
pub(crate) type Down = BTreeSet<WorkloadId>;

pub(crate) struct FaultKeeper {
    orders: Orders,
    /// Where routers are pinned.
    pins: PathBuf,
    instances: Instances,
    snapshots: SnapshotReceiver,
    down: watch::Sender<Down>,
    /// What stands, by the order's name.
    standing: BTreeMap<String, Injected>,
}

/// What is to be undone.
enum Injected {
    Down,
    Silent(VpcId, Vec<Ipv4Addr>),
    Refused,
}

impl FaultKeeper {
    pub(crate) fn new(
        orders: Orders,
        pins: PathBuf,
        instances: Instances,
        snapshots: SnapshotReceiver,
    ) -> (Self, watch::Receiver<Down>) {
        // Orders that stood before this process began keep their victims down from the first look on.
        let standing = orders.active().into_iter();
        let killed = standing.filter(|order| order.scenario == Scenario::KillTarget);
        let down: Down = killed.filter_map(|order| order.victim).collect();
        let (say, down) = watch::channel(down);
        let keeper = Self {
            orders,
            pins,
            instances,
            snapshots,
            down: say,
            standing: BTreeMap::new(),
        };
        (keeper, down)
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
        let region = self.snapshots.borrow().region.clone();
        let orders: Vec<Order> = self
            .orders
            .active()
            .into_iter()
            .filter(|order| order.scenario.hits_workload() && order.region == region)
            .collect();
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
        let down = orders.iter().filter(|o| o.scenario == Scenario::KillTarget);
        let down: Down = down.filter_map(|o| o.victim.clone()).collect();
        self.down.send_if_modified(|known| {
            let differs = *known != down;
            *known = down;
            differs
        });
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
            tracing::warn!(order = order.name, %error, "a drill cannot be told of its fault");
        }
        tracing::info!(order = order.name, scenario = %order.scenario, victim = order.victim.as_ref().map(|id| id.as_str()), "a drill's fault");
        self.standing.insert(order.name, injected);
    }

    fn adopted(&self, order: &Order) -> Injected {
        let snapshot = self.snapshots.borrow();
        let Some(victim) = &order.victim else {
            return Injected::Refused;
        };
        match snapshot.placement(victim) {
            Some((vpc, _)) if order.scenario == Scenario::BlackholeTarget => {
                Injected::Silent(vpc.clone(), addresses(&snapshot, victim))
            }
            Some(_) => Injected::Down,
            None => Injected::Refused,
        }
    }

    async fn inject(&self, order: &Order) -> Result<Injected, String> {
        let victim = order.victim.as_ref().ok_or("the order names no victim")?;
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let (vpc, _) = snapshot
            .placement(victim)
            .ok_or_else(|| format!("{victim} does not exist in {}", order.region))?;
        if order.scenario == Scenario::KillTarget {
            if self.instances.status(victim).is_none() {
                return Err(format!("no processes of {victim} run here"));
            }
            let killed = self.instances.ensure_killed(victim).await;
            return killed.map(|()| Injected::Down).map_err(|e| e.to_string());
        }
        let addresses = addresses(&snapshot, victim);
        let left = order.left().ok_or("the order's time is over")?;
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
                tracing::warn!(%address, %error, "a drill's fault lasts until its time is over");
            }
        }
    }

    fn faults(&self, vpc: &VpcId) -> Result<Faults, String> {
        let netns = Netns::pinned(&self.pins, vpc.as_str());
        let netns = netns.map_err(|error| format!("the router of {vpc}: {error}"))?;
        Ok(Faults::in_namespace(netns))
    }
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
