use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_kit::instance_types;
use lath_ec2_kit::tags;
use lath_ec2_network::interfaces::prefixes;
use lath_ec2_records::errors::{client, invalid_value};
use lath_ec2_records::ids;
use lath_ec2_records::interfaces::{self, NewInterface};
use lath_ec2_records::managed::primary_interface;
use lath_ec2_records::{
    Attachment, Instance, InstanceState, NetworkInterface, ShutdownBehavior, Subnet,
};
use lath_feed::ClusterNode;
use lath_model::id::{
    AttachmentId, InstanceId, NetworkInterfaceId, ReservationId, SecurityGroupId, SubnetId,
    VolumeId,
};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::NodeTemplate;
use crate::images;
use crate::instances::{self, BlockDevice, EbsDevice, ROOT_DEVICE, RunInstances, names_at_launch};

/// The most pods that AWS advises for a node of fewer than 30 vCPUs.
const MOST_PODS: u32 = 110;

/// A node that should be launched.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// What it is to its cluster.
    pub cluster: ClusterNode,
    /// Such as `m5.large`.
    pub instance_type: String,
    /// Where.
    pub subnet: SubnetId,
    /// The groups that guard it.
    pub groups: Vec<SecurityGroupId>,
    /// The name of the role that its programs get.
    pub role: String,
    /// The name of the instance profile that the service calls its own.
    pub profile: String,
    /// GiB of its root volume.
    pub disk_size: i32,
    /// The key pair's name and public key.
    pub key: Option<(String, String)>,
    /// Tags of the instance, `aws:` ones included; its interface and volume get them too.
    pub tags: BTreeMap<String, String>,
    /// What else its user wants of it. Its groups come in the place of those above, where it names some.
    pub template: Option<NodeTemplate>,
}

/// What an instance type means to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeType {
    /// Whether it can be launched here.
    pub offered: bool,
    /// `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// Whether it has GPUs or other accelerators.
    pub accelerated: bool,
    /// Its processors.
    pub vcpus: u32,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
}

/// The type of this name; `None` when AWS has no such type.
pub fn node_type(name: &str) -> Option<NodeType> {
    let known = instance_types::find(name)?;
    Some(NodeType {
        offered: known.is_offered(),
        architecture: if known.runs("arm64") {
            "arm64"
        } else {
            "x86_64"
        },
        accelerated: known.accelerated,
        vcpus: u32::try_from(known.vcpus).unwrap_or_default(),
        memory_bytes: u64::try_from(known.memory_mib).unwrap_or_default() << 20,
    })
}

/// How many pods AWS lets a node of a type have: each interface's addresses but its own, and two on the host's network
/// (<https://docs.aws.amazon.com/eks/latest/userguide/choosing-instance-type.html>). A node has one interface here, and
/// prefixes of 16 addresses on it.
pub fn max_pods(name: &str) -> u32 {
    let Some(known) = instance_types::find(name) else {
        return MOST_PODS;
    };
    let of_aws = known.interfaces() * (known.ipv4_addresses - 1) + 2;
    let of_prefixes = (known.ipv4_addresses - 1) * 16;
    u32::try_from(of_aws.min(of_prefixes)).map_or(MOST_PODS, |most| most.min(MOST_PODS))
}

/// The name and public key of a key pair.
pub fn key_pair(view: &View, name: &str) -> Option<(String, String)> {
    let pair = lath_ec2_records::KeyPair::named(view, name)?;
    Some((pair.name.clone(), pair.public_key.clone()))
}

/// Launches a node with one interface and a prefix for pods on it.
///
/// # Errors
/// Those of RunInstances: `InvalidSubnetID.NotFound`, `InsufficientFreeAddressesInSubnet`, `VcpuLimitExceeded` and so on.
pub fn launch_node(tx: &mut Tx, cell: &Cell, new: NewNode) -> Result<Arc<Instance>, ApiError> {
    let typed = instance_types::find(&new.instance_type)
        .filter(|known| known.is_offered())
        .ok_or_else(|| {
            invalid_value(format!(
                "Invalid value '{}' for InstanceType.",
                new.instance_type
            ))
        })?;
    let subnet = ids::find::<Subnet>(tx.view(), new.subnet.as_str())?;
    let architecture = if typed.runs("arm64") {
        "arm64"
    } else {
        "x86_64"
    };
    let custom = new.template.as_ref().and_then(NodeTemplate::image);
    let custom = custom.and_then(|id| images::for_nodes(cell, tx.view(), id, architecture));
    let image = custom
        .or_else(|| images::of_nodes(cell, tx.view(), architecture))
        .ok_or_else(|| client("InvalidAMIID.NotFound", "There is no image for nodes."))?;
    let request = wanted(&new)?;
    let mut settings = instances::launchable(&request, &image, typed)?;
    let vcpus = settings.options.cpu;
    let vcpus = vcpus.map_or(typed.vcpus, |(cores, threads)| cores * threads);
    instances::check_quota(cell, tx.view(), vcpus)?;
    let names = names_at_launch(request.private_dns_name_options.as_ref(), &subnet)?;
    let of_template = request.key_name.as_deref();
    let key = match of_template.filter(|it| !it.is_empty()) {
        Some(name) => key_pair(tx.view(), name),
        None => new.key.clone(),
    };
    let id = InstanceId::random();
    let interface = connect(tx, cell, &id, &new, &request)?;
    tags::put(tx, id.as_str(), tags_of(&new, "instance"));
    for volume in &mut settings.volumes {
        volume.id = VolumeId::random();
        tags::put(tx, volume.id.as_str(), tags_of(&new, "volume"));
    }
    let root_volume = settings.volumes.remove(0);
    let public = public(&request).unwrap_or(subnet.map_public_ip_on_launch);
    let instance = tx.put(Instance {
        owner: cell.account.clone(),
        reservation: ReservationId::random(),
        launch_index: 0,
        image: image.id,
        root: image.root,
        root_volume,
        volumes: settings.volumes,
        architecture: architecture.into(),
        instance_type: typed.name.into(),
        key,
        vpc: subnet.vpc.clone(),
        subnet: subnet.id.clone(),
        availability_zone: subnet.availability_zone.clone(),
        primary_interface: Some(interface.id.clone()),
        private_ip: Some(interface.primary_ip()),
        wants_public_ip: public,
        user_data: settings.user_data,
        state: InstanceState::Pending,
        state_after: tx.view().revision(),
        boot: 1,
        state_reason: Some(("pending".into(), "pending".into())),
        transition_reason: String::new(),
        launched_at: tx.now(),
        terminated_at: None,
        client_token: None,
        metadata: settings.metadata,
        on_shutdown: ShutdownBehavior::Terminate,
        termination_protected: request.disable_api_termination == Some(true),
        stop_protected: request.disable_api_stop == Some(true),
        skips_shutdown: false,
        names,
        options: settings.options,
        cluster: Some(new.cluster),
        for_kubernetes: false,
        id,
    });
    instances::associate_role(cell, tx, &instance, &new.profile, &new.role);
    Ok(instance)
}

