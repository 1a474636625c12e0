//! Node groups that follow their pods, as the Kubernetes cluster autoscaler has them do: more nodes for pods that find no
//! room, fewer when nodes have been empty for a while, within the group's limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_control::{Cell, Mode};
use lath_ec2_compute::managed;
use lath_ec2_records::Subnet;
use lath_feed::{ClusterObserved, Condition, Observed, Toleration, WaitingPods};
use lath_model::Timestamp;
use lath_model::id::InstanceId;
use lath_store::{Record as _, Tx, View};

use crate::node_groups::nodes;
use crate::record::{Cluster, Node, NodeGroup, control_plane};
use crate::shape::NodegroupStatus;

/// The tag that turns it on for a group, and how long its nodes are empty before they go: both are the upstream
/// autoscaler's
/// (<https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md>).
const ENABLED: &str = "k8s.io/cluster-autoscaler/enabled";
const UNNEEDED: &str =
    "k8s.io/cluster-autoscaler/node-template/autoscaling-options/scaledownunneededtime";
/// The same where no tag says so.
const UNNEEDED_TIME: Duration = Duration::from_secs(600);
/// What a kubelet keeps of a node's memory.
const KEPT_BYTES: u64 = 50 << 20;
const ZONE: &str = "topology.kubernetes.io/zone";

/// The scheduler looks again at pods that found no room within ten seconds of a new node: until then they count for nothing.
const SETTLING: Duration = Duration::from_secs(15);

/// Since when nodes have been so. Lost with the process, which only gives them more time.
#[derive(Default)]
pub(super) struct Since {
    idle: BTreeMap<InstanceId, Timestamp>,
    ready: BTreeMap<InstanceId, Timestamp>,
}

/// Whether a group follows its pods. At AWS that is the work of a program that users run, and the tag is only a tag.
fn scales(cell: &Cell, group: &NodeGroup) -> bool {
    let given = group.tags.get(ENABLED);
    cell.mode == Mode::Extended && given.is_some_and(|it| it != "false")
}

/// Whether a group of a cluster does.
pub(crate) fn any(cell: &Cell, view: &View, cluster: &str) -> bool {
    groups(view, cluster).iter().any(|it| scales(cell, it))
}

fn groups(view: &View, cluster: &str) -> Vec<Arc<NodeGroup>> {
    view.range::<NodeGroup>(&format!("{cluster}/")).collect()
}

/// Changes the sizes of groups.
pub(super) fn advance(
    cell: &Cell,
    tx: &mut Tx,
    observed: &Observed,
    since: &mut Since,
    now: Timestamp,
) {
    let clusters: Vec<Arc<Cluster>> = tx.list::<Cluster>().collect();
    let mut next = Since::default();
    for cluster in clusters {
        let Some(seen) = observed.clusters.get(&control_plane(&cluster.name)) else {
            continue;
        };
        if !matches!(seen.condition, Condition::Ready { .. }) {
            continue;
        }
        let begun = |before: &BTreeMap<InstanceId, Timestamp>, id: &InstanceId| {
            (id.clone(), before.get(id).copied().unwrap_or(now))
        };
        for (id, node) in &seen.nodes {
            next.idle.extend(node.idle.then(|| begun(&since.idle, id)));
            next.ready
                .extend(node.ready.then(|| begun(&since.ready, id)));
        }
        let mut waiting = seen.waiting.clone();
        for group in groups(tx.view(), &cluster.name) {
            if scales(cell, &group) && is_still(&group) {
                let changed = Look::new(cell, tx, seen, &group).size(&mut waiting, &next, now);
                if changed != group.desired {
                    tx.update::<NodeGroup>(&group.id(), |it| {
                        it.desired = changed;
                        it.modified_at = now;
                    });
                }
            }
        }
    }
    *since = next;
}

/// Whether nothing else changes a group.
fn is_still(group: &NodeGroup) -> bool {
    let is_active = matches!(
        group.status,
        NodegroupStatus::Active | NodegroupStatus::Degraded
    );
    is_active && group.rollout.is_none()
}

/// What a new node of a group has.
#[derive(Debug, Clone)]
struct Template {
    cpu_millis: u64,
    memory_bytes: u64,
    pods: u32,
    labels: BTreeMap<String, String>,
    taints: Vec<String>,
}

impl Template {
    fn takes(&self, pods: &WaitingPods) -> bool {
        let has = |(key, value): (&String, &String)| self.labels.get(key) == Some(value);
        let minds = |taint: &&String| !pods.tolerations.iter().any(|it| tolerates(it, taint));
        let keeps_away = |taint: &&String| !taint.ends_with(":PreferNoSchedule");
        pods.cpu_millis <= self.cpu_millis
            && pods.memory_bytes <= self.memory_bytes
            && self.pods > 0
            && pods.node_selector.iter().all(has)
            && !self.taints.iter().filter(keeps_away).any(|it| minds(&it))
    }

    fn take(&mut self, pods: &WaitingPods) -> bool {
        let takes = self.takes(pods);
        if takes {
            self.cpu_millis -= pods.cpu_millis;
            self.memory_bytes -= pods.memory_bytes;
            self.pods -= 1;
        }
        takes
    }
}

fn tolerates(it: &Toleration, taint: &str) -> bool {
    let (rest, effect) = taint.rsplit_once(':').unwrap_or((taint, ""));
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    (it.key.is_empty() && it.value.is_none() || it.key == key)
        && (it.effect.is_empty() || it.effect == effect)
        && it.value.as_deref().is_none_or(|it| it == value)
}

