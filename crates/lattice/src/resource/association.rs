//! Associations of service networks with resource configurations. That of a group brings one for each child of it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_control::Cell;
use lath_feed::{RESOURCE_BLOCK, RESOURCE_DOMAIN_LABEL};
use lath_model::id::{ServiceNetworkId, ServiceNetworkResourceAssociationId, random_suffix};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};

use super::{ResourceAssociation, ResourceConfiguration, configuration, contribute};
use crate::ident::{Kind, resolve};
use crate::record::{ServiceNetwork, Tags};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, behind, fault, network, page_from, quota, region, token};

operations! {
    for Lattice as "vpc-lattice";
    change CreateServiceNetworkResourceAssociation: post "/servicenetworkresourceassociations" 201 -> CreateResourceAssociationOutput = create, checked, caller
        => makes(&RESOURCE_ASSOCIATION)
            .with_all(NEW_RESOURCE_ASSOCIATION, new_resource_association)
            .with_tags(|op| &op.tags)
            .on(&RESOURCE_CONFIGURATION, |op, _| op.resource_configuration_identifier.clone())
            .with_all(NEW_RESOURCE_ASSOCIATION, new_resource_association)
            .with_tags(|op| &op.tags)
            .on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone())
            .with_all(NEW_RESOURCE_ASSOCIATION, new_resource_association)
            .with_tags(|op| &op.tags)
            .tagging(&RESOURCE_ASSOCIATION, |_, _| "*".into(), |op| &op.tags);
    read GetServiceNetworkResourceAssociation: get "/servicenetworkresourceassociations/{serviceNetworkResourceAssociationIdentifier}" 200 -> GetResourceAssociationOutput = get
        => on(&RESOURCE_ASSOCIATION, |op, _| op.service_network_resource_association_identifier.clone());
    read ListServiceNetworkResourceAssociations: get "/servicenetworkresourceassociations" 200 -> ListResourceAssociationsOutput = list
        => any();
    change DeleteServiceNetworkResourceAssociation: delete "/servicenetworkresourceassociations/{serviceNetworkResourceAssociationIdentifier}" 200 -> DeleteResourceAssociationOutput = delete
        => on(&RESOURCE_ASSOCIATION, |op, _| op.service_network_resource_association_identifier.clone());
}

const KIND: Kind = Kind::ResourceAssociation;
/// The hosted zone of the generated names: a constant, since no call can change the zone.
const HOSTED_ZONE: &str = "Z0LATHVPCLATTICERSC0";

fn find(cell: &Cell, view: &View, text: &str) -> Result<Arc<ResourceAssociation>, ApiError> {
    let id = resolve(cell, KIND, text, &[])?;
    view.get(&id).ok_or_else(|| fault::not_found(KIND, &id))
}

/// An association's ARN.
pub(crate) fn arn(cell: &Cell, id: &ServiceNetworkResourceAssociationId) -> String {
    let resource = format!("servicenetworkresourceassociation/{id}");
    cell.arn("vpc-lattice", resource)
}

/// The name generated for an association.
pub(crate) fn domain_name(cell: &Cell, it: &ResourceAssociation) -> String {
    let region = &cell.region;
    let (id, configuration) = (&it.id, &it.configuration);
    format!("{id}.{configuration}.{RESOURCE_DOMAIN_LABEL}.vpc-lattice-rsc.{region}.on.aws")
}

/// How many resource configurations a network has: the children of a group are counted with it.
pub(crate) fn count_of_network(view: &View, id: &ServiceNetworkId) -> usize {
    let all = view.by::<ResourceAssociation>("network", id.as_str());
    all.filter(|it| it.parent.is_none()).count()
}

/// An address in the block that no association has, from anywhere in it: who asked for a name keeps its address for a
/// while, and must not be led to another resource by it.
fn free_address(view: &View) -> Result<Ipv4Addr, ApiError> {
    let (first, last) = (RESOURCE_BLOCK.network(), RESOURCE_BLOCK.broadcast());
    let (first, count) = (first.to_bits() + 1, last.to_bits() - first.to_bits() - 1);
    // Eight hexadecimal digits.
    let start = u32::from_str_radix(&random_suffix()[9..], 16).unwrap_or_default() % count;
    let mut all = (0..count).map(|step| Ipv4Addr::from_bits(first + (start + step) % count));
    let is_free = |it: &Ipv4Addr| {
        view.by::<ResourceAssociation>("address", &it.to_string())
            .next()
            .is_none()
    };
    // The quota of associations is far below what the block has.
    all.find(is_free)
        .ok_or_else(|| ApiError::internal("no address for a resource is free"))
}

