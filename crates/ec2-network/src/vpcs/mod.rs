//! VPCs (<https://docs.aws.amazon.com/vpc/latest/userguide/configure-your-vpc.html>).

mod attributes;
mod cidrs;
pub(crate) mod default;
mod dhcp;
mod messages;
#[cfg(test)]
mod tests;

use lath_control::claims_on;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::made::{ATTRIBUTES, Making as _};
use lath_ec2_kit::messages::Nothing;
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::{has_dependencies, invalid_parameter, over, unsupported};
use lath_ec2_records::ids;
use lath_ec2_records::resources::{DHCP_OPTIONS, VPC};
use lath_ec2_records::{
    CidrBlock, InternetGateway, NetworkAcl, NetworkInterface, RouteTable, SecurityGroup, Subnet,
    TableAssociation, Vpc, VpcPeering,
};
use lath_feed::Observed;
use lath_model::id::{NetworkAclId, RouteTableAssociationId, RouteTableId, VpcId};
use lath_service::{IdForm, Quota, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use self::messages::*;
use crate::reconcile::vpc_available;
use crate::security_groups;

pub use cidrs::block;
pub(crate) use dhcp::feed as dhcp_options;
use lath_ec2_records::options_id;

/// How many VPCs a region may have.
const MAX_VPCS: Quota<&str> = Quota::new("VPCs", "VpcLimitExceeded", 5);

operations! {
    for Ec2 as "ec2";
    change CreateVpc -> CreateVpcResult = create, dry_run
        => creates(&VPC, |op| &op.tag_specifications)
        => refusing ["" CreateVpc];
    change CreateDefaultVpc -> CreateVpcResult = default::create, dry_run => any();
    change DeleteVpc -> Nothing = delete, dry_run
        => on(&VPC, |op, _| op.vpc_id.clone());
    read DescribeVpcs -> DescribeVpcsResult = describe, dry_run => any();
    read DescribeVpcAttribute -> DescribeVpcAttributeResult = attributes::describe, dry_run
        => on(&VPC, |op, _| op.vpc_id.clone());
    change ModifyVpcAttribute -> Nothing = attributes::modify
        => on(&VPC, |op, _| op.vpc_id.clone())
            .with_all(ATTRIBUTES, |op, _| attributes::set(op))
        => refusing ["" ModifyVpcAttribute];
    change AssociateVpcCidrBlock -> VpcCidrBlockResult = cidrs::associate
        => on(&VPC, |op, _| op.vpc_id.clone())
        => refusing ["" AssociateVpcCidrBlock];
    change DisassociateVpcCidrBlock -> VpcCidrBlockResult = cidrs::disassociate
        => on(&VPC, |op, at| cidrs::vpc_of(at.view, &op.association_id));
    change CreateDhcpOptions -> CreateDhcpOptionsResult = dhcp::create, dry_run
        => creates(&DHCP_OPTIONS, |op| &op.tag_specifications);
    change AssociateDhcpOptions -> Nothing = dhcp::associate, dry_run
        => on(&DHCP_OPTIONS, |op, _| op.dhcp_options_id.clone())
            .on(&VPC, |op, _| op.vpc_id.clone());
    change DeleteDhcpOptions -> Nothing = dhcp::delete, dry_run
        => on(&DHCP_OPTIONS, |op, _| op.dhcp_options_id.clone());
    read DescribeDhcpOptions -> DescribeDhcpOptionsResult = dhcp::describe, dry_run => any();
}

fn create(app: &Ec2, tx: &mut Tx, op: CreateVpc) -> Result<CreateVpcResult, ApiError> {
    op.refuse()?;
    check_tenancy(op.instance_tenancy.as_deref())?;
    let cidr = cidrs::parse(op.cidr_block.as_deref())?;
    let tags = tags::specified(&op.tag_specifications, "vpc")?;
    MAX_VPCS.check(&app.cell, tx.view().count::<Vpc>() + 1, over)?;
    let vpc = Vpc {
        id: VpcId::random(),
        owner: app.cell.account.clone(),
        cidrs: vec![CidrBlock::new(cidr)],
        is_default: false,
        dhcp_options: Some(options_id(&app.cell)),
        network_acl: NetworkAclId::random(),
        dns_support: true,
        dns_hostnames: false,
        available: false,
        created_at: tx.now(),
    };
    tx.put(main_table(&vpc));
    tx.put(NetworkAcl::default_of(&vpc));
    tx.put(security_groups::default_group(&vpc));
    tags::put(tx, vpc.id.as_str(), tags);
    let vpc = tx.put(vpc);
    let observed = app.cell.observed.borrow();
    Ok(CreateVpcResult {
        vpc: item(tx.view(), &observed, &vpc),
    })
}

fn check_tenancy(tenancy: Option<&str>) -> Result<(), ApiError> {
    match tenancy {
        None | Some("default") => Ok(()),
        Some("dedicated") => Err(unsupported(
            "The instance tenancy 'dedicated' is not supported: hosts are always shared.",
        )),
        Some(other) => Err(invalid_parameter(
            "instanceTenancy",
            other,
            "Invalid tenancy.",
        )),
    }
}

fn main_table(vpc: &Vpc) -> RouteTable {
    RouteTable {
        id: RouteTableId::random(),
        vpc: vpc.id.clone(),
        owner: vpc.owner.clone(),
        associations: vec![TableAssociation {
            id: RouteTableAssociationId::random(),
            subnet: None,
        }],
        routes: Vec::new(),
    }
}

fn delete(_app: &Ec2, tx: &mut Tx, op: DeleteVpc) -> Result<Nothing, ApiError> {
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    if has_dependents(tx.view(), &vpc) {
        return Err(has_dependencies("vpc", &vpc.id));
    }
    let tables: Vec<_> = tx.view().by::<RouteTable>("vpc", vpc.id.as_str()).collect();
    for table in tables {
        tags::forget(tx, table.id.as_str());
        tx.delete::<RouteTable>(table.id.as_str());
    }
    let groups: Vec<_> = tx
        .view()
        .by::<SecurityGroup>("vpc", vpc.id.as_str())
        .collect();
    for group in groups {
        security_groups::remove(tx, &group);
    }
    tags::forget(tx, vpc.network_acl.as_str());
    tx.delete::<NetworkAcl>(vpc.network_acl.as_str());
    tags::forget(tx, vpc.id.as_str());
    tx.delete::<Vpc>(vpc.id.as_str());
    Ok(Nothing {})
}

/// Whether anything but the main table, the default group and the default ACL is in the VPC.
fn has_dependents(view: &View, vpc: &Vpc) -> bool {
    let id = vpc.id.as_str();
    let is_left = |group: &SecurityGroup| {
        !group.is_default() || !claims_on(view, group.id.as_str()).is_empty()
    };
    view.has::<Subnet>("vpc", id)
        || view.has::<NetworkInterface>("vpc", id)
        || view.has::<InternetGateway>("vpc", id)
        || view.has::<VpcPeering>("vpc", id)
        || view.by::<RouteTable>("vpc", id).any(|it| !it.is_main())
        || view
            .by::<NetworkAcl>("vpc", id)
            .any(|it| it.id != vpc.network_acl)
        || view.by::<SecurityGroup>("vpc", id).any(|it| is_left(&it))
        || !claims_on(view, id).is_empty()
}

fn item(view: &View, observed: &Observed, vpc: &Vpc) -> VpcItem {
    let state = if vpc_available(vpc, observed) {
        "available"
    } else {
        "pending"
    };
    VpcItem {
        vpc_id: vpc.id.to_string(),
        owner_id: vpc.owner.clone(),
        state: state.into(),
        cidr_block: vpc.primary_cidr().to_string(),
        cidr_block_association_set: vpc.cidrs.iter().map(cidrs::item).collect(),
        ipv6_cidr_block_association_set: Vec::new(),
        dhcp_options_id: dhcp::shown(vpc.dhcp_options.as_ref()),
        instance_tenancy: "default".into(),
        is_default: vpc.is_default,
        tags: tags::of(view, vpc.id.as_str()),
    }
}

impl Listed for VpcItem {
    const ID: IdForm = VPC.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("state", |it| vec![it.state.clone()]),
        ("cidr", |it| vec![it.cidr_block.clone()]),
        ("cidr-block", |it| vec![it.cidr_block.clone()]),
        ("cidrBlock", |it| vec![it.cidr_block.clone()]),
        ("dhcp-options-id", |it| vec![it.dhcp_options_id.clone()]),
        ("dhcpOptionsId", |it| vec![it.dhcp_options_id.clone()]),
        ("is-default", |it| vec![it.is_default.to_string()]),
        ("isDefault", |it| vec![it.is_default.to_string()]),
        ("cidr-block-association.cidr-block", |it| {
            blocks(it, |block| block.cidr_block.clone())
        }),
        ("cidr-block-association.association-id", |it| {
            blocks(it, |block| block.association_id.clone())
        }),
        ("cidr-block-association.state", |it| {
            blocks(it, |block| block.cidr_block_state.state.clone())
        }),
        ("ipv6-cidr-block-association.ipv6-cidr-block", |_| vec![]),
        ("ipv6-cidr-block-association.ipv6-pool", |_| vec![]),
        ("ipv6-cidr-block-association.association-id", |_| vec![]),
        ("ipv6-cidr-block-association.state", |_| vec![]),
    ];
    fn id(&self) -> &str {
        &self.vpc_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn blocks(item: &VpcItem, text: fn(&CidrAssociation) -> String) -> Vec<String> {
    item.cidr_block_association_set.iter().map(text).collect()
}

fn describe(app: &Ec2, view: &View, op: &DescribeVpcs) -> Result<DescribeVpcsResult, ApiError> {
    let observed = app.cell.observed.borrow();
    let show = |vpc: &Vpc| Some(item(view, &observed, vpc));
    let query = Query {
        ids: &op.vpc_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeVpcsResult {
        next_token: page.next_token,
        vpcs: page.items,
    })
}

refused! {
    CreateVpc { ipv6_pool, ipv6_cidr_block, ipv4_ipam_pool_id, ipv4_netmask_length, ipv6_ipam_pool_id, ipv6_netmask_length, ipv6_cidr_block_network_border_group, vpc_encryption_control, amazon_provided_ipv6_cidr_block }
}
