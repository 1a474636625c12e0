//! Resource gateways: interfaces in the VPC of resources, from which these are connected.

use std::sync::Arc;

use lath_control::{Cell, Claim};
use lath_ec2_records::managed;
use lath_ec2_records::{SecurityGroup, Subnet};
use lath_model::id::{ResourceGatewayId, SecurityGroupId, SubnetId, VpcId};
use lath_service::operations;
use lath_store::{Record, Tx, View};
use lath_wire::{ApiError, Caller};

use super::{ResourceConfiguration, ResourceGateway};
use crate::ident::{Kind, resolve};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, behind, fault, page_from, quota, token, vpc};

operations! {
    for Lattice as "vpc-lattice";
    change CreateResourceGateway: post "/resourcegateways" 201 -> CreateResourceGatewayOutput = create, checked, caller
        => makes(&RESOURCE_GATEWAY)
            .with(VPC, |op, _| op.vpc_identifier.clone())
            .with_tags(|op| &op.tags)
            .tagging(&RESOURCE_GATEWAY, |_, _| "*".into(), |op| &op.tags)
            .also_any("ec2:DescribeVpcs", |_, _| true)
            .also_any("ec2:DescribeSubnets", |_, _| true)
            .also_any("ec2:DescribeSecurityGroups", |op, _| !op.security_group_ids.is_empty())
        => refusing ["" CreateResourceGateway];
    read GetResourceGateway: get "/resourcegateways/{resourceGatewayIdentifier}" 200 -> GetResourceGatewayOutput = get
        => on(&RESOURCE_GATEWAY, |op, _| op.resource_gateway_identifier.clone());
    read ListResourceGateways: get "/resourcegateways" 200 -> ListResourceGatewaysOutput = list
        => any();
    change UpdateResourceGateway: patch "/resourcegateways/{resourceGatewayIdentifier}" 200 -> UpdateResourceGatewayOutput = update
        => on(&RESOURCE_GATEWAY, |op, _| op.resource_gateway_identifier.clone())
            .with(SECURITY_GROUPS, |op, _| op.security_group_ids.clone().unwrap_or_default());
    change DeleteResourceGateway: delete "/resourcegateways/{resourceGatewayIdentifier}" 200 -> DeleteResourceGatewayOutput = delete
        => on(&RESOURCE_GATEWAY, |op, _| op.resource_gateway_identifier.clone());
}

const KIND: Kind = Kind::ResourceGateway;
/// How many addresses an interface has unless the request says it.
const ADDRESSES: u8 = 16;

/// The gateway that an identifier names, in whatever state.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(cell: &Cell, view: &View, text: &str) -> Result<Arc<ResourceGateway>, ApiError> {
    let id = resolve(cell, KIND, text, &[])?;
    view.get(&id).ok_or_else(|| fault::not_found(KIND, &id))
}

/// A gateway's ARN.
pub(crate) fn arn(cell: &Cell, id: &ResourceGatewayId) -> String {
    cell.arn("vpc-lattice", format!("resourcegateway/{id}"))
}

fn texts<T: ToString>(ids: &[T]) -> Option<Vec<String>> {
    Some(ids.iter().map(ToString::to_string).collect())
}

/// What keeps EC2 from deleting the VPC, the subnets and the security groups under a gateway.
fn claims(gateway: &ResourceGateway) -> impl Iterator<Item = Claim> + '_ {
    let subnets = gateway.subnets.iter().map(ToString::to_string);
    let groups = gateway.security_groups.iter().map(ToString::to_string);
    let held = std::iter::once(gateway.vpc.to_string()).chain(subnets);
    held.chain(groups).map(|resource| Claim {
        resource,
        holder: gateway.id.to_string(),
    })
}

/// Writes a gateway in place of `old`, and the claims that go with it.
fn replace(
    tx: &mut Tx,
    old: Option<&ResourceGateway>,
    new: ResourceGateway,
) -> Arc<ResourceGateway> {
    for claim in old.into_iter().flat_map(claims) {
        tx.delete::<Claim>(&claim.id());
    }
    for claim in claims(&new) {
        tx.put(claim);
    }
    tx.put(new)
}

/// Deletes a gateway with its interfaces and claims.
pub(crate) fn remove(tx: &mut Tx, gateway: &ResourceGateway) {
    managed::release_gateway(tx, &gateway.id);
    for claim in claims(gateway) {
        tx.delete::<Claim>(&claim.id());
    }
    tx.delete::<ResourceGateway>(gateway.id.as_str());
}