/// Whether an association is to be there.
pub(super) fn is_served(status: ResourceAssociationStatus) -> bool {
    use ResourceAssociationStatus::{Active, CreateInProgress, Partial};
    matches!(status, CreateInProgress | Active | Partial)
}

fn new(
    tx: &mut Tx,
    configuration: &ResourceConfiguration,
    network: &ServiceNetworkId,
    parent: Option<&ResourceAssociation>,
    created_by: &str,
) -> Result<ResourceAssociation, ApiError> {
    let now = tx.now();
    let address = match configuration.kind {
        ResourceConfigurationType::Group => Ipv4Addr::UNSPECIFIED,
        _ => free_address(tx.view())?,
    };
    Ok(ResourceAssociation {
        id: ServiceNetworkResourceAssociationId::random(),
        network: network.clone(),
        configuration: configuration.id.clone(),
        parent: parent.map(|it| it.id.clone()),
        address,
        private_dns_enabled: parent.and_then(|it| it.private_dns_enabled),
        status: ResourceAssociationStatus::CreateInProgress,
        failure: None,
        status_after: tx.view().revision(),
        created_by: created_by.to_owned(),
        tags: Tags::new(),
        created_at: now,
        updated_at: now,
    })
}

/// Writes a new association, unless its network knows another resource by the user's own name of this one: a name leads to
/// one of them.
fn enter(
    tx: &mut Tx,
    configuration: &ResourceConfiguration,
    new: ResourceAssociation,
) -> Result<Arc<ResourceAssociation>, ApiError> {
    let view = tx.view();
    let names = configuration.custom_domain_name.iter();
    let same = names.flat_map(|name| view.by::<ResourceConfiguration>("domain", name));
    let mut others = same.filter(|it| it.id != configuration.id);
    let twin = others.find_map(|it| {
        let mut joined = view.by::<ResourceAssociation>("configuration", it.id.as_str());
        joined.find(|it| it.network == new.network)
    });
    drop(others);
    if let Some(twin) = twin {
        let message = format!(
            "A resource configuration with the same custom domain name is already associated with service network {}",
            new.network
        );
        return Err(fault::conflict(KIND, twin.id.as_str(), message));
    }
    Ok(tx.put(new))
}

/// A new child is in every network that its group is in.
pub(super) fn join_child(
    tx: &mut Tx,
    group: &ResourceConfiguration,
    child: &ResourceConfiguration,
) -> Result<(), ApiError> {
    let parents: Vec<Arc<ResourceAssociation>> = tx
        .view()
        .by::<ResourceAssociation>("configuration", group.id.as_str())
        .filter(|it| is_served(it.status))
        .collect();
    for parent in parents {
        let it = new(
            tx,
            child,
            &parent.network,
            Some(&parent),
            &parent.created_by,
        )?;
        enter(tx, child, it)?;
        begin(tx, &parent.id, ResourceAssociationStatus::CreateInProgress);
    }
    Ok(())
}

/// A child that goes leaves every network.
pub(super) fn leave_child(tx: &mut Tx, child: &ResourceConfiguration) {
    let all: Vec<_> = tx
        .view()
        .by::<ResourceAssociation>("configuration", child.id.as_str())
        .map(|it| it.id.clone())
        .collect();
    for id in all {
        begin(tx, &id, ResourceAssociationStatus::DeleteInProgress);
    }
}

/// Lets a status begin.
fn begin(tx: &mut Tx, id: &ServiceNetworkResourceAssociationId, status: ResourceAssociationStatus) {
    let (status_after, now) = (tx.view().revision(), tx.now());
    tx.update::<ResourceAssociation>(id.as_str(), |it| {
        (it.status, it.status_after, it.failure) = (status, status_after, None);
        it.updated_at = now;
    });
}

fn entry(domain_name: String) -> DnsEntry {
    DnsEntry {
        domain_name: Some(domain_name),
        hosted_zone_id: Some(HOSTED_ZONE.to_owned()),
    }
}

