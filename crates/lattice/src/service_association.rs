//! Associations of service networks with services.

use std::sync::Arc;

use lath_control::Cell;
use lath_model::Timestamp;
use lath_model::id::{ServiceId, ServiceNetworkId, ServiceNetworkServiceAssociationId};
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller, Handle};

use crate::ident::{Identifier, Kind, resolve};
use crate::record::{Service, ServiceAssociation, ServiceNetwork};
use crate::shape::*;
use crate::{Lattice, fault, network, page, quota, service, token};

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

/// A network's associations, in whatever state.
pub(crate) fn of_network<'a>(
    view: &'a View,
    id: &'a ServiceNetworkId,
) -> impl Iterator<Item = Arc<ServiceAssociation>> + 'a {
    view.list::<ServiceAssociation>()
        .filter(move |association| association.network == *id)
}

/// A service's associations, in whatever state.
pub(crate) fn of_service<'a>(
    view: &'a View,
    id: &'a ServiceId,
) -> impl Iterator<Item = Arc<ServiceAssociation>> + 'a {
    view.list::<ServiceAssociation>()
        .filter(move |association| association.service == *id)
}

/// An association with its two sides, which outlive it.
struct Whole {
    association: Arc<ServiceAssociation>,
    network: Arc<ServiceNetwork>,
    service: Arc<Service>,
}

impl Whole {
    fn of(view: &View, association: Arc<ServiceAssociation>) -> Result<Self, ApiError> {
        let id = association.id.as_str();
        let network = view.get(association.network.as_str());
        let service = view.get(association.service.as_str());
        let (Some(network), Some(service)) = (network, service) else {
            return Err(fault::not_found(KIND, id));
        };
        Ok(Self {
            association,
            network,
            service,
        })
    }

    fn detail(&self, cell: &Cell) -> GetServiceAssociationOutput {
        let failure = self.association.failure.as_ref();
        GetServiceAssociationOutput {
            id: Some(self.association.id.to_string()),
            status: Some(self.association.status),
            arn: Some(arn(cell, &self.association.id)),
            created_by: Some(self.association.created_by.clone()),
            created_at: Some(self.association.created_at),
            service_id: Some(self.service.id.to_string()),
            service_name: Some(self.service.name.clone()),
            service_arn: Some(service::arn(cell, &self.service.id)),
            service_network_id: Some(self.network.id.to_string()),
            service_network_name: Some(self.network.name.clone()),
            service_network_arn: Some(network::arn(cell, &self.network.id)),
            dns_entry: Some(service::dns_entry(cell, &self.service)),
            custom_domain_name: self.service.custom_domain_name.clone(),
            failure_message: failure.map(|failure| failure.message.clone()),
            failure_code: failure.map(|failure| failure.code.clone()),
        }
    }

