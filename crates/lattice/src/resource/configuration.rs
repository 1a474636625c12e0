//! Resource configurations: what is reached through a gateway, by which ports and names.

use std::sync::Arc;

use lath_control::{Cell, claims_on};
use lath_model::id::{DomainVerificationId, ResourceConfigurationId};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};

use super::{
    DomainVerification, ResourceAssociation, ResourceConfiguration, ResourceEndpointAssociation,
    association, gateway, is_within, verification,
};
use crate::ident::{Kind, resolve};
use crate::record::LogSource;
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, auth_policy, behind, fault, network, page_from, quota, region, token};

operations! {
    for Lattice as "vpc-lattice";
    change CreateResourceConfiguration: post "/resourceconfigurations" 201 -> CreateResourceConfigurationOutput = create, checked, caller
        => makes(&RESOURCE_CONFIGURATION)
            .with_tags(|op| &op.tags)
            .on(&RESOURCE_CONFIGURATION, |op, _| op.resource_configuration_group_identifier.clone())
            .with_tags(|op| &op.tags)
            .on(&RESOURCE_GATEWAY, |op, _| op.resource_gateway_identifier.clone())
            .with_tags(|op| &op.tags)
            .on(&DOMAIN_VERIFICATION, |op, _| op.domain_verification_identifier.clone())
            .with_tags(|op| &op.tags)
            .tagging(&RESOURCE_CONFIGURATION, |_, _| "*".into(), |op| &op.tags)
        => refusing ["" CreateResourceConfiguration];
    read GetResourceConfiguration: get "/resourceconfigurations/{resourceConfigurationIdentifier}" 200 -> GetResourceConfigurationOutput = get
        => on(&RESOURCE_CONFIGURATION, |op, _| op.resource_configuration_identifier.clone());
    read ListResourceConfigurations: get "/resourceconfigurations" 200 -> ListResourceConfigurationsOutput = list
        => any();
    change UpdateResourceConfiguration: patch "/resourceconfigurations/{resourceConfigurationIdentifier}" 200 -> UpdateResourceConfigurationOutput = update, checked
        => on(&RESOURCE_CONFIGURATION, |op, _| op.resource_configuration_identifier.clone());
    change DeleteResourceConfiguration: delete "/resourceconfigurations/{resourceConfigurationIdentifier}" 204 -> Empty = delete
        => on(&RESOURCE_CONFIGURATION, |op, _| op.resource_configuration_identifier.clone());
}

const KIND: Kind = Kind::ResourceConfiguration;

/// The configuration that an identifier names, in whatever state.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(
    cell: &Cell,
    view: &View,
    text: &str,
) -> Result<Arc<ResourceConfiguration>, ApiError> {
    let id = resolve(cell, KIND, text, &[])?;
    view.get(&id).ok_or_else(|| fault::not_found(KIND, &id))
}

/// A configuration's ARN.
pub(crate) fn arn(cell: &Cell, id: &ResourceConfigurationId) -> String {
    cell.arn("vpc-lattice", format!("resourceconfiguration/{id}"))
}

/// The verification of a configuration's domain.
pub(crate) fn verification_of(
    view: &View,
    it: &ResourceConfiguration,
) -> Option<Arc<DomainVerification>> {
    view.get(it.verification.as_ref()?.as_str())
}

