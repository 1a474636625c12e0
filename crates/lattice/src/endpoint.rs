//! VPC endpoints: EC2 makes them, and learns here which services a network offers at them.

use std::sync::Arc;

use lath_control::{Cell, NetworkService};
use lath_ec2_records::{EndpointOf, VpcEndpoint};
use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use crate::ident::{Identifier, Kind};
use crate::record::{ServiceAssociation, ServiceNetwork};
use crate::region::{self, ServiceSide};
use crate::shape::*;
use crate::{Lattice, page};

operations! {
    for Lattice as "vpc-lattice";
    read ListServiceNetworkVpcEndpointAssociations: get "/servicenetworkvpcendpointassociations" 200 -> ListEndpointAssociationsOutput = list
        => any();
}

/// Tells EC2 that a network of this region has a service.
pub(crate) fn offer(cell: &Cell, tx: &mut Tx, association: &ServiceAssociation) {
    let Some(network) = tx.get::<ServiceNetwork>(association.network.as_str()) else {
        return;
    };
    let foreign = association.foreign_service.as_deref();
    let service = ServiceSide::of(cell, tx.view(), &association.service, foreign);
    tx.put(NetworkService {
        network: network.id.clone(),
        network_name: network.name.clone(),
        association: association.id.clone(),
        service: association.service.clone(),
        service_arn: service.arn,
    });
}

/// Tells EC2 that a network no longer has a service.
pub(crate) fn withdraw(tx: &mut Tx, association: &ServiceAssociation) {
    let id = format!("{}/{}", association.network, association.id);
    tx.delete::<NetworkService>(&id);
}

/// Offers what other regions associated with this region's networks, and withdraws what they took back.
pub(crate) fn refresh(cell: &Cell, tx: &mut Tx) {
    let elsewhere: Vec<(String, ServiceAssociation)> = region::service_associations(tx.view())
        .filter(|(_, it)| region::is_here(cell, it.foreign_network.as_deref()))
        .filter(|(_, it)| matches!(it.status, Status::CreateInProgress | Status::Active))
        .collect();
    let stale: Vec<String> = tx
        .list::<NetworkService>()
        .filter(|known| {
            let here = tx.get::<ServiceAssociation>(known.association.as_str());
            here.is_none() && elsewhere.iter().all(|(_, it)| it.id != known.association)
        })
        .map(|known| known.id())
        .collect();
    for id in stale {
        tx.delete::<NetworkService>(&id);
    }
    for (at, mut association) in elsewhere {
        // The service is of the region that tells, unless it says otherwise.
        let own = format!("service/{}", association.service);
        association
            .foreign_service
            .get_or_insert_with(|| cell.arn_in(&at, "vpc-lattice", own));
        offer(cell, tx, &association);
    }
}

fn shown(endpoint: &VpcEndpoint) -> EndpointAssociation {
    let network_arn = match &endpoint.to {
        EndpointOf::ServiceNetwork { network_arn, .. } => Some(network_arn.clone()),
        EndpointOf::Resource { .. } => None,
    };
    EndpointAssociation {
        vpc_endpoint_id: Some(endpoint.id.to_string()),
        vpc_id: Some(endpoint.vpc.to_string()),
        vpc_endpoint_owner_id: Some(endpoint.owner.clone()),
        id: Some(endpoint.id.as_str().replacen("vpce-", "snea-", 1)),
        state: Some(endpoint.life.state.name().to_owned()),
        service_network_arn: network_arn,
        created_at: Some(endpoint.created_at),
    }
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListServiceNetworkVpcEndpointAssociations,
) -> Result<ListEndpointAssociationsOutput, ApiError> {
    let text = &op.service_network_identifier;
    let named = Identifier::parse(Kind::ServiceNetwork, text);
    let named = named.filter(|ident| ident.is_of(&app.cell));
    let wanted = view.list::<VpcEndpoint>().filter(|endpoint| {
        let network = endpoint.to.network().map(|id| id.as_str());
        let of_it = named.as_ref().is_some_and(|it| network == Some(it.id()));
        of_it && endpoint.life.state.lives()
    });
    let token = op.next_token.as_deref();
    let key = |endpoint: &Arc<VpcEndpoint>| endpoint.id.to_string();
    let page = page(wanted, key, op.max_results, token)?;
    Ok(ListEndpointAssociationsOutput {
        items: page.items.iter().map(|endpoint| shown(endpoint)).collect(),
        next_token: page.next_token,
    })
}
