//! Subnets (<https://docs.aws.amazon.com/vpc/latest/userguide/configure-subnets.html>).

use std::sync::Arc;

use ipnet::Ipv4Net;
use lath_control::{Cell, claims_on};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter, Member};
use lath_ec2_kit::made::{ATTRIBUTES, Making as _, attributes};
use lath_ec2_kit::messages::{BooleanInput, Nothing};
use lath_ec2_kit::names::PrivateDnsNameOptionsItem;
use lath_ec2_kit::names::changed_names;
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{
    client, combination, has_dependencies, invalid_parameter, invalid_value, missing, over,
};
use lath_ec2_records::ids;
use lath_ec2_records::interfaces;
use lath_ec2_records::resources::{Facts, SUBNET, VPC};
use lath_ec2_records::zone_id;
use lath_ec2_records::{NetworkInterface, PrivateDnsNames, RouteTable, Subnet, Vpc};
use lath_feed::Observed;
use lath_model::id::SubnetId;
use lath_service::{IdForm, Quota, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::reconcile::subnet_available;
use crate::vpcs;
use crate::{cidr_reservations, network_acls};

/// How many subnets a VPC may have.
const MAX_SUBNETS: Quota<&str> = Quota::new("subnets", "SubnetLimitExceeded", 200);

operations! {
    for Ec2 as "ec2";
    change CreateSubnet -> CreateSubnetResult = create, dry_run
        => on(&VPC, |op, _| op.vpc_id.clone())
            .creates(&SUBNET, |op| &op.tag_specifications)
        => refusing ["" CreateSubnet];
    change CreateDefaultSubnet -> CreateSubnetResult = create_default, dry_run
        => any()
        => refusing ["" CreateDefaultSubnet];
    change DeleteSubnet -> Nothing = delete, dry_run
        => on(&SUBNET, |op, _| op.subnet_id.clone());
    read DescribeSubnets -> DescribeSubnetsResult = describe, dry_run => any();
    change ModifySubnetAttribute -> Nothing = modify
        => on(&SUBNET, |op, _| op.subnet_id.clone())
            .with_all(ATTRIBUTES, |op, _| op.set())
        => refusing ["" ModifySubnetAttribute];
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateSubnet {
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
    availability_zone: Option<String>,
    availability_zone_id: Option<String>,
    cidr_block: Option<String>,
    ipv6_cidr_block: Option<String>,
    outpost_arn: Option<String>,
    vpc_id: String,
    ipv6_native: Option<bool>,
    ipv4_ipam_pool_id: Option<String>,
    ipv4_netmask_length: Option<i32>,
    ipv6_ipam_pool_id: Option<String>,
    ipv6_netmask_length: Option<i32>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateDefaultSubnet {
    availability_zone: Option<String>,
    availability_zone_id: Option<String>,
    dry_run: Option<bool>,
    ipv6_native: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateSubnetResult {
    subnet: SubnetItem,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubnetItem {
    subnet_id: String,
    subnet_arn: String,
    state: String,
    vpc_id: String,
    owner_id: String,
    cidr_block: String,
    available_ip_address_count: i32,
    availability_zone: String,
    availability_zone_id: String,
    default_for_az: bool,
    map_public_ip_on_launch: bool,
    map_customer_owned_ip_on_launch: bool,
    assign_ipv6_address_on_creation: bool,
    ipv6_cidr_block_association_set: Vec<SubnetIpv6Block>,
    enable_dns64: bool,
    ipv6_native: bool,
    private_dns_name_options_on_launch: PrivateDnsNameOptionsItem,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
}

/// An IPv6 block of a subnet: there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubnetIpv6Block {
    association_id: String,
    ipv6_cidr_block: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteSubnet {
    subnet_id: String,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeSubnets {
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    #[serde(rename = "SubnetId", default)]
    subnet_ids: Vec<String>,
    next_token: Option<String>,
    max_results: Option<i32>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeSubnetsResult {
    next_token: Option<String>,
    #[serde(rename = "subnetSet")]
    subnets: Vec<SubnetItem>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifySubnetAttribute {
    assign_ipv6_address_on_creation: Option<BooleanInput>,
    map_public_ip_on_launch: Option<BooleanInput>,
    subnet_id: String,
    map_customer_owned_ip_on_launch: Option<BooleanInput>,
    customer_owned_ipv4_pool: Option<String>,
    enable_dns64: Option<BooleanInput>,
    private_dns_hostname_type_on_launch: Option<String>,
    enable_resource_name_dns_a_record_on_launch: Option<BooleanInput>,
    #[serde(rename = "EnableResourceNameDnsAAAARecordOnLaunch")]
    enable_resource_name_dns_aaaa_record_on_launch: Option<BooleanInput>,
    enable_lni_at_device_index: Option<i32>,
    disable_lni_at_device_index: Option<BooleanInput>,
}

impl ModifySubnetAttribute {
    /// The attributes that it sets.
    fn set(&self) -> Facts {
        let a_record = self.enable_resource_name_dns_a_record_on_launch;
        let aaaa_record = self.enable_resource_name_dns_aaaa_record_on_launch;
        attributes(&[
            (
                "AssignIpv6AddressOnCreation",
                BooleanInput::text(self.assign_ipv6_address_on_creation),
            ),
            (
                "MapPublicIpOnLaunch",
                BooleanInput::text(self.map_public_ip_on_launch),
            ),
            (
                "MapCustomerOwnedIpOnLaunch",
                BooleanInput::text(self.map_customer_owned_ip_on_launch),
            ),
            (
                "CustomerOwnedIpv4Pool",
                self.customer_owned_ipv4_pool.clone(),
            ),
            ("EnableDns64", BooleanInput::text(self.enable_dns64)),
            (
                "PrivateDnsHostnameTypeOnLaunch",
                self.private_dns_hostname_type_on_launch.clone(),
            ),
            (
                "EnableResourceNameDnsARecordOnLaunch",
                BooleanInput::text(a_record),
            ),
            (
                "EnableResourceNameDnsAAAARecordOnLaunch",
                BooleanInput::text(aaaa_record),
            ),
            (
                "EnableLniAtDeviceIndex",
                self.enable_lni_at_device_index.map(|it| it.to_string()),
            ),
            (
                "DisableLniAtDeviceIndex",
                BooleanInput::text(self.disable_lni_at_device_index),
            ),
        ])
    }
}

fn create(app: &Ec2, tx: &mut Tx, op: CreateSubnet) -> Result<CreateSubnetResult, ApiError> {
    op.refuse()?;
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    let cidr = checked_cidr(app, tx.view(), &vpc, op.cidr_block.as_deref())?;
    let tags = tags::specified(&op.tag_specifications, "subnet")?;
    let subnet = Subnet {
        id: SubnetId::random(),
        vpc: vpc.id.clone(),
        owner: app.cell.account.clone(),
        cidr,
        availability_zone: zone(app, tx.view(), &op)?,
        default_for_az: false,
        map_public_ip_on_launch: false,
        acl_association: network_acls::association(),
        network_acl: None,
        created_after: tx.view().revision(),
        available: false,
        names: PrivateDnsNames::default(),
    };
    tags::put(tx, subnet.id.as_str(), tags);
    let subnet = tx.put(subnet);
    let observed = app.cell.observed.borrow();
    let subnet = item(app, tx.view(), &observed, &subnet);
    Ok(CreateSubnetResult { subnet })
}

fn checked_cidr(
    app: &Ec2,
    view: &View,
    vpc: &Vpc,
    text: Option<&str>,
) -> Result<Ipv4Net, ApiError> {
    let text = text.ok_or_else(|| {
        client(
            "MissingParameter",
            "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.",
        )
    })?;
    let cidr = vpcs::block("cidrBlock", text)?;
    let inside = vpc.cidrs.iter().any(|block| block.cidr.contains(&cidr));
    if !inside || !(16..=28).contains(&cidr.prefix_len()) {
        return Err(client(
            "InvalidSubnet.Range",
            format!("The CIDR '{text}' is invalid."),
        ));
    }
    let others: Vec<_> = view.by::<Subnet>("vpc", vpc.id.as_str()).collect();
    let overlaps = |other: Ipv4Net| other.contains(&cidr) || cidr.contains(&other);
    if others.iter().any(|other| overlaps(other.cidr)) {
        return Err(client(
            "InvalidSubnet.Conflict",
            format!("The CIDR '{text}' conflicts with another subnet"),
        ));
    }
    MAX_SUBNETS.check(&app.cell, others.len() + 1, over)?;
    Ok(cidr)
}

/// A subnet of a zone, with the block that it would have, in the region's default VPC.
fn create_default(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateDefaultSubnet,
) -> Result<CreateSubnetResult, ApiError> {
    op.refuse()?;
    let zone = named_zone(&app.cell, &op.availability_zone, &op.availability_zone_id)?
        .ok_or_else(|| missing("AvailabilityZone"))?;
    let vpc = vpcs::default::find(tx.view()).ok_or_else(|| {
        client(
            "DefaultVpcDoesNotExist",
            "No default VPC exists for this account in this region.",
        )
    })?;
    let others: Vec<_> = tx.view().by::<Subnet>("vpc", vpc.id.as_str()).collect();
    let mut there = others.iter().filter(|it| it.default_for_az);
    if let Some(subnet) = there.find(|it| it.availability_zone == zone) {
        return Err(client(
            "DefaultSubnetAlreadyExistsInAvailabilityZone",
            format!("'{}' is already the default subnet in {zone}.", subnet.id),
        ));
    }
    MAX_SUBNETS.check(&app.cell, others.len() + 1, over)?;
    let is_free = |block: &Ipv4Net| {
        let overlaps = |other: Ipv4Net| other.contains(block) || block.contains(&other);
        !others.iter().any(|other| overlaps(other.cidr))
    };
    let block = vpcs::default::blocks(&vpc).find(is_free).ok_or_else(|| {
        client(
            "InsufficientCidrBlocks",
            format!("The default VPC '{}' has no free /20 CIDR block.", vpc.id),
        )
    })?;
    let subnet = put_default(&app.cell, tx, &vpc, zone, block);
    let observed = app.cell.observed.borrow();
    let subnet = item(app, tx.view(), &observed, &subnet);
    Ok(CreateSubnetResult { subnet })
}

/// Makes a default subnet: its instances get public addresses.
pub(crate) fn put_default(
    cell: &Cell,
    tx: &mut Tx,
    vpc: &Vpc,
    availability_zone: String,
    cidr: Ipv4Net,
) -> Arc<Subnet> {
    let created_after = tx.view().revision();
    tx.put(Subnet {
        id: SubnetId::random(),
        vpc: vpc.id.clone(),
        owner: cell.account.clone(),
        cidr,
        availability_zone,
        default_for_az: true,
        map_public_ip_on_launch: true,
        acl_association: network_acls::association(),
        network_acl: None,
        created_after,
        available: false,
        names: PrivateDnsNames::default(),
    })
}

/// The wanted zone, or the one with the fewest subnets of the VPC.
fn zone(app: &Ec2, view: &View, op: &CreateSubnet) -> Result<String, ApiError> {
    let named = named_zone(&app.cell, &op.availability_zone, &op.availability_zone_id)?;
    let zones = || app.cell.availability_zones();
    Ok(named.unwrap_or_else(|| emptiest(view, &op.vpc_id, zones())))
}

/// The zone that a request names by its name or its id, if it does.
fn named_zone(
    cell: &Cell,
    name: &Option<String>,
    id: &Option<String>,
) -> Result<Option<String>, ApiError> {
    let zones = cell.availability_zones();
    let (parameter, wanted, found) = match (name, id) {
        (Some(_), Some(_)) => {
            return Err(combination(
                "The parameters AvailabilityZone and AvailabilityZoneId cannot be used together.",
            ));
        }
        (Some(name), None) => (
            "availabilityZone",
            name,
            zones.iter().find(|it| *it == name),
        ),
        (None, Some(id)) => {
            let found = zones.iter().find(|it| zone_id(it) == *id);
            ("availabilityZoneId", id, found)
        }
        (None, None) => return Ok(None),
    };
    found.cloned().map(Some).ok_or_else(|| {
        invalid_parameter(
            parameter,
            wanted,
            &format!(
                "Subnets can currently only be created in the following availability zones: {}.",
                zones.join(", ")
            ),
        )
    })
}

fn emptiest(view: &View, vpc: &str, zones: [String; 3]) -> String {
    let load = |zone: &String| {
        view.by::<Subnet>("vpc", vpc)
            .filter(|it| it.availability_zone == *zone)
            .count()
    };
    let emptiest = zones.iter().min_by_key(|zone| load(zone)).cloned();
    emptiest.unwrap_or_default()
}

fn delete(_app: &Ec2, tx: &mut Tx, op: DeleteSubnet) -> Result<Nothing, ApiError> {
    let subnet = ids::find::<Subnet>(tx.view(), &op.subnet_id)?;
    let id = subnet.id.as_str();
    let used = tx.view().has::<NetworkInterface>("subnet", id);
    if used || !claims_on(tx.view(), subnet.id.as_str()).is_empty() {
        return Err(has_dependencies("subnet", &subnet.id));
    }
    let table = tx.view().by::<RouteTable>("subnet", id).next();
    if let Some(table) = table {
        tx.update::<RouteTable>(table.id.as_str(), |table| {
            table
                .associations
                .retain(|it| it.subnet.as_ref() != Some(&subnet.id));
        });
    }
    cidr_reservations::forget_all(tx, &subnet.id);
    tags::forget(tx, subnet.id.as_str());
    tx.delete::<Subnet>(subnet.id.as_str());
    Ok(Nothing {})
}

/// One attribute per call, as AWS demands.
fn modify(_app: &Ec2, tx: &mut Tx, op: ModifySubnetAttribute) -> Result<Nothing, ApiError> {
    let subnet = ids::find::<Subnet>(tx.view(), &op.subnet_id)?;
    op.refuse()?;
    let a_record = op.enable_resource_name_dns_a_record_on_launch;
    let names = changed_names(
        subnet.names,
        op.private_dns_hostname_type_on_launch.as_deref(),
        a_record.and_then(|input| input.value),
    )?;
    match given_attributes(&op) {
        0 => return Err(missing("MapPublicIpOnLaunch")),
        1 => {}
        _ => {
            return Err(combination(
                "Only one subnet attribute can be modified at a time.",
            ));
        }
    }
    if let Some(input) = op.map_public_ip_on_launch {
        let value = input
            .value
            .ok_or_else(|| invalid_value("MapPublicIpOnLaunch needs a value"))?;
        tx.update::<Subnet>(subnet.id.as_str(), |subnet| {
            subnet.map_public_ip_on_launch = value;
        });
    }
    tx.update::<Subnet>(subnet.id.as_str(), |subnet| subnet.names = names);
    Ok(Nothing {})
}

fn given_attributes(op: &ModifySubnetAttribute) -> usize {
    [
        op.assign_ipv6_address_on_creation.is_some(),
        op.map_public_ip_on_launch.is_some(),
        op.map_customer_owned_ip_on_launch.is_some(),
        op.enable_dns64.is_some(),
        op.private_dns_hostname_type_on_launch.is_some(),
        op.enable_resource_name_dns_a_record_on_launch.is_some(),
        op.enable_resource_name_dns_aaaa_record_on_launch.is_some(),
        op.disable_lni_at_device_index.is_some(),
    ]
    .into_iter()
    .filter(|given| *given)
    .count()
}

fn item(app: &Ec2, view: &View, observed: &Observed, subnet: &Subnet) -> SubnetItem {
    let unavailable = interfaces::unavailable_addresses(view, subnet);
    let free = interfaces::capacity(subnet).saturating_sub(unavailable);
    let state = if subnet_available(subnet, &observed.vpcs) {
        "available"
    } else {
        "pending"
    };
    SubnetItem {
        subnet_id: subnet.id.to_string(),
        subnet_arn: app.cell.arn("ec2", format!("subnet/{}", subnet.id)),
        state: state.into(),
        vpc_id: subnet.vpc.to_string(),
        owner_id: subnet.owner.clone(),
        cidr_block: subnet.cidr.to_string(),
        available_ip_address_count: i32::try_from(free).unwrap_or(i32::MAX),
        availability_zone: subnet.availability_zone.clone(),
        availability_zone_id: zone_id(&subnet.availability_zone),
        default_for_az: subnet.default_for_az,
        map_public_ip_on_launch: subnet.map_public_ip_on_launch,
        map_customer_owned_ip_on_launch: false,
        assign_ipv6_address_on_creation: false,
        ipv6_cidr_block_association_set: Vec::new(),
        enable_dns64: false,
        ipv6_native: false,
        private_dns_name_options_on_launch: subnet.names.into(),
        tags: tags::of(view, subnet.id.as_str()),
    }
}

impl Listed for SubnetItem {
    const ID: IdForm = SUBNET.id;
    const MEMBERS: &'static [Member] = &[("enable-lni-at-device-index", None)];
    const FIELDS: &'static [Field<Self>] = &[
        ("subnet-id", |it| vec![it.subnet_id.clone()]),
        ("subnet-arn", |it| vec![it.subnet_arn.clone()]),
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("state", |it| vec![it.state.clone()]),
        ("cidr", |it| vec![it.cidr_block.clone()]),
        ("cidr-block", |it| vec![it.cidr_block.clone()]),
        ("cidrBlock", |it| vec![it.cidr_block.clone()]),
        ("availability-zone", |it| vec![it.availability_zone.clone()]),
        ("availabilityZone", |it| vec![it.availability_zone.clone()]),
        ("availability-zone-id", |it| {
            vec![it.availability_zone_id.clone()]
        }),
        ("availabilityZoneId", |it| {
            vec![it.availability_zone_id.clone()]
        }),
        ("available-ip-address-count", |it| {
            vec![it.available_ip_address_count.to_string()]
        }),
        ("default-for-az", |it| vec![it.default_for_az.to_string()]),
        ("defaultForAz", |it| vec![it.default_for_az.to_string()]),
        ("map-public-ip-on-launch", |it| {
            vec![it.map_public_ip_on_launch.to_string()]
        }),
        ("map-customer-owned-ip-on-launch", |_| vec!["false".into()]),
        ("enable-dns64", |_| vec!["false".into()]),
        ("ipv6-native", |_| vec!["false".into()]),
        ("private-dns-name-options-on-launch.hostname-type", |it| {
            vec![it.private_dns_name_options_on_launch.hostname_type.clone()]
        }),
        (
            "private-dns-name-options-on-launch.enable-resource-name-dns-a-record",
            |it| {
                let names = &it.private_dns_name_options_on_launch;
                vec![names.enable_resource_name_dns_a_record.to_string()]
            },
        ),
        (
            "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record",
            |_| vec!["false".into()],
        ),
        ("customer-owned-ipv4-pool", |_| vec![]),
        ("ipv6-cidr-block-association.ipv6-cidr-block", |_| vec![]),
        ("ipv6-cidr-block-association.association-id", |_| vec![]),
        ("ipv6-cidr-block-association.state", |_| vec![]),
        ("outpost-arn", |_| vec![]),
    ];
    fn id(&self) -> &str {
        &self.subnet_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeSubnets,
) -> Result<DescribeSubnetsResult, ApiError> {
    let observed = app.cell.observed.borrow();
    let show = |subnet: &Subnet| Some(item(app, view, &observed, subnet));
    let query = Query {
        ids: &op.subnet_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeSubnetsResult {
        next_token: page.next_token,
        subnets: page.items,
    })
}

refused! {
    CreateDefaultSubnet { ipv6_native }
    CreateSubnet { ipv6_cidr_block, outpost_arn, ipv6_native, ipv4_ipam_pool_id, ipv4_netmask_length, ipv6_ipam_pool_id, ipv6_netmask_length }
    ModifySubnetAttribute { assign_ipv6_address_on_creation, map_customer_owned_ip_on_launch, customer_owned_ipv4_pool, enable_dns64, enable_resource_name_dns_aaaa_record_on_launch as "EnableResourceNameDnsAAAARecordOnLaunch", enable_lni_at_device_index, disable_lni_at_device_index }
}
