//! The volumes of a launch.
//!
//! An instance has one file system, thin and as large as the host allows. Its volumes are records: they are
//! shown with what was asked for, and go with the instance. No block device appears in the instance, where
//! nothing could be mounted anyway.

use std::ops::RangeInclusive;

use lath_ec2_kit::instance_types::InstanceType;
use lath_ec2_kit::refused;
use lath_ec2_records::Volume;
use lath_ec2_records::errors::{
    client, combination, invalid_parameter, invalid_value, missing, unsupported,
};
use lath_model::Timestamp;
use lath_model::id::VolumeId;
use lath_service::Refuses;
use lath_wire::ApiError;

use super::request::{BlockDevice, EbsDevice, RunInstances};
use super::response::ROOT_DEVICE;
use crate::images::{self, Image};

/// What AWS publishes of a volume type
/// (<https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>).
struct VolumeType {
    name: &'static str,
    /// In GiB.
    sizes: RangeInclusive<i32>,
    /// What may be asked for; `None` where it follows from the size.
    iops: Option<RangeInclusive<i32>>,
    /// Most operations a second for each GiB.
    ratio: i32,
    /// What there is unless more is asked for.
    default_iops: Option<i32>,
    bootable: bool,
}

impl VolumeType {
    const fn of_size(name: &'static str, sizes: RangeInclusive<i32>, bootable: bool) -> Self {
        Self {
            name,
            sizes,
            iops: None,
            ratio: 0,
            default_iops: None,
            bootable,
        }
    }

    const fn with_iops(
        name: &'static str,
        sizes: RangeInclusive<i32>,
        iops: RangeInclusive<i32>,
        ratio: i32,
        default_iops: Option<i32>,
    ) -> Self {
        Self {
            name,
            sizes,
            iops: Some(iops),
            ratio,
            default_iops,
            bootable: true,
        }
    }
}

const TYPES: [VolumeType; 7] = [
    VolumeType::with_iops("gp3", 1..=65_536, 3000..=80_000, 500, Some(3000)),
    VolumeType::of_size("gp2", 1..=16_384, true),
    VolumeType::with_iops("io1", 4..=16_384, 100..=64_000, 50, None),
    VolumeType::with_iops("io2", 4..=65_536, 100..=256_000, 1000, None),
    VolumeType::of_size("st1", 125..=16_384, false),
    VolumeType::of_size("sc1", 125..=16_384, false),
    VolumeType::of_size("standard", 1..=1024, true),
];

/// MiB a second of a gp3 volume.
const THROUGHPUT: RangeInclusive<i32> = 125..=2000;

/// The volumes that a request asks for, the root volume first. Their ids and times are those of the launch.
pub(super) fn volumes(
    op: &RunInstances,
    image: &Image,
    typed: &InstanceType,
) -> Result<Vec<Volume>, ApiError> {
    let mut volumes = vec![root_volume(op, image)?];
    for device in &op.block_devices {
        let name = device.device_name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(missing("BlockDeviceMapping.DeviceName"));
        }
        if volumes[1..].iter().any(|other| other.device == name) {
            return Err(invalid_mapping(format!(
                "The device '{name}' is used in more than one block-device mapping"
            )));
        }
        if name != ROOT_DEVICE {
            volumes.extend(data_volume(device, name)?);
        }
        check_number(&volumes, typed)?;
    }
    check_number(&volumes, typed)?;
    Ok(volumes)
}

fn check_number(volumes: &[Volume], typed: &InstanceType) -> Result<(), ApiError> {
    let most = usize::try_from(typed.ebs_attachments).unwrap_or(usize::MAX);
    if volumes.len() > most {
        return Err(client(
            "AttachmentLimitExceeded",
            format!(
                "The instance type {} has at most {most} volumes.",
                typed.name
            ),
        ));
    }
    Ok(())
}

fn invalid_mapping(text: impl Into<String>) -> ApiError {
    client("InvalidBlockDeviceMapping", text)
}

fn root_volume(op: &RunInstances, image: &Image) -> Result<Volume, ApiError> {
    let is_root = |device: &&BlockDevice| device.device_name.as_deref() == Some(ROOT_DEVICE);
    let mut given = op.block_devices.iter().filter(is_root);
    let device = given.next().cloned().unwrap_or_default();
    if given.next().is_some() {
        return Err(invalid_mapping(format!(
            "The device '{ROOT_DEVICE}' is used in more than one block-device mapping"
        )));
    }
    if device.no_device.is_some() || device.virtual_name.is_some() {
        return Err(unsupported("The root device cannot be suppressed."));
    }
    let ebs = EbsDevice {
        volume_size: device.ebs.as_ref().and_then(|ebs| ebs.volume_size),
        ..device.ebs.unwrap_or_default()
    };
    if let Some(size) = ebs.volume_size.filter(|size| *size < images::ROOT_SIZE) {
        return Err(invalid_mapping(format!(
            "Volume of size {size}GB is smaller than snapshot '{}', expect size >= {}GB",
            image.snapshot,
            images::ROOT_SIZE
        )));
    }
    if let Some(other) = ebs.snapshot_id.as_ref().filter(|id| **id != image.snapshot) {
        return Err(no_snapshot(other));
    }
    let size = ebs.volume_size.unwrap_or(images::ROOT_SIZE);
    let kind = ebs.volume_type.as_deref().unwrap_or(image.volume_type);
    let found = volume_type(kind)?;
    if !found.bootable {
        return Err(invalid_value(format!(
            "The volume type {kind} cannot be the root volume of an instance."
        )));
    }
    let mut volume = volume(ROOT_DEVICE, &ebs, found, size)?;
    volume.snapshot = Some(image.snapshot.clone());
    Ok(volume)
}

