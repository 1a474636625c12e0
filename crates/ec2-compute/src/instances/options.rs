//! Settings of instances that answers show and processes of a host have no use for: detailed monitoring,
//! bandwidth for volumes, cores and threads, CPU credits, recovery. And the names of instances, which the
//! VPC's resolver does use.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::instance_types::{self, InstanceType};
use lath_ec2_kit::made::{ATTRIBUTES, attributes};
use lath_ec2_kit::messages::Done;
use lath_ec2_kit::names::changed_names;
use lath_ec2_kit::refused;
use lath_ec2_records::errors::{client, combination, invalid_parameter, invalid_value, missing};
use lath_ec2_records::ids;
use lath_ec2_records::resources::{Facts, INSTANCE};
use lath_ec2_records::{Instance, InstanceOptions, InstanceState, PrivateDnsNames, Subnet};
use lath_service::{Refuses, operations};
use lath_store::Tx;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::named;
use super::request::{CapacityReservation, CpuOptions, PrivateDnsNameOptions, RunInstances};
use super::response::MonitoringItem;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MonitorInstances {
    #[serde(rename = "InstanceId", default)]
    ids: Vec<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UnmonitorInstances {
    #[serde(rename = "InstanceId", default)]
    ids: Vec<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Monitorings {
    instances_set: Vec<InstanceMonitoring>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceMonitoring {
    instance_id: String,
    monitoring: MonitoringItem,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyPrivateDnsNameOptions {
    dry_run: Option<bool>,
    instance_id: String,
    private_dns_hostname_type: Option<String>,
    enable_resource_name_dns_a_record: Option<bool>,
    #[serde(rename = "EnableResourceNameDnsAAAARecord")]
    enable_resource_name_dns_aaaa_record: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyInstanceMaintenanceOptions {
    instance_id: String,
    auto_recovery: Option<String>,
    reboot_migration: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MaintenanceResult {
    instance_id: String,
    auto_recovery: Option<String>,
    reboot_migration: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyInstanceCapacityReservationAttributes {
    instance_id: String,
    capacity_reservation_specification: Option<CapacityReservation>,
    dry_run: Option<bool>,
}

operations! {
    for Ec2 as "ec2";
    change MonitorInstances -> Monitorings = monitor, dry_run => on(&INSTANCE, |op, _| op.ids.clone());
    change UnmonitorInstances -> Monitorings = unmonitor, dry_run => on(&INSTANCE, |op, _| op.ids.clone());
    change ModifyPrivateDnsNameOptions -> Done = modify_names, dry_run
        => on(&INSTANCE, |op, _| op.instance_id.clone())
            .with_all(ATTRIBUTES, |op, _| op.set())
            .with("ec2:NewInstanceProfile", |_, _| None::<String>)
        => refusing ["" ModifyPrivateDnsNameOptions];
    change ModifyInstanceMaintenanceOptions -> MaintenanceResult = modify_maintenance, dry_run
        => on(&INSTANCE, |op, _| op.instance_id.clone()).with_all(ATTRIBUTES, |op, _| op.set());
    change ModifyInstanceCapacityReservationAttributes -> Done = modify_reservation, dry_run
        => on(&INSTANCE, |op, _| op.instance_id.clone()).with_all(ATTRIBUTES, |_, _| Vec::new())
        => refusing ["" ModifyInstanceCapacityReservationAttributes];
}

impl ModifyPrivateDnsNameOptions {
    fn set(&self) -> Facts {
        let text = |value: Option<bool>| value.map(|it| it.to_string());
        attributes(&[
            (
                "PrivateDnsHostnameType",
                self.private_dns_hostname_type.clone(),
            ),
            (
                "EnableResourceNameDnsARecord",
                text(self.enable_resource_name_dns_a_record),
            ),
            (
                "EnableResourceNameDnsAAAARecord",
                text(self.enable_resource_name_dns_aaaa_record),
            ),
        ])
    }
}

impl ModifyInstanceMaintenanceOptions {
    fn set(&self) -> Facts {
        attributes(&[
            ("AutoRecovery", self.auto_recovery.clone()),
            ("RebootMigration", self.reboot_migration.clone()),
        ])
    }
}

fn monitor(_app: &Ec2, tx: &mut Tx, op: MonitorInstances) -> Result<Monitorings, ApiError> {
    set_monitoring(tx, &op.ids, true)
}

fn unmonitor(_app: &Ec2, tx: &mut Tx, op: UnmonitorInstances) -> Result<Monitorings, ApiError> {
    set_monitoring(tx, &op.ids, false)
}

/// The answer names the state in between, as AWS's does.
fn set_monitoring(tx: &mut Tx, ids: &[String], on: bool) -> Result<Monitorings, ApiError> {
    let mut instances_set = Vec::new();
    for instance in named(tx.view(), ids)? {
        let was = instance.options.monitoring;
        tx.update::<Instance>(instance.id.as_str(), |it| it.options.monitoring = on);
        let state = match (was, on) {
            (true, true) => "enabled",
            (false, true) => "pending",
            (true, false) => "disabling",
            (false, false) => "disabled",
        };
        instances_set.push(InstanceMonitoring {
            instance_id: instance.id.to_string(),
            monitoring: MonitoringItem {
                state: state.into(),
            },
        });
    }
    Ok(Monitorings { instances_set })
}

/// A host name takes effect at the next start, so that it may change of stopped instances only.
fn modify_names(
    _app: &Ec2,
    tx: &mut Tx,
    op: ModifyPrivateDnsNameOptions,
) -> Result<Done, ApiError> {
    op.refuse()?;
    let instance = alive(tx, &op.instance_id)?;
    let names = changed_names(
        instance.names,
        op.private_dns_hostname_type.as_deref(),
        op.enable_resource_name_dns_a_record,
    )?;
    let renamed = names.resource_name != instance.names.resource_name;
    if renamed && instance.state != InstanceState::Stopped {
        return Err(client(
            "IncorrectInstanceState",
            format!(
                "The instance '{}' must be in the 'stopped' state to change its host name type.",
                instance.id
            ),
        ));
    }
    tx.update::<Instance>(instance.id.as_str(), |it| it.names = names);
    Ok(Done::YES)
}

fn modify_maintenance(
    _app: &Ec2,
    tx: &mut Tx,
    op: ModifyInstanceMaintenanceOptions,
) -> Result<MaintenanceResult, ApiError> {
    if op.auto_recovery.is_none() && op.reboot_migration.is_none() {
        return Err(missing("AutoRecovery"));
    }
    if op.reboot_migration.as_deref() == Some("disabled") {
        return Err(lath_ec2_records::errors::unsupported(
            "Instances do not migrate.",
        ));
    }
    let instance = alive(tx, &op.instance_id)?;
    if let Some(wanted) = op.auto_recovery.as_deref() {
        let off = no_recovery(wanted)?;
        tx.update::<Instance>(instance.id.as_str(), |it| it.options.no_recovery = off);
    }
    Ok(MaintenanceResult {
        instance_id: op.instance_id,
        auto_recovery: op.auto_recovery,
        reboot_migration: op.reboot_migration,
    })
}

fn modify_reservation(
    _app: &Ec2,
    tx: &mut Tx,
    op: ModifyInstanceCapacityReservationAttributes,
) -> Result<Done, ApiError> {
    op.refuse()?;
    let given = op
        .capacity_reservation_specification
        .ok_or_else(|| missing("CapacityReservationSpecification"))?;
    let instance = alive(tx, &op.instance_id)?;
    tx.update::<Instance>(instance.id.as_str(), |it| {
        it.options.no_reservations = keeps_out(&given);
    });
    Ok(Done::YES)
}

fn alive(tx: &Tx, id: &str) -> Result<std::sync::Arc<Instance>, ApiError> {
    let instance = ids::find::<Instance>(tx.view(), id)?;
    if instance.state.is_ending() {
        return Err(super::attributes::wrong_state(&instance));
    }
    Ok(instance)
}

// === at launch ===

/// What a launch chooses.
pub(super) fn at_launch(
    op: &RunInstances,
    typed: &InstanceType,
) -> Result<InstanceOptions, ApiError> {
    let ebs_optimized = op.ebs_optimized == Some(true);
    if ebs_optimized && typed.ebs_optimized == "unsupported" {
        return Err(not_optimized(typed.name));
    }
    let credits = op.credit_specification.as_ref();
    let recovery = op.maintenance_options.as_ref();
    let recovery = recovery.and_then(|it| it.auto_recovery.as_deref());
    Ok(InstanceOptions {
        monitoring: op.monitoring.as_ref().is_some_and(|it| it.enabled),
        ebs_optimized,
        cpu: op
            .cpu_options
            .as_ref()
            .map(|it| cpu(it, typed))
            .transpose()?,
        cpu_credits: credits
            .map(|it| checked_credits(typed, &it.cpu_credits))
            .transpose()?,
        no_recovery: recovery.map(no_recovery).transpose()?.unwrap_or(false),
        no_reservations: op
            .capacity_reservation_specification
            .as_ref()
            .is_some_and(keeps_out),
    })
}

pub(super) fn not_optimized(name: &str) -> ApiError {
    combination(format!(
        "EBS-optimized instances are not supported for the instance type {name}."
    ))
}

fn keeps_out(given: &CapacityReservation) -> bool {
    given.capacity_reservation_preference.as_deref() == Some("none")
}

fn no_recovery(wanted: &str) -> Result<bool, ApiError> {
    match wanted {
        "default" => Ok(false),
        "disabled" => Ok(true),
        other => Err(invalid_parameter(
            "AutoRecovery",
            other.chars().take(64).collect::<String>(),
            "Use default or disabled.",
        )),
    }
}

/// The option for CPU credits, where the type earns some.
pub(super) fn checked_credits(typed: &InstanceType, wanted: &str) -> Result<String, ApiError> {
    if !matches!(wanted, "standard" | "unlimited") {
        return Err(invalid_parameter(
            "CreditSpecification.CpuCredits",
            wanted.chars().take(64).collect::<String>(),
            "Use standard or unlimited.",
        ));
    }
    if !typed.burstable {
        return Err(combination(format!(
            "The {} instance type does not support creditSpecification.",
            typed.name
        )));
    }
    Ok(wanted.to_owned())
}

fn cpu(given: &CpuOptions, typed: &InstanceType) -> Result<(i32, i32), ApiError> {
    given.refuse()?;
    let (cores, threads) = match (given.core_count, given.threads_per_core) {
        (None, None) => return Ok((typed.cores, typed.threads())),
        (cores, threads) => (
            cores.unwrap_or(typed.cores),
            threads.unwrap_or_else(|| typed.threads()),
        ),
    };
    if typed.valid_cores.is_empty() {
        return Err(combination(format!(
            "CPU options are not supported for the instance type {}.",
            typed.name
        )));
    }
    if !typed.valid_cores.contains(&cores) || !typed.valid_threads.contains(&threads) {
        return Err(invalid_value(format!(
            "The specified core count ({cores}) and threads per core ({threads}) are not valid for the instance type {}.",
            typed.name
        )));
    }
    Ok((cores, threads))
}

/// Cores, and threads of each.
pub(super) fn cores_and_threads(instance: &Instance) -> (i32, i32) {
    let by_type =
        || instance_types::find(&instance.instance_type).map(|it| (it.cores, it.threads()));
    instance.options.cpu.or_else(by_type).unwrap_or((1, 1))
}

/// The names of an instance that is launched in `subnet`.
pub(crate) fn names_at_launch(
    given: Option<&PrivateDnsNameOptions>,
    subnet: &Subnet,
) -> Result<PrivateDnsNames, ApiError> {
    let Some(given) = given else {
        return Ok(subnet.names);
    };
    given.refuse()?;
    changed_names(
        subnet.names,
        given.hostname_type.as_deref(),
        given.enable_resource_name_dns_a_record,
    )
}

refused! {
    ModifyPrivateDnsNameOptions { enable_resource_name_dns_aaaa_record as "EnableResourceNameDnsAAAARecord" }
    ModifyInstanceCapacityReservationAttributes { capacity_reservation_specification as "CapacityReservationSpecification.CapacityReservationTarget" }
    CpuOptions { amd_sev_snp, nested_virtualization }
    PrivateDnsNameOptions { enable_resource_name_dns_aaaa_record as "EnableResourceNameDnsAAAARecord" }
}
