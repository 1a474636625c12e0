use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_feed::{ClusterNode, RootSource};
use lath_model::Timestamp;
use lath_model::id::{
    ImageId, InstanceId, NetworkInterfaceId, ReservationId, SubnetId, VolumeId, VpcId,
};
use lath_store::{Record, View};
use serde::{Deserialize, Serialize};

/// An instance. Its addresses and groups are those of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The account.
    pub owner: String,
    /// The RunInstances call that launched it.
    pub reservation: ReservationId,
    /// Its place in the reservation.
    pub launch_index: u32,
    /// What it was launched from.
    pub image: ImageId,
    /// What its root file system is a copy of; kept here so that the image may go before the instance.
    pub root: RootSource,
    /// Its root disk.
    pub root_volume: Volume,
    /// Its other volumes.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Such as `t3.medium`.
    pub instance_type: String,
    /// The key pair's name and its public key, in OpenSSH form, as they were at launch.
    pub key: Option<(String, String)>,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// The subnet of its primary interface.
    pub subnet: SubnetId,
    /// Such as `us-east-1a`.
    pub availability_zone: String,
    /// Its primary interface; `None` once it is terminated.
    pub primary_interface: Option<NetworkInterfaceId>,
    /// The private address it was launched with: its name is made of it. `None` once it is terminated.
    pub private_ip: Option<Ipv4Addr>,
    /// Whether it gets a public address at each start.
    pub wants_public_ip: bool,
    /// User data in base64, as given.
    pub user_data: Option<String>,
    /// What it is doing.
    pub state: InstanceState,
    /// The store's revision before its state last changed: a node that applied a later one has obeyed it.
    pub state_after: u64,
    /// Grows with each start and reboot, from 1.
    pub boot: u64,
    /// Why it is in this state, such as `Client.UserInitiatedShutdown`: a code and a text.
    pub state_reason: Option<(String, String)>,
    /// Such as `User initiated (2026-01-02 03:04:05 GMT)`.
    pub transition_reason: String,
    /// When it was started last.
    pub launched_at: Timestamp,
    /// When the node had ended it.
    pub terminated_at: Option<Timestamp>,
    /// The idempotency token it was launched with.
    pub client_token: Option<String>,
    /// How the metadata service answers it.
    pub metadata: MetadataOptions,
    /// What happens when its first process ends by itself.
    pub on_shutdown: ShutdownBehavior,
    /// Whether the API refuses to terminate it.
    pub termination_protected: bool,
    /// Whether the API refuses to stop it.
    pub stop_protected: bool,
    /// Whether it ends without its processes being asked to, when it ends.
    #[serde(default)]
    pub skips_shutdown: bool,
    /// What its name is made of, and which names the VPC's resolver answers.
    #[serde(default)]
    pub names: PrivateDnsNames,
    /// What was chosen for it and only shown.
    #[serde(default)]
    pub options: InstanceOptions,
    /// What it is to a cluster, where it was launched as a node of one.
    #[serde(default)]
    pub cluster: Option<ClusterNode>,
    /// Whether its image is one for nodes of clusters that its user makes.
    #[serde(default)]
    pub for_kubernetes: bool,
}

/// What names instances get, and which of them the VPC's resolver answers
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-naming.html>).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateDnsNames {
    /// Whether host names are made of instance ids (`resource-name`) and not of addresses (`ip-name`).
    pub resource_name: bool,
    /// Whether the name made of the id has an A record.
    pub a_record: bool,
}

/// Settings of an instance that a process of this host has no use for: answers show what was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceOptions {
    /// Detailed monitoring.
    pub monitoring: bool,
    /// Bandwidth of its own for volumes.
    pub ebs_optimized: bool,
    /// Cores and threads of each, where they differ from the type's.
    pub cpu: Option<(i32, i32)>,
    /// `standard` or `unlimited`; `None` is the type's own option.
    pub cpu_credits: Option<String>,
    /// Whether automatic recovery is switched off.
    pub no_recovery: bool,
    /// Whether it keeps out of capacity reservations.
    pub no_reservations: bool,
}

