//! NAT gateways (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-nat-gateway.html>).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::idempotency;
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{combination, invalid_parameter, missing, over, unsupported};
use lath_ec2_records::ids;
use lath_ec2_records::interfaces::{self, NewInterface};
use lath_ec2_records::resources::{ELASTIC_IP, NAT_GATEWAY, SUBNET, VPC};
use lath_ec2_records::{
    Address, InternetGateway, Life, LifeState, Manager, NatAddresses, NatGateway, NetworkInterface,
    Subnet,
};
use lath_feed::{Condition, Observed};
use lath_model::Timestamp;
use lath_model::id::{NatGatewayId, NetworkInterfaceId};
use lath_service::{IdForm, Quota, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::addresses;

/// How many NAT gateways an availability zone may have.
const MAX_PER_ZONE: Quota<&str> = Quota::new("NAT gateways", "NatGatewayLimitExceeded", 5);
/// How long a gateway that ended stays visible.
const LINGERS: Duration = Duration::from_secs(3600);

operations! {
    for Ec2 as "ec2";
    change CreateNatGateway -> CreateNatGatewayResult = create, dry_run
        => on(&SUBNET, |op, _| op.subnet_id.clone())
            .on(&VPC, |op, _| op.vpc_id.clone())
            .on(&ELASTIC_IP, |op, _| {
                let secondary = op.secondary_allocation_ids.clone();
                [op.allocation_id.iter().cloned().collect(), secondary].concat()
            })
            .creates(&NAT_GATEWAY, |op| &op.tag_specifications)
        => refusing ["" CreateNatGateway];
    change DeleteNatGateway -> DeleteNatGatewayResult = delete, dry_run
        => on(&NAT_GATEWAY, |op, _| op.nat_gateway_id.clone());
    read DescribeNatGateways -> DescribeNatGatewaysResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateNatGateway {
    availability_mode: Option<String>,
    allocation_id: Option<String>,
    client_token: Option<String>,
    dry_run: Option<bool>,
    subnet_id: Option<String>,
    vpc_id: Option<String>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
    connectivity_type: Option<String>,
    private_ip_address: Option<String>,
    #[serde(rename = "SecondaryAllocationId", default)]
    secondary_allocation_ids: Vec<String>,
    #[serde(rename = "SecondaryPrivateIpAddress", default)]
    secondary_private_ip_addresses: Vec<String>,
    secondary_private_ip_address_count: Option<i32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateNatGatewayResult {
    client_token: Option<String>,
    nat_gateway: NatItem,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteNatGateway {
    dry_run: Option<bool>,
    nat_gateway_id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteNatGatewayResult {
    nat_gateway_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeNatGateways {
    dry_run: Option<bool>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    #[serde(rename = "NatGatewayId", default)]
    nat_gateway_ids: Vec<String>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeNatGatewaysResult {
    #[serde(rename = "natGatewaySet")]
    nat_gateways: Vec<NatItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NatItem {
    create_time: Timestamp,
    delete_time: Option<Timestamp>,
    failure_code: Option<String>,
    failure_message: Option<String>,
    #[serde(rename = "natGatewayAddressSet")]
    addresses: Vec<NatAddressItem>,
    nat_gateway_id: String,
    state: String,
    subnet_id: String,
    vpc_id: String,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
    connectivity_type: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NatAddressItem {
    allocation_id: Option<String>,
    network_interface_id: Option<String>,
    private_ip: Option<String>,
    public_ip: Option<String>,
    association_id: Option<String>,
    is_primary: bool,
    status: String,
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateNatGateway,
) -> Result<CreateNatGatewayResult, ApiError> {
    op.refuse()?;
    if op
        .availability_mode
        .as_deref()
        .is_some_and(|it| it != "zonal")
    {
        return Err(unsupported("Regional NAT gateways are not supported."));
    }
    let tags = tags::specified(&op.tag_specifications, "natgateway")?;
    let id = NatGatewayId::random();
    let fingerprint = idempotency::fingerprint(&(
        &op.subnet_id,
        &op.allocation_id,
        &op.connectivity_type,
        &op.private_ip_address,
        &tags,
    ));
    let token = op.client_token.as_deref();
    let used = idempotency::claim(tx, "CreateNatGateway", token, fingerprint, id.as_str())?;
    let id = match used {
        Some(known) => known,
        _ => {
            tags::put(tx, id.as_str(), tags);
            make(app, tx, id.clone(), &op)?;
            id.to_string()
        }
    };
    let gateway = ids::find::<NatGateway>(tx.view(), &id)?;
    Ok(CreateNatGatewayResult {
        client_token: op.client_token,
        nat_gateway: item(tx.view(), &gateway),
    })
}

fn make(app: &Ec2, tx: &mut Tx, id: NatGatewayId, op: &CreateNatGateway) -> Result<(), ApiError> {
    let subnet = op.subnet_id.as_deref();
    let subnet = ids::find::<Subnet>(tx.view(), subnet.ok_or_else(|| missing("subnetId"))?)?;
    let public = match op.connectivity_type.as_deref() {
        None | Some("public") => true,
        Some("private") => false,
        Some(other) => {
            return Err(invalid_parameter(
                "connectivityType",
                other,
                "Unknown type.",
            ));
        }
    };
    let address = match (public, op.allocation_id.as_deref()) {
        (true, Some(allocation)) => Some(ids::find::<Address>(tx.view(), allocation)?),
        (true, None) => return Err(missing("AllocationId")),
        (false, None) => None,
        (false, Some(_)) => {
            return Err(combination(
                "A private NAT gateway cannot have an elastic IP address.",
            ));
        }
    };
    check_quota(app, tx.view(), &subnet)?;
    let wanted = op.private_ip_address.as_deref();
    let wanted = wanted
        .map(|text| {
            text.parse::<Ipv4Addr>()
                .map_err(|_| invalid_parameter("privateIpAddress", text, "Invalid IPv4 address."))
        })
        .transpose()?;
    let mut gateway = NatGateway {
        id,
        vpc: subnet.vpc.clone(),
        subnet: subnet.id.clone(),
        public,
        interface: None,
        addresses: NatAddresses::default(),
        failure: None,
        life: Life::begin(tx.view().revision()),
        created_at: tx.now(),
    };
    match obstacle(tx.view(), &subnet, address.as_deref()) {
        Some((code, message)) => {
            gateway.addresses.allocation = address.map(|it| it.id.to_string());
            gateway.failure = Some((code.into(), message));
            gateway
                .life
                .enter(LifeState::Failed, tx.view().revision(), tx.now());
        }
        None => equip(app, tx, &mut gateway, wanted, address.as_deref())?,
    }
    tx.put(gateway);
    Ok(())
}

fn check_quota(app: &Ec2, view: &View, subnet: &Subnet) -> Result<(), ApiError> {
    let in_zone = view
        .list::<NatGateway>()
        .filter(|it| it.life.state.lives())
        .filter_map(|it| view.get::<Subnet>(it.subnet.as_str()))
        .filter(|it| it.availability_zone == subnet.availability_zone)
        .count();
    MAX_PER_ZONE.check(&app.cell, in_zone + 1, over)?;
    Ok(())
}

/// Why a gateway cannot be made: it comes into being failed, as in AWS.
fn obstacle(
    view: &View,
    subnet: &Subnet,
    address: Option<&Address>,
) -> Option<(&'static str, String)> {
    let address = address?;
    if !view.has::<InternetGateway>("vpc", subnet.vpc.as_str()) {
        let message = format!("Network {} has no Internet gateway attached", subnet.vpc);
        return Some(("Gateway.NotAttached", message));
    }
    address.association.as_ref().map(|_| {
        let message = format!("Elastic IP address [{}] is already associated", address.id);
        ("Resource.AlreadyAssociated", message)
    })
}

/// Gives the gateway its interface and addresses.
fn equip(
    app: &Ec2,
    tx: &mut Tx,
    gateway: &mut NatGateway,
    private_ip: Option<Ipv4Addr>,
    address: Option<&Address>,
) -> Result<(), ApiError> {
    let id = NetworkInterfaceId::random();
    let new = NewInterface {
        subnet: gateway.subnet.clone(),
        groups: Vec::new(),
        private_ip,
        public: Some(false),
        description: format!("Interface for NAT Gateway {}", gateway.id),
    };
    let mut interface = interfaces::create_primary(tx, &app.cell, id.clone(), new)?;
    // What passes is for others, and no group guards it.
    interface.groups.clear();
    interface.source_dest_check = false;
    interface.manager = Some(Manager::NatGateway(gateway.id.clone()));
    let private = interface.primary_ip().to_string();
    let interface = tx.put(interface);
    gateway.addresses.interface = Some(id.to_string());
    gateway.addresses.private = Some(private);
    gateway.interface = Some(id);
    if let Some(address) = address {
        gateway.addresses.association = Some(addresses::give(tx, address, &interface));
        gateway.addresses.allocation = Some(address.id.to_string());
        gateway.addresses.public = Some(address.ip.to_string());
    }
    Ok(())
}

/// Deleting one that is being deleted, or was, is no error.
fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteNatGateway,
) -> Result<DeleteNatGatewayResult, ApiError> {
    let gateway = ids::find::<NatGateway>(tx.view(), &op.nat_gateway_id)?;
    let next = match gateway.life.state {
        LifeState::Pending | LifeState::Available => Some(LifeState::Deleting),
        LifeState::Failed => Some(LifeState::Deleted),
        LifeState::Deleting | LifeState::Deleted => None,
    };
    if let Some(next) = next {
        let (after, now) = (tx.view().revision(), tx.now());
        tx.update::<NatGateway>(gateway.id.as_str(), |it| it.life.enter(next, after, now));
    }
    Ok(DeleteNatGatewayResult {
        nat_gateway_id: op.nat_gateway_id,
    })
}

/// Whether a NAT gateway of the VPC takes packets.
pub(crate) fn is_alive(view: &View, vpc: &lath_model::id::VpcId, id: &NatGatewayId) -> bool {
    view.get::<NatGateway>(id.as_str())
        .is_some_and(|it| it.vpc == *vpc && it.life.state.lives())
}

/// A gateway that a route may lead to.
pub(crate) fn target(view: &View, id: &str) -> Result<Arc<NatGateway>, ApiError> {
    let absent = || {
        lath_ec2_records::errors::client(
            "InvalidNatGatewayID.NotFound",
            format!("The natGateway ID '{id}' does not exist"),
        )
    };
    let gateway = view.get::<NatGateway>(id).ok_or_else(absent)?;
    gateway
        .life
        .state
        .lives()
        .then_some(gateway)
        .ok_or_else(absent)
}

/// One step of every gateway.
pub(crate) fn advance(tx: &mut Tx, observed: &Observed, now: Timestamp) {
    let all: Vec<_> = tx.list::<NatGateway>().collect();
    for gateway in all {
        let condition = observed.nat_gateways.get(&gateway.id);
        let gone = condition.is_none() && observed.applied_version > gateway.life.after;
        let after = tx.view().revision();
        match gateway.life.state {
            LifeState::Pending if matches!(condition, Some(Condition::Ready { .. })) => {
                tx.update::<NatGateway>(gateway.id.as_str(), |it| {
                    it.life.enter(LifeState::Available, after, now);
                });
            }
            LifeState::Deleting if gone => end(tx, &gateway, after),
            _ => {}
        }
        let ended = gateway.life.ended_at;
        if ended.is_some_and(|ended| now.since(ended) >= LINGERS) {
            tags::forget(tx, gateway.id.as_str());
            tx.delete::<NatGateway>(gateway.id.as_str());
        }
    }
}

fn end(tx: &mut Tx, gateway: &NatGateway, after: u64) {
    let interface = gateway.interface.as_ref();
    if let Some(it) = interface.and_then(|id| tx.get::<NetworkInterface>(id.as_str())) {
        interfaces::release(tx, &it);
    }
    let now = tx.now();
    tx.update::<NatGateway>(gateway.id.as_str(), |it| {
        it.interface = None;
        it.life.enter(LifeState::Deleted, after, now);
    });
}

/// What the node should do: every gateway of a VPC that lives.
pub(crate) fn feed(view: &View, vpc: &lath_model::id::VpcId) -> Vec<lath_feed::NatGateway> {
    view.by::<NatGateway>("vpc", vpc.as_str())
        .filter(|it| it.life.state.lives())
        .filter_map(|it| {
            let interface = view.get::<NetworkInterface>(it.interface.as_ref()?.as_str())?;
            Some(lath_feed::NatGateway {
                id: it.id.clone(),
                subnet: it.subnet.clone(),
                interface: interface.id.clone(),
                private: interface.primary_ip(),
                public: interface.public_ip(),
            })
        })
        .collect()
}

fn item(view: &View, gateway: &NatGateway) -> NatItem {
    let failed = gateway.failure.as_ref();
    let known = &gateway.addresses;
    let address = NatAddressItem {
        allocation_id: known.allocation.clone(),
        network_interface_id: known.interface.clone(),
        private_ip: known.private.clone(),
        public_ip: known.public.clone(),
        association_id: known.association.clone(),
        is_primary: true,
        status: if failed.is_some() {
            "failed"
        } else {
            "succeeded"
        }
        .into(),
    };
    NatItem {
        create_time: gateway.created_at,
        delete_time: gateway
            .life
            .ended_at
            .filter(|_| gateway.life.state == LifeState::Deleted),
        failure_code: failed.map(|(code, _)| code.clone()),
        failure_message: failed.map(|(_, message)| message.clone()),
        addresses: vec![address],
        nat_gateway_id: gateway.id.to_string(),
        state: gateway.life.state.name().into(),
        subnet_id: gateway.subnet.to_string(),
        vpc_id: gateway.vpc.to_string(),
        tags: tags::of(view, gateway.id.as_str()),
        connectivity_type: if gateway.public { "public" } else { "private" }.into(),
    }
}

impl Listed for NatItem {
    const ID: IdForm = NAT_GATEWAY.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("nat-gateway-id", |it| vec![it.nat_gateway_id.clone()]),
        ("state", |it| vec![it.state.clone()]),
        ("subnet-id", |it| vec![it.subnet_id.clone()]),
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("connectivity-type", |it| vec![it.connectivity_type.clone()]),
    ];
    fn id(&self) -> &str {
        &self.nat_gateway_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeNatGateways,
) -> Result<DescribeNatGatewaysResult, ApiError> {
    let show = |it: &NatGateway| Some(item(view, it));
    let query = Query {
        ids: &op.nat_gateway_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeNatGatewaysResult {
        nat_gateways: page.items,
        next_token: page.next_token,
    })
}

refused! {
    CreateNatGateway { secondary_allocation_ids as "SecondaryAllocationId", secondary_private_ip_addresses as "SecondaryPrivateIpAddress", secondary_private_ip_address_count, vpc_id }
}
