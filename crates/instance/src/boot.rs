//! The plan of one boot of an instance.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lath_feed::InstanceKind;
pub use lath_feed::RootSource;
use lath_model::WorkloadId;
use serde::{Deserialize, Serialize};

use crate::cgroup::Groups;
use crate::setup::Setup;

/// What a workload's processes may do, and where their network comes from.
#[derive(Debug, Clone)]
pub enum Kind {
    /// What programs do, but no mounts, namespaces or control groups of their own.
    Ordinary {
        /// The network namespace it lives in, made and wired by the fabric.
        netns: Arc<OwnedFd>,
    },
    /// Run containers: it has a user namespace of its own, in which it may mount, make namespaces and divide its control
    /// groups. Its network namespace is made with it ([`crate::Instances::netns`]), for the fabric to wire; units and user
    /// data wait for the interface.
    Node,
}

impl Kind {
    pub(crate) fn confinement(&self) -> InstanceKind {
        match self {
            Self::Ordinary { .. } => InstanceKind::Ordinary,
            Self::Node => InstanceKind::Node,
        }
    }
}

/// A workload as it should run: an instance, or what another service runs, such as a control plane.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Its id.
    pub id: WorkloadId,
    /// What it may do.
    pub kind: Kind,
    /// What its root file system is a copy of. Only the first boot looks at it.
    pub root: RootSource,
    /// Its full host name, such as `ip-10-0-1-10.ec2.internal`. The kernel gets the first label.
    pub hostname: String,
    /// For `/etc/resolv.conf`: the VPC's resolver at base+2.
    pub nameservers: Vec<IpAddr>,
    /// For `/etc/resolv.conf`: such as `ec2.internal`.
    pub search: Vec<String>,
    /// More lines for `/etc/hosts`, beyond localhost. AWS has none.
    pub hosts: BTreeMap<IpAddr, Vec<String>>,
    /// The root certificate of the installation, PEM, which the bundles of its root file system get; empty for none.
    pub authority: Arc<str>,
    /// User data as given, decoded from base64 (possibly gzip'd).
    pub user_data: Vec<u8>,
    /// Grows with each start and reboot.
    pub boot: u64,
    /// Public keys in OpenSSH form, for root's `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// What it gets beyond its root, and what runs in it from its first moment.
    pub setup: Setup,
}

/// What an instance may use. Enforced by control groups where the host has the controllers, else as far as
/// resource limits of processes go; see [`crate::doctor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// As much time as this many processors have.
    pub vcpus: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: None,
            // Enough for a Kubernetes node; far too few to starve the host.
            pids: Some(16_384),
            vcpus: None,
        }
    }
}

/// What the launcher reads from the run directory: all of a boot but the open file descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BootPlan {
    pub(crate) id: WorkloadId,
    pub(crate) data_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) root: RootSource,
    pub(crate) hostname: String,
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) hosts: BTreeMap<IpAddr, Vec<String>>,
    pub(crate) authority: Arc<str>,
    #[serde(with = "base64_bytes")]
    pub(crate) user_data: Vec<u8>,
    pub(crate) boot: u64,
    pub(crate) ssh_keys: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) stop_grace: Duration,
    /// Whether the instance dies with the process that started it.
    pub(crate) lifeline: bool,
    /// Whether mounts belong to a user namespace (rootless).
    pub(crate) rootless: bool,
    /// This instance's control groups.
    pub(crate) groups: Groups,
    pub(crate) setup: Setup,
    pub(crate) kind: InstanceKind,
}

impl BootPlan {
    /// How long its processes may take to end.
    pub(crate) fn stop_time(&self) -> Duration {
        self.stop_grace + self.setup.stop_time()
    }
}

mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