fn detail(cell: &Cell, view: &View, it: &ResourceAssociation) -> GetResourceAssociationOutput {
    let known = view.get::<ResourceConfiguration>(it.configuration.as_str());
    let network = view.get::<ServiceNetwork>(it.network.as_str());
    let verification = known
        .as_deref()
        .and_then(|it| configuration::verification_of(view, it));
    let failure = it.failure.as_ref();
    let private = known.as_deref().and_then(|configuration| {
        let vpcs = contribute::private_vpcs(view, it, configuration);
        let name = configuration.custom_domain_name.clone();
        name.filter(|_| !vpcs.is_empty())
    });
    GetResourceAssociationOutput {
        id: Some(it.id.to_string()),
        arn: Some(arn(cell, &it.id)),
        status: Some(it.status),
        created_by: Some(it.created_by.clone()),
        created_at: Some(it.created_at),
        resource_configuration_id: Some(it.configuration.to_string()),
        resource_configuration_arn: Some(configuration::arn(cell, &it.configuration)),
        resource_configuration_name: known.map(|it| it.name.clone()),
        service_network_id: Some(it.network.to_string()),
        service_network_arn: Some(network::arn(cell, &it.network)),
        service_network_name: network.map(|it| it.name.clone()),
        failure_reason: failure.map(|failure| failure.message.clone()),
        failure_code: failure.map(|failure| failure.code.clone()),
        last_updated_at: Some(it.updated_at),
        private_dns_entry: private.map(|name| DnsEntry {
            domain_name: Some(name),
            hosted_zone_id: None,
        }),
        private_dns_enabled: Some(it.private_dns_enabled.unwrap_or(false)),
        dns_entry: (!it.address.is_unspecified()).then(|| entry(domain_name(cell, it))),
        is_managed_association: Some(it.parent.is_some()),
        domain_verification_status: verification.map(|it| it.status),
    }
}

fn summary(it: GetResourceAssociationOutput) -> ResourceAssociationSummary {
    ResourceAssociationSummary {
        id: it.id,
        arn: it.arn,
        status: it.status,
        created_by: it.created_by,
        created_at: it.created_at,
        resource_configuration_id: it.resource_configuration_id,
        resource_configuration_arn: it.resource_configuration_arn,
        resource_configuration_name: it.resource_configuration_name,
        service_network_id: it.service_network_id,
        service_network_arn: it.service_network_arn,
        service_network_name: it.service_network_name,
        dns_entry: it.dns_entry,
        private_dns_entry: it.private_dns_entry,
        is_managed_association: it.is_managed_association,
        failure_code: it.failure_code,
        private_dns_enabled: it.private_dns_enabled,
    }
}

fn created(cell: &Cell, it: &ResourceAssociation) -> CreateResourceAssociationOutput {
    CreateResourceAssociationOutput {
        id: Some(it.id.to_string()),
        arn: Some(arn(cell, &it.id)),
        status: Some(it.status),
        created_by: Some(it.created_by.clone()),
        private_dns_enabled: Some(it.private_dns_enabled.unwrap_or(false)),
    }
}

