//! Associations of service networks with VPCs.

use std::ops::Bound;
use std::sync::Arc;

use lath_control::{Cell, Claim};
use lath_model::id::{SecurityGroupId, ServiceNetworkVpcAssociationId};
use lath_service::operations;
use lath_store::{Record, Tx, View};
use lath_wire::{ApiError, Caller};

use crate::ident::{Kind, resolve};
use crate::record::VpcAssociation;
use crate::region::{NetworkSide, filter};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, behind, fault, merged, network, page_from, quota, region, token, vpc};

operations! {
    for Lattice as "vpc-lattice";
    change CreateServiceNetworkVpcAssociation: post "/servicenetworkvpcassociations" 200 -> CreateVpcAssociationOutput = create, checked, caller
        => makes(&VPC_ASSOCIATION)
            .with_all(NEW_VPC_ASSOCIATION, new_vpc_association)
            .with_tags(|op| &op.tags)
            .on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone())
            .with_all(NEW_VPC_ASSOCIATION, new_vpc_association)
            .with_tags(|op| &op.tags)
            .tagging(&VPC_ASSOCIATION, |_, _| "*".into(), |op| &op.tags)
            .also_any("ec2:DescribeVpcs", |_, _| true)
            .also_any("ec2:DescribeSecurityGroups", |op, _| !op.security_group_ids.is_empty());
    read GetServiceNetworkVpcAssociation: get "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> GetVpcAssociationOutput = get
        => on(&VPC_ASSOCIATION, |op, _| op.service_network_vpc_association_identifier.clone());
    read ListServiceNetworkVpcAssociations: get "/servicenetworkvpcassociations" 200 -> ListVpcAssociationsOutput = list, checked
        => any()
            .with(VPC, |op, _| op.vpc_identifier.clone())
            .with(NETWORK_ARN, |op, at| op.service_network_identifier.as_ref().map(|it| network_arn(at, it)));
    change UpdateServiceNetworkVpcAssociation: patch "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> UpdateVpcAssociationOutput = update_association
        => on(&VPC_ASSOCIATION, |op, _| op.service_network_vpc_association_identifier.clone())
            .with(SECURITY_GROUPS, |op, _| op.security_group_ids.clone())
            .untagged(|_, _| Vec::<String>::new())
            .also_any("ec2:DescribeVpcs", |_, _| true)
            .also_any("ec2:DescribeSecurityGroups", |_, _| true);
    change DeleteServiceNetworkVpcAssociation: delete "/servicenetworkvpcassociations/{serviceNetworkVpcAssociationIdentifier}" 200 -> DeleteVpcAssociationOutput = delete_association
        => on(&VPC_ASSOCIATION, |op, _| op.service_network_vpc_association_identifier.clone());
}

const KIND: Kind = Kind::VpcAssociation;

fn find(cell: &Cell, view: &View, text: &str) -> Result<Arc<VpcAssociation>, ApiError> {
    let id = resolve(cell, KIND, text, &[])?;
    view.get(&id).ok_or_else(|| fault::not_found(KIND, &id))
}

/// An association's ARN.
pub(crate) fn arn(cell: &Cell, id: &ServiceNetworkVpcAssociationId) -> String {
    cell.arn("vpc-lattice", format!("servicenetworkvpcassociation/{id}"))
}

/// What keeps EC2 from deleting the VPC and the security groups under an association.
fn claims(association: &VpcAssociation) -> impl Iterator<Item = Claim> + '_ {
    let groups = association.security_groups.iter().map(ToString::to_string);
    let held = std::iter::once(association.vpc.to_string()).chain(groups);
    held.map(|resource| Claim {
        resource,
        holder: association.id.to_string(),
    })
}

/// Deletes an association with its claims.
pub(crate) fn remove(tx: &mut Tx, association: &VpcAssociation) {
    for claim in claims(association) {
        tx.delete::<Claim>(&claim.id());
    }
    tx.delete::<VpcAssociation>(association.id.as_str());
}

/// Writes an association in place of `old`, and the claims that go with it.
fn replace(tx: &mut Tx, old: Option<&VpcAssociation>, new: VpcAssociation) -> Arc<VpcAssociation> {
    if let Some(old) = old {
        remove(tx, old);
    }
    for claim in claims(&new) {
        tx.put(claim);
    }
    tx.put(new)
}

fn texts(groups: &[SecurityGroupId]) -> Vec<String> {
    groups.iter().map(ToString::to_string).collect()
}

