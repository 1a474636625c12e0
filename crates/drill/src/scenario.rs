use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Every process of an instance gets SIGKILL; the instance boots again when the fault ends.
    KillTarget,
    /// Packets from and to a workload's addresses are dropped silently.
    BlackholeTarget,
    /// A region loses power: its WAN link is cut, its processes and instances get SIGKILL.
    KillRegion,
    /// A region's WAN link is cut in both directions; the region itself keeps running.
    PartitionRegion,
    /// A region's control plane gets SIGKILL and does not come back before the fault ends.
    KillControlPlane,
    /// A region's node process (proxies, resolvers, tunnels) gets SIGKILL and is restarted at once.
    KillNodeProcess,
    /// A node of a cluster loses power; it boots again when the fault ends.
    KillNode,
    /// A node of a cluster fails for good: its node group starts another.
    LoseNode,
    /// A node of a cluster takes no new pods, and those on it are evicted as disruption budgets allow; it takes pods again
    /// when the fault ends.
    DrainNode,
    /// The control planes and nodes of a cluster, or of all clusters of a region, lose power until the fault ends.
    KillCluster,
    /// The containers of pods get SIGKILL once; their kubelets start them again at once.
    KillPod,
}

/// The text is not the name of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scenario: {names}", names = Scenario::ALL.map(Scenario::name).join(", "))]
pub struct UnknownScenario(pub String);

impl Scenario {
    /// All scenarios.
    pub const ALL: [Self; 11] = [
        Self::KillTarget,
        Self::BlackholeTarget,
        Self::KillRegion,
        Self::PartitionRegion,
        Self::KillControlPlane,
        Self::KillNodeProcess,
        Self::KillNode,
        Self::LoseNode,
        Self::DrainNode,
        Self::KillCluster,
        Self::KillPod,
    ];

    /// The name, such as `kill-target`.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillTarget => "kill-target",
            Self::BlackholeTarget => "blackhole-target",
            Self::KillRegion => "kill-region",
            Self::PartitionRegion => "partition-region",
            Self::KillControlPlane => "kill-control-plane",
            Self::KillNodeProcess => "kill-node-process",
            Self::KillNode => "kill-node",
            Self::LoseNode => "lose-node",
            Self::DrainNode => "drain-node",
            Self::KillCluster => "kill-cluster",
            Self::KillPod => "kill-pod",
        }
    }

    /// Whether its victim is a workload.
    pub fn hits_workload(self) -> bool {
        matches!(self, Self::KillTarget | Self::BlackholeTarget) || self.hits_node()
    }

    /// Whether its victim is a node of a cluster.
    pub fn hits_node(self) -> bool {
        matches!(self, Self::KillNode | Self::LoseNode | Self::DrainNode)
    }

    /// Whether its victim is in a region, whose node process injects the fault; otherwise it is a region, and the supervisor does.
    pub fn is_within_region(self) -> bool {
        self.hits_workload() || matches!(self, Self::KillCluster | Self::KillPod)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;
    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        let found = Self::ALL.into_iter().find(|s| s.name() == text);
        found.ok_or_else(|| UnknownScenario(text.chars().take(64).collect()))
    }
}
