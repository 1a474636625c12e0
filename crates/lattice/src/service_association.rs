//! Associations of service networks with services.

use std::ops::Bound;
use std::sync::Arc;

use lath_control::Cell;
use lath_model::id::{ServiceId, ServiceNetworkId, ServiceNetworkServiceAssociationId};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};

use crate::ident::{Kind, resolve};
use crate::record::ServiceAssociation;
use crate::region::{NetworkSide, ServiceSide, filter};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, behind, endpoint, fault, merged, page_from, quota, region, service, token};

operations! {
    for Lattice as "vpc-lattice";
    change CreateServiceNetworkServiceAssociation: post "/servicenetworkserviceassociations" 200 -> CreateServiceAssociationOutput = create, checked, caller
        => makes(&SERVICE_ASSOCIATION)
            .with_all(NEW_SERVICE_ASSOCIATION, new_service_association)
            .with_tags(|op| &op.tags)
            .on(&SERVICE, |op, _| op.service_identifier.clone())
            .with_all(NEW_SERVICE_ASSOCIATION, new_service_association)
            .with_tags(|op| &op.tags)
            .on(&SERVICE_NETWORK, |op, _| op.service_network_identifier.clone())
            .with_all(NEW_SERVICE_ASSOCIATION, new_service_association)
            .with_tags(|op| &op.tags)
            .tagging(&SERVICE_ASSOCIATION, |_, _| "*".into(), |op| &op.tags);
    read GetServiceNetworkServiceAssociation: get "/servicenetworkserviceassociations/{serviceNetworkServiceAssociationIdentifier}" 200 -> GetServiceAssociationOutput = get
        => on(&SERVICE_ASSOCIATION, |op, _| op.service_network_service_association_identifier.clone());
    read ListServiceNetworkServiceAssociations: get "/servicenetworkserviceassociations" 200 -> ListServiceAssociationsOutput = list, checked
        => any()
            .with(SERVICE_ARN, |op, at| op.service_identifier.as_ref().map(|it| service_arn(at, it)))
            .with(NETWORK_ARN, |op, at| op.service_network_identifier.as_ref().map(|it| network_arn(at, it)));
    change DeleteServiceNetworkServiceAssociation: delete "/servicenetworkserviceassociations/{serviceNetworkServiceAssociationIdentifier}" 200 -> DeleteServiceAssociationOutput = delete_association
        => on(&SERVICE_ASSOCIATION, |op, _| op.service_network_service_association_identifier.clone());
}

const KIND: Kind = Kind::ServiceAssociation;

fn find(cell: &Cell, view: &View, text: &str) -> Result<Arc<ServiceAssociation>, ApiError> {
    let id = resolve(cell, KIND, text, &[])?;
    view.get(&id).ok_or_else(|| fault::not_found(KIND, &id))
}

/// An association's ARN.
pub(crate) fn arn(cell: &Cell, id: &ServiceNetworkServiceAssociationId) -> String {
    cell.arn(
        "vpc-lattice",
        format!("servicenetworkserviceassociation/{id}"),
    )
}

/// An association as its region keeps it; `None` is this region.
type Placed = (Option<String>, Arc<ServiceAssociation>);

/// The associations of other regions, in whatever state.
fn elsewhere(view: &View) -> impl Iterator<Item = Arc<ServiceAssociation>> + '_ {
    region::service_associations(view).map(|(_, it)| Arc::new(it))
}

/// How many associations a network has, in whatever state and of whatever region.
pub(crate) fn count_of_network(view: &View, id: &ServiceNetworkId) -> usize {
    let here = view.count_by::<ServiceAssociation>("network", id.as_str());
    here + elsewhere(view).filter(|it| it.network == *id).count()
}

/// A service's associations, in whatever state and of whatever region.
pub(crate) fn of_service<'a>(
    view: &'a View,
    id: &'a ServiceId,
) -> impl Iterator<Item = Arc<ServiceAssociation>> + 'a {
    let here = view.by::<ServiceAssociation>("service", id.as_str());
    here.chain(elsewhere(view).filter(move |it| it.service == *id))
}

/// What an ARN of another region's becomes when it is this region's, and the other way round.
fn foreign_to(
    cell: &Cell,
    at: Option<&String>,
    arn: Option<&String>,
    own: String,
) -> Option<String> {
    let arn = match (at, arn) {
        (None, arn) => arn.cloned()?,
        (Some(_), Some(arn)) => arn.clone(),
        (Some(region), None) => cell.arn_in(region, "vpc-lattice", own),
    };
    (region::region_of(&arn).as_deref() != Some(cell.region.as_str())).then_some(arn)
}

/// An association with its two sides.
struct Whole {
    association: Arc<ServiceAssociation>,
    arn: String,
    network: NetworkSide,
    service: ServiceSide,
}