fn created(cell: &Cell, association: &VpcAssociation) -> CreateVpcAssociationOutput {
    CreateVpcAssociationOutput {
        id: Some(association.id.to_string()),
        status: Some(association.status),
        arn: Some(arn(cell, &association.id)),
        created_by: Some(association.created_by.clone()),
        security_group_ids: Some(texts(&association.security_groups)),
        private_dns_enabled: association.private_dns_enabled,
        dns_options: association.dns_options.clone(),
    }
}

/// The association's network, seen from the region `at` that keeps the association.
fn network_of(cell: &Cell, view: &View, at: Option<&str>, it: &VpcAssociation) -> NetworkSide {
    let own = |region: &str| {
        let resource = format!("servicenetwork/{}", it.network);
        cell.arn_in(region, "vpc-lattice", resource)
    };
    let arn = it.foreign_network.clone().or_else(|| at.map(own));
    let here = |arn: &String| region::region_of(arn).as_deref() == Some(cell.region.as_str());
    let foreign = arn.filter(|arn| !here(arn));
    NetworkSide::of(cell, view, &it.network, foreign.as_deref())
}

fn detail(
    cell: &Cell,
    view: &View,
    at: Option<&str>,
    association: &VpcAssociation,
) -> GetVpcAssociationOutput {
    let network = network_of(cell, view, at, association);
    let region = at.unwrap_or(&cell.region);
    let own = format!("servicenetworkvpcassociation/{}", association.id);
    let arn = cell.arn_in(region, "vpc-lattice", own);
    let failure = association.failure.as_ref();
    GetVpcAssociationOutput {
        id: Some(association.id.to_string()),
        status: Some(association.status),
        arn: Some(arn),
        created_by: Some(association.created_by.clone()),
        created_at: Some(association.created_at),
        service_network_id: Some(association.network.to_string()),
        service_network_name: network.name,
        service_network_arn: Some(network.arn),
        vpc_id: Some(association.vpc.to_string()),
        security_group_ids: Some(texts(&association.security_groups)),
        private_dns_enabled: association.private_dns_enabled,
        failure_message: failure.map(|failure| failure.message.clone()),
        failure_code: failure.map(|failure| failure.code.clone()),
        last_updated_at: Some(association.updated_at),
        dns_options: association.dns_options.clone(),
    }
}

fn summary(
    cell: &Cell,
    view: &View,
    at: Option<&str>,
    association: &VpcAssociation,
) -> VpcAssociationSummary {
    let detail = detail(cell, view, at, association);
    VpcAssociationSummary {
        id: detail.id,
        arn: detail.arn,
        status: detail.status,
        created_by: detail.created_by,
        created_at: detail.created_at,
        service_network_id: detail.service_network_id,
        service_network_name: detail.service_network_name,
        service_network_arn: detail.service_network_arn,
        private_dns_enabled: detail.private_dns_enabled,
        dns_options: detail.dns_options,
        vpc_id: detail.vpc_id,
        last_updated_at: detail.last_updated_at,
    }
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateServiceNetworkVpcAssociation,
) -> Result<CreateVpcAssociationOutput, ApiError> {
    let cell = &app.cell;
    let client_token = op.client_token.take();
    let network = NetworkSide::find(cell, tx.view(), &op.service_network_identifier)?;
    let vpc = vpc::existing(tx.view(), &op.vpc_identifier)?;
    let security_groups = vpc::security_groups(tx.view(), &vpc.id, &op.security_group_ids)?;
    let id = ServiceNetworkVpcAssociationId::random();
    let name = "CreateServiceNetworkVpcAssociation";
    let known = token::claim(tx, name, client_token.as_deref(), &op, KIND, id.as_str())?;
    if let Some(id) = known {
        return Ok(created(cell, &*find(cell, tx.view(), &id)?));
    }
    if let Some(twin) = network::association_of(tx.view(), &vpc.id) {
        let message = format!(
            "VPC {} is already associated with service network {}",
            vpc.id, twin.network
        );
        return Err(fault::conflict(KIND, twin.id.as_str(), message));
    }
    let now = tx.now();
    let association = VpcAssociation {
        id,
        network: network.id.clone(),
        foreign_network: network.foreign(),
        vpc: vpc.id.clone(),
        security_groups,
        private_dns_enabled: op.private_dns_enabled,
        dns_options: op.dns_options,
        status: VpcAssociationStatus::CreateInProgress,
        failure: None,
        status_after: tx.view().revision(),
        created_by: caller.account.clone(),
        tags: op.tags,
        created_at: now,
        updated_at: now,
    };
    let association = replace(tx, None, association);
    let count = tx
        .view()
        .count_by::<VpcAssociation>("network", network.id.as_str());
    quota::check(quota::VPCS_PER_NETWORK, cell, count)?;
    Ok(created(cell, &association))
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetServiceNetworkVpcAssociation,
) -> Result<GetVpcAssociationOutput, ApiError> {
    let cell = &app.cell;
    let text = &op.service_network_vpc_association_identifier;
    let association = find(cell, view, text)?;
    Ok(detail(cell, view, None, &association))
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListServiceNetworkVpcAssociations,
) -> Result<ListVpcAssociationsOutput, ApiError> {
    let cell = &app.cell;
    let network = op.service_network_identifier.as_deref();
    let network = filter(cell, Kind::ServiceNetwork, network);
    let vpc = op.vpc_identifier.as_deref();
    let elsewhere = region::vpc_associations(view)
        .filter(|(_, it)| region::is_here(cell, it.foreign_network.as_deref()))
        .map(|(region, it)| (Some(region), Arc::new(it)));
    let mut elsewhere: Vec<(Option<String>, Arc<VpcAssociation>)> = elsewhere.collect();
    elsewhere.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
    let from = |start: Bound<String>| {
        let here = behind::<VpcAssociation>(view, &start).map(|it| (None, it));
        let all = merged(here, elsewhere, |(_, it)| it.id.as_str());
        all.filter(|(_, association)| {
            network
                .as_deref()
                .is_none_or(|id| association.network.as_str() == id)
                && vpc.is_none_or(|id| association.vpc.as_str() == id)
        })
    };
    let token = op.next_token.as_deref();
    let page = page_from(from, |(_, it)| it.id.to_string(), op.max_results, token)?;
    let items = page.items.iter();
    let items = items.map(|(at, it)| summary(cell, view, at.as_deref(), it));
    Ok(ListVpcAssociationsOutput {
        items: items.collect(),
        next_token: page.next_token,
    })
}

