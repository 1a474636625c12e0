//! Security groups that other services make in the account's VPCs in its name.
//!
//! Each function runs in the caller's transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use lath_control::Cell;
use lath_ec2_kit::tags;
use lath_ec2_records::{Direction, RuleSource, SecurityGroup, SecurityGroupRule};
use lath_feed::Traffic;
use lath_model::id::{SecurityGroupId, SecurityGroupRuleId, VpcId};
use lath_store::Tx;
use lath_wire::ApiError;

use crate::security_groups;

/// A security group that a service makes.
#[derive(Debug, Clone)]
pub struct NewGroup {
    /// Where.
    pub vpc: VpcId,
    /// Its name, unique in the VPC.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its tags, `aws:` ones included.
    pub tags: BTreeMap<String, String>,
}

/// Makes a group whose members reach one another in every way, and everything outside.
///
/// # Errors
/// `SecurityGroupLimitExceeded`.
pub fn cluster_group(
    tx: &mut Tx,
    cell: &Cell,
    new: NewGroup,
) -> Result<Arc<SecurityGroup>, ApiError> {
    security_groups::check_quota(cell, tx.view())?;
    let group = SecurityGroup {
        name: new.name,
        description: new.description,
        ..security_groups::among_members(new.vpc, cell.account.clone())
    };
    tags::put(tx, group.id.as_str(), new.tags);
    Ok(tx.put(group))
}

/// Makes a group that lets SSH in, from the members of these groups, or from everywhere where none is named.
///
/// # Errors
/// `SecurityGroupLimitExceeded`.
pub fn remote_access_group(
    tx: &mut Tx,
    cell: &Cell,
    new: NewGroup,
    sources: &[SecurityGroupId],
) -> Result<Arc<SecurityGroup>, ApiError> {
    security_groups::check_quota(cell, tx.view())?;
    let mut group = SecurityGroup {
        name: new.name,
        description: new.description,
        ..security_groups::among_members(new.vpc, cell.account.clone())
    };
    group
        .rules
        .retain(|rule| rule.direction == Direction::Egress);
    let everywhere = RuleSource::Cidr(IpNet::V4(Ipv4Net::default()));
    let sources = match sources {
        [] => vec![everywhere],
        some => some.iter().cloned().map(RuleSource::Group).collect(),
    };
    group
        .rules
        .extend(sources.into_iter().map(|source| SecurityGroupRule {
            id: SecurityGroupRuleId::random(),
            direction: Direction::Ingress,
            traffic: Traffic::Tcp(22, 22),
            source,
            description: None,
        }));
    tags::put(tx, group.id.as_str(), new.tags);
    Ok(tx.put(group))
}

/// Deletes a group that a service made. One that an interface, a rule or another service uses stays: it is the user's
/// to delete then.
pub fn delete_group(tx: &mut Tx, id: &SecurityGroupId) {
    let group = tx.get::<SecurityGroup>(id.as_str());
    if let Some(group) = group.filter(|it| !security_groups::is_used(tx.view(), it)) {
        security_groups::remove(tx, &group);
    }
}
