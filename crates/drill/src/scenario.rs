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
}

/// The text is not the name of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scenario: {names}", names = Scenario::ALL.map(Scenario::name).join(", "))]
pub struct UnknownScenario(pub String);

impl Scenario {
    /// All scenarios.
    pub const ALL: [Self; 6] = [
        Self::KillTarget,
        Self::BlackholeTarget,
        Self::KillRegion,
        Self::PartitionRegion,
        Self::KillControlPlane,
        Self::KillNodeProcess,
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
        }
    }

    /// Whether its victim is a workload; otherwise it is a region.
    pub fn hits_workload(self) -> bool {
        matches!(self, Self::KillTarget | Self::BlackholeTarget)
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
