//! The processes of a control plane.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lath_clock::Clock;
use lath_fabric::Fabric;
use lath_feed::{ControlPlane, InstanceObserved, InstancePhase, RootSource, Snapshot};
use lath_instance::{InstanceError, InstanceSpec, Instances, Kind, Limits};
use lath_kubernetes::{control_plane, pki};
use lath_model::WorkloadId;

use crate::network::NetworkObserved;

/// Control counts boots above these bits; below them are counted starts after the first process ended by itself.
const RETRY_BITS: u32 = 16;
/// Above these bits is a part of the cluster's identity: what runs for an earlier cluster of the same name is not this
/// one's boot, whatever its number.
const IDENTITY_BITS: u32 = 40;

/// Of a control plane: what its users ask of its API server must not take the host's memory. The kernel ends what outgrows
/// it, and its unit begins it again.
const LIMITS: Limits = Limits {
    memory_bytes: Some(4 << 30),
    pids: Some(16_384),
    vcpus: Some(2),
};

/// The workload that a control plane is.
pub(super) fn workload(plane: &ControlPlane) -> WorkloadId {
    WorkloadId::Managed(plane.id.clone())
}

/// Makes the processes of a control plane run as its newest boot; says why they do not.
pub(super) async fn ensure(
    (instances, fabric, clock): (&Instances, &Fabric, &Clock),
    snapshot: &Snapshot,
    network: &NetworkObserved,
    plane: &ControlPlane,
) -> Result<(), String> {
    let id = workload(plane);
    let known = instances.status(&id);
    let boot = boot(first_boot(plane), known.as_ref());
    let runs = known.is_some_and(|it| it.boot == boot && it.state == InstancePhase::Running);
    if !network_is_ready(snapshot, network, &id)? {
        return match runs {
            true => Ok(()),
            false => Err("its network is being made".to_owned()),
        };
    }
    let netns = fabric
        .workload_netns(&id)
        .map_err(|error| error.to_string())?;
    let spec = spec(snapshot, plane, boot, Arc::new(netns), clock)?;
    match instances.ensure_running(&spec).await {
        Err(InstanceError::Died { reason, .. }) => Err(format!("it is started again: {reason}")),
        outcome => outcome.map_err(|error| error.to_string()),
    }
}

/// The number of the first start of a control plane's newest boot.
fn first_boot(plane: &ControlPlane) -> u64 {
    let identity = pki::identity(&plane.keys);
    let identity = identity
        .get(..5)
        .and_then(|it| u64::from_str_radix(it, 16).ok());
    (identity.unwrap_or_default() << IDENTITY_BITS) + (plane.boot << RETRY_BITS)
}

/// The number of a boot: only the node decides what becomes of a control plane that ended by itself, so it is started again
/// under the next number.
fn boot(first: u64, known: Option<&InstanceObserved>) -> u64 {
    match known {
        Some(known) if known.boot >> RETRY_BITS == first >> RETRY_BITS => match known.state {
            InstancePhase::Failed { .. } => known.boot + 1,
            _ => known.boot,
        },
        _ => first,
    }
}

fn spec(
    snapshot: &Snapshot,
    plane: &ControlPlane,
    boot: u64,
    netns: Arc<std::os::fd::OwnedFd>,
    clock: &Clock,
) -> Result<InstanceSpec, String> {
    let setup = control_plane::setup(plane, super::binaries()?, clock);
    let (vpc, _) = snapshot
        .placement(&workload(plane))
        .ok_or("it has no VPC")?;
    let cidrs = snapshot.vpcs.get(vpc).map(|vpc| vpc.cidrs.as_slice());
    let first = cidrs.and_then(<[_]>::first);
    let resolver = first.map(|cidr| IpAddr::V4((u32::from(cidr.network()) + 2).into()));
    Ok(InstanceSpec {
        id: workload(plane),
        kind: Kind::Ordinary { netns },
        root: RootSource::Host,
        hostname: plane.name.clone(),
        nameservers: resolver.into_iter().collect(),
        search: Vec::new(),
        hosts: BTreeMap::new(),
        authority: Arc::clone(&snapshot.authority),
        user_data: Vec::new(),
        boot,
        ssh_keys: Vec::new(),
        limits: LIMITS,
        setup: setup.map_err(|error| error.to_string())?,
    })
}

/// Whether each interface of the workload was made.
fn network_is_ready(
    snapshot: &Snapshot,
    network: &NetworkObserved,
    id: &WorkloadId,
) -> Result<bool, String> {
    let mut made = false;
    for interface in snapshot.interfaces_of(id) {
        match network.report.interfaces.get(&interface.id) {
            Some(Ok(())) => made = true,
            Some(Err(reason)) => return Err(reason.clone()),
            None => return Ok(false),
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    use lath_model::Timestamp;

    #[test]
    fn a_control_plane_that_ended_gets_the_next_number() {
        let known = |boot, state| InstanceObserved {
            boot,
            state,
            since: Timestamp::default(),
        };
        let failed = || InstancePhase::Failed {
            reason: "killed".into(),
        };
        let first = 3 << RETRY_BITS;
        for (seen, want) in [
            (None, first),
            (Some(known(first, InstancePhase::Running)), first),
            (Some(known(first + 4, InstancePhase::Stopped)), first + 4),
            (Some(known(first + 4, failed())), first + 5),
            (Some(known(2 << RETRY_BITS, failed())), first),
        ] {
            assert_eq!(boot(first, seen.as_ref()), want, "{seen:?}");
        }
    }
}