/// Whether a configuration may be in a network.
fn refuse_unfit(
    configuration: &ResourceConfiguration,
    network: &ServiceNetwork,
) -> Result<(), ApiError> {
    use ChangingStatus::{Active, UpdateInProgress};
    let (id, status) = (configuration.id.as_str(), configuration.status);
    if !matches!(status, Active | UpdateInProgress) {
        return Err(fault::wrong_status(
            Kind::ResourceConfiguration,
            id,
            status.as_str(),
        ));
    }
    let member = "resourceConfigurationIdentifier";
    if configuration.kind == ResourceConfigurationType::Child {
        let message = format!("Resource configuration {id} is of type CHILD: associate its group");
        return Err(fault::invalid(member, message));
    }
    if network.shareable == Some(true) && !configuration.shareable {
        let message = format!(
            "Resource configuration {id} does not allow association to a shareable service network"
        );
        return Err(fault::invalid(member, message));
    }
    Ok(())
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateServiceNetworkResourceAssociation,
) -> Result<CreateResourceAssociationOutput, ApiError> {
    let cell = &app.cell;
    let client_token = op.client_token.take();
    let network = network::find(cell, tx.view(), &op.service_network_identifier)?;
    let configuration =
        configuration::find(cell, tx.view(), &op.resource_configuration_identifier)?;
    let fresh = ResourceAssociation {
        private_dns_enabled: op.private_dns_enabled,
        tags: op.tags.clone(),
        ..new(tx, &configuration, &network.id, None, &caller.account)?
    };
    let name = "CreateServiceNetworkResourceAssociation";
    let id = fresh.id.as_str();
    let known = token::claim(tx, name, client_token.as_deref(), &op, KIND, id)?;
    if let Some(id) = known {
        return Ok(created(cell, &*find(cell, tx.view(), &id)?));
    }
    refuse_unfit(&configuration, &network)?;
    let twin = tx
        .view()
        .by::<ResourceAssociation>("configuration", configuration.id.as_str())
        .find(|it| it.network == network.id);
    if let Some(twin) = twin {
        let message = format!(
            "Resource configuration {} is already associated with service network {}",
            configuration.id, network.id
        );
        return Err(fault::conflict(KIND, twin.id.as_str(), message));
    }
    let association = enter(tx, &configuration, fresh)?;
    let children: Vec<Arc<ResourceConfiguration>> = tx
        .view()
        .by::<ResourceConfiguration>("parent", configuration.id.as_str())
        .filter(|it| super::is_served(it.status))
        .collect();
    for child in children {
        let it = new(tx, &child, &network.id, Some(&association), &caller.account)?;
        enter(tx, &child, it)?;
    }
    let count = count_of_network(tx.view(), &network.id);
    quota::check(quota::RESOURCES_PER_NETWORK, cell, count)?;
    Ok(created(cell, &association))
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetServiceNetworkResourceAssociation,
) -> Result<GetResourceAssociationOutput, ApiError> {
    let text = &op.service_network_resource_association_identifier;
    let it = find(&app.cell, view, text)?;
    Ok(detail(&app.cell, view, &it))
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListServiceNetworkResourceAssociations,
) -> Result<ListResourceAssociationsOutput, ApiError> {
    let cell = &app.cell;
    let network = region::filter(
        cell,
        Kind::ServiceNetwork,
        op.service_network_identifier.as_deref(),
    );
    let wanted = region::filter(
        cell,
        Kind::ResourceConfiguration,
        op.resource_configuration_identifier.as_deref(),
    );
    let children = op.include_children == Some(true);
    let is_of = |it: &ResourceAssociation, wanted: &str| {
        let group = view.get::<ResourceConfiguration>(it.configuration.as_str());
        let group = group.and_then(|it| it.group.clone());
        it.configuration.as_str() == wanted
            || (children && group.is_some_and(|group| group.as_str() == wanted))
    };
    // A child that the filter names is one that the caller asks for.
    let is_shown = |it: &ResourceAssociation| {
        it.parent.is_none() || children || wanted.as_deref() == Some(it.configuration.as_str())
    };
    let page = page_from(
        |start| {
            behind::<ResourceAssociation>(view, &start).filter(|it| {
                network
                    .as_deref()
                    .is_none_or(|id| it.network.as_str() == id)
                    && wanted.as_deref().is_none_or(|id| is_of(it, id))
                    && is_shown(it)
            })
        },
        |it| it.id.to_string(),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    let items = page.items.iter().map(|it| summary(detail(cell, view, it)));
    Ok(ListResourceAssociationsOutput {
        items: items.collect(),
        next_token: page.next_token,
    })
}

fn delete(
    app: &Lattice,
    tx: &mut Tx,
    op: DeleteServiceNetworkResourceAssociation,
) -> Result<DeleteResourceAssociationOutput, ApiError> {
    use ResourceAssociationStatus::{CreateInProgress, DeleteInProgress};
    let cell = &app.cell;
    let text = &op.service_network_resource_association_identifier;
    let known = find(cell, tx.view(), text)?;
    let id = known.id.as_str();
    match (known.status, &known.parent) {
        (_, Some(parent)) => {
            let message = format!("Association {id} is managed: it goes with {parent}");
            return Err(fault::conflict(KIND, id, message));
        }
        (CreateInProgress, _) => {
            let status = known.status.as_str();
            return Err(fault::wrong_status(KIND, id, status));
        }
        (DeleteInProgress, _) => {}
        _ => {
            let children: Vec<_> = tx
                .view()
                .by::<ResourceAssociation>("parent", id)
                .map(|it| it.id.clone())
                .collect();
            for child in children.iter().chain([&known.id]) {
                begin(tx, child, DeleteInProgress);
            }
        }
    }
    Ok(DeleteResourceAssociationOutput {
        id: Some(known.id.to_string()),
        arn: Some(arn(cell, &known.id)),
        status: Some(DeleteInProgress),
    })
}
