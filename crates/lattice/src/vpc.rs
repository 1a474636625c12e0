//! What Lattice asks of EC2's state: VPCs, security groups, instances and their addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lath_ec2_records::{Instance, NetworkInterface, SecurityGroup, Vpc};
use lath_model::id::{InstanceId, SecurityGroupId, VpcId};
use lath_store::View;
use lath_wire::ApiError;

use crate::fault;

/// A VPC that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn existing(view: &View, id: &str) -> Result<Arc<Vpc>, ApiError> {
    view.get::<Vpc>(id)
        .ok_or_else(|| fault::missing("VPC", "VPC", id))
}

/// Security groups, each of which must exist in the VPC; in the order given, without repetitions.
///
/// # Errors
/// `ResourceNotFoundException` or `ValidationException`.
pub(crate) fn security_groups(
    view: &View,
    vpc: &VpcId,
    ids: &[String],
) -> Result<Vec<SecurityGroupId>, ApiError> {
    let mut groups: Vec<SecurityGroupId> = Vec::new();
    for id in ids {
        let group = view
            .get::<SecurityGroup>(id)
            .ok_or_else(|| fault::missing("SECURITY_GROUP", "Security group", id))?;
        if group.vpc != *vpc {
            return Err(fault::invalid(
                "securityGroupIds",
                format!("Security group {id} does not belong to VPC {vpc}"),
            ));
        }
        if !groups.contains(&group.id) {
            groups.push(group.id.clone());
        }
    }
    Ok(groups)
}

/// Whether an address lies in one of the VPC's blocks.
pub(crate) fn contains(vpc: &Vpc, address: Ipv4Addr) -> bool {
    vpc.cidrs.iter().any(|block| block.cidr.contains(&address))
}

/// Where a registered target is reached: the address that it is, or its instance's primary one.
pub(crate) fn address_of(view: &View, target: &str) -> Option<IpAddr> {
    if let Ok(address) = target.parse() {
        return Some(address);
    }
    let instance = view.get::<Instance>(target)?;
    let interface = instance.primary_interface.as_ref()?;
    let interface = view.get::<NetworkInterface>(interface.as_str())?;
    Some(interface.primary_ip().into()).filter(|address: &IpAddr| !address.is_unspecified())
}

/// Why an instance cannot be a target of a group in this VPC.
pub(crate) fn instance_refusal(view: &View, vpc: &VpcId, id: &str) -> Option<String> {
    let Ok(parsed) = id.parse::<InstanceId>() else {
        return Some(format!("{id} is not an instance id"));
    };
    match view.get::<Instance>(parsed.as_str()) {
        None => Some(format!("Instance {id} does not exist")),
        Some(instance) if instance.vpc != *vpc => {
            Some("Instance targets must be in the same VPC as their target group".to_owned())
        }
        Some(instance) if !instance.is_alive() => {
            Some(format!("Instance {id} is {}", instance.state.name()))
        }
        Some(_) => None,
    }
}

/// Why an address cannot be a target of a group in this VPC.
pub(crate) fn address_refusal(vpc: &Vpc, id: &str) -> Option<String> {
    match id.parse::<IpAddr>() {
        Err(_) => Some(format!("{id} is not an IP address")),
        Ok(IpAddr::V6(_)) => {
            Some("IPv6 targets need a target group with IPv6 addresses".to_owned())
        }
        Ok(IpAddr::V4(address)) if !contains(vpc, address) => Some(format!(
            "IP address targets must be in the VPC of their target group, {}",
            vpc.id
        )),
        Ok(IpAddr::V4(_)) => None,
    }
}