    fn summary(&self, cell: &Cell) -> ServiceAssociationSummary {
        let detail = self.detail(cell);
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
}

fn created(
    cell: &Cell,
    view: &View,
    association: &ServiceAssociation,
) -> CreateServiceAssociationOutput {
    let service = view.get::<Service>(association.service.as_str());
    CreateServiceAssociationOutput {
        id: Some(association.id.to_string()),
        status: Some(association.status),
        arn: Some(arn(cell, &association.id)),
        created_by: Some(association.created_by.clone()),
        custom_domain_name: service.as_ref().and_then(|s| s.custom_domain_name.clone()),
        dns_entry: service.map(|service| service::dns_entry(cell, &service)),
    }
}

/// A pair is associated once, also while that is being undone; a custom name occurs once in a network.
fn refuse_twin(view: &View, network: &ServiceNetwork, service: &Service) -> Result<(), ApiError> {
    for known in of_network(view, &network.id) {
        if known.service == service.id {
            return Err(fault::conflict(
                KIND,
                known.id.as_str(),
                format!(
                    "Service {} is already associated with service network {}",
                    service.id, network.id
                ),
            ));
        }
        let other = view.get::<Service>(known.service.as_str());
        let name = service.custom_domain_name.as_ref();
        if name.is_some() && other.is_some_and(|other| other.custom_domain_name.as_ref() == name) {
            return Err(fault::conflict(
                KIND,
                known.id.as_str(),
                format!(
                    "A service with the same custom domain name is already associated with service network {}",
                    network.id
                ),
            ));
        }
    }
    Ok(())
}

fn create(
    cell: &Cell,
    caller: &Caller,
    tx: &mut Tx,
    mut op: CreateServiceNetworkServiceAssociation,
) -> Result<CreateServiceAssociationOutput, ApiError> {
    let client_token = op.client_token.take();
    let network = network::find(cell, tx.view(), &op.service_network_identifier)?;
    let service = service::find(cell, tx.view(), &op.service_identifier)?;
    let id = ServiceNetworkServiceAssociationId::random();
    let name = "CreateServiceNetworkServiceAssociation";
    let known = token::claim(tx, name, client_token.as_deref(), &op, KIND, id.as_str())?;
    if let Some(id) = known {
        return Ok(created(cell, tx.view(), &*find(cell, tx.view(), &id)?));
    }
    service::find_active(cell, tx.view(), service.id.as_str())?;
    refuse_twin(tx.view(), &network, &service)?;
    let now = Timestamp::now();
    let association = ServiceAssociation {
        id,
        network: network.id.clone(),
        service: service.id.clone(),
        status: Status::CreateInProgress,
        failure: None,
        status_after: tx.view().revision(),
        created_by: caller.account.clone(),
        tags: op.tags,
        created_at: now,
        updated_at: now,
    };
    let association = tx.put(association);
    let count = of_network(tx.view(), &network.id).count();
    quota::SERVICES_PER_NETWORK.check(cell, count)?;
    Ok(created(cell, tx.view(), &association))
}

impl Handle<CreateServiceNetworkServiceAssociation> for Lattice {
    async fn handle(
        &self,
        caller: &Caller,
        op: CreateServiceNetworkServiceAssociation,
    ) -> Result<CreateServiceAssociationOutput, ApiError> {
        let cell = &self.cell;
        cell.db.write(|tx| create(cell, caller, tx, op)).await
    }
}

impl Handle<GetServiceNetworkServiceAssociation> for Lattice {
    async fn handle(
        &self,
        _caller: &Caller,
        op: GetServiceNetworkServiceAssociation,
    ) -> Result<GetServiceAssociationOutput, ApiError> {
        let (cell, view) = (&self.cell, self.cell.db.view());
        let text = &op.service_network_service_association_identifier;
        Ok(Whole::of(&view, find(cell, &view, text)?)?.detail(cell))
    }
}

/// The id that a filter asks for; what is not of this cell matches nothing.
pub(crate) fn filter(cell: &Cell, kind: Kind, text: Option<&str>) -> Option<String> {
    let ident = Identifier::parse(kind, text?)?;
    Some(if ident.is_of(cell) {
        ident.id().to_owned()
    } else {
        String::new()
    })
}

impl Handle<ListServiceNetworkServiceAssociations> for Lattice {
    async fn handle(
        &self,
        _caller: &Caller,
        op: ListServiceNetworkServiceAssociations,
    ) -> Result<ListServiceAssociationsOutput, ApiError> {
        let (cell, view) = (&self.cell, self.cell.db.view());
        let network = op.service_network_identifier.as_deref();
        let network = filter(cell, Kind::ServiceNetwork, network);
        let service = filter(cell, Kind::Service, op.service_identifier.as_deref());
        let wanted = view.list::<ServiceAssociation>().filter(|association| {
            network
                .as_deref()
                .is_none_or(|id| association.network.as_str() == id)
                && service
                    .as_deref()
                    .is_none_or(|id| association.service.as_str() == id)
        });
        let token = op.next_token.as_deref();
        let page = page(wanted, |a| a.id.to_string(), op.max_results, token)?;
        let whole = page.items.into_iter().map(|a| Whole::of(&view, a));
        let items: Result<Vec<_>, ApiError> = whole.map(|w| Ok(w?.summary(cell))).collect();
        Ok(ListServiceAssociationsOutput {
            items: items?,
            next_token: page.next_token,
        })
    }
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
    let status_after = tx.view().revision();
    Ok(tx.put(ServiceAssociation {
        status: Status::DeleteInProgress,
        status_after,
        failure: None,
        updated_at: Timestamp::now(),
        ..ServiceAssociation::clone(&association)
    }))
}

impl Handle<DeleteServiceNetworkServiceAssociation> for Lattice {
    async fn handle(
        &self,
        _caller: &Caller,
        op: DeleteServiceNetworkServiceAssociation,
    ) -> Result<DeleteServiceAssociationOutput, ApiError> {
        let cell = &self.cell;
        let text = &op.service_network_service_association_identifier;
        let association = cell.db.write(|tx| delete(cell, tx, text)).await?;
        Ok(DeleteServiceAssociationOutput {
            id: Some(association.id.to_string()),
            status: Some(association.status),
            arn: Some(arn(cell, &association.id)),
        })
    }
}
