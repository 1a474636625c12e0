//! What is at endpoints: services and resources.

use lath_control::services_of;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::select::{Listed, Query, select};
use lath_ec2_kit::tags::Tag;
use lath_ec2_records::ids;
use lath_ec2_records::resources::VPC_ENDPOINT;
use lath_ec2_records::{EndpointOf, VpcEndpoint};
use lath_feed::{endpoint_name, endpoint_resource_name};
use lath_model::id::VpcEndpointId;
use lath_service::IdForm;
use lath_store::View;
use lath_wire::ApiError;

use super::find;
use super::messages::*;

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
            it.service_network_arn.iter().cloned().collect()
        }),
        ("service-network-name", |it| {
            it.service_network_name.iter().cloned().collect()
        }),
        ("resource-configuration-group-arn", |it| {
            it.resource_configuration_group_arn
                .iter()
                .cloned()
                .collect()
        }),
    ];
    fn id(&self) -> &str {
        &self.id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

/// One for each service and each resource at each endpoint.
pub(super) fn associations(
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
    let services = endpoint
        .to
        .network()
        .map(|network| services_of(view, network));
    let services = services.unwrap_or_default();
    let region = &app.cell.region;
    let network_arn = match &endpoint.to {
        EndpointOf::ServiceNetwork { network_arn, .. } => Some(network_arn.clone()),
        EndpointOf::Resource { .. } => None,
    };
    let services = services.iter().map(|known| AssociationItem {
        id: id_of(endpoint, known.association.as_str()),
        vpc_endpoint_id: endpoint.id.to_string(),
        service_network_arn: network_arn.clone(),
        service_network_name: Some(known.network_name.clone()),
        associated_resource_accessibility: "Accessible".into(),
        failure_reason: None,
        failure_code: None,
        dns_entry: DnsEntryItem {
            dns_name: endpoint_name(&endpoint.id, &known.association, region),
        },
        private_dns_entry: None,
        associated_resource_arn: known.service_arn.clone(),
        resource_configuration_group_arn: None,
        tags: Vec::new(),
    });
    let resources = endpoint.resources.iter().flatten();
    let resources = resources.map(|(id, known)| {
        let resource = &known.resource;
        let association = resource.association.as_ref();
        let with_network = association.map(|(id, _)| id);
        let full = known.addresses.len() < endpoint.subnets.len();
        let private = resource.private_name.clone();
        AssociationItem {
            id: id_of(endpoint, id.as_str()),
            vpc_endpoint_id: endpoint.id.to_string(),
            service_network_arn: network_arn.clone(),
            service_network_name: association.map(|(_, name)| name.clone()),
            associated_resource_accessibility: match known.addresses.is_empty() {
                true => "Inaccessible".into(),
                false => "Accessible".into(),
            },
            failure_reason: full.then(|| "A subnet of the endpoint has no free address.".into()),
            failure_code: full.then(|| "InsufficientFreeAddressesInSubnet".into()),
            dns_entry: DnsEntryItem {
                dns_name: endpoint_resource_name(&endpoint.id, with_network, id, region),
            },
            private_dns_entry: private.map(|dns_name| DnsEntryItem { dns_name }),
            associated_resource_arn: resource.arn.clone(),
            resource_configuration_group_arn: resource.group_arn.clone(),
            tags: Vec::new(),
        }
    });
    services.chain(resources).collect()
}

/// The same for ever: it follows from what it joins.
fn id_of(endpoint: &VpcEndpoint, with: &str) -> String {
    let id = ids::fixed::<VpcEndpointId>("vpce", &format!("{}/{with}", endpoint.id));
    id.as_str().replacen("vpce-", "vpce-rsc-asc-", 1)
}
