//! VPC endpoints of type ServiceNetwork: a Lattice service network at addresses of the VPC
//! (<https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-service-networks.html>).

mod checks;
mod messages;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lath_control::{Cell, Claim, services_of};
use lath_feed::{Condition, Observed, endpoint_name};
use lath_model::Timestamp;
use lath_model::id::{
    NetworkInterfaceId, SecurityGroupId, ServiceNetworkId, SubnetId, VpcEndpointId, VpcId,
};
use lath_service::{IdForm, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use self::checks::{check_address_type, check_type, refuse_private_dns};
use self::messages::*;
use crate::Ec2;
use crate::errors::{client, invalid_value, missing};
use crate::filter::Field;
use crate::idempotency;
use crate::ids::{self, Ids as _};
use crate::messages::Done;
use crate::networks::interfaces::{self, NewInterface, checked_groups};
use crate::records::{
    Life, LifeState, Manager, NetworkInterface, SecurityGroup, Subnet, Vpc, VpcEndpoint,
};
use crate::refusals::refused;
use crate::resources::{
    ATTRIBUTES, Making as _, ROUTE_TABLE, SECURITY_GROUP, SUBNET, VPC, VPC_ENDPOINT,
};
use crate::select::{Listed, Query, select, select_records};
use crate::tags::{self, Tag};

/// How long a deleted endpoint stays visible.
const LINGERS: Duration = Duration::from_secs(3600);
/// The kind under which Lattice keeps service networks.
const NETWORK_KIND: &str = "lattice.service-network";

operations! {
    for Ec2 as "ec2";
    change CreateVpcEndpoint -> CreateVpcEndpointResult = create, dry_run
        => on(&VPC, |op, _| op.vpc_id.clone())
            .on(&SUBNET, |op, _| op.subnet_ids.clone())
            .on(&SECURITY_GROUP, |op, at| interfaces::groups_of_new(at.view, op.subnet(), &op.security_group_ids))
            .on(&ROUTE_TABLE, |op, _| op.route_table_ids.clone())
            .makes(&VPC_ENDPOINT)
            .with("ec2:VpceServiceName", |op, _| op.service_name.clone())
            .with_all(PRIVATE_DNS, |op, _| op.private_dns())
            .with_tags_of(&VPC_ENDPOINT, |op| &op.tag_specifications)
            .also_any("vpc-lattice:CreateServiceNetworkVpcEndpointAssociation", |op, _| {
                op.service_network_arn.is_some()
            })
        => refusing ["" CreateVpcEndpoint, "DnsOptions." DnsOptionsInput];
    change ModifyVpcEndpoint -> Done = modify, dry_run
        => on(&VPC_ENDPOINT, |op, _| op.vpc_endpoint_id.clone())
            .with_all(ATTRIBUTES, |op, _| op.set())
            .on(&SUBNET, |op, _| [&op.add_subnet_ids[..], &op.remove_subnet_ids].concat())
            .on(&SECURITY_GROUP, |op, _| {
                [&op.add_security_group_ids[..], &op.remove_security_group_ids].concat()
            })
            .on(&ROUTE_TABLE, |op, _| [&op.add_route_table_ids[..], &op.remove_route_table_ids].concat())
        => refusing ["" ModifyVpcEndpoint];
    change DeleteVpcEndpoints -> DeleteVpcEndpointsResult = delete, dry_run
        => on(&VPC_ENDPOINT, |op, _| op.vpc_endpoint_ids.clone());
    read DescribeVpcEndpoints -> DescribeVpcEndpointsResult = describe, dry_run => any();
    read DescribeVpcEndpointAssociations -> DescribeVpcEndpointAssociationsResult = associations, dry_run => any();
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateVpcEndpoint,
) -> Result<CreateVpcEndpointResult, ApiError> {
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    check_type(app, &op)?;
    let tags = tags::specified(&op.tag_specifications, "vpc-endpoint")?;
    let network = network(app, tx.view(), op.service_network_arn.as_deref())?;
    let id = VpcEndpointId::random();
    let fingerprint = idempotency::fingerprint(&(
        &op.vpc_id,
        &op.service_network_arn,
        &op.subnet_ids,
        &op.security_group_ids,
        &tags,
    ));
    let token = op.client_token.as_deref();
    let used = idempotency::claim(tx, "CreateVpcEndpoint", token, fingerprint, id.as_str())?;
    let id = if let Some(known) = used {
        known
    } else {
        let endpoint = VpcEndpoint {
            id: id.clone(),
            owner: app.cell.account.clone(),
            vpc: vpc.id.clone(),
            network,
            network_arn: op.service_network_arn.clone().unwrap_or_default(),
            subnets: BTreeMap::new(),
            groups: group_ids(&op.security_group_ids)?,
            private_dns: op.private_dns_enabled.unwrap_or(false),
            life: Life::begin(tx.view().revision()),
            created_at: Timestamp::now(),
        };
        make(app, tx, endpoint, &op.subnet_ids)?;
        tags::put(tx, id.as_str(), tags);
        id.to_string()
    };
    let endpoint = ids::find::<VpcEndpoint>(tx.view(), &id)?;
    Ok(CreateVpcEndpointResult {
        vpc_endpoint: item(app, tx.view(), &endpoint),
        client_token: op.client_token,
    })
}

/// The service network of an ARN: of this account and region, and there.
fn network(app: &Ec2, view: &View, arn: Option<&str>) -> Result<ServiceNetworkId, ApiError> {
    let arn = arn.ok_or_else(|| missing("ServiceNetworkArn"))?;
    let unknown = || {
        client(
            "InvalidServiceNetworkArn.NotFound",
            format!(
                "The service network '{}' does not exist",
                arn.chars().take(256).collect::<String>()
            ),
        )
    };
    let prefix = app.cell.arn("vpc-lattice", "servicenetwork/");
    let id = arn.strip_prefix(&prefix).ok_or_else(unknown)?;
    let id: ServiceNetworkId = id.parse().map_err(|_| unknown())?;
    view.contains(NETWORK_KIND, id.as_str())
        .then_some(id)
        .ok_or_else(unknown)
}

fn group_ids(ids: &[String]) -> Result<Vec<SecurityGroupId>, ApiError> {
    ids.iter().map(|id| SECURITY_GROUP.id.parse(id)).collect()
}

/// Writes an endpoint with an interface in each subnet. It claims its network.
fn make(
    app: &Ec2,
    tx: &mut Tx,
    mut endpoint: VpcEndpoint,
    subnets: &[String],
) -> Result<(), ApiError> {
    if subnets.is_empty() {
        return Err(missing("SubnetIds"));
    }
    add_subnets(app, tx, &mut endpoint, subnets)?;
    let first = endpoint.subnets.values().next();
    let first = first.and_then(|id| tx.get::<NetworkInterface>(id.as_str()));
    endpoint.groups = first.map(|it| it.groups.clone()).unwrap_or_default();
    tx.put(Claim {
        resource: endpoint.network.to_string(),
        holder: endpoint.id.to_string(),
    });
    tx.put(endpoint);
    Ok(())
}

fn add_subnets(
    app: &Ec2,
    tx: &mut Tx,
    endpoint: &mut VpcEndpoint,
    given: &[String],
) -> Result<(), ApiError> {
    for id in given {
        let subnet = ids::find::<Subnet>(tx.view(), id)?;
        if subnet.vpc != endpoint.vpc {
            return Err(client(
                "InvalidSubnetID.NotFound",
                format!(
                    "The subnet ID '{id}' does not exist in VPC {}",
                    endpoint.vpc
                ),
            ));
        }
        if endpoint.subnets.contains_key(&subnet.id) {
            continue;
        }
        let zone = |it: &SubnetId| {
            let known = tx.get::<Subnet>(it.as_str());
            known.map(|it| it.availability_zone.clone())
        };
        let same = Some(subnet.availability_zone.clone());
        if endpoint.subnets.keys().any(|it| zone(it) == same) {
            return Err(client(
                "DuplicateSubnetsInSameZone",
                format!("Found another VPC endpoint subnet in the availability zone of {id}"),
            ));
        }
        let interface = make_interface(app, tx, endpoint, &subnet)?;
        endpoint.subnets.insert(subnet.id.clone(), interface);
    }
    Ok(())
}

fn make_interface(
    app: &Ec2,
    tx: &mut Tx,
    endpoint: &VpcEndpoint,
    subnet: &Subnet,
) -> Result<NetworkInterfaceId, ApiError> {
    let id = NetworkInterfaceId::random();
    let new = NewInterface {
        subnet: subnet.id.clone(),
        groups: endpoint.groups.clone(),
        private_ip: None,
        public: Some(false),
        description: format!("VPC Endpoint Interface {}", endpoint.id),
    };
    let mut interface = interfaces::create_primary(tx, &app.cell, id.clone(), new)?;
    interface.manager = Some(Manager::VpcEndpoint(endpoint.id.clone()));
    tx.put(interface);
    Ok(id)
}

/// An endpoint that is not deleted.
fn find(view: &View, id: &str) -> Result<Arc<VpcEndpoint>, ApiError> {
    let endpoint = ids::find::<VpcEndpoint>(view, id)?;
    match endpoint.life.state {
        LifeState::Deleted => Err(VPC_ENDPOINT.id.not_found(id)),
        _ => Ok(endpoint),
    }
}

fn modify(app: &Ec2, tx: &mut Tx, op: ModifyVpcEndpoint) -> Result<Done, ApiError> {
    let old = find(tx.view(), &op.vpc_endpoint_id)?;
    op.refuse()?;
    check_address_type(op.ip_address_type.as_deref(), op.dns_options.as_ref())?;
    refuse_private_dns(op.private_dns_enabled)?;
    if !old.life.state.lives() {
        return Err(client(
            "IncorrectState",
            format!("{} is in invalid state: {}", old.id, old.life.state.name()),
        ));
    }
    let mut endpoint = VpcEndpoint::clone(&old);
    change_groups(tx, &mut endpoint, &op)?;
    for id in &op.remove_subnet_ids {
        let subnet: SubnetId = SUBNET.id.parse(id)?;
        let interface = endpoint.subnets.remove(&subnet);
        let interface = interface.ok_or_else(|| SUBNET.id.not_found(id))?;
        release(tx, &interface);
    }
    add_subnets(app, tx, &mut endpoint, &op.add_subnet_ids)?;
    if endpoint.subnets.is_empty() {
        return Err(invalid_value("An endpoint needs at least one subnet."));
    }
    tx.put(endpoint);
    Ok(Done::YES)
}

fn change_groups(
    tx: &mut Tx,
    endpoint: &mut VpcEndpoint,
    op: &ModifyVpcEndpoint,
) -> Result<(), ApiError> {
    let removed = group_ids(&op.remove_security_group_ids)?;
    let mut groups = endpoint.groups.clone();
    groups.retain(|it| !removed.contains(it));
    for added in group_ids(&op.add_security_group_ids)? {
        if !groups.contains(&added) {
            groups.push(added);
        }
    }
    if groups.is_empty() {
        return Err(invalid_value(
            "An endpoint needs at least one security group.",
        ));
    }
    for (subnet, interface) in &endpoint.subnets {
        let subnet = ids::find::<Subnet>(tx.view(), subnet.as_str())?;
        let groups = checked_groups(tx, &subnet, groups.clone())?;
        tx.update::<NetworkInterface>(interface.as_str(), |it| it.groups = groups);
    }
    endpoint.groups = groups;
    Ok(())
}

fn release(tx: &mut Tx, interface: &NetworkInterfaceId) {
    if let Some(interface) = tx.get::<NetworkInterface>(interface.as_str()) {
        interfaces::release(tx, &interface);
    }
}

/// Each id on its own: what cannot be deleted is named in the answer.
fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteVpcEndpoints,
) -> Result<DeleteVpcEndpointsResult, ApiError> {
    if op.vpc_endpoint_ids.is_empty() {
        return Err(missing("VpcEndpointId"));
    }
    let mut unsuccessful = Vec::new();
    for id in op.vpc_endpoint_ids {
        match find(tx.view(), &id) {
            Ok(endpoint) if endpoint.life.state == LifeState::Deleting => {}
            Ok(endpoint) => {
                let after = tx.view().revision();
                tx.update::<VpcEndpoint>(endpoint.id.as_str(), |it| {
                    it.life.enter(LifeState::Deleting, after);
                });
            }
            Err(error) => unsuccessful.push(UnsuccessfulItem {
                error: UnsuccessfulError {
                    code: error.code.to_string(),
                    message: error.message.to_string(),
                },
                resource_id: id,
            }),
        }
    }
    Ok(DeleteVpcEndpointsResult { unsuccessful })
}

