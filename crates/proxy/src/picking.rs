//! Targets of a group, and connections to them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lath_model::lattice::ProtocolVersion;

use crate::breaker::{Limit, Policy};
use crate::core::Core;
use crate::refusal::Refusal;
use crate::slot::{GroupSlot, Members, TargetSlot};
use crate::tls;
use crate::upstream::{Aim, Lease, Room};

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
    aim: Aim<'_>,
    wanted: Wanted,
    policy: Option<&Arc<Policy>>,
) -> Result<Option<Lease>, Refusal> {
    if let Some(policy) = policy {
        return Box::pin(open_limited(core, group, aim, wanted, policy)).await;
    }
    let idle = || Lease::idle(&core.pools, aim);
    if let Some(lease) = (wanted != Wanted::Fresh).then(idle).flatten() {
        return Ok(Some(lease));
    }
    let room = core.pools.room().ok_or_else(|| {
        core.clients.refused();
        Refusal::overloaded()
    })?;
    // Boxed, because it is rare and large: every exchange would carry its room along.
    Box::pin(dial(core, group, aim, room)).await
}

/// How long a request waits for a connection at most: as long as services let a target be silent.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// As [`open`], for a group with circuit breakers: a request without a connection counts as pending, and waits where the
/// group may have no more of them.
async fn open_limited(
    core: &Rc<Core>,
    group: &Arc<GroupSlot>,
    aim: Aim<'_>,
    wanted: Wanted,
    policy: &Arc<Policy>,
) -> Result<Option<Lease>, Refusal> {
    let load = &policy.load;
    let has_limit = policy.most(Limit::Connections).is_some();
    let limited = |lease: Lease| match has_limit {
        true => lease.limited(load),
        false => lease,
    };
    let idle = || {
        (wanted != Wanted::Fresh)
            .then(|| Lease::idle(&core.pools, aim))
            .flatten()
    };
    if let Some(lease) = idle() {
        return Ok(Some(limited(lease)));
    }
    let _pending = policy.enter(Limit::Pending).map_err(Refusal::overflow)?;
    let mut waiter = None;
    let ticket = loop {
        if let Some(lease) = idle() {
            return Ok(Some(limited(lease)));
        }
        if let Some(ticket) = policy.connection() {
            break ticket;
        }
        if core.pools.shed_one(&group.members.load()) {
            continue;
        }
        // A waiter is counted before it looks again, so that what becomes free in between is seen or told.
        match &waiter {
            None => waiter = Some(load.wait(core.index)),
            Some(waiter) => {
                let notified = tokio::time::timeout(LONGEST_WAIT, waiter.notified()).await;
                notified.map_err(|_| {
                    load.overflow(Limit::Connections);
                    Refusal::overflow(Limit::Connections)
                })?;
            }
        }
    };
    drop(waiter);
    let room = core.pools.room().ok_or_else(|| {
        core.clients.refused();
        Refusal::overloaded()
    })?;
    let opened = dial(core, group, aim, room.with(ticket)).await?;
    if has_limit && group.version != ProtocolVersion::Http1 {
        load.opened(core.index);
    }
    Ok(opened.map(limited))
}

/// A new connection. `None` and errors as of [`open`].
async fn dial(
    core: &Rc<Core>,
    group: &Arc<GroupSlot>,
    aim: Aim<'_>,
    room: Room,
) -> Result<Option<Lease>, Refusal> {
    let (target, caller) = aim;
    match Lease::connect(&core.pools, group, aim, room).await {
        Ok(lease) => Ok(Some(lease)),
        Err(error)
            if error.kind() == std::io::ErrorKind::QuotaExceeded && error.get_ref().is_none() =>
        {
            group.load.overflow(Limit::Connections);
            Err(Refusal::overflow(Limit::Connections))
        }
        Err(error) => {
            tracing::debug!(target.addr = %target.address, %error, "a target cannot be connected");
            // Who is refused by the certificate that is shown for it alone must not take the target from others.
            if caller.is_none() || !tls::is_peers_alert(&error) {
                target.eject(core.config.ejection);
            }
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
