//! VPC endpoints that lead to resources, and their associations with resource configurations. EC2 makes the endpoints; which
//! resources are at each is said here.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_records::managed;
use lath_ec2_records::{EndpointFailure, EndpointOf, EndpointResource, VpcEndpoint};
use lath_model::id::{ResourceConfigurationId, ResourceEndpointAssociationId, ServiceNetworkId};
use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use super::{
    ResourceAssociation, ResourceConfiguration, ResourceEndpointAssociation, association,
    configuration, contribute, is_served,
};
use crate::ident::{Kind, resolve};
use crate::record::{ServiceNetwork, Tags};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, fault, page, region};

operations! {
    for Lattice as "vpc-lattice";
    read ListResourceEndpointAssociations: get "/resourceendpointassociations" 200 -> ListResourceEndpointAssociationsOutput = list
        => any()
            .with(RESOURCE_CONFIGURATION_ARN, |op, at| configuration_arn(at, &op.resource_configuration_identifier))
            .with(VPC_ENDPOINT, |op, _| op.vpc_endpoint_id.clone());
    change DeleteResourceEndpointAssociation: delete "/resourceendpointassociations/{resourceEndpointAssociationIdentifier}" 200 -> DeleteResourceEndpointAssociationOutput = delete
        => on(&RESOURCE_ENDPOINT_ASSOCIATION, |op, _| op.resource_endpoint_association_identifier.clone());
}

const KIND: Kind = Kind::ResourceEndpointAssociation;

/// What is to be done for an endpoint.
pub(crate) enum Step {
    /// These resources are at it.
    Lead(
        Arc<VpcEndpoint>,
        BTreeMap<ResourceConfigurationId, EndpointResource>,
    ),
    /// It cannot lead to what it was made for.
    Fail(Arc<VpcEndpoint>, EndpointFailure),
    /// It is joined with its resource configuration.
    Join(ResourceEndpointAssociation),
    /// It is no more.
    Leave(ResourceEndpointAssociationId),
}

/// Compares what endpoints lead to with what they should.
pub(crate) fn steps(cell: &Cell, view: &View) -> Vec<Step> {
    let mut steps = Vec::new();
    let associations = view.list::<ResourceEndpointAssociation>();
    let ended = associations.filter(|it| {
        let endpoint = view.get::<VpcEndpoint>(it.endpoint.as_str());
        endpoint.is_none_or(|it| !it.life.state.lives())
    });
    steps.extend(ended.map(|it| Step::Leave(it.id.clone())));
    let living = view.list::<VpcEndpoint>();
    for endpoint in living.filter(|it| it.life.state.lives()) {
        match wanted(cell, view, &endpoint) {
            Err(failure) => steps.push(Step::Fail(endpoint, failure)),
            Ok(wanted) => {
                steps.extend(association_of(view, &endpoint).map(Step::Join));
                if !leads_to(&endpoint, &wanted) {
                    steps.push(Step::Lead(endpoint, wanted));
                }
            }
        }
    }
    steps
}

/// Does it.
pub(crate) fn settle(tx: &mut Tx, step: Step) {
    match step {
        Step::Lead(endpoint, wanted) => managed::set_endpoint_resources(tx, &endpoint, wanted),
        Step::Fail(endpoint, failure) => managed::fail_endpoint(tx, &endpoint, failure),
        Step::Join(association) => drop(tx.put(association)),
        Step::Leave(id) => drop(tx.delete::<ResourceEndpointAssociation>(id.as_str())),
    }
}

/// Whether an endpoint has these resources, each with an address in every subnet.
fn leads_to(
    endpoint: &VpcEndpoint,
    wanted: &BTreeMap<ResourceConfigurationId, EndpointResource>,
) -> bool {
    let Some(known) = &endpoint.resources else {
        return false;
    };
    let subnets = || endpoint.subnets.keys();
    known.len() == wanted.len()
        && known.iter().all(|(id, it)| {
            wanted.get(id) == Some(&it.resource) && subnets().eq(it.addresses.keys())
        })
}