/// The groups of a gateway: those given, or the VPC's default group, as of any interface.
fn groups(view: &View, vpc: &VpcId, given: &[String]) -> Result<Vec<SecurityGroupId>, ApiError> {
    if !given.is_empty() {
        return vpc::security_groups(view, vpc, given);
    }
    let default = SecurityGroup::named(view, vpc, "default");
    Ok(default.into_iter().map(|group| group.id.clone()).collect())
}

/// The subnets of a new gateway: of its VPC, each in a zone of its own.
fn subnets(view: &View, vpc: &VpcId, given: &[String]) -> Result<Vec<Arc<Subnet>>, ApiError> {
    let mut subnets: Vec<Arc<Subnet>> = Vec::new();
    for id in given {
        let subnet = view
            .get::<Subnet>(id)
            .ok_or_else(|| fault::missing("SUBNET", "Subnet", id))?;
        if subnet.vpc != *vpc {
            let message = format!("Subnet {id} does not belong to VPC {vpc}");
            return Err(fault::invalid("subnetIds", message));
        }
        if subnets.iter().any(|it| it.id == subnet.id) {
            continue;
        }
        let zone = &subnet.availability_zone;
        if subnets.iter().any(|it| it.availability_zone == *zone) {
            let message = format!("Only one subnet may be in the Availability Zone {zone}");
            return Err(fault::invalid("subnetIds", message));
        }
        subnets.push(subnet);
    }
    Ok(subnets)
}

fn created(cell: &Cell, it: &ResourceGateway) -> CreateResourceGatewayOutput {
    CreateResourceGatewayOutput {
        name: Some(it.name.clone()),
        id: Some(it.id.to_string()),
        arn: Some(arn(cell, &it.id)),
        status: Some(it.status),
        vpc_identifier: Some(it.vpc.to_string()),
        subnet_ids: texts(&it.subnets),
        security_group_ids: texts(&it.security_groups),
        ip_address_type: Some(ResourceIpAddressType::Ipv4),
        ipv4_addresses_per_eni: Some(it.addresses.into()),
        resource_config_dns_resolution: Some(it.dns),
    }
}