/// One step of every endpoint.
pub(crate) fn advance(tx: &mut Tx, observed: &Observed, now: Timestamp) {
    let all: Vec<_> = tx.list::<VpcEndpoint>().collect();
    for endpoint in all {
        let condition = observed.vpc_endpoints.get(&endpoint.id);
        let gone = condition.is_none() && observed.applied_version > endpoint.life.after;
        let after = tx.view().revision();
        match endpoint.life.state {
            LifeState::Pending if matches!(condition, Some(Condition::Ready { .. })) => {
                tx.update::<VpcEndpoint>(endpoint.id.as_str(), |it| {
                    it.life.enter(LifeState::Available, after);
                });
            }
            LifeState::Deleting if gone => end(tx, &endpoint, after),
            _ => {}
        }
        let ended = endpoint.life.ended_at;
        if ended.is_some_and(|ended| now.since(ended) >= LINGERS) {
            tags::forget(tx, endpoint.id.as_str());
            tx.delete::<VpcEndpoint>(endpoint.id.as_str());
        }
    }
}

fn end(tx: &mut Tx, endpoint: &VpcEndpoint, after: u64) {
    endpoint.subnets.values().for_each(|id| release(tx, id));
    let claim = Claim {
        resource: endpoint.network.to_string(),
        holder: endpoint.id.to_string(),
    };
    tx.delete::<Claim>(&lath_store::Record::id(&claim));
    tx.update::<VpcEndpoint>(endpoint.id.as_str(), |it| {
        it.life.enter(LifeState::Deleted, after);
    });
}