/// What a node is launched with: what its template says, or else what EKS chooses.
fn wanted(new: &NewNode) -> Result<RunInstances, ApiError> {
    if let Some(template) = &new.template {
        return template.request(&new.instance_type);
    }
    let root = BlockDevice {
        device_name: Some(ROOT_DEVICE.to_owned()),
        ebs: Some(EbsDevice {
            volume_size: Some(new.disk_size),
            volume_type: Some("gp3".to_owned()),
            ..EbsDevice::default()
        }),
        ..BlockDevice::default()
    };
    Ok(RunInstances {
        block_devices: vec![root],
        ..RunInstances::default()
    })
}

fn public(request: &RunInstances) -> Option<bool> {
    let interface = request.network_interfaces.first();
    interface.and_then(|it| it.associate_public_ip_address)
}

/// The tags of what is made for a node: the service's, and above them those of its template.
fn tags_of(new: &NewNode, resource_type: &str) -> BTreeMap<String, String> {
    let template = new.template.iter();
    let of_template = template.flat_map(|it| it.tags(resource_type));
    of_template.chain(new.tags.clone()).collect()
}

fn connect(
    tx: &mut Tx,
    cell: &Cell,
    instance: &InstanceId,
    new: &NewNode,
    request: &RunInstances,
) -> Result<NetworkInterface, ApiError> {
    let of_template = new.template.as_ref().map(NodeTemplate::group_ids);
    let groups = of_template.filter(|it| !it.is_empty());
    let wanted = request.network_interfaces.first();
    let primary = NewInterface {
        subnet: new.subnet.clone(),
        groups: groups.unwrap_or_else(|| new.groups.clone()),
        private_ip: None,
        public: public(request),
        description: wanted
            .and_then(|it| it.description.clone())
            .unwrap_or_default(),
    };
    let mut interface =
        interfaces::create_primary(tx, cell, NetworkInterfaceId::random(), primary)?;
    interface.attachment = Some(Attachment {
        id: AttachmentId::random(),
        instance: instance.clone(),
        device_index: 0,
        delete_on_termination: wanted
            .and_then(|it| it.delete_on_termination)
            .unwrap_or(true),
        attached_at: tx.now(),
    });
    tags::put(tx, interface.id.as_str(), tags_of(new, "network-interface"));
    tx.put(interface.clone());
    // The limit on prefixes is that of the instance's type, and there is no instance yet; one is within every limit.
    if let Err(error) = prefixes::add(tx, &interface, &prefixes::Wanted::some(1)) {
        // The caller's transaction may go on without this node.
        interfaces::release(tx, &interface);
        return Err(error);
    }
    Ok(interface)
}

/// Gives a node's interface another prefix; `false` when its type or its subnet has no room for one.
pub fn add_prefix(tx: &mut Tx, instance: &InstanceId) -> bool {
    let interface = primary_interface(tx.view(), instance);
    interface.is_some_and(|it| prefixes::add(tx, &it, &prefixes::Wanted::some(1)).is_ok())
}

/// Changes what a node is to its cluster, such as whether it is drained.
pub fn update_node(tx: &mut Tx, instance: &InstanceId, change: impl FnOnce(&mut ClusterNode)) {
    tx.update::<Instance>(instance.as_str(), |it| {
        if let Some(node) = &mut it.cluster {
            change(node);
        }
    });
}

/// Terminates a node, whatever the user protected it from: its group is its owner.
pub fn terminate_node(tx: &mut Tx, instance: &InstanceId) {
    let alive = tx.get::<Instance>(instance.as_str());
    if alive.is_none_or(|it| it.state.is_ending()) {
        return;
    }
    let (revision, now) = (tx.view().revision(), tx.now());
    tx.update::<Instance>(instance.as_str(), |it| {
        it.enter(InstanceState::ShuttingDown, revision);
        let at = now.format("%Y-%m-%d %H:%M:%S GMT");
        it.transition_reason = format!("User initiated ({at})");
        it.state_reason = Some((
            "Client.UserInitiatedShutdown".into(),
            "Client.UserInitiatedShutdown: User initiated shutdown".into(),
        ));
    });
}

/// Whether nothing of an instance is left but its record.
pub fn is_gone(view: &View, instance: &InstanceId) -> bool {
    let found = view.get::<Instance>(instance.as_str());
    found.is_none_or(|it| it.state == InstanceState::Terminated)
}
