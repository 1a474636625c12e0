//! Targets of a group, and connections to them.

use std::rc::Rc;
use std::sync::Arc;

use lath_svid::Svid;

use crate::core::Core;
use crate::refusal::Refusal;
use crate::slot::{GroupSlot, Members, TargetSlot};
use crate::upstream::Lease;

/// What speaks for a target that was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing speaks against it.
    Sound,
    /// It is left out at present, but there is no other in its group.
    Ejected,
}

/// The next routable target in turn that did not refuse to be connected; one that is left out only when
/// there is no other.
pub(crate) fn pick<'a>(
    core: &Core,
    group: &GroupSlot,
    members: &'a Members,
    refusing: &[u64],
) -> Option<(&'a Arc<TargetSlot>, Standing)> {
    let count = members.routable.len();
    let mut ejected = None;
    for _ in 0..count {
        let turn = group.turns.next(core.index) % count as u64;
        let target = &members.routable[usize::try_from(turn).unwrap_or(0)];
        match () {
            () if refusing.contains(&target.serial) => {}
            () if target.is_ejected() => ejected = Some((target, Standing::Ejected)),
            () => return Some((target, Standing::Sound)),
        }
    }
    ejected
}

/// A connection to the target, in the name of the caller if one is given. `None`: it cannot be connected.
///
/// # Errors
/// There may be no further connection to targets.
pub(crate) async fn open(
    core: &Rc<Core>,
    group: &Arc<GroupSlot>,
    target: &Arc<TargetSlot>,
    caller: Option<&Arc<Svid>>,
    wanted: Wanted,
) -> Result<Option<Lease>, Refusal> {
    let idle = || Lease::idle(&core.pools, target, caller);
    if let Some(lease) = (wanted != Wanted::Fresh).then(idle).flatten() {
        return Ok(Some(lease));
    }
    let room = core.pools.room().ok_or_else(|| {
        core.clients.refused();
        Refusal::overloaded()
    })?;
    // Boxed, because it is rare and large: every exchange would carry its room along.
    match Box::pin(Lease::connect(&core.pools, group, target, caller, room)).await {
        Ok(lease) => Ok(Some(lease)),
        Err(error) => {
            tracing::debug!(target.addr = %target.address, %error, "a target cannot be connected");
            target.eject(core.config.ejection);
            // A gateway that answers says what it knows of the target; silence has no words.
            let silent = error.kind() == std::io::ErrorKind::TimedOut && error.get_ref().is_none();
            if silent && target.reach.region.is_some() {
                // More likely the region than the target: the next attempt must not wait as long again.
                for other in &group.members.load().routable {
                    other.eject(core.config.ejection);
                }
            }
            Ok(None)
        }
    }
}

/// Which connection will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An idle one, if there is one.
    Idle,
    Fresh,
}