impl Whole {
    fn of(cell: &Cell, view: &View, (at, association): Placed) -> Self {
        let it = &association;
        let network = format!("servicenetwork/{}", it.network);
        let network = foreign_to(cell, at.as_ref(), it.foreign_network.as_ref(), network);
        let service = format!("service/{}", it.service);
        let service = foreign_to(cell, at.as_ref(), it.foreign_service.as_ref(), service);
        let own = format!("servicenetworkserviceassociation/{}", it.id);
        let region = at.as_deref().unwrap_or(&cell.region);
        Self {
            arn: cell.arn_in(region, "vpc-lattice", own),
            network: NetworkSide::of(cell, view, &it.network, network.as_deref()),
            service: ServiceSide::of(cell, view, &it.service, service.as_deref()),
            association,
        }
    }

    fn dns_entry(&self) -> Option<DnsEntry> {
        self.service.domain_name.as_deref().map(service::entry)
    }

    fn detail(&self) -> GetServiceAssociationOutput {
        let failure = self.association.failure.as_ref();
        GetServiceAssociationOutput {
            id: Some(self.association.id.to_string()),
            status: Some(self.association.status),
            arn: Some(self.arn.clone()),
            created_by: Some(self.association.created_by.clone()),
            created_at: Some(self.association.created_at),
            service_id: Some(self.service.id.to_string()),
            service_name: self.service.name.clone(),
            service_arn: Some(self.service.arn.clone()),
            service_network_id: Some(self.network.id.to_string()),
            service_network_name: self.network.name.clone(),
            service_network_arn: Some(self.network.arn.clone()),
            dns_entry: self.dns_entry(),
            custom_domain_name: self.service.custom_domain_name.clone(),
            failure_message: failure.map(|failure| failure.message.clone()),
            failure_code: failure.map(|failure| failure.code.clone()),
        }
    }

    fn summary(&self) -> ServiceAssociationSummary {
        let detail = self.detail();
        ServiceAssociationSummary {
            id: detail.id,
            status: detail.status,
            arn: detail.arn,
            created_by: detail.created_by,
            created_at: detail.created_at,
            service_id: detail.service_id,
            service_name: detail.service_name,
            service_arn: detail.service_arn,
            service_network_id: detail.service_network_id,
            service_network_name: detail.service_network_name,
            service_network_arn: detail.service_network_arn,
            dns_entry: detail.dns_entry,
            custom_domain_name: detail.custom_domain_name,
        }
    }

    fn created(&self) -> CreateServiceAssociationOutput {
        CreateServiceAssociationOutput {
            id: Some(self.association.id.to_string()),
            status: Some(self.association.status),
            arn: Some(self.arn.clone()),
            created_by: Some(self.association.created_by.clone()),
            custom_domain_name: self.service.custom_domain_name.clone(),
            dns_entry: self.dns_entry(),
        }
    }
}

/// A pair is associated once, also while that is being undone; a custom name occurs once in a network.
fn refuse_twin(
    cell: &Cell,
    view: &View,
    network: &NetworkSide,
    service: &ServiceSide,
) -> Result<(), ApiError> {
    let elsewhere = region::service_associations(view)
        .filter(|(_, it)| it.network == network.id)
        .map(|(region, it)| (Some(region), Arc::new(it)));
    let here = view.by::<ServiceAssociation>("network", network.id.as_str());
    for known in here.map(|it| (None, it)).chain(elsewhere) {
        let known = Whole::of(cell, view, known);
        let id = known.association.id.as_str();
        if known.service.id == service.id {
            return Err(fault::conflict(
                KIND,
                id,
                format!(
                    "Service {} is already associated with service network {}",
                    service.id, network.id
                ),
            ));
        }
        let name = service.custom_domain_name.as_ref();
        if name.is_some() && known.service.custom_domain_name.as_ref() == name {
            return Err(fault::conflict(
                KIND,
                id,
                format!(
                    "A service with the same custom domain name is already associated with service network {}",
                    network.id
                ),
            ));
        }
    }
    Ok(())
}