fn addresses(
    view: &View,
    endpoint: &VpcEndpoint,
) -> BTreeMap<SubnetId, (NetworkInterfaceId, Ipv4Addr)> {
    let each = endpoint.subnets.iter();
    each.filter_map(|(subnet, id)| {
        let interface = view.get::<NetworkInterface>(id.as_str())?;
        Some((subnet.clone(), (id.clone(), interface.primary_ip())))
    })
    .collect()
}

/// What the node should do: every endpoint of a VPC that lives.
pub(crate) fn feed(cell: &Cell, view: &View, vpc: &VpcId) -> Vec<lath_feed::VpcEndpoint> {
    view.by::<VpcEndpoint>("vpc", vpc.as_str())
        .filter(|it| it.life.state.lives())
        .map(|it| fed(cell, view, &it))
        .collect()
}

fn fed(cell: &Cell, view: &View, it: &VpcEndpoint) -> lath_feed::VpcEndpoint {
    let name = |association| endpoint_name(&it.id, association, &cell.region);
    lath_feed::VpcEndpoint {
        id: it.id.clone(),
        service_network: it.network.clone(),
        addresses: addresses(view, it),
        security_groups: it.groups.iter().cloned().collect(),
        names: services_of(view, &it.network)
            .iter()
            .map(|known| (known.service.clone(), name(&known.association)))
            .collect(),
    }
}

