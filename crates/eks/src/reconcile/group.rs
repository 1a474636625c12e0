//! Node groups and their instances.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_control::Cell;
use lath_ec2_compute::managed;
use lath_ec2_records::{Instance, InstanceState};
use lath_feed::{ClusterNodeObserved, ClusterObserved, Condition, Observed};
use lath_model::Timestamp;
use lath_model::id::InstanceId;
use lath_store::{Record as _, Tx};

use crate::node_groups::{self, nodes};
use crate::record::{Cluster, Issue, Node, NodeGroup, Update, UpdateOf, control_plane};
use crate::shape::{ErrorDetail, NodegroupStatus, UpdateStatus, UpdateStrategy};
use crate::updates;

/// How long nodes may take to become ready before a new group, or a change of one, counts as failed.
const JOINING: Duration = Duration::from_secs(900);
/// How long pods may take to leave a node (<https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html>).
const EVICTION: Duration = Duration::from_secs(900);
/// The same when its group is deleted (<https://docs.aws.amazon.com/eks/latest/userguide/delete-managed-node-group.html>).
const LAST_EVICTION: Duration = Duration::from_secs(300);
/// How long disruption budgets hold up the deletion of a group when pods of the cluster have nowhere to go: no replacement can
/// become ready, so no budget will ever allow the eviction.
const NO_REFUGE: Duration = Duration::from_secs(30);
/// How long a node waits for an API server that does not answer, when its pods should leave.
const NO_API: Duration = Duration::from_secs(30);
/// How long a group waits after an instance that did not live.
const PAUSE: Duration = Duration::from_secs(15);
/// Most nodes that a group launches at a time: a step is one write of the state, which all others wait for.
const AT_ONCE: usize = 10;
/// An instance that ended within this time did not live.
const INFANCY: Duration = Duration::from_secs(120);
/// A node gets another prefix when fewer addresses than this are left for pods.
const SPARE: usize = 8;
/// Addresses of a prefix.
const PREFIX: usize = 16;

/// One step of every group.
pub(super) fn advance(
    cell: &Cell,
    tx: &mut Tx,
    observed: &Observed,
    launch_after: &mut BTreeMap<String, Timestamp>,
    now: Timestamp,
) {
    let all: Vec<Arc<NodeGroup>> = tx.list::<NodeGroup>().collect();
    launch_after.retain(|key, _| all.iter().any(|it| it.key() == *key));
    for group in all {
        let Some(cluster) = tx.get::<Cluster>(&group.cluster) else {
            continue;
        };
        let seen = observed.clusters.get(&control_plane(&cluster.name));
        let mut step = Step {
            cell,
            tx,
            cluster,
            seen,
            next: NodeGroup::clone(&group),
            now,
            launch_after,
        };
        if step.run() {
            let next = step.next;
            if next != *group {
                tx.put(next);
            }
        }
    }
}

/// An instance of a group that lives.
struct Alive {
    node: Node,
    instance: Arc<Instance>,
    seen: Option<ClusterNodeObserved>,
}

impl Alive {
    fn is_ready(&self) -> bool {
        self.instance.state == InstanceState::Running
            && self.seen.as_ref().is_some_and(|it| it.ready)
    }

    fn is_draining(&self) -> bool {
        self.node.draining_since.is_some()
    }
}

struct Step<'a> {
    cell: &'a Cell,
    tx: &'a mut Tx,
    cluster: Arc<Cluster>,
    seen: Option<&'a ClusterObserved>,
    /// What the group becomes.
    next: NodeGroup,
    now: Timestamp,
    launch_after: &'a mut BTreeMap<String, Timestamp>,
}

