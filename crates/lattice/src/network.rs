//! Service networks.

use std::sync::Arc;

use lath_control::{Cell, claims_on};
use lath_model::id::{ServiceNetworkId, VpcId};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};

use crate::ident::{Kind, resolve};
use crate::record::{AccessLogSubscription, LogSource, ServiceNetwork, VpcAssociation};
use crate::resource_types::*;
use crate::shape::*;
use crate::{
    Lattice, auth_policy, behind, fault, mutual_tls, page_from, quota, region, resource,
    service_association, token,
};

operations! {
    for Lattice as "vpc-lattice";
    change CreateServiceNetwork: post "/servicenetworks" 201 -> CreateServiceNetworkOutput = create, checked, caller
        => makes(&SERVICE_NETWORK)
            .with(AUTH_TYPE, |op, _| op.auth_type.unwrap_or_default().as_str())
            .with_tags(|op| &op.tags)
            .tagging(&SERVICE_NETWORK, |_, _| "*".into(), |op| &op.tags);
    read GetServiceNetwork: get "/servicenetworks/{serviceNetworkIdentifier}" 200 -> GetServiceNetworkOutput = get
        => on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone());
    read ListServiceNetworks: get "/servicenetworks" 200 -> ListServiceNetworksOutput = list
        => any();
    change UpdateServiceNetwork: patch "/servicenetworks/{serviceNetworkIdentifier}" 200 -> UpdateServiceNetworkOutput = update
        => on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone())
            .with(AUTH_TYPE, |op, _| op.auth_type.as_str());
    change DeleteServiceNetwork: delete "/servicenetworks/{serviceNetworkIdentifier}" 204 -> Empty = delete
        => on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone());
}

/// The network that an identifier names.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(cell: &Cell, view: &View, text: &str) -> Result<Arc<ServiceNetwork>, ApiError> {
    let id = resolve(cell, Kind::ServiceNetwork, text, &[])?;
    view.get(&id)
        .ok_or_else(|| fault::not_found(Kind::ServiceNetwork, &id))
}

/// A network's ARN.
pub(crate) fn arn(cell: &Cell, id: &ServiceNetworkId) -> String {
    cell.arn("vpc-lattice", format!("servicenetwork/{id}"))
}

/// How many VPCs are associated, of whatever region, the ones on their way in or out included.
fn vpcs(view: &View, id: &ServiceNetworkId) -> i64 {
    let here = view.count_by::<VpcAssociation>("network", id.as_str());
    let elsewhere =
        region::vpc_associations(view).filter(|(_, association)| association.network == *id);
    i64::try_from(here + elsewhere.count()).unwrap_or(i64::MAX)
}