/// The states of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    /// Being started.
    Pending,
    /// Its first process runs.
    Running,
    /// Being ended for good.
    ShuttingDown,
    /// Nothing of it is left but its record.
    Terminated,
    /// Its processes are being ended.
    Stopping,
    /// No process of it lives; its files are kept.
    Stopped,
}

impl InstanceState {
    /// AWS's code and name.
    pub fn code_and_name(self) -> (i32, &'static str) {
        match self {
            Self::Pending => (0, "pending"),
            Self::Running => (16, "running"),
            Self::ShuttingDown => (32, "shutting-down"),
            Self::Terminated => (48, "terminated"),
            Self::Stopping => (64, "stopping"),
            Self::Stopped => (80, "stopped"),
        }
    }

    /// AWS's name.
    pub fn name(self) -> &'static str {
        self.code_and_name().1
    }

    /// Whether a node is working on it.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Pending | Self::ShuttingDown | Self::Stopping)
    }

    /// Whether it is on its way out or gone.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

/// A volume of an instance. It goes with the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// Where it is attached.
    #[serde(default = "root_device")]
    pub device: String,
    /// GiB that were asked for. The disk is thin.
    pub size: i32,
    /// Such as `gp3`.
    pub kind: String,
    /// Operations a second that were asked for.
    #[serde(default)]
    pub iops: Option<i32>,
    /// MiB a second that were asked for.
    #[serde(default)]
    pub throughput: Option<i32>,
    /// Whether encryption was asked for: files are as encrypted as the host's disk.
    #[serde(default)]
    pub encrypted: bool,
    /// The snapshot of the image that it was made from.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The device that every root disk is.
pub const ROOT_DEVICE: &str = "/dev/xvda";

/// The device of a root volume in records that do not say it.
fn root_device() -> String {
    ROOT_DEVICE.into()
}

/// What a shutdown from within does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShutdownBehavior {
    /// The instance is stopped.
    Stop,
    /// The instance is terminated.
    Terminate,
}

impl ShutdownBehavior {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Terminate => "terminate",
        }
    }
}

/// How the metadata service answers an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataOptions {
    /// Whether it answers at all.
    pub enabled: bool,
    /// Whether a session token is demanded.
    pub tokens_required: bool,
    /// How many hops a token may travel: 1 to 64.
    pub hop_limit: i32,
    /// Whether the instance can read its tags.
    pub tags: bool,
}

impl MetadataOptions {
    /// `enabled` or `disabled`.
    pub fn endpoint_word(&self) -> &'static str {
        on_off(self.enabled)
    }

    /// `optional` or `required`.
    pub fn tokens_word(&self) -> &'static str {
        if self.tokens_required {
            "required"
        } else {
            "optional"
        }
    }

    /// Of the instance's tags: `enabled` or `disabled`.
    pub fn tags_word(&self) -> &'static str {
        on_off(self.tags)
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

impl Instance {
    /// The instance that a volume belongs to.
    pub fn of_volume(view: &View, volume: &str) -> Option<Arc<Self>> {
        view.by::<Self>("volume", volume).next()
    }

    /// Its volumes, the root volume first; none once it is terminated.
    pub fn all_volumes(&self) -> impl Iterator<Item = &Volume> {
        let lives = self.state != InstanceState::Terminated;
        std::iter::once(&self.root_volume)
            .chain(&self.volumes)
            .filter(move |_| lives)
    }

    /// Whether it counts against the quota and holds its key and groups.
    pub fn is_alive(&self) -> bool {
        !self.state.is_ending()
    }

    /// Moves it to another state.
    pub fn enter(&mut self, state: InstanceState, revision: u64) {
        self.state = state;
        self.state_after = revision;
    }
}

impl Record for Instance {
    const KIND: &'static str = "ec2.instance";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let volumes = self.all_volumes().map(|it| ("volume", it.id.to_string()));
        let reservation = ("reservation", self.reservation.to_string());
        volumes.chain(std::iter::once(reservation)).collect()
    }
}