/// A group as it is.
struct Look<'a> {
    group: &'a NodeGroup,
    template: Template,
    /// Nodes that are empty and take pods.
    idle: Vec<InstanceId>,
    /// Nodes that are ready.
    ready: Vec<InstanceId>,
    /// Nodes that are on their way.
    coming: usize,
}

impl<'a> Look<'a> {
    fn new(cell: &Cell, tx: &Tx, seen: &ClusterObserved, group: &'a NodeGroup) -> Self {
        let view = tx.view();
        let nodes = view.by::<Node>("group", &group.key());
        let (mut idle, mut ready) = (Vec::new(), Vec::new());
        let (mut coming, mut there) = (0, 0);
        for node in nodes.filter(|it| it.draining_since.is_none()) {
            there += 1;
            let Some(seen) = seen.nodes.get(&node.instance).filter(|it| it.ready) else {
                coming += 1;
                continue;
            };
            ready.push(node.instance.clone());
            if seen.idle {
                idle.push(node.instance.clone());
            }
        }
        let desired = usize::try_from(group.desired).unwrap_or_default();
        Self {
            template: template(cell, view, group),
            idle,
            ready,
            coming: coming + desired.saturating_sub(there),
            group,
        }
    }

    /// How many nodes the group should have. Pods that it will have room for wait no more.
    fn size(&self, waiting: &mut Vec<WaitingPods>, since: &Since, now: Timestamp) -> i32 {
        let group = self.group;
        let is_new = |id: &InstanceId| {
            let since = since.ready.get(id);
            since.is_none_or(|since| now.since(*since) < SETTLING)
        };
        if self.ready.iter().any(is_new) {
            return group.desired;
        }
        let most = usize::try_from(group.max.saturating_sub(group.desired)).unwrap_or_default();
        // Where a node is empty and the scheduler still finds no room, another one like it would not help.
        let room = self.idle.len() + self.coming;
        let mut bins = vec![self.template.clone(); room];
        let mut is_wanted = false;
        for kind in &mut *waiting {
            while kind.pods > 0 {
                let placed = bins.iter_mut().any(|it| it.take(kind));
                if !placed {
                    let mut another = self.template.clone();
                    if bins.len() >= room + most || !another.take(kind) {
                        break;
                    }
                    bins.push(another);
                }
                is_wanted = true;
                kind.pods -= 1;
            }
        }
        waiting.retain(|it| it.pods > 0);
        let more = i32::try_from(bins.len() - room).unwrap_or_default();
        if is_wanted || more > 0 {
            return group.desired + more;
        }
        let time = unneeded_time(group);
        let is_unneeded = |id: &&InstanceId| {
            let since = since.idle.get(*id);
            since.is_some_and(|since| now.since(*since) >= time)
        };
        let unneeded = self.idle.iter().filter(is_unneeded).count();
        // Those that are on their way have not had their time.
        let fewer = if self.coming > 0 { 0 } else { unneeded };
        let fewer = i32::try_from(fewer).unwrap_or_default();
        let least = group.min.min(group.desired);
        (group.desired - fewer).max(least)
    }
}

fn template(cell: &Cell, view: &View, group: &NodeGroup) -> Template {
    let name = group.instance_types.first().map_or("", String::as_str);
    let known = managed::node_type(name);
    let zones = group.subnets.iter();
    let zones = zones.filter_map(|id| view.get::<Subnet>(id.as_str()));
    let mut zones = zones.map(|it| it.availability_zone.clone());
    let zone = zones.next().unwrap_or_default();
    let is_one = zones.all(|it| it == zone);
    let mut labels = nodes::labels(cell, group, &zone, name);
    if !is_one {
        // The next node may be in any of them.
        labels.remove(ZONE);
    }
    let architecture = match known.map(|it| it.architecture) {
        Some("arm64") => "arm64",
        _ => "amd64",
    };
    for (key, value) in [
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    Template {
        cpu_millis: known.map_or(0, |it| u64::from(it.vcpus) * 1000),
        memory_bytes: known.map_or(0, |it| it.memory_bytes.saturating_sub(KEPT_BYTES)),
        pods: managed::max_pods(name),
        labels,
        taints: nodes::taints(&group.taints),
    }
}

fn unneeded_time(group: &NodeGroup) -> Duration {
    let given = group.tags.get(UNNEEDED);
    given
        .and_then(|text| duration(text))
        .unwrap_or(UNNEEDED_TIME)
}

/// A length of time as Go writes it, such as `1h10m30s`, in whole units.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit())?;
        let (number, after) = rest.split_at(end);
        let unit = match after.chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = after.get(1..)?;
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_gos() {
        let seconds = |text: &str| duration(text).map(|it| it.as_secs());
        assert_eq!(seconds("10m"), Some(600));
        assert_eq!(seconds("1h10m30s"), Some(4230));
        for bad in [
            "",
            "10",
            "m",
            "10ms",
            "1.5h",
            "-1s",
            "99999999999999999999s",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_toleration_matches_as_kubernetes_has_it() {
        let it = |key: &str, value: Option<&str>, effect: &str| Toleration {
            key: key.into(),
            value: value.map(str::to_owned),
            effect: effect.into(),
        };
        for (toleration, want) in [
            (it("", None, ""), true),
            (it("a", None, ""), true),
            (it("a", Some("b"), "NoSchedule"), true),
            (it("a", Some("c"), ""), false),
            (it("b", None, ""), false),
            (it("a", None, "NoExecute"), false),
        ] {
            assert_eq!(
                tolerates(&toleration, "a=b:NoSchedule"),
                want,
                "{toleration:?}"
            );
        }
    }
}
