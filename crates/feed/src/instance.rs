//! Desired state of instances.

use std::collections::BTreeMap;

use lath_model::Timestamp;
use lath_model::id::*;
use serde::{Deserialize, Serialize};

use crate::{ClusterNode, Hidden};

/// An instance: processes with networks of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Running, or stopped with its file system kept. Absence from the snapshot removes both.
    pub power: Power,
    /// Grows with each start and reboot; the node restarts the processes when it differs.
    pub boot: u64,
    /// What its root file system is a copy of.
    pub root: RootSource,
    /// How much of the host it may use.
    #[serde(default)]
    pub capacity: Capacity,
    /// Its host name, such as `ip-10-0-1-10.ec2.internal`.
    pub hostname: String,
    /// The name made of its id, such as `i-0123456789abcdef0.ec2.internal`, where the VPC's resolver answers it.
    #[serde(default)]
    pub resource_name: Option<String>,
    /// User data as given (decoded from base64).
    pub user_data: Vec<u8>,
    /// What the metadata service tells it.
    pub metadata: InstanceMetadata,
    /// What its processes may do.
    #[serde(default)]
    pub kind: InstanceKind,
    /// The cluster that it is a node of. Only instances of kind [`InstanceKind::Node`] are; one of that kind without a
    /// cluster may be made a node of its user's.
    #[serde(default)]
    pub cluster: Option<ClusterNode>,
}

/// What an instance's processes may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceKind {
    /// What programs do, but no mounts, namespaces or control groups of their own.
    #[default]
    Ordinary,
    /// Run containers: it has a user namespace of its own, in which it may mount, make namespaces and delegate control
    /// groups. Its root is an ordinary user of the host, and its runtime makes its network namespace.
    Node,
}

/// Whether an instance's processes should live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// Processes run.
    On,
    /// Processes do not run; files stay.
    Off,
}

/// What an instance's root file system is a copy of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSource {
    /// The host's own root, less its secrets.
    Host,
    /// A directory that holds a root file system.
    Directory(std::path::PathBuf),
}

/// How much of the host an instance may use, as its type says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Memory, in bytes; `None`: unlimited.
    pub memory_bytes: Option<u64>,
    /// Processors; `None`: all.
    pub vcpus: Option<u32>,
}

/// What AWS sets where a launch says nothing
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMetadataOptionsRequest.html>).
fn one_hop() -> u8 {
    1
}

/// What the metadata service tells an instance, beyond what its interfaces say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceMetadata {
    /// The image it was launched from.
    pub image: ImageId,
    /// Such as `t3.medium`.
    pub instance_type: String,
    /// The reservation.
    pub reservation: ReservationId,
    /// Its place in the reservation.
    pub launch_index: u32,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// The key pair's name and the public key in OpenSSH form.
    pub key: Option<(String, String)>,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
    /// Its tags, where instance metadata tags are enabled.
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether a session token is demanded (IMDSv2 only).
    pub tokens_required: bool,
    /// How many hops the answer to a request for a token may take: 1 to 64.
    #[serde(default = "one_hop")]
    pub hop_limit: u8,
    /// Whether the service answers at all.
    pub enabled: bool,
    /// Its instance profile.
    #[serde(default)]
    pub profile: Option<InstanceProfile>,
}

/// An instance profile, as the metadata service shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceProfile {
    /// Its ARN.
    pub arn: String,
    /// `AIPA...`.
    pub id: String,
    /// When its role or that role's keys last changed.
    pub updated: Timestamp,
    /// Its role's name; `None` when it has none.
    pub role: Option<String>,
    /// Keys of the role; `None` when it has no role, or EC2 may not assume it.
    pub keys: Option<TemporaryKeys>,
}

/// Keys of a role's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemporaryKeys {
    /// `ASIA...`.
    pub id: String,
    /// The secret access key.
    pub secret: Hidden,
    /// The session token.
    pub token: Hidden,
    /// When they end.
    pub expires: Timestamp,
}