/// Its ports: ascending ranges that do not touch.
pub(crate) fn merged_ports(it: &ResourceConfiguration) -> Vec<(u16, u16)> {
    let mut ranges: Vec<_> = it.port_ranges.iter().filter_map(|it| ports(it)).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn detail(cell: &Cell, view: &View, it: &ResourceConfiguration) -> GetResourceConfigurationOutput {
    let verification = verification_of(view, it);
    GetResourceConfigurationOutput {
        id: Some(it.id.to_string()),
        name: Some(it.name.clone()),
        arn: Some(arn(cell, &it.id)),
        resource_gateway_id: Some(it.gateway.to_string()),
        resource_configuration_group_id: it.group.as_ref().map(ToString::to_string),
        kind: Some(it.kind),
        allow_association_to_shareable_service_network: Some(it.shareable),
        port_ranges: Some(it.port_ranges.clone()).filter(|ranges| !ranges.is_empty()),
        protocol: Some(it.protocol),
        custom_domain_name: it.custom_domain_name.clone(),
        status: Some(it.status),
        resource_configuration_definition: it.definition.clone(),
        created_at: Some(it.created_at),
        amazon_managed: Some(false),
        failure_reason: it.failure.as_ref().map(|failure| failure.message.clone()),
        last_updated_at: Some(it.updated_at),
        domain_verification_id: it.verification.as_ref().map(ToString::to_string),
        domain_verification_arn: it
            .verification
            .as_ref()
            .map(|id| verification::arn(cell, id)),
        domain_verification_status: verification.map(|it| it.status),
        group_domain: it.group_domain.clone(),
    }
}

fn created(
    cell: &Cell,
    view: &View,
    it: &ResourceConfiguration,
) -> CreateResourceConfigurationOutput {
    let shown = detail(cell, view, it);
    CreateResourceConfigurationOutput {
        id: shown.id,
        name: shown.name,
        arn: shown.arn,
        resource_gateway_id: shown.resource_gateway_id,
        resource_configuration_group_id: shown.resource_configuration_group_id,
        kind: shown.kind,
        port_ranges: shown.port_ranges,
        protocol: shown.protocol,
        status: shown.status,
        resource_configuration_definition: shown.resource_configuration_definition,
        allow_association_to_shareable_service_network: shown
            .allow_association_to_shareable_service_network,
        created_at: shown.created_at,
        failure_reason: shown.failure_reason,
        custom_domain_name: shown.custom_domain_name,
        domain_verification_id: shown.domain_verification_id,
        group_domain: shown.group_domain,
        domain_verification_arn: shown.domain_verification_arn,
    }
}

fn summary(it: GetResourceConfigurationOutput) -> ResourceConfigurationSummary {
    ResourceConfigurationSummary {
        id: it.id,
        name: it.name,
        arn: it.arn,
        resource_gateway_id: it.resource_gateway_id,
        resource_configuration_group_id: it.resource_configuration_group_id,
        kind: it.kind,
        status: it.status,
        amazon_managed: it.amazon_managed,
        created_at: it.created_at,
        last_updated_at: it.last_updated_at,
        custom_domain_name: it.custom_domain_name,
        domain_verification_id: it.domain_verification_id,
        group_domain: it.group_domain,
    }
}

/// An ARN names a database of RDS, and there is none here.
fn refuse_arn(definition: Option<&ResourceConfigurationDefinition>) -> Result<(), ApiError> {
    let arn = definition.and_then(|it| it.arn_resource.as_ref()?.arn.as_deref());
    let Some(arn) = arn else { return Ok(()) };
    let service = arn.parse().map(|arn: lath_model::arn::Arn| arn.service);
    match service.as_deref() {
        Ok("rds") => Err(fault::missing("DB_INSTANCE", "Database", arn)),
        _ => Err(fault::invalid(
            "resourceConfigurationDefinition.arnResource.arn",
            format!("{arn} is not the ARN of an Amazon RDS database"),
        )),
    }
}

/// The verification that a request names, which must be of the domain or of one above it.
fn verified(
    cell: &Cell,
    view: &View,
    identifier: Option<&str>,
    (member, domain): (&str, Option<&str>),
) -> Result<Option<DomainVerificationId>, ApiError> {
    let Some(identifier) = identifier else {
        return Ok(None);
    };
    let known = verification::find(cell, view, identifier)?;
    match domain {
        None => Err(fault::invalid(
            "domainVerificationIdentifier",
            format!("A domain verification needs a {member}"),
        )),
        Some(domain) if !is_within(domain, &known.domain_name) => Err(fault::invalid(
            member,
            format!("{domain} is not in the domain {}", known.domain_name),
        )),
        Some(_) => Ok(Some(known.id.clone())),
    }
}

/// The group of a new child.
fn group_of(cell: &Cell, view: &View, text: &str) -> Result<Arc<ResourceConfiguration>, ApiError> {
    use ChangingStatus::{Active, UpdateInProgress};
    let group = find(cell, view, text)?;
    let member = "resourceConfigurationGroupIdentifier";
    if group.kind != ResourceConfigurationType::Group {
        return Err(fault::invalid(
            member,
            format!("{} is not of type GROUP", group.id),
        ));
    }
    if !matches!(group.status, Active | UpdateInProgress) {
        let status = group.status.as_str();
        return Err(fault::wrong_status(KIND, group.id.as_str(), status));
    }
    Ok(group)
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateResourceConfiguration,
) -> Result<CreateResourceConfigurationOutput, ApiError> {
    use ChangingStatus::{Active, UpdateInProgress};
    let cell = &app.cell;
    let client_token = op.client_token.take();
    refuse_arn(op.resource_configuration_definition.as_ref())?;
    let lower = |it: &Option<String>| it.as_ref().map(|it| it.to_ascii_lowercase());
    let (custom, group_domain) = (lower(&op.custom_domain_name), lower(&op.group_domain));
    let group = op.resource_configuration_group_identifier.as_deref();
    let group = group
        .map(|text| group_of(cell, tx.view(), text))
        .transpose()?;
    let gateway = match (&group, &op.resource_gateway_identifier) {
        (Some(group), _) => group.gateway.clone(),
        (None, text) => {
            let text = text.as_deref().unwrap_or_default();
            let gateway = gateway::find(cell, tx.view(), text)?;
            if !matches!(gateway.status, Active | UpdateInProgress) {
                let (id, status) = (gateway.id.as_str(), gateway.status.as_str());
                return Err(fault::wrong_status(Kind::ResourceGateway, id, status));
            }
            gateway.id.clone()
        }
    };
    let domain = match op.kind {
        ResourceConfigurationType::Group => ("groupDomain", group_domain.as_deref()),
        _ => ("customDomainName", custom.as_deref()),
    };
    let named = op.domain_verification_identifier.as_deref();
    let own = verified(cell, tx.view(), named, domain)?;
    let id = ResourceConfigurationId::random();
    let name = "CreateResourceConfiguration";
    let known = token::claim(tx, name, client_token.as_deref(), &op, KIND, id.as_str())?;
    if let Some(id) = known {
        return Ok(created(cell, tx.view(), &*find(cell, tx.view(), &id)?));
    }
    if let Some(twin) = tx
        .view()
        .by::<ResourceConfiguration>("name", &op.name)
        .next()
    {
        let id = twin.id.as_str();
        return Err(fault::name_taken(KIND, id, &op.name, &caller.account));
    }
    let now = tx.now();
    let configuration = tx.put(ResourceConfiguration {
        id,
        name: op.name,
        kind: op.kind,
        gateway,
        group: group.as_ref().map(|it| it.id.clone()),
        port_ranges: op.port_ranges,
        protocol: op.protocol.unwrap_or(ResourceProtocol::Tcp),
        definition: op.resource_configuration_definition,
        shareable: op
            .allow_association_to_shareable_service_network
            .unwrap_or(false),
        custom_domain_name: custom,
        group_domain,
        verification: own.or_else(|| group.as_ref()?.verification.clone()),
        status: ChangingStatus::CreateInProgress,
        failure: None,
        status_after: tx.view().revision(),
        tags: op.tags,
        created_at: now,
        updated_at: now,
    });
    if let Some(group) = group {
        let children = tx
            .view()
            .count_by::<ResourceConfiguration>("parent", group.id.as_str());
        quota::check(quota::CHILDREN_PER_GROUP, cell, children)?;
        association::join_child(tx, &group, &configuration)?;
    }
    let count = tx.view().count::<ResourceConfiguration>();
    quota::check(quota::RESOURCE_CONFIGURATIONS, cell, count)?;
    Ok(created(cell, tx.view(), &configuration))
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetResourceConfiguration,
) -> Result<GetResourceConfigurationOutput, ApiError> {
    let it = find(&app.cell, view, &op.resource_configuration_identifier)?;
    Ok(detail(&app.cell, view, &it))
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListResourceConfigurations,
) -> Result<ListResourceConfigurationsOutput, ApiError> {
    let cell = &app.cell;
    let gateway = region::filter(
        cell,
        Kind::ResourceGateway,
        op.resource_gateway_identifier.as_deref(),
    );
    let group = region::filter(
        cell,
        KIND,
        op.resource_configuration_group_identifier.as_deref(),
    );
    let verification = region::filter(
        cell,
        Kind::DomainVerification,
        op.domain_verification_identifier.as_deref(),
    );
    let fits = |wanted: &Option<String>, is: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
    };
    let page = page_from(
        |start| {
            behind::<ResourceConfiguration>(view, &start).filter(|it| {
                fits(&gateway, Some(it.gateway.as_str()))
                    && fits(&group, it.group.as_ref().map(|id| id.as_str()))
                    && fits(
                        &verification,
                        it.verification.as_ref().map(|id| id.as_str()),
                    )
            })
        },
        |it| it.id.to_string(),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    let items = page.items.iter().map(|it| summary(detail(cell, view, it)));
    Ok(ListResourceConfigurationsOutput {
        items: Some(items.collect()),
        next_token: page.next_token,
    })
}

/// The model has no ConflictException here: what cannot be changed now is refused with a ValidationException.
fn refuse_unsettled(it: &ResourceConfiguration) -> Result<(), ApiError> {
    use ChangingStatus::{Active, UpdateFailed};
    match it.status {
        Active | UpdateFailed => Ok(()),
        status => Err(fault::refused(format!(
            "Invalid resource status for this operation, resource id {}, status: {}",
            it.id,
            status.as_str()
        ))),
    }
}

/// A configuration's type is for good: a group is nothing itself, and an ARN makes another type. No configuration has the
/// type ARN here.
fn refuse_other_type(
    known: &ResourceConfiguration,
    definition: Option<&ResourceConfigurationDefinition>,
) -> Result<(), ApiError> {
    let Some(definition) = definition else {
        return Ok(());
    };
    let text = if known.kind == ResourceConfigurationType::Group {
        "A resource configuration of type GROUP must not have this member"
    } else if definition.arn_resource.is_some() {
        "An arnResource and the type ARN need each other"
    } else {
        return Ok(());
    };
    Err(fault::invalid("resourceConfigurationDefinition", text))
}

fn update(
    app: &Lattice,
    tx: &mut Tx,
    op: UpdateResourceConfiguration,
) -> Result<UpdateResourceConfigurationOutput, ApiError> {
    let cell = &app.cell;
    let known = find(cell, tx.view(), &op.resource_configuration_identifier)?;
    refuse_unsettled(&known)?;
    let definition = op.resource_configuration_definition;
    refuse_other_type(&known, definition.as_ref())?;
    let configuration = tx.put(ResourceConfiguration {
        definition: definition.or_else(|| known.definition.clone()),
        port_ranges: op.port_ranges.unwrap_or_else(|| known.port_ranges.clone()),
        shareable: op
            .allow_association_to_shareable_service_network
            .unwrap_or(known.shareable),
        status: ChangingStatus::UpdateInProgress,
        status_after: tx.view().revision(),
        failure: None,
        updated_at: tx.now(),
        ..ResourceConfiguration::clone(&known)
    });
    let shown = detail(cell, tx.view(), &configuration);
    Ok(UpdateResourceConfigurationOutput {
        id: shown.id,
        name: shown.name,
        arn: shown.arn,
        resource_gateway_id: shown.resource_gateway_id,
        resource_configuration_group_id: shown.resource_configuration_group_id,
        kind: shown.kind,
        port_ranges: shown.port_ranges,
        allow_association_to_shareable_service_network: shown
            .allow_association_to_shareable_service_network,
        protocol: shown.protocol,
        status: shown.status,
        resource_configuration_definition: shown.resource_configuration_definition,
    })
}

/// What keeps a configuration from being deleted. A child's associations come and go with the child.
fn refuse_while_used(view: &View, it: &ResourceConfiguration) -> Result<(), ApiError> {
    let id = it.id.as_str();
    let mut own = view.by::<ResourceAssociation>("configuration", id);
    let network = own.find(|it| it.parent.is_none());
    let mut endpoints = view.by::<ResourceEndpointAssociation>("configuration", id);
    let mut children = view.by::<ResourceConfiguration>("parent", id);
    let what = if let Some(it) = network {
        format!("is associated with service network {}", it.network)
    } else if let Some(it) = endpoints.next() {
        format!("is associated with VPC endpoint {}", it.endpoint)
    } else if let Some(claim) = claims_on(view, id).first() {
        // Of an endpoint that was made a moment ago.
        format!("is associated with VPC endpoint {}", claim.holder)
    } else if let Some(child) = children.next() {
        format!("has child resource configurations, such as {}", child.id)
    } else {
        return Ok(());
    };
    let message = format!("Resource configuration {id} {what}");
    Err(fault::conflict(KIND, id, message))
}

fn delete(app: &Lattice, tx: &mut Tx, op: DeleteResourceConfiguration) -> Result<Empty, ApiError> {
    use ChangingStatus::{CreateInProgress, DeleteInProgress, UpdateInProgress};
    let cell = &app.cell;
    let known = find(cell, tx.view(), &op.resource_configuration_identifier)?;
    match known.status {
        DeleteInProgress => return Ok(Empty {}),
        status @ (CreateInProgress | UpdateInProgress) => {
            return Err(fault::wrong_status(
                KIND,
                known.id.as_str(),
                status.as_str(),
            ));
        }
        _ => {}
    }
    refuse_while_used(tx.view(), &known)?;
    association::leave_child(tx, &known);
    network::unsubscribe(tx, &LogSource::Resource(known.id.clone()));
    auth_policy::remove(tx, known.id.as_str());
    tx.put(ResourceConfiguration {
        status: DeleteInProgress,
        status_after: tx.view().revision(),
        failure: None,
        updated_at: tx.now(),
        ..ResourceConfiguration::clone(&known)
    });
    Ok(Empty {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_resource_are_ranges_apart() {
        let of = |texts: &[&str]| {
            let now = lath_model::Timestamp::default();
            merged_ports(&ResourceConfiguration {
                id: ResourceConfigurationId::random(),
                name: "db".into(),
                kind: ResourceConfigurationType::Single,
                gateway: lath_model::id::ResourceGatewayId::random(),
                group: None,
                port_ranges: texts.iter().map(ToString::to_string).collect(),
                protocol: ResourceProtocol::Tcp,
                definition: None,
                shareable: false,
                custom_domain_name: None,
                group_domain: None,
                verification: None,
                status: ChangingStatus::Active,
                failure: None,
                status_after: 0,
                tags: Default::default(),
                created_at: now,
                updated_at: now,
            })
        };
        for (texts, want) in [
            (&["80"][..], &[(80, 80)][..]),
            (&["90-95", "80"], &[(80, 80), (90, 95)]),
            (&["80", "81", "70-80"], &[(70, 81)]),
            (&["1-65535", "5"], &[(1, 65535)]),
            (&["65535", "65534"], &[(65534, 65535)]),
        ] {
            assert_eq!(of(texts), want, "{texts:?}");
        }
    }
}