/// The names of every service at every endpoint, and the addresses they answer.
pub(crate) fn public_names(cell: &Cell, view: &View) -> BTreeMap<String, BTreeSet<Ipv4Addr>> {
    view.list::<VpcEndpoint>()
        .filter(|it| it.life.state.lives())
        .map(|it| fed(cell, view, &it))
        .flat_map(|endpoint| {
            let ips: BTreeSet<_> = endpoint.addresses.values().map(|(_, ip)| *ip).collect();
            let names = endpoint.names.into_values();
            names.map(move |name| (name, ips.clone()))
        })
        .collect()
}

fn item(app: &Ec2, view: &View, endpoint: &VpcEndpoint) -> EndpointItem {
    let name = |id: &SecurityGroupId| {
        let group = view.get::<SecurityGroup>(id.as_str());
        group.map(|it| it.name.clone()).unwrap_or_default()
    };
    EndpointItem {
        vpc_endpoint_id: endpoint.id.to_string(),
        vpc_endpoint_type: "ServiceNetwork".into(),
        vpc_id: endpoint.vpc.to_string(),
        state: endpoint.life.state.name().into(),
        route_table_ids: Vec::new(),
        subnet_ids: endpoint.subnets.keys().map(ToString::to_string).collect(),
        groups: endpoint
            .groups
            .iter()
            .map(|id| EndpointGroup {
                group_name: name(id),
                group_id: id.to_string(),
            })
            .collect(),
        ip_address_type: "ipv4".into(),
        private_dns_enabled: endpoint.private_dns,
        requester_managed: false,
        network_interface_ids: endpoint.subnets.values().map(ToString::to_string).collect(),
        creation_timestamp: endpoint.created_at,
        tags: tags::of(view, endpoint.id.as_str()),
        owner_id: endpoint.owner.clone(),
        service_network_arn: endpoint.network_arn.clone(),
        service_region: app.cell.region.clone(),
    }
}

