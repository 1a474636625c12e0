//! Start, stop, reboot and terminate.

use std::sync::Arc;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::messages::Nothing;
use lath_ec2_records::errors::client;
use lath_ec2_records::interfaces::auto_public;
use lath_ec2_records::resources::INSTANCE;
use lath_ec2_records::{Instance, InstanceState, NetworkInterface};
use lath_model::Timestamp;
use lath_service::operations;
use lath_store::Tx;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::launch::check_quota;
use super::named;
use super::options::cores_and_threads;
use super::response::StateItem;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StartInstances {
    /// For AWS's own use.
    #[serde(rename = "AdditionalInfo")]
    _additional_info: Option<String>,
    #[serde(rename = "InstanceId", default)]
    ids: Vec<String>,
    dry_run: Option<bool>,
}

/// What `Force` promises holds for every stop: processes that do not end in time are killed
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StopInstances.html>).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StopInstances {
    #[serde(rename = "InstanceId", default)]
    ids: Vec<String>,
    hibernate: Option<bool>,
    #[serde(rename = "SkipOsShutdown")]
    skip_shutdown: Option<bool>,
    dry_run: Option<bool>,
    #[serde(rename = "Force")]
    _force: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RebootInstances {
    #[serde(rename = "InstanceId", default)]
    ids: Vec<String>,
    dry_run: Option<bool>,
}

/// See [`StopInstances`] for `Force`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TerminateInstances {
    #[serde(rename = "InstanceId", default)]
    ids: Vec<String>,
    #[serde(rename = "Force")]
    _force: Option<bool>,
    #[serde(rename = "SkipOsShutdown")]
    skip_shutdown: Option<bool>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateChanges {
    instances_set: Vec<StateChange>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateChange {
    instance_id: String,
    current_state: StateItem,
    previous_state: StateItem,
}

operations! {
    for Ec2 as "ec2";
    change StartInstances -> StateChanges = start, dry_run => on(&INSTANCE, |op, _| op.ids.clone());
    change StopInstances -> StateChanges = stop, dry_run => on(&INSTANCE, |op, _| op.ids.clone());
    change RebootInstances -> Nothing = reboot, dry_run => on(&INSTANCE, |op, _| op.ids.clone());
    change TerminateInstances -> StateChanges = terminate, dry_run => on(&INSTANCE, |op, _| op.ids.clone());
}

/// Changes the instances one by one; the transaction makes it all or none.
fn each(
    tx: &mut Tx,
    ids: &[String],
    mut change: impl FnMut(&mut Tx, &Instance) -> Result<(), ApiError>,
) -> Result<StateChanges, ApiError> {
    let before = named(tx.view(), ids)?;
    for instance in &before {
        change(tx, instance)?;
    }
    let state_now = |instance: &Arc<Instance>| {
        let now = tx.get::<Instance>(instance.id.as_str());
        now.map_or(instance.state, |now| now.state)
    };
    let changes = before.iter().map(|instance| StateChange {
        instance_id: instance.id.to_string(),
        current_state: state_now(instance).into(),
        previous_state: instance.state.into(),
    });
    Ok(StateChanges {
        instances_set: changes.collect(),
    })
}

fn update(tx: &mut Tx, instance: &Instance, state: InstanceState, f: impl FnOnce(&mut Instance)) {
    let revision = tx.view().revision();
    tx.update::<Instance>(instance.id.as_str(), |it| {
        it.enter(state, revision);
        f(it);
    });
}

fn wrong_state(instance: &Instance, wanted: &str) -> ApiError {
    client(
        "IncorrectInstanceState",
        format!(
            "The instance '{}' is not in a state from which it can be {wanted}.",
            instance.id
        ),
    )
}

fn protected(instance: &Instance, wanted: &str, attribute: &str) -> ApiError {
    client(
        "OperationNotPermitted",
        format!(
            "The instance '{}' may not be {wanted}. Modify its '{attribute}' instance attribute and try again.",
            instance.id
        ),
    )
}

fn start(app: &Ec2, tx: &mut Tx, op: StartInstances) -> Result<StateChanges, ApiError> {
    each(tx, &op.ids, |tx, instance| match instance.state {
        InstanceState::Pending | InstanceState::Running => Ok(()),
        InstanceState::Stopped => start_one(app, tx, instance),
        InstanceState::Stopping | InstanceState::ShuttingDown | InstanceState::Terminated => {
            Err(wrong_state(instance, "started"))
        }
    })
}

fn start_one(app: &Ec2, tx: &mut Tx, instance: &Instance) -> Result<(), ApiError> {
    let (cores, threads) = cores_and_threads(instance);
    check_quota(&app.cell, tx.view(), cores * threads)?;
    give_public_address(app, tx, instance)?;
    let now = tx.now();
    update(tx, instance, InstanceState::Pending, |it| {
        it.boot += 1;
        it.launched_at = now;
        it.state_reason = None;
        it.transition_reason = String::new();
        it.skips_shutdown = false;
    });
    Ok(())
}

/// A new one: the one before was lost at the stop. An elastic one is still there.
fn give_public_address(app: &Ec2, tx: &mut Tx, instance: &Instance) -> Result<(), ApiError> {
    let Some(id) = instance
        .primary_interface
        .as_ref()
        .filter(|_| instance.wants_public_ip)
    else {
        return Ok(());
    };
    let primary = tx.get::<NetworkInterface>(id.as_str());
    let has_one = primary.is_none_or(|interface| interface.public_ip().is_some());
    if !has_one {
        let public = auto_public(tx, &app.cell)?;
        tx.update::<NetworkInterface>(id.as_str(), |interface| {
            if let Some(first) = interface.addresses.first_mut() {
                first.public = Some(public);
            }
        });
    }
    Ok(())
}

fn stop(_app: &Ec2, tx: &mut Tx, op: StopInstances) -> Result<StateChanges, ApiError> {
    each(tx, &op.ids, |tx, instance| {
        if op.hibernate == Some(true) {
            return Err(client(
                "UnsupportedHibernationConfiguration",
                format!(
                    "The instance '{}' is not configured for hibernation.",
                    instance.id
                ),
            ));
        }
        match instance.state {
            InstanceState::Stopping => {
                cut_short(tx, instance, op.skip_shutdown);
                Ok(())
            }
            InstanceState::Stopped => Ok(()),
            InstanceState::Running if instance.stop_protected => {
                Err(protected(instance, "stopped", "disableApiStop"))
            }
            InstanceState::Running => {
                end(tx, instance, InstanceState::Stopping, op.skip_shutdown);
                Ok(())
            }
            InstanceState::Pending | InstanceState::ShuttingDown | InstanceState::Terminated => {
                Err(wrong_state(instance, "stopped"))
            }
        }
    })
}

fn end(tx: &mut Tx, instance: &Instance, state: InstanceState, skip_shutdown: Option<bool>) {
    let now = tx.now();
    update(tx, instance, state, |it| {
        it.skips_shutdown = skip_shutdown == Some(true);
        by_user(it, now);
    });
}

/// A second request that skips the shutdown ends the wait that the first one began.
fn cut_short(tx: &mut Tx, instance: &Instance, skip_shutdown: Option<bool>) {
    if skip_shutdown == Some(true) && instance.state != InstanceState::Terminated {
        tx.update::<Instance>(instance.id.as_str(), |it| it.skips_shutdown = true);
    }
}

fn by_user(instance: &mut Instance, now: Timestamp) {
    let at = now.format("%Y-%m-%d %H:%M:%S GMT");
    instance.transition_reason = format!("User initiated ({at})");
    instance.state_reason = Some((
        "Client.UserInitiatedShutdown".into(),
        "Client.UserInitiatedShutdown: User initiated shutdown".into(),
    ));
}

/// The state stays as it is while the node restarts the processes.
fn reboot(_app: &Ec2, tx: &mut Tx, op: RebootInstances) -> Result<Nothing, ApiError> {
    each(tx, &op.ids, |tx, instance| {
        if !matches!(
            instance.state,
            InstanceState::Pending | InstanceState::Running
        ) {
            return Err(wrong_state(instance, "rebooted"));
        }
        tx.update::<Instance>(instance.id.as_str(), |it| it.boot += 1);
        Ok(())
    })?;
    Ok(Nothing {})
}

fn terminate(_app: &Ec2, tx: &mut Tx, op: TerminateInstances) -> Result<StateChanges, ApiError> {
    each(tx, &op.ids, |tx, instance| {
        if instance.state.is_ending() {
            cut_short(tx, instance, op.skip_shutdown);
            return Ok(());
        }
        if instance.termination_protected {
            return Err(protected(instance, "terminated", "disableApiTermination"));
        }
        end(tx, instance, InstanceState::ShuttingDown, op.skip_shutdown);
        Ok(())
    })
}

#[cfg(test)]
impl StartInstances {
    pub(super) fn of(id: &str) -> Self {
        Self {
            ids: vec![id.to_owned()],
            ..Self::default()
        }
    }
}

#[cfg(test)]
impl StopInstances {
    pub(super) fn of(id: &str) -> Self {
        Self {
            ids: vec![id.to_owned()],
            ..Self::default()
        }
    }

    pub(super) fn cutting(id: &str) -> Self {
        Self {
            skip_shutdown: Some(true),
            ..Self::of(id)
        }
    }
}

#[cfg(test)]
impl TerminateInstances {
    pub(super) fn of(id: &str) -> Self {
        Self {
            ids: vec![id.to_owned()],
            ..Self::default()
        }
    }

    pub(super) fn cutting(id: &str) -> Self {
        Self {
            skip_shutdown: Some(true),
            ..Self::of(id)
        }
    }
}

#[cfg(test)]
impl RebootInstances {
    pub(super) fn of(id: &str) -> Self {
        Self {
            ids: vec![id.to_owned()],
            ..Self::default()
        }
    }
}
