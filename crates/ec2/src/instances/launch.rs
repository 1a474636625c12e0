//! RunInstances.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_control::{Mode, TokenUse, claim_token, fingerprint};
use lath_model::Timestamp;
use lath_model::id::{InstanceId, ReservationId, VolumeId};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::attributes::metadata_options;
use super::credits::UNLIMITED;
use super::network::Network;
use super::request::{BlockDevice, EbsDevice, RunInstances};
use super::shown::{ROOT_DEVICE, Reservation, Showing};
use super::types::{self, InstanceType, host_architecture};
use crate::Ec2;
use crate::errors::{client, combination, invalid_parameter, invalid_value, missing, unsupported};
use crate::images::{self, Image};
use crate::key_pairs;
use crate::operation::{operations, refuse};
use crate::records::{Instance, InstanceState, MetadataOptions, RootVolume, ShutdownBehavior};
use crate::tags::{self, TagSpecification};

/// User data before base64, in bytes.
const MAX_USER_DATA: usize = 16_384;
/// vCPUs of running instances of the standard families: what AWS gives to accounts in use.
const VCPU_QUOTA: i32 = 32;
/// How many instances one request may launch.
const MAX_COUNT: i32 = 1000;

operations! {
    change RunInstances -> Reservation = run, dry_run;
}

fn run(app: &Ec2, tx: &mut Tx, op: RunInstances) -> Result<Reservation, ApiError> {
    refuse_unsupported(&op)?;
    let id = ReservationId::random();
    let reservation = match claim(tx, &op, &id)? {
        Some(earlier) => earlier,
        None => {
            Launch::new(app, tx.view(), &op)?.run(app, tx, &id)?;
            id.to_string()
        }
    };
    show(app, tx.view(), &reservation)
}

fn show(app: &Ec2, view: &View, reservation: &str) -> Result<Reservation, ApiError> {
    let mut instances: Vec<_> = view
        .list::<Instance>()
        .filter(|instance| instance.reservation.as_str() == reservation)
        .collect();
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
    let Some(token) = op.client_token.as_deref().filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    if token.len() > 64 || !token.is_ascii() {
        return Err(invalid_value(
            "The client token has up to 64 ASCII characters.",
        ));
    }
    let plain = RunInstances {
        client_token: None,
        dry_run: None,
        ..op.clone()
    };
    match claim_token(
        tx,
        "ec2.RunInstances",
        token,
        fingerprint(&plain),
        new.as_str(),
    ) {
        TokenUse::New => Ok(None),
        TokenUse::Repeat(reservation) => Ok(Some(reservation)),
        TokenUse::Mismatch => Err(client(
            "IdempotentParameterMismatch",
            format!(
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s). Client token: {token}"
            ),
        )),
    }
}

fn refuse_unsupported(op: &RunInstances) -> Result<(), ApiError> {
    refuse! {
        op;
        ipv6_address_count, ipv6_addresses, kernel_id, ramdisk_id, monitoring, elastic_gpus,
        accelerators, launch_template, instance_market_options, cpu_options,
        capacity_reservation_specification, hibernation_options, licenses, enclave_options,
        private_dns_name_options, maintenance_options, enable_primary_ipv6,
        network_performance_options, operator, secondary_interfaces, additional_info, ebs_optimized,
    }
    if let Some(profile) = &op.iam_instance_profile {
        let by_arn = profile.arn.as_deref().map(|arn| ("arn", arn));
        let by_name = profile.name.as_deref().map(|name| ("name", name));
        let (member, value) = by_arn.or(by_name).unwrap_or(("name", ""));
        return Err(invalid_parameter(
            &format!("iamInstanceProfile.{member}"),
            value,
            &format!("Invalid IAM Instance Profile {member}"),
        ));
    }
    refuse_placement(op)
}