/// `None` for what AWS passes over: devices of the image that it does not have, and instance stores that
/// the type does not have.
fn data_volume(device: &BlockDevice, name: &str) -> Result<Option<Volume>, ApiError> {
    if device.no_device.is_some() || device.virtual_name.is_some() {
        return Ok(None);
    }
    let ebs = device.ebs.clone().unwrap_or_default();
    if let Some(snapshot) = &ebs.snapshot_id {
        return Err(no_snapshot(snapshot));
    }
    let Some(size) = ebs.volume_size else {
        return Err(client(
            "MissingParameter",
            "The request must contain the parameter size or snapshotId",
        ));
    };
    let found = volume_type(ebs.volume_type.as_deref().unwrap_or("gp2"))?;
    volume(name, &ebs, found, size).map(Some)
}

fn no_snapshot(id: &str) -> ApiError {
    let shown: String = id.chars().take(64).collect();
    client(
        "InvalidSnapshot.NotFound",
        format!("The snapshot '{shown}' does not exist."),
    )
}

fn volume_type(name: &str) -> Result<&'static VolumeType, ApiError> {
    let found = TYPES.iter().find(|known| known.name == name);
    found.ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        invalid_parameter("volumeType", shown, "Unknown volume type.")
    })
}

fn volume(device: &str, ebs: &EbsDevice, kind: &VolumeType, size: i32) -> Result<Volume, ApiError> {
    ebs.refuse()?;
    if ebs.delete_on_termination == Some(false) {
        return Err(unsupported("Volumes go with their instance."));
    }
    if !kind.sizes.contains(&size) {
        let (least, most) = (kind.sizes.start(), kind.sizes.end());
        let name = kind.name;
        return Err(invalid_value(format!(
            "Volume of {size}GiB is invalid; {name} volumes have {least} to {most} GiB."
        )));
    }
    Ok(Volume {
        id: VolumeId::random(),
        device: device.to_owned(),
        size,
        kind: kind.name.into(),
        iops: iops(ebs.iops, kind, size)?,
        throughput: throughput(ebs.throughput, kind)?,
        encrypted: ebs.encrypted == Some(true),
        snapshot: None,
        created_at: Timestamp::default(),
    })
}

fn iops(given: Option<i32>, kind: &VolumeType, size: i32) -> Result<Option<i32>, ApiError> {
    let name = kind.name;
    let Some(allowed) = &kind.iops else {
        return match given {
            None => Ok(by_size(kind, size)),
            Some(_) => Err(not_for("iops", name)),
        };
    };
    let Some(iops) = given.or(kind.default_iops) else {
        return Err(client(
            "MissingParameter",
            format!("The parameter iops must be specified for {name} volumes."),
        ));
    };
    if iops < *allowed.start() {
        let least = allowed.start();
        let text = format!("Volume iops of {iops} is too low; minimum is {least}.");
        return Err(invalid_value(text));
    }
    if iops > *allowed.end() {
        let most = allowed.end();
        let text = format!("Volume iops of {iops} is too high; maximum is {most}.");
        return Err(invalid_value(text));
    }
    let bound = size.saturating_mul(kind.ratio);
    if given.is_some() && iops > bound.max(*allowed.start()) {
        let ratio = kind.ratio;
        return Err(invalid_value(format!(
            "Iops to volume size ratio is too high; maximum is {ratio} iops per GiB for {name} volumes."
        )));
    }
    Ok(Some(iops))
}

/// A gp2 volume has three operations a second for each GiB, from 100 to 16000.
fn by_size(kind: &VolumeType, size: i32) -> Option<i32> {
    (kind.name == "gp2").then(|| size.saturating_mul(3).clamp(100, 16_000))
}

fn throughput(given: Option<i32>, kind: &VolumeType) -> Result<Option<i32>, ApiError> {
    match (kind.name, given) {
        ("gp3", None) => Ok(Some(*THROUGHPUT.start())),
        ("gp3", Some(rate)) if THROUGHPUT.contains(&rate) => Ok(Some(rate)),
        ("gp3", Some(rate)) => Err(invalid_parameter(
            "throughput",
            rate,
            "Use a number from 125 to 2000.",
        )),
        (_, None) => Ok(None),
        (name, Some(_)) => Err(not_for("throughput", name)),
    }
}

fn not_for(parameter: &str, kind: &str) -> ApiError {
    combination(format!(
        "The parameter {parameter} is not supported for {kind} volumes."
    ))
}

refused! {
    EbsDevice { kms_key_id, outpost_arn, volume_initialization_rate, ebs_card_index }
}