fn summary(cell: &Cell, it: &ResourceGateway) -> ResourceGatewaySummary {
    let shown = created(cell, it);
    ResourceGatewaySummary {
        name: shown.name,
        id: shown.id,
        arn: shown.arn,
        status: shown.status,
        vpc_identifier: shown.vpc_identifier,
        subnet_ids: shown.subnet_ids,
        security_group_ids: shown.security_group_ids,
        ip_address_type: shown.ip_address_type,
        ipv4_addresses_per_eni: shown.ipv4_addresses_per_eni,
        resource_config_dns_resolution: shown.resource_config_dns_resolution,
        created_at: Some(it.created_at),
        last_updated_at: Some(it.updated_at),
    }
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateResourceGateway,
) -> Result<CreateResourceGatewayOutput, ApiError> {
    let cell = &app.cell;
    let client_token = op.client_token.take();
    let vpc = vpc::existing(tx.view(), op.vpc_identifier.as_deref().unwrap_or_default())?;
    let subnets = subnets(tx.view(), &vpc.id, &op.subnet_ids)?;
    let security_groups = groups(tx.view(), &vpc.id, &op.security_group_ids)?;
    let id = ResourceGatewayId::random();
    let name = "CreateResourceGateway";
    let known = token::claim(tx, name, client_token.as_deref(), &op, KIND, id.as_str())?;
    if let Some(id) = known {
        return Ok(created(cell, &*find(cell, tx.view(), &id)?));
    }
    if let Some(twin) = tx.view().by::<ResourceGateway>("name", &op.name).next() {
        let id = twin.id.as_str();
        return Err(fault::name_taken(KIND, id, &op.name, &caller.account));
    }
    let given = op.ipv4_addresses_per_eni;
    let addresses = given.map_or(ADDRESSES, |count| u8::try_from(count).unwrap_or(ADDRESSES));
    for subnet in &subnets {
        let groups = security_groups.clone();
        managed::make_gateway_interface(tx, cell, &id, subnet, groups, addresses.into()).map_err(
            |error| {
                let message = format!("Subnet {}: {}", subnet.id, error.message);
                fault::invalid("subnetIds", message)
            },
        )?;
    }
    let now = tx.now();
    let gateway = ResourceGateway {
        id,
        name: op.name,
        vpc: vpc.id.clone(),
        subnets: subnets
            .iter()
            .map(|it| it.id.clone())
            .collect::<Vec<SubnetId>>(),
        security_groups,
        addresses,
        dns: op
            .resource_config_dns_resolution
            .unwrap_or(ResourceConfigDnsResolution::Public),
        status: ChangingStatus::CreateInProgress,
        failure: None,
        status_after: tx.view().revision(),
        tags: op.tags,
        created_at: now,
        updated_at: now,
    };
    let gateway = replace(tx, None, gateway);
    let all = tx.view().list::<ResourceGateway>();
    let count = all.filter(|it| it.vpc == gateway.vpc).count();
    quota::check(quota::GATEWAYS_PER_VPC, cell, count)?;
    Ok(created(cell, &gateway))
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetResourceGateway,
) -> Result<GetResourceGatewayOutput, ApiError> {
    let it = find(&app.cell, view, &op.resource_gateway_identifier)?;
    let shown = created(&app.cell, &it);
    Ok(GetResourceGatewayOutput {
        name: shown.name,
        id: shown.id,
        arn: shown.arn,
        status: shown.status,
        vpc_id: shown.vpc_identifier,
        subnet_ids: shown.subnet_ids,
        service_managed: Some(false),
        managed_by: None,
        security_group_ids: shown.security_group_ids,
        ip_address_type: shown.ip_address_type,
        ipv4_addresses_per_eni: shown.ipv4_addresses_per_eni,
        resource_config_dns_resolution: shown.resource_config_dns_resolution,
        created_at: Some(it.created_at),
        last_updated_at: Some(it.updated_at),
    })
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListResourceGateways,
) -> Result<ListResourceGatewaysOutput, ApiError> {
    let page = page_from(
        |start| behind::<ResourceGateway>(view, &start),
        |it| it.id.to_string(),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    let items = page.items.iter().map(|it| summary(&app.cell, it));
    Ok(ListResourceGatewaysOutput {
        items: Some(items.collect()),
        next_token: page.next_token,
    })
}

fn update(
    app: &Lattice,
    tx: &mut Tx,
    op: UpdateResourceGateway,
) -> Result<UpdateResourceGatewayOutput, ApiError> {
    use ChangingStatus::{Active, UpdateFailed, UpdateInProgress};
    let cell = &app.cell;
    let known = find(cell, tx.view(), &op.resource_gateway_identifier)?;
    if !matches!(known.status, Active | UpdateFailed) {
        let (id, status) = (known.id.as_str(), known.status.as_str());
        return Err(fault::wrong_status(KIND, id, status));
    }
    let gateway = match &op.security_group_ids {
        None => known,
        Some(given) => {
            let security_groups = groups(tx.view(), &known.vpc, given)?;
            managed::set_gateway_groups(tx, &known.id, &security_groups);
            let changed = ResourceGateway {
                security_groups,
                status: UpdateInProgress,
                status_after: tx.view().revision(),
                failure: None,
                updated_at: tx.now(),
                ..ResourceGateway::clone(&known)
            };
            replace(tx, Some(&known), changed)
        }
    };
    let shown = created(cell, &gateway);
    Ok(UpdateResourceGatewayOutput {
        name: shown.name,
        id: shown.id,
        arn: shown.arn,
        status: shown.status,
        vpc_id: shown.vpc_identifier,
        subnet_ids: shown.subnet_ids,
        security_group_ids: shown.security_group_ids,
        ip_address_type: Some(IpAddressType::Ipv4),
    })
}

fn delete(
    app: &Lattice,
    tx: &mut Tx,
    op: DeleteResourceGateway,
) -> Result<DeleteResourceGatewayOutput, ApiError> {
    use ChangingStatus::{CreateInProgress, DeleteInProgress, UpdateInProgress};
    let cell = &app.cell;
    let known = find(cell, tx.view(), &op.resource_gateway_identifier)?;
    let id = known.id.as_str();
    let gateway = match known.status {
        DeleteInProgress => known,
        CreateInProgress | UpdateInProgress => {
            return Err(fault::wrong_status(KIND, id, known.status.as_str()));
        }
        _ => {
            let mut users = tx.view().by::<ResourceConfiguration>("gateway", id);
            if let Some(user) = users.next() {
                let message = format!(
                    "Resource gateway {id} has resource configurations associated, such as {}",
                    user.id
                );
                return Err(fault::conflict(KIND, id, message));
            }
            drop(users);
            tx.put(ResourceGateway {
                status: DeleteInProgress,
                status_after: tx.view().revision(),
                failure: None,
                updated_at: tx.now(),
                ..ResourceGateway::clone(&known)
            })
        }
    };
    Ok(DeleteResourceGatewayOutput {
        id: Some(gateway.id.to_string()),
        arn: Some(arn(cell, &gateway.id)),
        name: Some(gateway.name.clone()),
        status: Some(gateway.status),
    })
}
