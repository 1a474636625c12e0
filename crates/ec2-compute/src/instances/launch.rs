//! RunInstances.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_control::{Cell, Mode};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::idempotency;
use lath_ec2_kit::instance_types::{self, InstanceType};
use lath_ec2_kit::refused;
use lath_ec2_kit::tags::{self, TagSpecification};
use lath_ec2_records::errors::{
    client, combination, invalid_parameter, invalid_value, missing, unsupported,
};
use lath_ec2_records::{
    Instance, InstanceOptions, InstanceState, MetadataOptions, PrivateDnsNames, ShutdownBehavior,
    Volume,
};
use lath_iam::records::InstanceProfile;
use lath_model::id::{InstanceId, ReservationId, VolumeId};
use lath_service::{Mismatch, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::attributes::metadata_options;
use super::launch_access::needs;
use super::network::{Network, refuse_of_interface};
use super::request::{
    CpuOptions, EbsDevice, InterfaceSpecification, Placement, PrivateDnsNameOptions, RunInstances,
};
use super::response::{Reservation, Showing};
use super::{disks, options, profiles};
use crate::images::{self, Image};
use crate::key_pairs;
use crate::launch_templates::applied::applied;

/// User data before base64, in bytes.
const MAX_USER_DATA: usize = 16_384;
/// vCPUs of running instances of the standard families: what AWS gives to accounts in use.
const VCPU_QUOTA: i32 = 32;
/// How many instances one request may launch.
const MAX_COUNT: i32 = 1000;

operations! {
    for Ec2 as "ec2";
    change RunInstances -> Reservation = run, dry_run => by(needs)
        => refusing ["NetworkInterface." InterfaceSpecification, "CpuOptions." CpuOptions, "PrivateDnsNameOptions." PrivateDnsNameOptions, "BlockDeviceMapping.Ebs." EbsDevice, "" RunInstances, "Placement." Placement];
}

fn run(app: &Ec2, tx: &mut Tx, op: RunInstances) -> Result<Reservation, ApiError> {
    let id = ReservationId::random();
    let reservation = match claim(tx, &op, &id)? {
        Some(earlier) => earlier,
        None => {
            launch(app, tx, &op, &id)?;
            id.to_string()
        }
    };
    show(app, tx.view(), &reservation)
}

fn launch(
    app: &Ec2,
    tx: &mut Tx,
    op: &RunInstances,
    reservation: &ReservationId,
) -> Result<(), ApiError> {
    let applied = applied(tx.view(), op)?;
    let op = applied.as_ref().map_or(op, |it| &it.request);
    refuse_unsupported(op)?;
    let mut launch = Launch::new(app, tx.view(), op)?;
    if let Some(applied) = &applied {
        // <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-instances-from-launch-template.html>
        let of_template = [
            ("aws:ec2launchtemplate:id", applied.template.to_string()),
            ("aws:ec2launchtemplate:version", applied.version.to_string()),
        ];
        let of_template = of_template.map(|(key, value)| (key.to_owned(), value));
        launch.tags.instance.extend(of_template);
    }
    launch.run(app, tx, reservation)
}

/// What follows from a request, an image and a type for every instance.
pub(crate) struct Settings {
    /// The root volume first.
    pub(crate) volumes: Vec<Volume>,
    pub(crate) options: InstanceOptions,
    pub(crate) metadata: MetadataOptions,
    pub(crate) user_data: Option<String>,
}

/// Settings that do not depend on where an instance goes.
///
/// # Errors
/// As of RunInstances, for what cannot be had.
pub(crate) fn launchable(
    op: &RunInstances,
    image: &Image,
    typed: &InstanceType,
) -> Result<Settings, ApiError> {
    refuse_unsupported(op)?;
    op.network_interfaces
        .iter()
        .try_for_each(refuse_of_interface)?;
    LaunchTags::new(&op.tags)?;
    Ok(Settings {
        volumes: disks::volumes(op, image, typed)?,
        options: options::at_launch(op, typed)?,
        metadata: metadata_at_launch(op, image)?,
        user_data: op.user_data.as_deref().map(user_data).transpose()?,
    })
}

/// What a launch would be refused for whatever there is in the region.
pub(crate) fn refusals(op: &RunInstances) -> Vec<ApiError> {
    let of_interfaces = op.network_interfaces.iter();
    let of_volumes = op.block_devices.iter().filter_map(|it| it.ebs.as_ref());
    let mut all = vec![
        refuse_unsupported(op),
        op.cpu_options.as_ref().map_or(Ok(()), Refuses::refuse),
        op.private_dns_name_options
            .as_ref()
            .map_or(Ok(()), Refuses::refuse),
        op.instance_type
            .as_ref()
            .map_or(Ok(()), |_| known_type(op).map(drop)),
        op.user_data
            .as_deref()
            .map_or(Ok(()), |it| user_data(it).map(drop)),
    ];
    all.extend(of_interfaces.map(refuse_of_interface));
    all.extend(of_volumes.map(Refuses::refuse));
    all.into_iter().filter_map(Result::err).collect()
}

fn show(app: &Ec2, view: &View, reservation: &str) -> Result<Reservation, ApiError> {
    let mut instances: Vec<_> = view.by::<Instance>("reservation", reservation).collect();
    instances.sort_by_key(|instance| instance.launch_index);
    Showing::new(&app.cell, view)
        .reservations(instances.iter().map(AsRef::as_ref))
        .pop()
        .ok_or_else(|| {
            client(
                "IdempotentInstanceTerminated",
                "The instances that this client token launched have been terminated.",
            )
        })
}

/// The reservation that the request's token made before.
fn claim(tx: &mut Tx, op: &RunInstances, new: &ReservationId) -> Result<Option<String>, ApiError> {
    let token = op.client_token.as_deref();
    idempotency::check_token(token, "The client token has up to 64 ASCII characters.")?;
    let plain = RunInstances {
        client_token: None,
        dry_run: None,
        ..op.clone()
    };
    let parameters = idempotency::fingerprint(&plain);
    let claimed = lath_service::claim(tx, "ec2.RunInstances", token, parameters, new.as_str());
    claimed.map_err(|Mismatch| {
        let token = token.unwrap_or_default();
        idempotency::mismatch(format!(
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s). Client token: {token}"
        ))
    })
}

