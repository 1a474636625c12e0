use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_model::ManagedId;
use lath_model::id::{InstanceId, NetworkInterfaceId, SecurityGroupId, VpcId};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::primary_interface;
use crate::errors::client;
use crate::interfaces::{self, NewInterface};
use crate::tags;
use crate::{Manager, NetworkInterface};

/// The most groups of one interface (<https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>).
pub const MOST_GROUPS: usize = 5;

/// An interface that a pod of a cluster should have, behind that of its node.
#[derive(Debug, Clone)]
pub struct NewBranch {
    /// The cluster's control plane.
    pub cluster: ManagedId,
    /// The pod's unique id.
    pub pod: String,
    /// The pod's node.
    pub instance: InstanceId,
    /// The groups that guard it.
    pub groups: Vec<SecurityGroupId>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Makes it, with the first free address of the node's subnet.
///
/// # Errors
/// `InvalidGroup.NotFound`, `InsufficientFreeAddressesInSubnet`, `SecurityGroupsPerInterfaceLimitExceeded`, and
/// `InvalidNetworkInterfaceID.NotFound` when the node has no interface.
pub fn make_branch(
    tx: &mut Tx,
    cell: &Cell,
    new: NewBranch,
) -> Result<Arc<NetworkInterface>, ApiError> {
    let trunk = primary_interface(tx.view(), &new.instance).ok_or_else(|| {
        let message = format!("The instance {} has no network interface", new.instance);
        client("InvalidNetworkInterfaceID.NotFound", message)
    })?;
    if new.groups.len() > MOST_GROUPS {
        return Err(client(
            "SecurityGroupsPerInterfaceLimitExceeded",
            "The maximum number of security groups per interface has been reached.",
        ));
    }
    let primary = NewInterface {
        subnet: trunk.subnet.clone(),
        groups: new.groups,
        private_ip: None,
        public: Some(false),
        description: "aws-k8s-branch-eni".into(),
    };
    let mut interface =
        interfaces::create_primary(tx, cell, NetworkInterfaceId::random(), primary)?;
    let mut given = new.tags;
    given.insert(
        "vpcresources.k8s.aws/trunk-eni-id".into(),
        trunk.id.to_string(),
    );
    interface.manager = Some(Manager::Branch {
        trunk: trunk.id.clone(),
        cluster: new.cluster,
        pod: new.pod,
    });
    tags::put(tx, interface.id.as_str(), given);
    Ok(tx.put(interface))
}

/// The interfaces of pods of a cluster in a VPC, by the pods' unique ids.
pub fn branches_of(
    view: &View,
    vpc: &VpcId,
    cluster: &ManagedId,
) -> BTreeMap<String, Arc<NetworkInterface>> {
    let here = view.by::<NetworkInterface>("vpc", vpc.as_str());
    let own = here.filter_map(|it| match &it.manager {
        Some(Manager::Branch {
            cluster: of, pod, ..
        }) if of == cluster => Some((pod.clone(), it)),
        _ => None,
    });
    own.collect()
}

/// Whether it is behind the interface of an instance that is still there.
pub fn is_behind(view: &View, branch: &NetworkInterface, instance: &InstanceId) -> bool {
    let Some(Manager::Branch { trunk, .. }) = &branch.manager else {
        return false;
    };
    primary_interface(view, instance).is_some_and(|it| it.id == *trunk)
}

/// Deletes one.
pub fn release_branch(tx: &mut Tx, branch: &NetworkInterface) {
    interfaces::release(tx, branch);
}