fn refuse_placement(op: &RunInstances) -> Result<(), ApiError> {
    let Some(placement) = &op.placement else {
        return Ok(());
    };
    refuse! {
        placement;
        affinity, availability_zone_id, group_id, host_id, host_resource_group_arn,
        partition_number, spread_domain,
    }
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
    root: RootVolume,
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
        let typed = instance_type(op)?;
        let defaults = MetadataOptions {
            enabled: true,
            tokens_required: image.imds_v2,
            hop_limit: if image.imds_v2 { 2 } else { 1 },
            tags: false,
        };
        let network = Network::new(view, op)?;
        Ok(Self {
            key: key(view, op)?,
            root: root_volume(op, &image)?,
            metadata: metadata_options(defaults, &op.metadata_options.clone().unwrap_or_default())?,
            on_shutdown: on_shutdown(op.instance_initiated_shutdown_behavior.as_deref())?,
            user_data: op.user_data.as_deref().map(user_data).transpose()?,
            count: count(app, view, op, &network, typed)?,
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
        let root_volume = RootVolume {
            id: VolumeId::random(),
            ..self.root.clone()
        };
        tags::put(tx, id.as_str(), self.tags.instance.clone());
        tags::put(tx, root_volume.id.as_str(), self.tags.volume.clone());
        tx.put(Instance {
            owner: app.cell.account.clone(),
            reservation: reservation.clone(),
            launch_index,
            image: self.image.id.clone(),
            root: self.image.root.clone(),
            root_volume,
            architecture: host_architecture().into(),
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
            launched_at: Timestamp::now(),
            terminated_at: None,
            client_token: self.op.client_token.clone(),
            metadata: self.metadata.clone(),
            on_shutdown: self.on_shutdown,
            termination_protected: self.op.disable_api_termination == Some(true),
            stop_protected: self.op.disable_api_stop == Some(true),
            id,
        });
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
        .any(|it| it.private_ip_address.is_some());
    if op.max_count > 1 && (op.private_ip_address.is_some() || address) {
        return Err(combination(
            "Private IP addresses may not be specified for more than one instance.",
        ));
    }
    Ok(())
}

/// Without a type AWS takes m1.small, which no newer image runs on.
fn instance_type(op: &RunInstances) -> Result<&'static InstanceType, ApiError> {
    let name = op.instance_type.as_deref().unwrap_or("m1.small");
    let Some(known) = types::find(name) else {
        let shown: String = name.chars().take(64).collect();
        return Err(invalid_value(format!(
            "Invalid value '{shown}' for InstanceType."
        )));
    };
    if known.architecture != host_architecture() {
        return Err(invalid_value(format!(
            "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.",
            known.architecture,
            host_architecture()
        )));
    }
    if let Some(credits) = &op.credit_specification {
        check_credits(known, &credits.cpu_credits)?;
    }
    Ok(known)
}

fn check_credits(known: &InstanceType, credits: &str) -> Result<(), ApiError> {
    match credits {
        UNLIMITED if known.is_burstable() => Ok(()),
        "standard" if known.is_burstable() => Err(unsupported(
            "Instances are never throttled: their CPU credits are unlimited.",
        )),
        other => Err(invalid_parameter(
            "CreditSpecification.CpuCredits",
            other.chars().take(64).collect::<String>(),
            "Burstable types take standard or unlimited, other types neither.",
        )),
    }
}

fn key(view: &View, op: &RunInstances) -> Result<Option<(String, String)>, ApiError> {
    let Some(name) = op.key_name.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let pair = key_pairs::by_name(view, name).ok_or_else(|| key_pairs::not_found(name))?;
    Ok(Some((pair.name.clone(), pair.public_key.clone())))
}

/// The one disk. It is thin, and goes with the instance.
fn root_volume(op: &RunInstances, image: &Image) -> Result<RootVolume, ApiError> {
    let mut volume = RootVolume {
        id: VolumeId::random(),
        size: images::ROOT_SIZE,
        kind: image.volume_type.into(),
        created_at: Timestamp::now(),
    };
    for device in &op.block_devices {
        let ebs = root_device(device)?;
        if let Some(size) = ebs.volume_size {
            if !(images::ROOT_SIZE..=65_536).contains(&size) {
                return Err(client(
                    "InvalidBlockDeviceMapping",
                    format!(
                        "Volume of size {size}GB is smaller than snapshot, expect size >= {}GB",
                        images::ROOT_SIZE
                    ),
                ));
            }
            volume.size = size;
        }
        volume.kind = ebs.volume_type.clone().unwrap_or(volume.kind);
    }
    Ok(volume)
}

fn root_device(device: &BlockDevice) -> Result<EbsDevice, ApiError> {
    refuse! { device; no_device, virtual_name }
    if device.device_name.as_deref() != Some(ROOT_DEVICE) {
        return Err(unsupported(format!(
            "Instances have one disk: only {ROOT_DEVICE} may be mapped."
        )));
    }
    let ebs = device.ebs.clone().unwrap_or_default();
    refuse! { ebs; iops, snapshot_id, kms_key_id, throughput, encrypted }
    if ebs.delete_on_termination == Some(false) {
        return Err(unsupported("The root volume goes with its instance."));
    }
    match ebs.volume_type.as_deref() {
        None | Some("gp2" | "gp3" | "standard") => Ok(ebs),
        Some(other) => Err(invalid_parameter("volumeType", other, "Use gp2 or gp3.")),
    }
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
    typed: &InstanceType,
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
    let allowed = usize::try_from(free / typed.vcpus).unwrap_or(0);
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
        .filter_map(|instance| types::find(&instance.instance_type))
        .map(|known| known.vcpus)
        .sum()
}

pub(super) fn check_quota(app: &Ec2, view: &View, more: i32) -> Result<(), ApiError> {
    if app.cell.mode == Mode::Strict && vcpus_in_use(view) + more > VCPU_QUOTA {
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