fn refuse_unsupported(op: &RunInstances) -> Result<(), ApiError> {
    op.refuse()?;
    refuse_placement(op)
}

fn refuse_placement(op: &RunInstances) -> Result<(), ApiError> {
    let Some(placement) = &op.placement else {
        return Ok(());
    };
    placement.refuse()?;
    if placement
        .group_name
        .as_deref()
        .is_some_and(|it| !it.is_empty())
    {
        return Err(client(
            "InvalidPlacementGroup.Unknown",
            "The Placement Group is unknown.",
        ));
    }
    if placement
        .tenancy
        .as_deref()
        .is_some_and(|it| !matches!(it, "" | "default"))
    {
        return Err(unsupported("Only the default tenancy is supported."));
    }
    Ok(())
}

/// A request whose every part is known and allowed.
struct Launch<'a> {
    op: &'a RunInstances,
    image: Image,
    typed: &'static InstanceType,
    key: Option<(String, String)>,
    network: Network,
    /// The root volume first.
    volumes: Vec<Volume>,
    options: InstanceOptions,
    names: PrivateDnsNames,
    profile: Option<Arc<InstanceProfile>>,
    metadata: MetadataOptions,
    on_shutdown: ShutdownBehavior,
    user_data: Option<String>,
    count: usize,
    tags: LaunchTags,
}

impl<'a> Launch<'a> {
    fn new(app: &Ec2, view: &View, op: &'a RunInstances) -> Result<Self, ApiError> {
        check_counts(op)?;
        let image_id = op.image_id.as_deref().ok_or_else(|| missing("ImageId"))?;
        let image = images::find(&app.cell, view, image_id)?;
        let typed = instance_type(op, &image)?;
        let network = Network::new(view, op)?;
        network.check_limits(typed)?;
        let options = options::at_launch(op, typed)?;
        let cpu = options.cpu;
        let vcpus = cpu.map_or(typed.vcpus, |(cores, threads)| cores * threads);
        Ok(Self {
            key: key(view, op)?,
            volumes: disks::volumes(op, &image, typed)?,
            options,
            names: options::names_at_launch(op.private_dns_name_options.as_ref(), &network.subnet)?,
            profile: op
                .iam_instance_profile
                .as_ref()
                .map(|given| profiles::named(app.cell.owner(), view, given))
                .transpose()?,
            metadata: metadata_at_launch(op, &image)?,
            on_shutdown: on_shutdown(op.instance_initiated_shutdown_behavior.as_deref())?,
            user_data: op.user_data.as_deref().map(user_data).transpose()?,
            count: count(app, view, op, &network, vcpus)?,
            tags: LaunchTags::new(&op.tags)?,
            op,
            image,
            typed,
            network,
        })
    }

    fn run(&self, app: &Ec2, tx: &mut Tx, reservation: &ReservationId) -> Result<(), ApiError> {
        for index in 0..self.count {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            self.one(app, tx, reservation, index)?;
        }
        Ok(())
    }

