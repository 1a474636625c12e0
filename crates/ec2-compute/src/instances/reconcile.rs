//! From what nodes observe to states.

use std::sync::Arc;
use std::time::Duration;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::tags;
use lath_ec2_records::interfaces;
use lath_ec2_records::{Instance, InstanceState, NetworkInterface, ShutdownBehavior};
use lath_feed::{InstancePhase, Observed};
use lath_model::Timestamp;
use lath_store::{Tx, View};
use lath_wire::ApiError;

/// How long a terminated instance stays visible, as in AWS.
const VISIBLE: Duration = Duration::from_secs(3600);

/// What an instance's next state is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Running,
    Stopped,
    /// It ended by itself, or could not be started.
    Ended {
        stop: bool,
        code: &'static str,
        message: String,
    },
    Terminated,
    /// Not even its record is left.
    Forgotten,
}

/// Moves every instance to the state that nodes observe.
pub async fn reconcile(app: Arc<Ec2>) -> Result<(), ApiError> {
    let observed = Arc::clone(&app.cell.observed.borrow());
    if steps(&app.cell.db.view(), &observed, app.cell.now())
        .next()
        .is_none()
    {
        return Ok(());
    }
    app.cell
        .db
        .write(|tx: &mut Tx| {
            // Once more, on the state that this transaction changes.
            let view = View::clone(tx.view());
            for (instance, step) in steps(&view, &observed, tx.now()) {
                take(tx, &instance, step);
            }
            Ok(())
        })
        .await
}

fn steps<'a>(
    view: &'a View,
    observed: &'a Observed,
    now: Timestamp,
) -> impl Iterator<Item = (Arc<Instance>, Step)> + 'a {
    view.list::<Instance>().filter_map(move |instance| {
        let step = next(&instance, observed, now)?;
        Some((instance, step))
    })
}

/// The step that an instance has to take now.
fn next(instance: &Instance, observed: &Observed, now: Timestamp) -> Option<Step> {
    let seen = observed.instances.get(&instance.id);
    let phase = seen
        .filter(|seen| seen.boot == instance.boot)
        .map(|seen| &seen.state);
    let obeyed = observed.applied_version > instance.state_after;
    match (instance.state, phase) {
        (InstanceState::Pending, Some(InstancePhase::Running)) => Some(Step::Running),
        (InstanceState::Pending, Some(InstancePhase::Failed { reason })) => {
            Some(failed_start(instance, reason))
        }
        (InstanceState::Running, Some(InstancePhase::Failed { reason })) => {
            Some(ended(instance, reason))
        }
        (InstanceState::Stopping, Some(InstancePhase::Stopped)) => Some(Step::Stopped),
        // One that ended by itself, that the node never started, or that it stopped before it knew of the
        // last boot: what it was before the node knew that it should stop may not be the end of it yet.
        (InstanceState::Stopping, _) => {
            let is_down = seen.is_none_or(|seen| is_down(&seen.state));
            (is_down && obeyed).then_some(Step::Stopped)
        }
        (InstanceState::ShuttingDown, _) => (seen.is_none() && obeyed).then_some(Step::Terminated),
        (InstanceState::Terminated, _) => {
            let since = now.since(instance.terminated_at.unwrap_or(now));
            (since >= VISIBLE).then_some(Step::Forgotten)
        }
        _ => None,
    }
}

fn is_down(phase: &InstancePhase) -> bool {
    matches!(phase, InstancePhase::Stopped | InstancePhase::Failed { .. })
}

/// A launch that fails ends the instance; a later start that fails leaves it stopped, with its files.
fn failed_start(instance: &Instance, reason: &str) -> Step {
    Step::Ended {
        stop: instance.boot > 1,
        code: "Server.InternalError",
        message: format!("Server.InternalError: {reason}"),
    }
}

fn ended(instance: &Instance, reason: &str) -> Step {
    Step::Ended {
        stop: instance.on_shutdown == ShutdownBehavior::Stop,
        code: "Client.InstanceInitiatedShutdown",
        message: format!(
            "Client.InstanceInitiatedShutdown: Instance initiated shutdown ({reason})"
        ),
    }
}

fn take(tx: &mut Tx, instance: &Instance, step: Step) {
    match step {
        Step::Running => {
            move_to(tx, instance, InstanceState::Running, |it| {
                it.state_reason = None;
            });
        }
        Step::Stopped => {
            release_public_addresses(tx, instance);
            move_to(tx, instance, InstanceState::Stopped, |_| {});
        }
        Step::Ended {
            stop,
            code,
            message,
        } => {
            let state = if stop {
                InstanceState::Stopping
            } else {
                InstanceState::ShuttingDown
            };
            move_to(tx, instance, state, |it| {
                it.state_reason = Some((code.into(), message));
            });
        }
        Step::Terminated => terminated(tx, instance),
        Step::Forgotten => {
            tags::forget(tx, instance.id.as_str());
            for volume in std::iter::once(&instance.root_volume).chain(&instance.volumes) {
                tags::forget(tx, volume.id.as_str());
            }
            tx.delete::<Instance>(instance.id.as_str());
        }
    }
}

fn move_to(
    tx: &mut Tx,
    instance: &Instance,
    state: InstanceState,
    change: impl FnOnce(&mut Instance),
) {
    let revision = tx.view().revision();
    tx.update::<Instance>(instance.id.as_str(), |it| {
        it.enter(state, revision);
        change(it);
    });
}

/// Its interfaces go, or become free; its addresses are forgotten.
fn terminated(tx: &mut Tx, instance: &Instance) {
    for interface in attached(tx.view(), instance) {
        let goes = interface
            .attachment
            .as_ref()
            .is_some_and(|it| it.delete_on_termination);
        if goes {
            interfaces::release(tx, &interface);
        } else {
            tx.update::<NetworkInterface>(interface.id.as_str(), |it| it.attachment = None);
        }
    }
    let now = tx.now();
    move_to(tx, instance, InstanceState::Terminated, |it| {
        it.primary_interface = None;
        it.private_ip = None;
        it.terminated_at = Some(now);
    });
}

fn attached(view: &View, instance: &Instance) -> Vec<Arc<NetworkInterface>> {
    view.by::<NetworkInterface>("instance", instance.id.as_str())
        .collect()
}

/// Elastic addresses stay; the others are lost when the instance stops.
fn release_public_addresses(tx: &mut Tx, instance: &Instance) {
    for interface in attached(tx.view(), instance) {
        tx.update::<NetworkInterface>(interface.id.as_str(), |it| {
            for address in &mut it.addresses {
                address.public = address
                    .public
                    .take()
                    .filter(|public| public.elastic.is_some());
            }
        });
    }
}
