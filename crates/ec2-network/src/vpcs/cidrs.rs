//! The blocks of a VPC (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html>).

use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::refused;
use lath_ec2_records::errors::{client, dependency, invalid_parameter};
use lath_ec2_records::ids;
use lath_ec2_records::{CidrBlock, Destination, RouteTable, Subnet, Vpc};
use lath_service::Refuses;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::messages::{
    AssociateVpcCidrBlock, CidrAssociation, CidrState, DisassociateVpcCidrBlock, VpcCidrBlockResult,
};

/// How many blocks a VPC may have.
const MAX_BLOCKS: usize = 5;

/// No VPC may be in these.
const FORBIDDEN: [([u8; 4], u8); 4] = [
    ([0, 0, 0, 0], 8),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([224, 0, 0, 0], 3),
];

/// A VPC in one of these ranges cannot get a block of another.
const PRIVATE: [([u8; 4], u8); 4] = [
    ([10, 0, 0, 0], 8),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    ([198, 19, 0, 0], 16),
];

fn net((octets, length): ([u8; 4], u8)) -> Ipv4Net {
    Ipv4Net::new(octets.into(), length).expect("the constants above have lengths up to 32")
}

/// Reads a block for a VPC. Host bits are cleared.
///
/// # Errors
/// `MissingParameter`, `InvalidParameterValue`, `InvalidVpc.Range`.
pub(super) fn parse(text: Option<&str>) -> Result<Ipv4Net, ApiError> {
    let text = text.ok_or_else(|| {
        client(
            "MissingParameter",
            "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.",
        )
    })?;
    let cidr = block("cidrBlock", text)?;
    let forbidden = FORBIDDEN
        .into_iter()
        .map(net)
        .any(|it| it.contains(&cidr) || cidr.contains(&it));
    if forbidden || !(16..=28).contains(&cidr.prefix_len()) {
        return Err(range(format!("The CIDR '{text}' is invalid.")));
    }
    Ok(cidr)
}

/// An IPv4 block with its host bits cleared.
///
/// # Errors
/// `InvalidParameterValue` for text that is no such block.
pub fn block(parameter: &str, text: &str) -> Result<Ipv4Net, ApiError> {
    text.parse::<Ipv4Net>()
        .map(|cidr| cidr.trunc())
        .map_err(|_| invalid_parameter(parameter, text, "This is not a valid CIDR block."))
}

fn range(message: String) -> ApiError {
    client("InvalidVpc.Range", message)
}

pub(super) fn item(block: &CidrBlock) -> CidrAssociation {
    shown(block, "associated")
}

fn shown(block: &CidrBlock, state: &str) -> CidrAssociation {
    CidrAssociation {
        association_id: block.association.clone(),
        cidr_block: block.cidr.to_string(),
        cidr_block_state: CidrState {
            state: state.into(),
        },
    }
}

pub(super) fn associate(
    _app: &Ec2,
    tx: &mut Tx,
    op: AssociateVpcCidrBlock,
) -> Result<VpcCidrBlockResult, ApiError> {
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    op.refuse()?;
    let cidr = parse(op.cidr_block.as_deref())?;
    check_addition(tx.view(), &vpc, cidr)?;
    let block = CidrBlock::new(cidr);
    tx.update::<Vpc>(vpc.id.as_str(), |vpc| vpc.cidrs.push(block.clone()));
    Ok(VpcCidrBlockResult {
        vpc_id: vpc.id.to_string(),
        cidr_block_association: shown(&block, "associating"),
    })
}

fn check_addition(view: &View, vpc: &Vpc, cidr: Ipv4Net) -> Result<(), ApiError> {
    if vpc.cidrs.len() >= MAX_BLOCKS {
        return Err(client(
            "CidrLimitExceeded",
            format!(
                "This network {} has met its maximum number of allowed CIDRs: {MAX_BLOCKS}",
                vpc.id
            ),
        ));
    }
    let overlap = |other: Ipv4Net| other.contains(&cidr) || cidr.contains(&other);
    if let Some(other) = vpc.cidrs.iter().find(|block| overlap(block.cidr)) {
        return Err(range(format!(
            "The CIDR '{cidr}' overlaps with the CIDR '{}' of the VPC.",
            other.cidr
        )));
    }
    let family = |cidr: Ipv4Net| PRIVATE.into_iter().map(net).find(|it| it.contains(&cidr));
    let mixes = |block: &CidrBlock| matches!((family(block.cidr), family(cidr)), (Some(old), Some(new)) if old != new);
    if vpc.cidrs.iter().any(mixes) {
        return Err(range(format!(
            "The CIDR '{cidr}' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR. For additional restrictions, see https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Subnets.html#VPC_Sizing"
        )));
    }
    if covers_a_route(view, vpc, cidr) {
        return Err(range(format!(
            "The CIDR '{cidr}' is the same as or larger than the destination of a route in the VPC."
        )));
    }
    Ok(())
}

fn covers_a_route(view: &View, vpc: &Vpc, cidr: Ipv4Net) -> bool {
    let covered = |destination: &Destination| matches!(destination, Destination::Cidr(IpNet::V4(to)) if cidr.contains(to));
    view.by::<RouteTable>("vpc", vpc.id.as_str())
        .any(|table| table.routes.iter().any(|route| covered(&route.destination)))
}

pub(super) fn disassociate(
    _app: &Ec2,
    tx: &mut Tx,
    op: DisassociateVpcCidrBlock,
) -> Result<VpcCidrBlockResult, ApiError> {
    let (vpc, index) = holder(tx.view(), &op.association_id)?;
    let block = vpc.cidrs[index].clone();
    if index == 0 {
        return Err(client(
            "OperationNotPermitted",
            format!(
                "The vpc CIDR block with association ID {} may not be disassociated. It is the primary IPv4 CIDR block of the VPC",
                block.association
            ),
        ));
    }
    let used = tx
        .view()
        .by::<Subnet>("vpc", vpc.id.as_str())
        .any(|subnet| block.cidr.contains(&subnet.cidr));
    if used {
        return Err(dependency(format!(
            "The vpc CIDR block '{}' has dependencies and cannot be disassociated.",
            block.cidr
        )));
    }
    tx.update::<Vpc>(vpc.id.as_str(), |vpc| {
        vpc.cidrs.remove(index);
    });
    Ok(VpcCidrBlockResult {
        vpc_id: vpc.id.to_string(),
        cidr_block_association: shown(&block, "disassociating"),
    })
}

/// The VPC that has this association.
pub(super) fn vpc_of(view: &View, association: &str) -> Option<String> {
    let (vpc, _) = holder(view, association).ok()?;
    Some(vpc.id.to_string())
}

fn holder(view: &View, association: &str) -> Result<(Arc<Vpc>, usize), ApiError> {
    view.by::<Vpc>("block", association)
        .find_map(|vpc| {
            let index = vpc
                .cidrs
                .iter()
                .position(|block| block.association == association)?;
            Some((vpc, index))
        })
        .ok_or_else(|| {
            client(
                "InvalidVpcCidrBlockAssociationID.NotFound",
                format!("The vpc CIDR block association ID '{association}' does not exist"),
            )
        })
}

refused! {
    AssociateVpcCidrBlock { ipv6_cidr_block_network_border_group, ipv6_pool, ipv6_cidr_block, ipv4_ipam_pool_id, ipv4_netmask_length, ipv6_ipam_pool_id, ipv6_netmask_length, amazon_provided_ipv6_cidr_block }
}