    fn one(
        &self,
        app: &Ec2,
        tx: &mut Tx,
        reservation: &ReservationId,
        launch_index: u32,
    ) -> Result<(), ApiError> {
        let id = InstanceId::random();
        let interface = self
            .network
            .connect(tx, &app.cell, &id, &self.tags.interface)?;
        let mut volumes = self.volumes.clone();
        for volume in &mut volumes {
            volume.id = VolumeId::random();
            volume.created_at = tx.now();
            tags::put(tx, volume.id.as_str(), self.tags.volume.clone());
        }
        let root_volume = volumes.remove(0);
        tags::put(tx, id.as_str(), self.tags.instance.clone());
        let instance = tx.put(Instance {
            owner: app.cell.account.clone(),
            reservation: reservation.clone(),
            launch_index,
            image: self.image.id.clone(),
            root: self.image.root.clone(),
            root_volume,
            volumes,
            architecture: self.image.architecture.into(),
            instance_type: self.typed.name.into(),
            key: self.key.clone(),
            vpc: self.network.subnet.vpc.clone(),
            subnet: self.network.subnet.id.clone(),
            availability_zone: self.network.subnet.availability_zone.clone(),
            primary_interface: Some(interface.id.clone()),
            private_ip: Some(interface.primary_ip()),
            wants_public_ip: self.network.wants_public(),
            user_data: self.user_data.clone(),
            state: InstanceState::Pending,
            state_after: tx.view().revision(),
            boot: 1,
            state_reason: Some(("pending".into(), "pending".into())),
            transition_reason: String::new(),
            launched_at: tx.now(),
            terminated_at: None,
            client_token: self.op.client_token.clone(),
            metadata: self.metadata.clone(),
            on_shutdown: self.on_shutdown,
            termination_protected: self.op.disable_api_termination == Some(true),
            stop_protected: self.op.disable_api_stop == Some(true),
            skips_shutdown: false,
            names: self.names,
            options: self.options.clone(),
            cluster: None,
            for_kubernetes: self.image.for_kubernetes,
            id,
        });
        if let Some(profile) = &self.profile {
            profiles::associate(app, tx, &instance, profile);
        }
        Ok(())
    }
}

fn check_counts(op: &RunInstances) -> Result<(), ApiError> {
    if op.min_count < 1 {
        let why = "Minimum count must be greater than or equal to 1.";
        return Err(invalid_parameter("minCount", op.min_count, why));
    }
    if op.max_count < op.min_count {
        let why = "Maximum count must not be less than the minimum count.";
        return Err(invalid_parameter("maxCount", op.max_count, why));
    }
    if op.max_count > MAX_COUNT {
        return Err(invalid_parameter(
            "maxCount",
            op.max_count,
            "Maximum count must be at most 1000.",
        ));
    }
    let address = op
        .network_interfaces
        .iter()
        .any(|it| it.private_ip_address.is_some() || !it.private_ip_addresses.is_empty());
    if op.max_count > 1 && (op.private_ip_address.is_some() || address) {
        return Err(combination(
            "Private IP addresses may not be specified for more than one instance.",
        ));
    }
    Ok(())
}

/// Without a type AWS takes m1.small.
pub(super) fn default_type(op: &RunInstances) -> &str {
    op.instance_type.as_deref().unwrap_or("m1.small")
}

/// How the metadata service answers, where the request or the image says.
pub(super) fn metadata_at_launch(
    op: &RunInstances,
    image: &Image,
) -> Result<MetadataOptions, ApiError> {
    let defaults = MetadataOptions {
        enabled: true,
        tokens_required: image.imds_v2,
        hop_limit: if image.imds_v2 { 2 } else { 1 },
        tags: false,
    };
    metadata_options(defaults, &op.metadata_options.clone().unwrap_or_default())
}

/// The type of the request, whether it can be had or not.
///
/// # Errors
/// `InvalidParameterValue` when there is no such type.
pub(super) fn known_type(op: &RunInstances) -> Result<&'static InstanceType, ApiError> {
    let name = default_type(op);
    instance_types::find(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        invalid_value(format!("Invalid value '{shown}' for InstanceType."))
    })
}

pub(super) fn instance_type(
    op: &RunInstances,
    image: &Image,
) -> Result<&'static InstanceType, ApiError> {
    let known = known_type(op)?;
    let name = known.name;
    if !known.is_offered() {
        return Err(client(
            "Unsupported",
            format!(
                "The requested configuration is currently not supported. Lath has no hardware for the instance type {name}: see DescribeInstanceTypeOfferings."
            ),
        ));
    }
    if !known.runs(image.architecture) {
        return Err(invalid_value(format!(
            "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again. You can use 'describe-instance-types' or 'describe-images' to discover the architecture of the instance type or AMI.",
            known.architectures.join(","),
            image.architecture,
        )));
    }
    Ok(known)
}