/// One side at least is of this region: the association belongs to it.
fn refuse_strangers(network: &NetworkSide, service: &ServiceSide) -> Result<(), ApiError> {
    if network.is_foreign && service.is_foreign {
        return Err(fault::refused(
            "Neither the service network nor the service is of this region",
        ));
    }
    Ok(())
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateServiceNetworkServiceAssociation,
) -> Result<CreateServiceAssociationOutput, ApiError> {
    let cell = &app.cell;
    let client_token = op.client_token.take();
    let network = NetworkSide::find(cell, tx.view(), &op.service_network_identifier)?;
    let service = ServiceSide::find(cell, tx.view(), &op.service_identifier)?;
    refuse_strangers(&network, &service)?;
    let id = ServiceNetworkServiceAssociationId::random();
    let name = "CreateServiceNetworkServiceAssociation";
    let known = token::claim(tx, name, client_token.as_deref(), &op, KIND, id.as_str())?;
    if let Some(id) = known {
        let known = find(cell, tx.view(), &id)?;
        return Ok(Whole::of(cell, tx.view(), (None, known)).created());
    }
    if !service.is_foreign {
        service::find_active(cell, tx.view(), service.id.as_str())?;
    }
    refuse_twin(cell, tx.view(), &network, &service)?;
    let now = tx.now();
    let association = ServiceAssociation {
        id,
        network: network.id.clone(),
        foreign_network: network.foreign(),
        service: service.id.clone(),
        foreign_service: service.foreign(),
        status: Status::CreateInProgress,
        failure: None,
        status_after: tx.view().revision(),
        created_by: caller.account.clone(),
        tags: op.tags,
        created_at: now,
        updated_at: now,
    };
    let association = tx.put(association);
    endpoint::offer(cell, tx, &association);
    let count = count_of_network(tx.view(), &network.id);
    quota::check(quota::SERVICES_PER_NETWORK, cell, count)?;
    Ok(Whole::of(cell, tx.view(), (None, association)).created())
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetServiceNetworkServiceAssociation,
) -> Result<GetServiceAssociationOutput, ApiError> {
    let cell = &app.cell;
    let text = &op.service_network_service_association_identifier;
    let association = find(cell, view, text)?;
    Ok(Whole::of(cell, view, (None, association)).detail())
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListServiceNetworkServiceAssociations,
) -> Result<ListServiceAssociationsOutput, ApiError> {
    let cell = &app.cell;
    let network = op.service_network_identifier.as_deref();
    let network = filter(cell, Kind::ServiceNetwork, network);
    let service = filter(cell, Kind::Service, op.service_identifier.as_deref());
    let elsewhere = region::service_associations(view);
    let elsewhere = in_order(elsewhere.map(|(region, it)| (Some(region), Arc::new(it))));
    let wanted = |(at, association): &Placed| {
        let sides = [&association.foreign_network, &association.foreign_service];
        let concerns = |side: &Option<String>| region::is_here(cell, side.as_deref());
        (at.is_none() || sides.into_iter().any(concerns))
            && network
                .as_deref()
                .is_none_or(|id| association.network.as_str() == id)
            && service
                .as_deref()
                .is_none_or(|id| association.service.as_str() == id)
    };
    let from = |start: Bound<String>| {
        let here = behind::<ServiceAssociation>(view, &start).map(|it| (None, it));
        merged(here, elsewhere, |(_, it)| it.id.as_str()).filter(wanted)
    };
    let token = op.next_token.as_deref();
    let page = page_from(from, |(_, it)| it.id.to_string(), op.max_results, token)?;
    let whole = page.items.into_iter().map(|it| Whole::of(cell, view, it));
    Ok(ListServiceAssociationsOutput {
        items: whole.map(|whole| whole.summary()).collect(),
        next_token: page.next_token,
    })
}

/// By id, as pages want it.
fn in_order(associations: impl Iterator<Item = Placed>) -> Vec<Placed> {
    let mut associations: Vec<Placed> = associations.collect();
    associations.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
    associations
}

fn delete(cell: &Cell, tx: &mut Tx, text: &str) -> Result<Arc<ServiceAssociation>, ApiError> {
    let association = find(cell, tx.view(), text)?;
    match association.status {
        Status::DeleteInProgress => return Ok(association),
        Status::CreateInProgress => {
            let (id, status) = (association.id.as_str(), association.status.as_str());
            return Err(fault::wrong_status(KIND, id, status));
        }
        Status::Active | Status::CreateFailed | Status::DeleteFailed => {}
    }
    endpoint::withdraw(tx, &association);
    let status_after = tx.view().revision();
    Ok(tx.put(ServiceAssociation {
        status: Status::DeleteInProgress,
        status_after,
        failure: None,
        updated_at: tx.now(),
        ..ServiceAssociation::clone(&association)
    }))
}

fn delete_association(
    app: &Lattice,
    tx: &mut Tx,
    op: DeleteServiceNetworkServiceAssociation,
) -> Result<DeleteServiceAssociationOutput, ApiError> {
    let cell = &app.cell;
    let text = &op.service_network_service_association_identifier;
    let association = delete(cell, tx, text)?;
    Ok(DeleteServiceAssociationOutput {
        id: Some(association.id.to_string()),
        status: Some(association.status),
        arn: Some(arn(cell, &association.id)),
    })
}