fn update(
    cell: &Cell,
    tx: &mut Tx,
    op: &UpdateServiceNetworkVpcAssociation,
) -> Result<Arc<VpcAssociation>, ApiError> {
    use VpcAssociationStatus::{Active, UpdateFailed, UpdateInProgress};
    let text = &op.service_network_vpc_association_identifier;
    let association = find(cell, tx.view(), text)?;
    if !matches!(association.status, Active | UpdateFailed) {
        let (id, status) = (association.id.as_str(), association.status.as_str());
        return Err(fault::wrong_status(KIND, id, status));
    }
    let groups = vpc::security_groups(tx.view(), &association.vpc, &op.security_group_ids)?;
    let changed = VpcAssociation {
        security_groups: groups,
        status: UpdateInProgress,
        status_after: tx.view().revision(),
        failure: None,
        updated_at: tx.now(),
        ..VpcAssociation::clone(&association)
    };
    Ok(replace(tx, Some(&association), changed))
}

fn update_association(
    app: &Lattice,
    tx: &mut Tx,
    op: UpdateServiceNetworkVpcAssociation,
) -> Result<UpdateVpcAssociationOutput, ApiError> {
    let cell = &app.cell;
    let association = update(cell, tx, &op)?;
    Ok(UpdateVpcAssociationOutput {
        id: Some(association.id.to_string()),
        arn: Some(arn(cell, &association.id)),
        status: Some(association.status),
        created_by: Some(association.created_by.clone()),
        security_group_ids: Some(texts(&association.security_groups)),
    })
}

fn delete(cell: &Cell, tx: &mut Tx, text: &str) -> Result<Arc<VpcAssociation>, ApiError> {
    use VpcAssociationStatus::{CreateInProgress, DeleteInProgress, UpdateInProgress};
    let association = find(cell, tx.view(), text)?;
    let (id, status) = (association.id.as_str(), association.status);
    match status {
        DeleteInProgress => return Ok(association),
        CreateInProgress | UpdateInProgress => {
            return Err(fault::wrong_status(KIND, id, status.as_str()));
        }
        _ => {}
    }
    let status_after = tx.view().revision();
    Ok(tx.put(VpcAssociation {
        status: DeleteInProgress,
        status_after,
        failure: None,
        updated_at: tx.now(),
        ..VpcAssociation::clone(&association)
    }))
}

fn delete_association(
    app: &Lattice,
    tx: &mut Tx,
    op: DeleteServiceNetworkVpcAssociation,
) -> Result<DeleteVpcAssociationOutput, ApiError> {
    let cell = &app.cell;
    let text = &op.service_network_vpc_association_identifier;
    let association = delete(cell, tx, text)?;
    Ok(DeleteVpcAssociationOutput {
        id: Some(association.id.to_string()),
        status: Some(association.status),
        arn: Some(arn(cell, &association.id)),
    })
}
