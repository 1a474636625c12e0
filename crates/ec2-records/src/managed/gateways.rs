use std::sync::Arc;

use lath_control::Cell;
use lath_model::id::{NetworkInterfaceId, ResourceGatewayId, SecurityGroupId, SubnetId};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::interfaces::{self, NewInterface, private_address};
use crate::{Manager, NetworkInterface, PrivateAddress, Subnet};

/// Makes an interface of a resource gateway, with this many addresses of its subnet.
///
/// # Errors
/// `InvalidSubnetID.NotFound`, `InvalidGroup.NotFound`, `InsufficientFreeAddressesInSubnet`.
pub fn make_gateway_interface(
    tx: &mut Tx,
    cell: &Cell,
    gateway: &ResourceGatewayId,
    subnet: &Subnet,
    groups: Vec<SecurityGroupId>,
    addresses: usize,
) -> Result<Arc<NetworkInterface>, ApiError> {
    let new = NewInterface {
        subnet: subnet.id.clone(),
        groups,
        private_ip: None,
        public: Some(false),
        description: format!("VPC Lattice Resource Gateway Interface {gateway}"),
    };
    let id = NetworkInterfaceId::random();
    let mut interface = interfaces::create_primary(tx, cell, id, new)?;
    interface.manager = Some(Manager::ResourceGateway(gateway.clone()));
    let mut interface = tx.put(interface);
    for _ in 1..addresses {
        let private = private_address(tx, subnet, None)?;
        let mut more = NetworkInterface::clone(&interface);
        let public = None;
        more.addresses.push(PrivateAddress { private, public });
        interface = tx.put(more);
    }
    Ok(interface)
}

/// The interfaces of a resource gateway, by their subnets.
pub fn of_gateway(view: &View, gateway: &ResourceGatewayId) -> Vec<Arc<NetworkInterface>> {
    let wanted = Some(Manager::ResourceGateway(gateway.clone()));
    let all = view.by::<NetworkInterface>("gateway", gateway.as_str());
    let mut own: Vec<_> = all.filter(|it| it.manager == wanted).collect();
    own.sort_by(|one, other| one.subnet.cmp(&other.subnet));
    own
}

/// The subnets of a resource gateway's interfaces.
pub fn subnets_of_gateway(view: &View, gateway: &ResourceGatewayId) -> Vec<SubnetId> {
    let own = of_gateway(view, gateway);
    own.iter().map(|it| it.subnet.clone()).collect()
}

/// Puts the interfaces of a resource gateway into other groups.
pub fn set_gateway_groups(tx: &mut Tx, gateway: &ResourceGatewayId, groups: &[SecurityGroupId]) {
    for interface in of_gateway(tx.view(), gateway) {
        tx.update::<NetworkInterface>(interface.id.as_str(), |it| it.groups = groups.to_vec());
    }
}

/// Deletes the interfaces of a resource gateway.
pub fn release_gateway(tx: &mut Tx, gateway: &ResourceGatewayId) {
    for interface in of_gateway(tx.view(), gateway) {
        interfaces::release(tx, &interface);
    }
}