fn services(view: &View, id: &ServiceNetworkId) -> i64 {
    let count = service_association::count_of_network(view, id);
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn resources(view: &View, id: &ServiceNetworkId) -> i64 {
    let count = resource::association::count_of_network(view, id);
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn sharing(network: &ServiceNetwork) -> Option<SharingConfig> {
    network.shareable.map(|enabled| SharingConfig {
        enabled: Some(enabled),
    })
}

fn created(cell: &Cell, network: &ServiceNetwork) -> CreateServiceNetworkOutput {
    CreateServiceNetworkOutput {
        id: Some(network.id.to_string()),
        name: Some(network.name.clone()),
        arn: Some(arn(cell, &network.id)),
        sharing_config: sharing(network),
        auth_type: Some(network.auth_type),
    }
}

fn summary(cell: &Cell, view: &View, network: &ServiceNetwork) -> ServiceNetworkSummary {
    ServiceNetworkSummary {
        id: Some(network.id.to_string()),
        name: Some(network.name.clone()),
        arn: Some(arn(cell, &network.id)),
        created_at: Some(network.created_at),
        last_updated_at: Some(network.updated_at),
        number_of_associated_vpcs: Some(vpcs(view, &network.id)),
        number_of_associated_services: Some(services(view, &network.id)),
        number_of_associated_resource_configurations: Some(resources(view, &network.id)),
    }
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateServiceNetwork,
) -> Result<CreateServiceNetworkOutput, ApiError> {
    let cell = &app.cell;
    const KIND: Kind = Kind::ServiceNetwork;
    let client_token = op.client_token.take();
    let id = ServiceNetworkId::random();
    let token = client_token.as_deref();
    if let Some(id) = token::claim(tx, "CreateServiceNetwork", token, &op, KIND, id.as_str())? {
        return Ok(created(cell, &*find(cell, tx.view(), &id)?));
    }
    if let Some(twin) = tx.view().by::<ServiceNetwork>("name", &op.name).next() {
        let id = twin.id.as_str();
        return Err(fault::name_taken(KIND, id, &op.name, &caller.account));
    }
    mutual_tls::TAG.check_mode(cell, &op.tags)?;
    mutual_tls::check_given(KIND, &op.tags)?;
    let now = tx.now();
    let network = tx.put(ServiceNetwork {
        id,
        name: op.name,
        auth_type: op.auth_type.unwrap_or_default(),
        shareable: op.sharing_config.and_then(|config| config.enabled),
        tags: op.tags,
        created_at: now,
        updated_at: now,
    });
    quota::check(
        quota::SERVICE_NETWORKS,
        cell,
        tx.view().count::<ServiceNetwork>(),
    )?;
    Ok(created(cell, &network))
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetServiceNetwork,
) -> Result<GetServiceNetworkOutput, ApiError> {
    let network = find(&app.cell, view, &op.service_network_identifier)?;
    Ok(GetServiceNetworkOutput {
        id: Some(network.id.to_string()),
        name: Some(network.name.clone()),
        created_at: Some(network.created_at),
        last_updated_at: Some(network.updated_at),
        arn: Some(arn(&app.cell, &network.id)),
        auth_type: Some(network.auth_type),
        sharing_config: sharing(&network),
        number_of_associated_vpcs: Some(vpcs(view, &network.id)),
        number_of_associated_services: Some(services(view, &network.id)),
    })
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListServiceNetworks,
) -> Result<ListServiceNetworksOutput, ApiError> {
    let page = page_from(
        |start| behind::<ServiceNetwork>(view, &start),
        |network| network.id.to_string(),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    Ok(ListServiceNetworksOutput {
        items: page
            .items
            .iter()
            .map(|network| summary(&app.cell, view, network))
            .collect(),
        next_token: page.next_token,
    })
}

fn update(
    app: &Lattice,
    tx: &mut Tx,
    op: UpdateServiceNetwork,
) -> Result<UpdateServiceNetworkOutput, ApiError> {
    let cell = &app.cell;
    let network = find(cell, tx.view(), &op.service_network_identifier)?;
    let network = tx.put(ServiceNetwork {
        auth_type: op.auth_type,
        updated_at: tx.now(),
        ..ServiceNetwork::clone(&network)
    });
    Ok(UpdateServiceNetworkOutput {
        id: Some(network.id.to_string()),
        name: Some(network.name.clone()),
        arn: Some(arn(cell, &network.id)),
        auth_type: Some(network.auth_type),
    })
}

fn delete(app: &Lattice, tx: &mut Tx, op: DeleteServiceNetwork) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    let network = find(cell, tx.view(), &op.service_network_identifier)?;
    refuse_while_associated(tx.view(), &network.id)?;
    unsubscribe(tx, &LogSource::ServiceNetwork(network.id.clone()));
    unsubscribe(tx, &LogSource::NetworkResources(network.id.clone()));
    auth_policy::remove(tx, network.id.as_str());
    tx.delete::<ServiceNetwork>(network.id.as_str());
    Ok(Empty {})
}

fn refuse_while_associated(view: &View, id: &ServiceNetworkId) -> Result<(), ApiError> {
    let what = if vpcs(view, id) > 0 {
        "VPC(s)"
    } else if services(view, id) > 0 {
        "service(s)"
    } else if resources(view, id) > 0 {
        "resource(s)"
    } else if !claims_on(view, id.as_str()).is_empty() {
        "VPC endpoint(s)"
    } else {
        return Ok(());
    };
    Err(fault::conflict(
        Kind::ServiceNetwork,
        id.as_str(),
        format!("ServiceNetwork {id} has {what} associated"),
    ))
}

/// Deletes the access log subscriptions of what is being deleted.
pub(crate) fn unsubscribe(tx: &mut Tx, source: &LogSource) {
    let gone: Vec<_> = tx
        .view()
        .by::<AccessLogSubscription>("source", &source.key())
        .map(|subscription| subscription.id.clone())
        .collect();
    for id in gone {
        tx.delete::<AccessLogSubscription>(id.as_str());
    }
}

/// The association of a VPC, in whatever state.
pub(crate) fn association_of(view: &View, vpc: &VpcId) -> Option<Arc<VpcAssociation>> {
    view.by::<VpcAssociation>("vpc", vpc.as_str()).next()
}