/// The association of an endpoint that has none yet. Its id is for ever the same, so that it is made once.
fn association_of(view: &View, endpoint: &VpcEndpoint) -> Option<ResourceEndpointAssociation> {
    let configuration = endpoint.to.configuration()?;
    let id = endpoint.id.as_str().replacen("vpce-", "rea-", 1);
    let id: ResourceEndpointAssociationId = id.parse().ok()?;
    if view.contains(ResourceEndpointAssociation::KIND, id.as_str()) {
        return None;
    }
    Some(ResourceEndpointAssociation {
        id,
        configuration: configuration.clone(),
        endpoint: endpoint.id.clone(),
        created_by: endpoint.owner.clone(),
        tags: Tags::new(),
        created_at: endpoint.created_at,
    })
}

/// The resources that are to be at an endpoint.
fn wanted(
    cell: &Cell,
    view: &View,
    endpoint: &VpcEndpoint,
) -> Result<BTreeMap<ResourceConfigurationId, EndpointResource>, EndpointFailure> {
    match &endpoint.to {
        EndpointOf::ServiceNetwork { network, .. } => Ok(of_network(cell, view, network)),
        EndpointOf::Resource { configuration, .. } => {
            of_configuration(cell, view, endpoint, configuration)
        }
    }
}

fn of_network(
    cell: &Cell,
    view: &View,
    network: &ServiceNetworkId,
) -> BTreeMap<ResourceConfigurationId, EndpointResource> {
    let name = view.get::<ServiceNetwork>(network.as_str());
    let name = name.map(|it| it.name.clone()).unwrap_or_default();
    let associations = view.by::<ResourceAssociation>("network", network.as_str());
    // A group is nothing itself: its children have associations of their own.
    let served =
        associations.filter(|it| association::is_served(it.status) && !it.address.is_unspecified());
    let at_it = served.filter_map(|it| {
        let known = view.get::<ResourceConfiguration>(it.configuration.as_str())?;
        let resource = EndpointResource {
            arn: configuration::arn(cell, &known.id),
            association: Some((it.id.clone(), name.clone())),
            group_arn: known.group.as_ref().map(|id| configuration::arn(cell, id)),
            private_name: None,
        };
        Some((known.id.clone(), resource))
    });
    at_it.collect()
}

fn of_configuration(
    cell: &Cell,
    view: &View,
    endpoint: &VpcEndpoint,
    id: &ResourceConfigurationId,
) -> Result<BTreeMap<ResourceConfigurationId, EndpointResource>, EndpointFailure> {
    let known = view.get::<ResourceConfiguration>(id.as_str());
    let known = known
        .filter(|it| is_served(it.status))
        .ok_or_else(|| EndpointFailure {
            code: "ResourceConfigurationNotFound".to_owned(),
            message: format!("The resource configuration {id} does not exist or has failed"),
        })?;
    let at_it: Vec<Arc<ResourceConfiguration>> = match known.kind {
        ResourceConfigurationType::Child => {
            return Err(EndpointFailure {
                code: "InvalidResourceConfiguration".to_owned(),
                message: format!(
                    "The resource configuration {id} is of type CHILD: name its group"
                ),
            });
        }
        ResourceConfigurationType::Group => view
            .by::<ResourceConfiguration>("parent", id.as_str())
            .filter(|it| is_served(it.status))
            .collect(),
        _ => vec![known],
    };
    let resources = at_it.into_iter().map(|it| {
        let resource = EndpointResource {
            arn: configuration::arn(cell, &it.id),
            association: None,
            group_arn: it.group.as_ref().map(|id| configuration::arn(cell, id)),
            private_name: contribute::private_at(view, endpoint, &it),
        };
        (it.id.clone(), resource)
    });
    Ok(resources.collect())
}

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
    let endpoint = tx.get::<VpcEndpoint>(known.endpoint.as_str());
    if let Some(endpoint) = endpoint.filter(|it| it.life.state.lives()) {
        let failure = EndpointFailure {
            code: "ResourceEndpointAssociationDeleted".to_owned(),
            message: format!(
                "The association with the resource configuration {} was deleted",
                known.configuration
            ),
        };
        managed::fail_endpoint(tx, &endpoint, failure);
    }
    tx.delete::<ResourceEndpointAssociation>(&id);
    Ok(DeleteResourceEndpointAssociationOutput {
        id: shown.id,
        arn: shown.arn,
        resource_configuration_id: shown.resource_configuration_id,
        resource_configuration_arn: shown.resource_configuration_arn,
        vpc_endpoint_id: shown.vpc_endpoint_id,
    })
}
