//! Where a cluster is: its subnets, groups and blocks of addresses.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use lath_ec2_compute::managed;
use lath_ec2_records::{SecurityGroup, Subnet, Vpc};
use lath_model::id::{SecurityGroupId, VpcId};
use lath_store::View;
use lath_wire::ApiError;

use crate::fault;
use crate::shape::VpcConfigRequest;

/// The most groups that a cluster may be given.
const MOST_GROUPS: usize = 4;

/// The network of a new cluster.
pub(super) struct Network {
    pub(super) vpc: Arc<Vpc>,
    pub(super) subnets: Vec<Arc<Subnet>>,
    pub(super) groups: Vec<SecurityGroupId>,
    /// Where its interfaces go: two subnets in two zones.
    pub(super) places: [Arc<Subnet>; 2],
}

impl Network {
    /// Reads what a request says of it.
    ///
    /// # Errors
    /// `InvalidParameterException`.
    pub(super) fn new(view: &View, config: &VpcConfigRequest) -> Result<Self, ApiError> {
        let ids = config.subnet_ids.as_deref().unwrap_or_default();
        let subnets = subnets(view, ids)?;
        let first = subnets.first().ok_or_else(two_zones)?;
        if subnets.iter().any(|it| it.vpc != first.vpc) {
            return Err(fault::invalid_parameter(
                "Subnets provided must belong to the same VPC.",
            ));
        }
        let vpc = view.get::<Vpc>(first.vpc.as_str());
        let vpc = vpc.ok_or_else(|| fault::invalid_parameter("The VPC does not exist."))?;
        let groups = config.security_group_ids.as_deref().unwrap_or_default();
        Ok(Self {
            groups: groups_in(view, &vpc.id, groups)?,
            places: places(view, &subnets)?,
            vpc,
            subnets,
        })
    }

    /// The block of ClusterIPs: the given one, or AWS's choice of two.
    ///
    /// # Errors
    /// `InvalidParameterException`.
    pub(super) fn service_cidr(&self, given: Option<&str>) -> Result<Ipv4Net, ApiError> {
        let blocks = || self.vpc.cidrs.iter().map(|block| block.cidr);
        let Some(given) = given else {
            let ten = Ipv4Net::new_assert([10, 0, 0, 0].into(), 8);
            let in_ten = blocks().any(|block| ten.contains(&block));
            return Ok(if in_ten {
                Ipv4Net::new_assert([172, 20, 0, 0].into(), 16)
            } else {
                Ipv4Net::new_assert([10, 100, 0, 0].into(), 16)
            });
        };
        let parsed: Option<Ipv4Net> = given.parse().ok();
        let fits = |it: &Ipv4Net| {
            (12..=24).contains(&it.prefix_len()) && it.trunc() == *it && is_private(*it)
        };
        let cidr = parsed.filter(fits).ok_or_else(|| {
            fault::invalid_parameter(format!(
                "The specified service CIDR block {given} is not valid: it must be within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, and between /24 and /12."
            ))
        })?;
        let overlaps = |block: Ipv4Net| block.contains(&cidr) || cidr.contains(&block);
        if blocks().any(overlaps) {
            return Err(fault::invalid_parameter(format!(
                "The specified service CIDR block {given} overlaps with a CIDR block of the VPC {}.",
                self.vpc.id
            )));
        }
        Ok(cidr)
    }
}

fn is_private(cidr: Ipv4Net) -> bool {
    let private = [
        ([10, 0, 0, 0], 8),
        ([172, 16, 0, 0], 12),
        ([192, 168, 0, 0], 16),
    ];
    private
        .into_iter()
        .any(|(base, length)| Ipv4Net::new_assert(base.into(), length).contains(&cidr))
}

fn two_zones() -> ApiError {
    fault::invalid_parameter("Subnets specified must be in at least two different AZs")
}

/// Subnets by their ids.
///
/// # Errors
/// `InvalidParameterException`, with what EC2 says of one that is not there.
pub(crate) fn subnets(view: &View, ids: &[String]) -> Result<Vec<Arc<Subnet>>, ApiError> {
    let find = |id: &String| {
        view.get::<Subnet>(id).ok_or_else(|| {
            fault::invalid_parameter(format!(
                "The subnet ID '{}' does not exist (Service: AmazonEC2; Status Code: 400; Error Code: InvalidSubnetID.NotFound)",
                id.chars().take(64).collect::<String>()
            ))
        })
    };
    let ids: BTreeSet<&String> = ids.iter().take(100).collect();
    ids.into_iter().map(find).collect()
}

/// Groups of a VPC by their ids.
///
/// # Errors
/// `InvalidParameterException`.
pub(super) fn groups_in(
    view: &View,
    vpc: &VpcId,
    ids: &[String],
) -> Result<Vec<SecurityGroupId>, ApiError> {
    if ids.len() > MOST_GROUPS {
        return Err(fault::invalid_parameter(format!(
            "The maximum number of security groups is {MOST_GROUPS}."
        )));
    }
    let find = |id: &String| {
        let shown: String = id.chars().take(64).collect();
        let group = view.get::<SecurityGroup>(id).ok_or_else(|| {
            fault::invalid_parameter(format!(
                "The security group '{shown}' does not exist (Service: AmazonEC2; Status Code: 400; Error Code: InvalidGroup.NotFound)"
            ))
        })?;
        if group.vpc != *vpc {
            return Err(fault::invalid_parameter(format!(
                "Security group(s) [{shown}] are not in the same VPC as the subnets. Please specify Security Groups that belong to the same VPC as subnets."
            )));
        }
        Ok(group.id.clone())
    };
    ids.iter().map(find).collect()
}

/// Two subnets in two zones, those with the most free addresses.
fn places(view: &View, subnets: &[Arc<Subnet>]) -> Result<[Arc<Subnet>; 2], ApiError> {
    let mut by_room: Vec<(usize, &Arc<Subnet>)> = subnets
        .iter()
        .map(|it| (managed::free_addresses(view, it), it))
        .collect();
    by_room.sort_by_key(|(free, _)| std::cmp::Reverse(*free));
    let mut zones = BTreeSet::new();
    let mut one_each = by_room
        .into_iter()
        .filter(|(_, it)| zones.insert(it.availability_zone.clone()));
    let (Some(first), Some(second)) = (one_each.next(), one_each.next()) else {
        return Err(two_zones());
    };
    Ok([Arc::clone(first.1), Arc::clone(second.1)])
}

/// The blocks that may use the public endpoint.
///
/// # Errors
/// `InvalidParameterException`.
pub(super) fn public_cidrs(given: &[String]) -> Result<Vec<String>, ApiError> {
    if given.len() > 40 {
        return Err(fault::invalid_parameter(
            "The maximum number of CIDR blocks for publicAccessCidrs is 40.",
        ));
    }
    let check = |text: &String| {
        let parsed: Option<IpNet> = text.parse().ok();
        parsed.map(|it| it.trunc().to_string()).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            fault::invalid_parameter(format!(
                "The following CIDRs are invalid in publicAccessCidrs: [{shown}]"
            ))
        })
    };
    given.iter().map(check).collect()
}
