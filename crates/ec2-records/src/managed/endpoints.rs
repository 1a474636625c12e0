use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use lath_control::Claim;
use lath_model::id::{NetworkInterfaceId, ResourceConfigurationId, SubnetId};
use lath_store::{Record as _, Tx};

use crate::interfaces::private_address;
use crate::{
    EndpointFailure, EndpointResource, LifeState, NetworkInterface, PrivateAddress,
    ResourceAtEndpoint, Subnet, VpcEndpoint,
};

/// Makes these the resources at an endpoint: each has an address in every subnet of the endpoint's, and the resource
/// that an endpoint of type Resource names has those of the endpoint itself. A resource keeps its addresses for as long as it is
/// there. One that finds no free address in a subnet is without it there, until a later call.
pub fn set_endpoint_resources(
    tx: &mut Tx,
    endpoint: &VpcEndpoint,
    wanted: BTreeMap<ResourceConfigurationId, EndpointResource>,
) {
    let mut known = endpoint.resources.clone().unwrap_or_default();
    known.retain(|id, _| wanted.contains_key(id));
    for it in known.values_mut() {
        it.addresses.retain(|subnet, address| {
            let interface = endpoint.subnets.get(subnet);
            let interface = interface.and_then(|id| tx.get::<NetworkInterface>(id.as_str()));
            interface.is_some_and(|it| it.addresses.iter().any(|own| own.private == *address))
        });
    }
    let used = known.values().flat_map(|it| it.addresses.values());
    let used: BTreeSet<Ipv4Addr> = used.copied().collect();
    for interface in endpoint.subnets.values() {
        take_back(tx, interface, &used);
    }
    for (id, resource) in wanted {
        let is_own = endpoint.to.configuration() == Some(&id);
        let before = known.remove(&id);
        let mut addresses = before.map(|it| it.addresses).unwrap_or_default();
        for (subnet, interface) in &endpoint.subnets {
            if !addresses.contains_key(subnet)
                && let Some(address) = given(tx, subnet, interface, is_own)
            {
                addresses.insert(subnet.clone(), address);
            }
        }
        known.insert(
            id,
            ResourceAtEndpoint {
                resource,
                addresses,
            },
        );
    }
    if endpoint.resources.as_ref() == Some(&known) {
        return;
    }
    let after = tx.view().revision();
    tx.update::<VpcEndpoint>(endpoint.id.as_str(), |it| {
        if it.life.state == LifeState::Pending {
            // What a node said of it before is not of its resources.
            it.life.after = after;
        }
        it.resources = Some(known);
    });
}

/// Takes those further addresses from an interface that no resource uses.
fn take_back(tx: &mut Tx, interface: &NetworkInterfaceId, used: &BTreeSet<Ipv4Addr>) {
    let Some(known) = tx.get::<NetworkInterface>(interface.as_str()) else {
        return;
    };
    let own = known.primary_ip();
    let mut addresses = known.addresses.clone();
    addresses.retain(|it| it.private == own || used.contains(&it.private));
    if addresses.len() != known.addresses.len() {
        tx.update::<NetworkInterface>(interface.as_str(), |it| it.addresses = addresses);
    }
}

/// An address for a resource at an interface: the interface's own, or a further one.
fn given(
    tx: &mut Tx,
    subnet: &SubnetId,
    interface: &NetworkInterfaceId,
    is_own: bool,
) -> Option<Ipv4Addr> {
    let known = tx.get::<NetworkInterface>(interface.as_str())?;
    if is_own {
        return Some(known.primary_ip());
    }
    let subnet = tx.get::<Subnet>(subnet.as_str())?;
    let private = private_address(tx, &subnet, None).ok()?;
    let public = None;
    tx.update::<NetworkInterface>(interface.as_str(), |it| {
        it.addresses.push(PrivateAddress { private, public });
    });
    Some(private)
}

/// Ends what an endpoint leads to: it has failed, for this reason, and waits for its owner to delete it.
pub fn fail_endpoint(tx: &mut Tx, endpoint: &VpcEndpoint, failure: EndpointFailure) {
    let claim = Claim {
        resource: endpoint.to.id().to_owned(),
        holder: endpoint.id.to_string(),
    };
    tx.delete::<Claim>(&claim.id());
    let (after, now) = (tx.view().revision(), tx.now());
    tx.update::<VpcEndpoint>(endpoint.id.as_str(), |it| {
        it.life.enter(LifeState::Failed, after, now);
        (it.failure, it.resources) = (Some(failure), None);
    });
}
