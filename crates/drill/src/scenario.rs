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
#[error("{0:?} is no scenario: {names}", names = names())]
pub struct UnknownScenario(pub String);

/// What a scenario strikes, which is what `--victim` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// An instance or another workload.
    Workload,
    /// A node of a cluster.
    Node,
    /// A cluster, or all clusters of a region.
    Cluster,
    /// Pods of a cluster.
    Pods,
    /// A region.
    Region,
}

/// The processes of a region that a scenario kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processes {
    /// The control plane.
    pub control: bool,
    /// The node process.
    pub node: bool,
    /// Every process of every instance.
    pub instances: bool,
    /// Whether they stay dead until the fault ends. Otherwise their supervisor restarts them at once, and the drill measures how
    /// long that takes.
    pub held: bool,
}

/// The row of a scenario: all that is known of it but how a node injects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The scenario.
    pub scenario: Scenario,
    /// The name on the command line, such as `kill-target`.
    pub name: &'static str,
    /// What it strikes.
    pub victim: Victim,
    /// Whether it cuts the region's link to the WAN.
    pub cuts_link: bool,
    /// What it kills of a region.
    pub kills: Processes,
    /// Whether names must lead elsewhere while the fault lasts. They need not where the victim goes on serving, or comes back
    /// at once.
    pub moves_names: bool,
    /// Whether the end of a region's processes proves that the fault was noticed. It proves nothing when the whole region is
    /// lost: the status knows of its processes only because all regions share this machine.
    pub shows_in_processes: bool,
}

const NONE: Processes = Processes {
    control: false,
    node: false,
    instances: false,
    held: false,
};

const fn within(scenario: Scenario, name: &'static str, victim: Victim) -> Facts {
    Facts {
        scenario,
        name,
        victim,
        cuts_link: false,
        kills: NONE,
        moves_names: true,
        shows_in_processes: true,
    }
}

/// One row a scenario, in the order of [`Scenario`].
const TABLE: [Facts; 11] = [
    within(Scenario::KillTarget, "kill-target", Victim::Workload),
    within(
        Scenario::BlackholeTarget,
        "blackhole-target",
        Victim::Workload,
    ),
    Facts {
        cuts_link: true,
        kills: Processes {
            control: true,
            node: true,
            instances: true,
            held: true,
        },
        shows_in_processes: false,
        ..within(Scenario::KillRegion, "kill-region", Victim::Region)
    },
    Facts {
        cuts_link: true,
        shows_in_processes: false,
        ..within(
            Scenario::PartitionRegion,
            "partition-region",
            Victim::Region,
        )
    },
    Facts {
        kills: Processes {
            control: true,
            held: true,
            ..NONE
        },
        moves_names: false,
        ..within(
            Scenario::KillControlPlane,
            "kill-control-plane",
            Victim::Region,
        )
    },
    Facts {
        kills: Processes { node: true, ..NONE },
        moves_names: false,
        ..within(
            Scenario::KillNodeProcess,
            "kill-node-process",
            Victim::Region,
        )
    },
    within(Scenario::KillNode, "kill-node", Victim::Node),
    within(Scenario::LoseNode, "lose-node", Victim::Node),
    Facts {
        moves_names: false,
        ..within(Scenario::DrainNode, "drain-node", Victim::Node)
    },
    within(Scenario::KillCluster, "kill-cluster", Victim::Cluster),
    Facts {
        moves_names: false,
        ..within(Scenario::KillPod, "kill-pod", Victim::Pods)
    },
];

impl Scenario {
    /// All scenarios.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.scenario)
    }

    /// Its row in the table of scenarios.
    pub fn facts(self) -> &'static Facts {
        // A test holds the table to the order of the variants.
        &TABLE[self as usize]
    }

    /// The name, such as `kill-target`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether its victim is a node of a cluster.
    pub fn hits_node(self) -> bool {
        self.facts().victim == Victim::Node
    }

    /// Whether its victim is in a region, whose node process injects the fault; otherwise it is a region, and the supervisor does.
    pub fn is_within_region(self) -> bool {
        self.facts().victim != Victim::Region
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
        let found = Self::all().find(|s| s.name() == text);
        found.ok_or_else(|| UnknownScenario(text.chars().take(64).collect()))
    }
}

fn names() -> String {
    TABLE.map(|row| row.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scenario_has_its_row_and_a_name_of_its_own() {
        for (place, row) in TABLE.iter().enumerate() {
            assert_eq!(row.scenario as usize, place, "{}", row.name);
            assert_eq!(row.scenario.name().parse(), Ok(row.scenario));
            let written = serde_json::to_value(row.scenario).unwrap();
            assert_eq!(written, row.name, "orders are written with the name");
        }
    }

    #[test]
    fn only_a_region_loses_its_link_and_processes() {
        for row in TABLE.iter().filter(|row| row.victim != Victim::Region) {
            assert!(!row.cuts_link && row.kills == NONE, "{}", row.name);
        }
    }
}
