//! VPC endpoints of type ServiceNetwork and Resource: a Lattice service network, or one of Lattice's resources, at addresses of
//! the VPC (<https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-service-networks.html>,
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-resources.html>). Which resources are at an endpoint
//! Lattice says (`managed::set_endpoint_resources`).

mod associations;
mod checks;
mod messages;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lath_control::{Cell, Claim, services_of};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::idempotency;
use lath_ec2_kit::made::{ATTRIBUTES, Making as _};
use lath_ec2_kit::messages::Done;
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::{client, invalid_value, missing};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::interfaces::{self, NewInterface, checked_groups};
use lath_ec2_records::resources::{ROUTE_TABLE, SECURITY_GROUP, SUBNET, VPC, VPC_ENDPOINT};
use lath_ec2_records::{
    EndpointDnsOptions, EndpointOf, Life, LifeState, Manager, NetworkInterface, SecurityGroup,
    Subnet, Vpc, VpcEndpoint,
};
use lath_feed::{Condition, Observed, endpoint_name, endpoint_resource_name};
use lath_model::Timestamp;
use lath_model::id::{NetworkInterfaceId, SecurityGroupId, SubnetId, VpcEndpointId, VpcId};
use lath_service::{IdForm, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use self::associations::associations;
use self::checks::{check_address_type, check_private_dns, check_type};
use self::messages::*;

/// How long a deleted endpoint stays visible.
const LINGERS: Duration = Duration::from_secs(3600);

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
    let to = check_type(app, tx.view(), &op)?;
    let tags = tags::specified(&op.tag_specifications, "vpc-endpoint")?;
    let id = VpcEndpointId::random();
    let fingerprint = idempotency::fingerprint(&(
        &op.vpc_id,
        to.id(),
        &op.subnet_ids,
        &op.security_group_ids,
        &tags,
        op.private_dns_enabled,
        op.dns_options.as_ref().map(kept_options),
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
            to,
            subnets: BTreeMap::new(),
            groups: group_ids(&op.security_group_ids)?,
            private_dns: op.private_dns_enabled.unwrap_or(false),
            dns_options: op
                .dns_options
                .as_ref()
                .map(kept_options)
                .unwrap_or_default(),
            resources: None,
            failure: None,
            life: Life::begin(tx.view().revision()),
            created_at: tx.now(),
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

fn kept_options(given: &DnsOptionsInput) -> EndpointDnsOptions {
    EndpointDnsOptions {
        private_dns_preference: given.private_dns_preference.clone(),
        private_dns_specified_domains: given.private_dns_specified_domains.clone(),
    }
}

fn group_ids(ids: &[String]) -> Result<Vec<SecurityGroupId>, ApiError> {
    ids.iter().map(|id| SECURITY_GROUP.id.parse(id)).collect()
}

/// Writes an endpoint with an interface in each subnet. It claims what it leads to.
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
        resource: endpoint.to.id().to_owned(),
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
    check_private_dns(&old.to, op.private_dns_enabled, op.dns_options.as_ref())?;
    if !old.life.state.lives() {
        return Err(client(
            "IncorrectState",
            format!("{} is in invalid state: {}", old.id, old.life.state.name()),
        ));
    }
    let mut endpoint = VpcEndpoint::clone(&old);
    endpoint.private_dns = op.private_dns_enabled.unwrap_or(old.private_dns);
    if let Some(options) = &op.dns_options {
        endpoint.dns_options = kept_options(options);
    }
    change_groups(tx, &mut endpoint, &op)?;
    for id in &op.remove_subnet_ids {
        let subnet: SubnetId = SUBNET.id.parse(id)?;
        let interface = endpoint.subnets.remove(&subnet);
        let interface = interface.ok_or_else(|| SUBNET.id.not_found(id))?;
        release(tx, &interface);
        // From now on another interface may have the addresses.
        for it in endpoint.resources.iter_mut().flat_map(|it| it.values_mut()) {
            it.addresses.remove(&subnet);
        }
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
                let (after, now) = (tx.view().revision(), tx.now());
                tx.update::<VpcEndpoint>(endpoint.id.as_str(), |it| {
                    it.life.enter(LifeState::Deleting, after, now);
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
        let works = matches!(condition, Some(Condition::Ready { version }) if *version > endpoint.life.after);
        // An endpoint of type Resource is nothing before it leads to one.
        let known = endpoint.to.network().is_some() || endpoint.resources.is_some();
        let gone = condition.is_none() && observed.applied_version > endpoint.life.after;
        let after = tx.view().revision();
        match endpoint.life.state {
            LifeState::Pending if works && known => {
                tx.update::<VpcEndpoint>(endpoint.id.as_str(), |it| {
                    it.life.enter(LifeState::Available, after, now);
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
        resource: endpoint.to.id().to_owned(),
        holder: endpoint.id.to_string(),
    };
    tx.delete::<Claim>(&lath_store::Record::id(&claim));
    let now = tx.now();
    tx.update::<VpcEndpoint>(endpoint.id.as_str(), |it| {
        it.life.enter(LifeState::Deleted, after, now);
        it.resources = None;
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
    let services = it.to.network().map(|network| services_of(view, network));
    let services = services.unwrap_or_default();
    let resources = it.resources.iter().flatten().map(|(id, known)| {
        let association = known.resource.association.as_ref();
        let at = lath_feed::EndpointResource {
            association: association.map(|(id, _)| id.clone()),
            addresses: known.addresses.clone(),
            private_name: known.resource.private_name.clone(),
        };
        (id.clone(), at)
    });
    lath_feed::VpcEndpoint {
        id: it.id.clone(),
        service_network: it.to.network().cloned(),
        addresses: addresses(view, it),
        security_groups: it.groups.iter().cloned().collect(),
        names: services
            .iter()
            .map(|known| (known.service.clone(), name(&known.association)))
            .collect(),
        resources: resources.collect(),
    }
}

/// The names of every service and resource at every endpoint, and the addresses they answer.
pub fn public_names(cell: &Cell, view: &View) -> BTreeMap<String, BTreeSet<Ipv4Addr>> {
    view.list::<VpcEndpoint>()
        .filter(|it| it.life.state.lives())
        .map(|it| fed(cell, view, &it))
        .flat_map(|endpoint| {
            let ips: BTreeSet<_> = endpoint.addresses.values().map(|(_, ip)| *ip).collect();
            let services = endpoint.names.into_values();
            let services = services.map(move |name| (name, ips.clone()));
            let (id, region) = (endpoint.id, cell.region.clone());
            let resources = endpoint.resources.into_iter().map(move |(resource, at)| {
                let association = at.association.as_ref();
                let name = endpoint_resource_name(&id, association, &resource, &region);
                (name, at.addresses.into_values().collect())
            });
            services.chain(resources)
        })
        .collect()
}

fn item(app: &Ec2, view: &View, endpoint: &VpcEndpoint) -> EndpointItem {
    let name = |id: &SecurityGroupId| {
        let group = view.get::<SecurityGroup>(id.as_str());
        group.map(|it| it.name.clone()).unwrap_or_default()
    };
    let (kind, network_arn, configuration_arn) = match &endpoint.to {
        EndpointOf::ServiceNetwork { network_arn, .. } => {
            ("ServiceNetwork", Some(network_arn), None)
        }
        EndpointOf::Resource {
            configuration_arn, ..
        } => ("Resource", None, Some(configuration_arn)),
    };
    let options = &endpoint.dns_options;
    let failure = endpoint.failure.as_ref();
    EndpointItem {
        vpc_endpoint_id: endpoint.id.to_string(),
        vpc_endpoint_type: kind.into(),
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
        service_network_arn: network_arn.cloned(),
        resource_configuration_arn: configuration_arn.cloned(),
        service_region: app.cell.region.clone(),
        dns_options: (*options != EndpointDnsOptions::default()).then(|| DnsOptionsItem {
            private_dns_preference: options.private_dns_preference.clone(),
            private_dns_specified_domains: options.private_dns_specified_domains.clone(),
        }),
        last_error: failure.map(|it| LastError {
            message: it.message.clone(),
            code: it.code.clone(),
        }),
        failure_reason: failure.map(|it| it.message.clone()),
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
            it.service_network_arn.iter().cloned().collect()
        }),
        ("resource-configuration-arn", |it| {
            it.resource_configuration_arn.iter().cloned().collect()
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

refused! {
    CreateVpcEndpoint { service_name, policy_document, route_table_ids as "RouteTableId", subnet_configurations as "SubnetConfiguration" }
    DnsOptionsInput { private_dns_only_for_inbound_resolver_endpoint }
    ModifyVpcEndpoint { policy_document, reset_policy, add_route_table_ids as "AddRouteTableId", remove_route_table_ids as "RemoveRouteTableId", subnet_configurations as "SubnetConfiguration" }
}