impl Listed for EndpointItem {
    const ID: IdForm = VPC_ENDPOINT.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("vpc-endpoint-id", |it| vec![it.vpc_endpoint_id.clone()]),
        ("vpc-endpoint-type", |it| vec![it.vpc_endpoint_type.clone()]),
        ("vpc-endpoint-state", |it| vec![it.state.clone()]),
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("ip-address-type", |it| vec![it.ip_address_type.clone()]),
        ("service-name", |_| vec![]),
        ("service-region", |it| vec![it.service_region.clone()]),
        ("service-network-arn", |it| {
            vec![it.service_network_arn.clone()]
        }),
    ];
    fn id(&self) -> &str {
        &self.vpc_endpoint_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeVpcEndpoints,
) -> Result<DescribeVpcEndpointsResult, ApiError> {
    let show = |it: &VpcEndpoint| Some(item(app, view, it));
    let query = Query {
        ids: &op.vpc_endpoint_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeVpcEndpointsResult {
        items: page.items,
        next_token: page.next_token,
    })
}

impl Listed for AssociationItem {
    const ID: IdForm = VPC_ENDPOINT.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("vpc-endpoint-id", |it| vec![it.vpc_endpoint_id.clone()]),
        ("associated-resource-accessibility", |it| {
            vec![it.associated_resource_accessibility.clone()]
        }),
        ("association-id", |it| vec![it.id.clone()]),
        ("associated-resource-id", |it| {
            let id = it.associated_resource_arn.rsplit('/').next();
            id.map(str::to_owned).into_iter().collect()
        }),
        ("service-network-arn", |it| {
            vec![it.service_network_arn.clone()]
        }),
        ("service-network-name", |it| {
            vec![it.service_network_name.clone()]
        }),
    ];
    fn id(&self) -> &str {
        &self.id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

/// One for each service of each endpoint's network.
fn associations(
    app: &Ec2,
    view: &View,
    op: &DescribeVpcEndpointAssociations,
) -> Result<DescribeVpcEndpointAssociationsResult, ApiError> {
    for id in &op.vpc_endpoint_ids {
        find(view, id)?;
    }
    let wanted = |it: &VpcEndpoint| {
        let ids = &op.vpc_endpoint_ids;
        it.life.state.lives() && (ids.is_empty() || ids.iter().any(|id| id == it.id.as_str()))
    };
    let items = view
        .list::<VpcEndpoint>()
        .filter(|it| wanted(it))
        .flat_map(|endpoint| of_endpoint(app, view, &endpoint));
    let query = Query {
        ids: &[],
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(items, &query)?;
    Ok(DescribeVpcEndpointAssociationsResult {
        items: page.items,
        next_token: page.next_token,
    })
}

fn of_endpoint(app: &Ec2, view: &View, endpoint: &VpcEndpoint) -> Vec<AssociationItem> {
    let services = services_of(view, &endpoint.network);
    let shown = services.iter().map(|known| AssociationItem {
        // The same for ever: it follows from what it joins.
        id: ids::fixed::<VpcEndpointId>("vpce", &format!("{}/{}", endpoint.id, known.association))
            .as_str()
            .replacen("vpce-", "vpce-rsc-asc-", 1),
        vpc_endpoint_id: endpoint.id.to_string(),
        service_network_arn: endpoint.network_arn.clone(),
        service_network_name: known.network_name.clone(),
        associated_resource_accessibility: "Accessible".into(),
        dns_entry: DnsEntryItem {
            dns_name: endpoint_name(&endpoint.id, &known.association, &app.cell.region),
        },
        associated_resource_arn: known.service_arn.clone(),
        tags: Vec::new(),
    });
    shown.collect()
}

refused! {
    CreateVpcEndpoint { service_name, policy_document, route_table_ids as "RouteTableId", subnet_configurations as "SubnetConfiguration", resource_configuration_arn }
    DnsOptionsInput { private_dns_only_for_inbound_resolver_endpoint, private_dns_preference, private_dns_specified_domains as "PrivateDnsSpecifiedDomain" }
    ModifyVpcEndpoint { policy_document, reset_policy, add_route_table_ids as "AddRouteTableId", remove_route_table_ids as "RemoveRouteTableId", subnet_configurations as "SubnetConfiguration" }
}
