//! Associations of VPC endpoints with resource configurations: EC2 makes the endpoints.

use std::sync::Arc;

use lath_control::Cell;
use lath_ec2::records::VpcEndpoint;
use lath_model::id::ResourceEndpointAssociationId;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::{ResourceConfiguration, ResourceEndpointAssociation, configuration};
use crate::ident::{Kind, resolve};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, fault, page, region};

operations! {
    for Lattice as "vpc-lattice";
    read ListResourceEndpointAssociations: get "/resourceendpointassociations" 200 -> ListResourceEndpointAssociationsOutput = list, checked
        => any()
            .with(RESOURCE_CONFIGURATION_ARN, |op, at| configuration_arn(at, &op.resource_configuration_identifier))
            .with(VPC_ENDPOINT, |op, _| op.vpc_endpoint_id.clone());
    change DeleteResourceEndpointAssociation: delete "/resourceendpointassociations/{resourceEndpointAssociationIdentifier}" 200 -> DeleteResourceEndpointAssociationOutput = delete, checked
        => on(&RESOURCE_ENDPOINT_ASSOCIATION, |op, _| op.resource_endpoint_association_identifier.clone());
}

const KIND: Kind = Kind::ResourceEndpointAssociation;

fn arn(cell: &Cell, id: &ResourceEndpointAssociationId) -> String {
    cell.arn("vpc-lattice", format!("resourceendpointassociation/{id}"))
}

fn owner(view: &View, it: &ResourceEndpointAssociation) -> Option<String> {
    let endpoint = view.get::<VpcEndpoint>(it.endpoint.as_str());
    endpoint.map(|it| it.owner.clone())
}

fn shown(
    cell: &Cell,
    view: &View,
    it: &ResourceEndpointAssociation,
) -> ResourceEndpointAssociationSummary {
    let known = view.get::<ResourceConfiguration>(it.configuration.as_str());
    ResourceEndpointAssociationSummary {
        id: Some(it.id.to_string()),
        arn: Some(arn(cell, &it.id)),
        resource_configuration_id: Some(it.configuration.to_string()),
        resource_configuration_arn: Some(configuration::arn(cell, &it.configuration)),
        resource_configuration_name: known.map(|it| it.name.clone()),
        vpc_endpoint_id: Some(it.endpoint.to_string()),
        vpc_endpoint_owner: owner(view, it),
        created_by: Some(it.created_by.clone()),
        created_at: Some(it.created_at),
    }
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListResourceEndpointAssociations,
) -> Result<ListResourceEndpointAssociationsOutput, ApiError> {
    let cell = &app.cell;
    let of = region::filter(
        cell,
        Kind::ResourceConfiguration,
        Some(&op.resource_configuration_identifier),
    );
    let of = of.unwrap_or_default();
    let id = op.resource_endpoint_association_identifier.as_deref();
    let id = region::filter(cell, KIND, id);
    let fits = |it: &Arc<ResourceEndpointAssociation>| {
        id.as_deref().is_none_or(|id| it.id.as_str() == id)
            && op
                .vpc_endpoint_id
                .as_deref()
                .is_none_or(|id| it.endpoint.as_str() == id)
            && op
                .vpc_endpoint_owner
                .as_ref()
                .is_none_or(|wanted| owner(view, it).as_ref() == Some(wanted))
    };
    let mut all: Vec<_> = view
        .by::<ResourceEndpointAssociation>("configuration", &of)
        .filter(fits)
        .collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    let token = op.next_token.as_deref();
    let page = page(all, |it| it.id.to_string(), op.max_results, token)?;
    Ok(ListResourceEndpointAssociationsOutput {
        items: page.items.iter().map(|it| shown(cell, view, it)).collect(),
        next_token: page.next_token,
    })
}

fn delete(
    app: &Lattice,
    tx: &mut Tx,
    op: DeleteResourceEndpointAssociation,
) -> Result<DeleteResourceEndpointAssociationOutput, ApiError> {
    let cell = &app.cell;
    let text = &op.resource_endpoint_association_identifier;
    let id = resolve(cell, KIND, text, &[])?;
    let known = tx.get::<ResourceEndpointAssociation>(&id);
    let known = known.ok_or_else(|| fault::not_found(KIND, &id))?;
    let shown = shown(cell, tx.view(), &known);
    tx.delete::<ResourceEndpointAssociation>(&id);
    Ok(DeleteResourceEndpointAssociationOutput {
        id: shown.id,
        arn: shown.arn,
        resource_configuration_id: shown.resource_configuration_id,
        resource_configuration_arn: shown.resource_configuration_arn,
        vpc_endpoint_id: shown.vpc_endpoint_id,
    })
}