fn key(view: &View, op: &RunInstances) -> Result<Option<(String, String)>, ApiError> {
    let Some(name) = op.key_name.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let pair =
        lath_ec2_records::KeyPair::named(view, name).ok_or_else(|| key_pairs::not_found(name))?;
    Ok(Some((pair.name.clone(), pair.public_key.clone())))
}

pub(super) fn on_shutdown(given: Option<&str>) -> Result<ShutdownBehavior, ApiError> {
    match given {
        None | Some("stop") => Ok(ShutdownBehavior::Stop),
        Some("terminate") => Ok(ShutdownBehavior::Terminate),
        Some(other) => Err(invalid_parameter(
            "instanceInitiatedShutdownBehavior",
            other.chars().take(64).collect::<String>(),
            "Use stop or terminate.",
        )),
    }
}

/// Checked, and without the line breaks that some encoders make.
pub(super) fn user_data(given: &str) -> Result<String, ApiError> {
    let text: String = given.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(&text).map_err(|_| {
        client(
            "InvalidUserData.Malformed",
            "Invalid BASE64 encoding of user data.",
        )
    })?;
    if bytes.len() > MAX_USER_DATA {
        return Err(invalid_value(format!(
            "User data is limited to {MAX_USER_DATA} bytes"
        )));
    }
    Ok(text)
}

/// As many as wanted, addresses and quota allow.
fn count(
    app: &Ec2,
    view: &View,
    op: &RunInstances,
    network: &Network,
    vcpus: i32,
) -> Result<usize, ApiError> {
    let wanted = usize::try_from(op.max_count).unwrap_or(0);
    let least = usize::try_from(op.min_count).unwrap_or(0);
    let placed = network.room(view, wanted);
    if placed < least {
        return Err(client(
            "InsufficientFreeAddressesInSubnet",
            format!(
                "There are not enough free addresses in subnet '{}' to satisfy the requested number of instances.",
                network.subnet.id
            ),
        ));
    }
    if app.cell.mode == Mode::Extended {
        return Ok(placed);
    }
    let free = VCPU_QUOTA - vcpus_in_use(view);
    let allowed = usize::try_from(free / vcpus.max(1)).unwrap_or(0);
    if allowed < least {
        return Err(client(
            "VcpuLimitExceeded",
            format!(
                "You have requested more vCPU capacity than your current vCPU limit of {VCPU_QUOTA} allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
            ),
        ));
    }
    Ok(placed.min(allowed))
}

/// Stopped instances do not count.
pub(super) fn vcpus_in_use(view: &View) -> i32 {
    use InstanceState::{Pending, Running};
    view.list::<Instance>()
        .filter(|instance| matches!(instance.state, Pending | Running))
        .map(|instance| options::cores_and_threads(&instance))
        .map(|(cores, threads)| cores * threads)
        .sum()
}

pub(crate) fn check_quota(cell: &Cell, view: &View, more: i32) -> Result<(), ApiError> {
    if cell.mode == Mode::Strict && vcpus_in_use(view) + more > VCPU_QUOTA {
        return Err(client(
            "VcpuLimitExceeded",
            format!("Starting these instances exceeds your current vCPU limit of {VCPU_QUOTA}."),
        ));
    }
    Ok(())
}

/// The tags for what a launch makes.
struct LaunchTags {
    instance: BTreeMap<String, String>,
    interface: BTreeMap<String, String>,
    volume: BTreeMap<String, String>,
}

impl LaunchTags {
    fn new(given: &[TagSpecification]) -> Result<Self, ApiError> {
        let types = ["instance", "network-interface", "volume"];
        let other = given.iter().find(|one| {
            let named = one.resource_type.as_deref();
            named.is_none_or(|it| !types.contains(&it))
        });
        if let Some(other) = other {
            tags::specified(std::slice::from_ref(other), "instance")?;
        }
        let of = |wanted: &str| {
            let is_of = |one: &&TagSpecification| one.resource_type.as_deref() == Some(wanted);
            let chosen: Vec<_> = given.iter().filter(is_of).cloned().collect();
            tags::specified(&chosen, wanted)
        };
        Ok(Self {
            instance: of("instance")?,
            interface: of("network-interface")?,
            volume: of("volume")?,
        })
    }
}

refused! {
    RunInstances { ipv6_address_count, ipv6_addresses as "Ipv6Address", kernel_id, ramdisk_id, elastic_gpus as "ElasticGpuSpecification", accelerators as "ElasticInferenceAccelerator", instance_market_options, capacity_reservation_specification as "CapacityReservationSpecification.CapacityReservationTarget", hibernation_options, licenses as "LicenseSpecification", enclave_options, enable_primary_ipv6, network_performance_options, operator, secondary_interfaces as "SecondaryInterface", additional_info }
    Placement { affinity, availability_zone_id, group_id, host_id, host_resource_group_arn, partition_number, spread_domain }
}