impl Step<'_> {
    /// Whether the group is still there.
    fn run(&mut self) -> bool {
        let (mut alive, leaving) = self.instances();
        if self.next.status == NodegroupStatus::Deleting && alive.is_empty() && leaving == 0 {
            node_groups::forget(self.tx, &self.next);
            return false;
        }
        self.drain(&mut alive);
        self.force(&mut alive);
        self.terminate_drained(&mut alive);
        self.launch(&alive);
        for it in &alive {
            self.follow(it);
        }
        self.settle(&mut alive, leaving);
        true
    }

    /// The instances that live, and how many are on their way out.
    fn instances(&mut self) -> (Vec<Alive>, usize) {
        let nodes: Vec<Arc<Node>> = self
            .tx
            .view()
            .by::<Node>("group", &self.next.key())
            .collect();
        let (mut alive, mut leaving) = (Vec::new(), 0);
        for node in nodes {
            if managed::is_gone(self.tx.view(), &node.instance) {
                self.tx.delete::<Node>(&node.id());
                self.pause_after(&node);
                continue;
            }
            let Some(instance) = self.tx.get::<Instance>(node.instance.as_str()) else {
                continue;
            };
            if instance.state.is_ending() {
                self.pause_after(&node);
                leaving += 1;
                continue;
            }
            if matches!(
                instance.state,
                InstanceState::Stopping | InstanceState::Stopped
            ) {
                // A group has no use for a stopped node: it replaces it.
                managed::terminate_node(self.tx, &node.instance);
                leaving += 1;
                continue;
            }
            let seen = self
                .seen
                .and_then(|it| it.nodes.get(&node.instance))
                .cloned();
            alive.push(Alive {
                node: Node::clone(&node),
                instance,
                seen,
            });
        }
        alive.sort_by_key(|it| (it.node.launched_at, it.node.instance.to_string()));
        (alive, leaving)
    }

    /// Instances that end as soon as they begin are not replaced in a hurry.
    fn pause_after(&mut self, node: &Node) {
        let lived = self.now.since(node.launched_at);
        if node.draining_since.is_none() && lived < INFANCY {
            let after = self.launch_after.entry(self.next.key());
            after.or_insert_with(|| self.now.plus(PAUSE));
        }
    }

    fn desired(&self) -> usize {
        match self.next.status {
            NodegroupStatus::Deleting => 0,
            _ => usize::try_from(self.next.desired).unwrap_or(0),
        }
    }

    fn is_outdated(&self, it: &Alive) -> bool {
        self.next.rollout.is_some() && it.node.generation < self.next.generation
    }

    fn is_minimal(&self) -> bool {
        self.next.update.update_strategy == Some(UpdateStrategy::Minimal)
    }

    /// Tells nodes to let their pods go: all of a group that is deleted, old ones while new ones come, those that are too
    /// many.
    fn drain(&mut self, alive: &mut [Alive]) {
        let desired = self.desired();
        let active = alive.iter().filter(|it| !it.is_draining()).count();
        let draining = alive.len() - active;
        let mut chosen: Vec<usize> = Vec::new();
        if self.next.status == NodegroupStatus::Deleting {
            chosen.extend(0..alive.len());
        } else if self.next.rollout.is_some() {
            let mut allowed = self.next.max_unavailable().saturating_sub(draining);
            let active_ready = |it: &&Alive| !it.is_draining() && it.is_ready();
            let mut ready = alive.iter().filter(active_ready).count();
            for (index, it) in alive.iter().enumerate() {
                if allowed == 0 || it.is_draining() || !self.is_outdated(it) {
                    continue;
                }
                if it.is_ready() {
                    if !self.is_minimal() && ready <= desired {
                        continue;
                    }
                    ready = ready.saturating_sub(1);
                }
                allowed -= 1;
                chosen.push(index);
            }
        } else if active > desired {
            let mut candidates: Vec<usize> = (0..alive.len())
                .filter(|index| !alive[*index].is_draining())
                .collect();
            // Those that do no work first, then the newest: pods on old nodes have been there the longest.
            candidates.sort_by_key(|index| {
                let it = &alive[*index];
                let is_idle = it.seen.as_ref().is_some_and(|it| it.idle);
                let launched = std::cmp::Reverse(it.node.launched_at);
                (it.is_ready(), !is_idle, launched)
            });
            chosen.extend(candidates.into_iter().take(active - desired));
        }
        for index in chosen {
            let node = &mut alive[index].node;
            if node.draining_since.is_none() {
                node.draining_since = Some(self.now);
                self.tx.put(node.clone());
                self.rollout_goes_on();
            }
        }
    }

    /// Lets pods of a group that is deleted go against their budgets, once the cluster has no node that could take others in
    /// their place.
    fn force(&mut self, alive: &mut [Alive]) {
        if self.next.status != NodegroupStatus::Deleting || self.has_refuge() {
            return;
        }
        for it in alive {
            let node = &mut it.node;
            let waited = node.draining_since.map(|since| self.now.since(since));
            if !node.forced && waited.is_some_and(|it| it >= NO_REFUGE) {
                node.forced = true;
                self.tx.put(node.clone());
            }
        }
    }

    /// Whether the cluster has nodes besides those of the group, or will have some.
    fn has_refuge(&self) -> bool {
        let cluster = format!("{}/", self.next.cluster);
        let mut groups = self.tx.view().range::<NodeGroup>(&cluster);
        let will_have = groups.any(|it| it.status != NodegroupStatus::Deleting && it.desired > 0);
        // Those that no group has launched are the user's own.
        let is_own = |id: &InstanceId| self.tx.view().get::<Node>(id.as_str()).is_none();
        will_have || self.seen.is_some_and(|it| it.nodes.keys().any(is_own))
    }

    /// A replacement of nodes is late by the time of its last step.
    fn rollout_goes_on(&mut self) {
        if let Some(rollout) = &mut self.next.rollout {
            rollout.stepped_at = Some(self.now);
        }
    }

    fn api_answers(&self) -> bool {
        matches!(
            self.seen.map(|it| &it.condition),
            Some(Condition::Ready { .. })
        )
    }

    /// Terminates what is drained, or what cannot be drained.
    fn terminate_drained(&mut self, alive: &mut Vec<Alive>) {
        let (now, answers) = (self.now, self.api_answers());
        let tx = &mut *self.tx;
        let gives_up = self.next.rollout.as_ref().is_some_and(|it| !it.force);
        let patience = match self.next.status {
            NodegroupStatus::Deleting => LAST_EVICTION,
            _ => EVICTION,
        };
        let before = alive.len();
        let mut stuck = Vec::new();
        alive.retain(|it| {
            let Some(since) = it.node.draining_since else {
                return true;
            };
            let waited = now.since(since);
            let ends = match &it.seen {
                Some(seen) if answers => seen.drained,
                // It never joined, so that there is nothing on it.
                None if answers => true,
                _ => waited >= NO_API,
            };
            if !ends && waited >= patience && gives_up {
                stuck.push(it.node.instance.to_string());
                return true;
            }
            if ends || waited >= patience {
                managed::terminate_node(tx, &it.node.instance);
                return false;
            }
            true
        });
        if !stuck.is_empty() {
            self.give_up(alive, stuck);
        } else if alive.len() < before {
            self.rollout_goes_on();
        }
    }

    /// Ends a replacement of nodes: those that are left may have pods again.
    fn end_rollout(&mut self, alive: &mut [Alive]) {
        for it in alive {
            if it.node.draining_since.take().is_some() {
                self.tx.put(it.node.clone());
            }
        }
        self.next.rollout = None;
    }

    /// Pods that cannot be evicted end a replacement that may not force them.
    fn give_up(&mut self, alive: &mut [Alive], stuck: Vec<String>) {
        self.end_rollout(alive);
        self.end_update(
            UpdateStatus::Failed,
            Some(ErrorDetail {
                error_code: "PodEvictionFailure".into(),
                error_message: "Reached max retries while trying to evict pods from nodes in node group".into(),
                resource_ids: stuck,
            }),
        );
        self.next.enter(NodegroupStatus::Active, self.now);
    }

    fn end_update(&mut self, status: UpdateStatus, error: Option<ErrorDetail>) {
        let of = UpdateOf::NodeGroup(self.next.name.clone());
        updates::end(self.tx, &self.next.cluster, &of, status, error);
    }

    /// Launches what is missing.
    fn launch(&mut self, alive: &[Alive]) {
        use NodegroupStatus::{CreateFailed, Deleting};
        if matches!(self.next.status, Deleting | CreateFailed) {
            return;
        }
        let active: Vec<&Alive> = alive.iter().filter(|it| !it.is_draining()).collect();
        let old = active.iter().filter(|it| self.is_outdated(it)).count();
        let surge = if self.is_minimal() {
            0
        } else {
            old.min(self.next.max_unavailable())
        };
        let missing = (self.desired() + surge).saturating_sub(active.len());
        if missing == 0 {
            return;
        }
        let key = self.next.key();
        if self
            .launch_after
            .get(&key)
            .is_some_and(|after| *after > self.now)
        {
            return;
        }
        self.launch_after.remove(&key);
        let mut there: Vec<Arc<Instance>> =
            active.iter().map(|it| Arc::clone(&it.instance)).collect();
        for _ in 0..missing.min(AT_ONCE) {
            if let Err(issue) = self.launch_one(&mut there) {
                self.next.issues = vec![issue];
                self.launch_after.insert(key, self.now.plus(PAUSE));
                return;
            }
        }
        self.next.issues.clear();
    }

    fn launch_one(&mut self, there: &mut Vec<Arc<Instance>>) -> Result<(), Issue> {
        let Some(subnet) = nodes::place(self.tx.view(), &self.next, there) else {
            let text = "Amazon Autoscaling was unable to launch instances because there are not enough free addresses in the subnets associated with your AutoScaling group(s).";
            let mut issue = Issue::new("InsufficientFreeAddresses", text);
            issue.resource_ids = self.next.subnets.iter().map(ToString::to_string).collect();
            return Err(issue);
        };
        let launched = nodes::launch(self.cell, self.tx, &self.cluster, &self.next, &subnet);
        let launched = launched.map_err(|error| {
            let code = match &*error.code {
                "VcpuLimitExceeded" => "InstanceLimitExceeded",
                "InsufficientFreeAddressesInSubnet" | "InsufficientCidrBlocks" => {
                    "InsufficientFreeAddresses"
                }
                _ => "AsgInstanceLaunchFailures",
            };
            let (of_ec2, text) = (&error.code, &error.message);
            let mut issue = Issue::new(
                code,
                format!("Could not launch On-Demand Instances. {of_ec2} - {text} Launching EC2 instance failed."),
            );
            issue.resource_ids = vec![self.next.auto_scaling_group()];
            issue
        })?;
        there.push(launched);
        Ok(())
    }

    /// Makes a node be what its group says, with addresses for its pods.
    fn follow(&mut self, it: &Alive) {
        if let Some(wanted) = nodes::wanted(self.cell, &self.next, &it.instance, &it.node) {
            managed::update_node(self.tx, &it.node.instance, |node| *node = wanted);
            // The change is over when this was seen, too.
            let revision = self.tx.view().revision();
            for update in self.own_updates() {
                self.tx
                    .update::<Update>(&update.id(), |it| it.after = revision);
            }
        }
        let Some(seen) = &it.seen else { return };
        let interface = managed::primary_interface(self.tx.view(), &it.node.instance);
        let addresses = interface.map_or(0, |it| it.prefixes.len() * PREFIX);
        let pods = usize::try_from(seen.pods).unwrap_or(usize::MAX);
        let most = it.instance.cluster.as_ref().map_or(0, |it| it.max_pods);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if addresses < most && addresses.saturating_sub(pods) < SPARE {
            managed::add_prefix(self.tx, &it.node.instance);
        }
    }

    /// The group's state, by its nodes'.
    fn settle(&mut self, alive: &mut [Alive], leaving: usize) {
        let desired = self.desired();
        let active: Vec<&Alive> = alive.iter().filter(|it| !it.is_draining()).collect();
        let ready = active.iter().filter(|it| it.is_ready()).count();
        let is_complete = active.len() == desired && ready == desired;
        match self.next.status {
            NodegroupStatus::Creating if is_complete => {
                self.next.issues.clear();
                self.next.enter(NodegroupStatus::Active, self.now);
            }
            NodegroupStatus::Creating if self.is_late() => {
                self.next.issues = vec![not_joined(alive)];
                self.next.enter(NodegroupStatus::CreateFailed, self.now);
            }
            NodegroupStatus::Updating => self.settle_update(alive, leaving, is_complete),
            NodegroupStatus::Active | NodegroupStatus::Degraded => {
                if is_complete {
                    self.next.issues.clear();
                }
                let status = if self.next.issues.is_empty() {
                    NodegroupStatus::Active
                } else {
                    NodegroupStatus::Degraded
                };
                self.next.enter(status, self.now);
            }
            _ => {}
        }
    }

    /// Whether the state, or the last step of a replacement of nodes, was too long ago. Nodes that are launched again and
    /// again are no step.
    fn is_late(&self) -> bool {
        let rollout = self.next.rollout.as_ref();
        let stepped = rollout.and_then(|it| it.stepped_at);
        let since = stepped.map_or(self.next.status_since, |it| it.max(self.next.status_since));
        self.now.since(since) >= JOINING
    }

    fn own_updates(&self) -> Vec<Arc<Update>> {
        let of = UpdateOf::NodeGroup(self.next.name.clone());
        updates::open(self.tx.view(), &self.next.cluster, &of)
    }

    /// Whether the API server was seen to work after the change, and has its labels and taints on every node.
    fn is_obeyed(&self, alive: &[Alive]) -> bool {
        let Some(Condition::Ready { version }) = self.seen.map(|it| &it.condition) else {
            return false;
        };
        let mut seen = alive.iter().filter_map(|it| it.seen.as_ref());
        let updates = self.own_updates();
        updates.iter().all(|update| *version > update.after) && seen.all(|it| it.configured)
    }

    fn settle_update(&mut self, alive: &mut [Alive], leaving: usize, is_complete: bool) {
        let is_new = alive.iter().all(|it| !self.is_outdated(it));
        let is_still = leaving == 0 && alive.iter().all(|it| !it.is_draining());
        let is_obeyed = self.is_obeyed(alive);
        if is_complete && is_obeyed && is_new && is_still {
            self.next.rollout = None;
            self.next.issues.clear();
            self.end_update(UpdateStatus::Successful, None);
            self.next.enter(NodegroupStatus::Active, self.now);
            return;
        }
        // A drain that takes its time has a limit of its own.
        let waits_for_nodes = !is_complete || !is_new && is_still;
        if !self.is_late() || (is_obeyed && !waits_for_nodes) {
            return;
        }
        let issue = if waits_for_nodes {
            let launch = self.next.issues.pop();
            launch.unwrap_or_else(|| not_joined(alive))
        } else if self.api_answers() {
            Issue::new(
                "Unknown",
                "The labels and taints of nodes could not be changed.",
            )
        } else {
            let text =
                "Amazon EKS is unable to communicate with your Kubernetes cluster API server.";
            Issue::new("ClusterUnreachable", text)
        };
        if self.next.rollout.is_some() {
            self.end_rollout(alive);
        }
        self.end_update(
            UpdateStatus::Failed,
            Some(ErrorDetail {
                error_code: issue.code.clone(),
                error_message: issue.message.clone(),
                resource_ids: issue.resource_ids.clone(),
            }),
        );
        self.next.issues = vec![issue];
        self.next.enter(NodegroupStatus::Degraded, self.now);
    }
}

/// AWS's words, and what the nodes that are not ready say.
fn not_joined(alive: &[Alive]) -> Issue {
    let active = alive.iter().filter(|it| !it.is_draining());
    let missing: Vec<&Alive> = active.filter(|it| !it.is_ready()).collect();
    let reasons: Vec<&str> = missing
        .iter()
        .filter_map(|it| it.seen.as_ref()?.reason.as_deref())
        .collect();
    let mut text = "Instances failed to join the kubernetes cluster".to_owned();
    if !reasons.is_empty() {
        text = format!("{text}: {}", reasons.join("; "));
    }
    let mut issue = Issue::new("NodeCreationFailure", text);
    issue.resource_ids = missing
        .iter()
        .map(|it| it.node.instance.to_string())
        .collect();
    issue
}
