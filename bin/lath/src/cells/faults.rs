//! The supervisor injects the faults that drills order against regions. A fault ends without it: the kernel
//! restores a cut link, and only the order file keeps a killed process from being restarted (`suppress`).

use std::collections::BTreeMap;
use std::time::Duration;

use lath_drill::order::{Order, Orders};
use lath_fabric::{Fault, Faults, Netns, wan};
use lath_feed::Topology;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio_util::sync::CancellationToken;

use super::layout::Layout;
use super::process::Role;
use super::process_supervisor::Phase;
use super::report::Watched;

/// The interval between looks at the orders.
const POLL: Duration = Duration::from_millis(25);

/// Injects the ordered faults.
pub(crate) struct FaultInjector {
    layout: Layout,
    topology: Topology,
    watched: Vec<Watched>,
    orders: Orders,
    /// Injected orders by name, with the link that each cut.
    cut: BTreeMap<String, Option<Fault>>,
}

impl FaultInjector {
    pub(crate) fn new(layout: &Layout, topology: &Topology, watched: Vec<Watched>) -> Self {
        Self {
            orders: layout.orders(),
            layout: layout.clone(),
            topology: topology.clone(),
            watched,
            cut: BTreeMap::new(),
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            // A pass never blocks for long (signals, small files): it needs no thread of its own.
            self.pass();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    fn pass(&mut self) {
        let active = self.orders.active().into_iter();
        let active: Vec<Order> = active.filter(|o| !o.scenario.is_within_region()).collect();
        let gone: Vec<String> = self.cut.keys().cloned().collect();
        for name in gone {
            if !active.iter().any(|order| order.name == name)
                && let Some(Some(fault)) = self.cut.remove(&name)
                && let Err(error) = self.wan().and_then(|wan| wan.end(&fault))
            {
                tracing::warn!(order = name, %error, "a drill's fault could not be ended early: the kernel ends it at its deadline");
            }
        }
        for order in active {
            if !self.cut.contains_key(&order.name) {
                self.begin(&order);
            }
        }
    }

    fn begin(&mut self, order: &Order) {
        let fault = self.link(order);
        // A former supervisor may have injected it: the restarted process must not be killed again.
        if self.orders.outcome(&order.name).is_none() {
            let error = self.inject(order, fault.as_ref()).err();
            tracing::info!(
                order = order.name,
                scenario = %order.scenario,
                region = order.region,
                error,
                "a drill's fault was injected"
            );
            if let Err(error) = self.orders.report(&order.name, error) {
                tracing::warn!(order = order.name, %error, "the outcome of a drill's fault cannot be recorded");
            }
        }
        self.cut.insert(order.name.clone(), fault);
    }

    /// The link that the fault cuts, if it cuts one.
    fn link(&self, order: &Order) -> Option<Fault> {
        let place = self.topology.regions.get(&order.region);
        place
            .filter(|_| order.scenario.facts().cuts_link)
            .map(|place| Fault::Link(wan::link(place)))
    }

    fn inject(&self, order: &Order, link: Option<&Fault>) -> Result<(), String> {
        if !self.topology.regions.contains_key(&order.region) {
            return Err(format!("this installation has no region {}", order.region));
        }
        if let Some(link) = link {
            let left = self.orders.left(order).ok_or("the order has expired")?;
            let cut = self.wan().and_then(|wan| wan.for_duration(link, left));
            cut.map_err(|error| format!("the WAN link cannot be cut: {error}"))?;
        }
        let kills = order.scenario.facts().kills;
        if kills.control {
            self.kill(&order.region, Role::Control);
        }
        if kills.node {
            self.kill(&order.region, Role::Node);
        }
        if kills.instances {
            let killed =
                lath_instance::kill_all(&self.layout.cell(&order.region), self.orders.clock());
            killed
                .map_err(|error| format!("the region's instances could not be killed: {error}"))?;
        }
        Ok(())
    }

    fn kill(&self, region: &str, role: Role) {
        let its = self
            .watched
            .iter()
            .filter(|it| it.cell == region && it.role == role);
        for watched in its {
            // Its supervisor has not reaped it, so the kernel cannot have reused the pid.
            let Phase::Running { pid, .. } = watched.state.borrow().phase else {
                continue;
            };
            let process =
                Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            // A process that is already gone needs no signal.
            let _ = process.map(|process| pidfd_send_signal(&process, Signal::KILL));
        }
    }

    fn wan(&self) -> std::io::Result<Faults> {
        let pins = self.layout.own_run_dir().join("netns");
        Ok(Faults::in_namespace(Netns::pinned(&pins, wan::SPACE)?))
    }
}
