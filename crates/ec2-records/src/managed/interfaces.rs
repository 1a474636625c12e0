use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_model::ManagedId;
use lath_model::id::{NetworkInterfaceId, SecurityGroupId, SubnetId};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::interfaces::{self, NewInterface};
use crate::tags;
use crate::{Manager, NetworkInterface};

/// An interface that a service's workload should have. The user sees it as requester-managed and cannot change it.
#[derive(Debug, Clone)]
pub struct ManagedInterface {
    /// Whose it is.
    pub workload: ManagedId,
    /// The place there; 0 is the primary interface.
    pub device: u32,
    /// Where.
    pub subnet: SubnetId,
    /// The groups that guard it.
    pub groups: Vec<SecurityGroupId>,
    /// Such as `Amazon EKS NAME`.
    pub description: String,
    /// Its tags, `aws:` ones included.
    pub tags: BTreeMap<String, String>,
}

/// Makes the interface, with the first free address of its subnet.
///
/// # Errors
/// `InvalidSubnetID.NotFound`, `InvalidGroup.NotFound`, `InsufficientFreeAddressesInSubnet`.
pub fn make_interface(
    tx: &mut Tx,
    cell: &Cell,
    new: ManagedInterface,
) -> Result<Arc<NetworkInterface>, ApiError> {
    let id = NetworkInterfaceId::random();
    let primary = NewInterface {
        subnet: new.subnet,
        groups: new.groups,
        private_ip: None,
        public: Some(false),
        description: new.description,
    };
    let mut interface = interfaces::create_primary(tx, cell, id, primary)?;
    interface.manager = Some(Manager::Workload {
        workload: new.workload,
        device: new.device,
    });
    tags::put(tx, interface.id.as_str(), new.tags);
    Ok(tx.put(interface))
}

/// The interfaces of a workload, by their place.
pub fn of_workload(view: &View, workload: &ManagedId) -> Vec<Arc<NetworkInterface>> {
    let place = |it: &NetworkInterface| match &it.manager {
        Some(Manager::Workload {
            workload: of,
            device,
        }) if of == workload => Some(*device),
        _ => None,
    };
    let all = view.list::<NetworkInterface>();
    let mut own: Vec<_> = all.filter(|it| place(it).is_some()).collect();
    own.sort_by_key(|it| place(it));
    own
}

/// Deletes the interfaces of a workload.
pub fn release_interfaces(tx: &mut Tx, workload: &ManagedId) {
    for interface in of_workload(tx.view(), workload) {
        interfaces::release(tx, &interface);
    }
}
