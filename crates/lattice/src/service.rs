//! Services.

use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_control::Cell;
use lath_feed::Auth;
use lath_model::id::ServiceId;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};

use crate::ident::{Kind, resolve};
use crate::record::{ForeignAddress, LogSource, Service};
use crate::resource_types::*;
use crate::shape::*;
use crate::{
    Lattice, auth_policy, balancing, behind, canary, certificate, fault, gateway, gateway_routes,
    listener, long_tag, matching, mutual_tls, network, page_from, quota, region,
    service_association, target_tls, token, traffic,
};

operations! {
    for Lattice as "vpc-lattice";
    change CreateService: post "/services" 201 -> CreateServiceOutput = create, checked, caller
        => makes(&SERVICE)
            .with(AUTH_TYPE, |op, _| op.auth_type.unwrap_or_default().as_str())
            .with_tags(|op| &op.tags)
            .tagging(&SERVICE, |_, _| "*".into(), |op| &op.tags)
            .also(UPDATE_LISTENER, &LISTENER, |op, _| gateway_routes::listeners(&op.tags));
    read GetService: get "/services/{serviceIdentifier}" 200 -> GetServiceOutput = get
        => on(&SERVICE, |op, _| op.service_identifier.clone());
    read ListServices: get "/services" 200 -> ListServicesOutput = list
        => any();
    change UpdateService: patch "/services/{serviceIdentifier}" 200 -> UpdateServiceOutput = update
        => on(&SERVICE, |op, _| op.service_identifier.clone())
            .with(AUTH_TYPE, |op, at| auth_type_after(at, &op.service_identifier, op.auth_type));
    change DeleteService: delete "/services/{serviceIdentifier}" 200 -> DeleteServiceOutput = delete_service
        => on(&SERVICE, |op, _| op.service_identifier.clone());
}

/// The label that stands before every region's `vpc-lattice-svcs` domain.
const DOMAIN_LABEL: &str = "7d67968";

/// The hosted zone of the generated names: a constant, since no call can change the zone.
const HOSTED_ZONE: &str = "Z0LATHVPCLATTICESVCS";

/// The service that an identifier names, in whatever state.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(cell: &Cell, view: &View, text: &str) -> Result<Arc<Service>, ApiError> {
    let id = resolve(cell, Kind::Service, text, &[])?;
    view.get(&id)
        .ok_or_else(|| fault::not_found(Kind::Service, &id))
}

/// The service that an identifier names, which must be `ACTIVE`.
///
/// # Errors
/// `ResourceNotFoundException` or `ConflictException`.
pub(crate) fn find_active(cell: &Cell, view: &View, text: &str) -> Result<Arc<Service>, ApiError> {
    let service = find(cell, view, text)?;
    if service.status != Status::Active {
        let status = service.status.as_str();
        return Err(fault::wrong_status(
            Kind::Service,
            service.id.as_str(),
            status,
        ));
    }
    Ok(service)
}

/// A service's ARN.
pub(crate) fn arn(cell: &Cell, id: &ServiceId) -> String {
    cell.arn("vpc-lattice", format!("service/{id}"))
}

/// The name generated for a service.
pub(crate) fn domain_name(cell: &Cell, service: &Service) -> String {
    let suffix = service.id.as_str().trim_start_matches("svc-");
    let domain = generated_domain(&cell.region);
    format!("{}-{suffix}.{domain}", service.name)
}

/// The domain of a region's generated names.
pub(crate) fn generated_domain(region: &str) -> String {
    format!("{DOMAIN_LABEL}.vpc-lattice-svcs.{region}.on.aws")
}

pub(crate) fn dns_entry(cell: &Cell, service: &Service) -> DnsEntry {
    entry(&domain_name(cell, service))
}

/// A generated name, with the zone that it is in.
pub(crate) fn entry(domain_name: &str) -> DnsEntry {
    DnsEntry {
        domain_name: Some(domain_name.to_owned()),
        hosted_zone_id: Some(HOSTED_ZONE.to_owned()),
    }
}

/// The address in 169.254.171.0/24 that the fewest services have. `.0` and `.255` are no hosts and `.1` is
/// where the proxy's own connections come from. Services that share an address are told apart by host.
pub(crate) fn free_address(view: &View) -> Ipv4Addr {
    let all = (2..=254_u8).map(|last| Ipv4Addr::new(169, 254, 171, last));
    // A gateway takes what comes to its address, but for what names another service there.
    let gateways = gateway::addresses(view);
    let rank = |address: &Ipv4Addr| (gateways.contains_key(address), holders(view, *address));
    all.min_by_key(rank).expect("the range is not empty")
}

/// How many services have an address, those of other regions included.
pub(crate) fn holders(view: &View, address: Ipv4Addr) -> usize {
    let text = address.to_string();
    let own = view.count_by::<Service>("address", &text);
    own + view.count_by::<ForeignAddress>("address", &text)
}

fn created(cell: &Cell, service: &Service) -> CreateServiceOutput {
    CreateServiceOutput {
        id: Some(service.id.to_string()),
        arn: Some(arn(cell, &service.id)),
        name: Some(service.name.clone()),
        custom_domain_name: service.custom_domain_name.clone(),
        certificate_arn: service.certificate_arn.clone(),
        status: Some(service.status),
        auth_type: Some(service.auth_type),
        dns_entry: Some(dns_entry(cell, service)),
    }
}

fn summary(cell: &Cell, service: &Service) -> ServiceSummary {
    ServiceSummary {
        id: Some(service.id.to_string()),
        name: Some(service.name.clone()),
        arn: Some(arn(cell, &service.id)),
        created_at: Some(service.created_at),
        last_updated_at: Some(service.updated_at),
        dns_entry: Some(dns_entry(cell, service)),
        custom_domain_name: service.custom_domain_name.clone(),
        status: Some(service.status),
    }
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateService,
) -> Result<CreateServiceOutput, ApiError> {
    let cell = &app.cell;
    const KIND: Kind = Kind::Service;
    let client_token = op.client_token.take();
    let id = ServiceId::random();
    let token = client_token.as_deref();
    if let Some(id) = token::claim(tx, "CreateService", token, &op, KIND, id.as_str())? {
        return Ok(created(cell, &*find(cell, tx.view(), &id)?));
    }
    if let Some(twin) = tx.view().by::<Service>("name", &op.name).next() {
        let id = twin.id.as_str();
        return Err(fault::name_taken(KIND, id, &op.name, &caller.account));
    }
    let now = tx.now();
    let custom_domain_name = op.custom_domain_name.map(|name| name.to_ascii_lowercase());
    let certificate_arn = op.certificate_arn.filter(|arn| !arn.is_empty());
    if let Some(arn) = &certificate_arn {
        certificate::check(cell, tx.view(), arn, custom_domain_name.as_deref())?;
    }
    long_tag::check_mode(cell, &op.tags)?;
    for tag in [&traffic::TAG, &canary::TAG] {
        traffic::check_given(tag, tx.view(), KIND, "", &op.tags)?;
    }
    matching::check_given(KIND, false, &op.tags)?;
    balancing::check_given(KIND, &op.tags)?;
    target_tls::check_given(KIND, &op.tags)?;
    mutual_tls::check_given(KIND, &op.tags)?;
    gateway::check_given(KIND, &op.tags)?;
    gateway_routes::check_given(KIND, &op.tags)?;
    let routes = gateway_routes::of(cell, tx.view(), &op.tags, &[])?;
    let service = Service {
        id,
        name: op.name,
        custom_domain_name,
        certificate_arn,
        auth_type: op.auth_type.unwrap_or_default(),
        address: free_address(tx.view()),
        status: Status::CreateInProgress,
        failure: None,
        status_after: tx.view().revision(),
        routes,
        tags: op.tags,
        created_at: now,
        updated_at: now,
    };
    let service = tx.put(service);
    certificate::claim(cell, tx, &service);
    quota::check(quota::SERVICES, cell, tx.view().count::<Service>())?;
    Ok(created(cell, &service))
}

fn get(app: &Lattice, view: &View, op: &GetService) -> Result<GetServiceOutput, ApiError> {
    let service = find(&app.cell, view, &op.service_identifier)?;
    let failure = service.failure.as_ref();
    Ok(GetServiceOutput {
        id: Some(service.id.to_string()),
        name: Some(service.name.clone()),
        arn: Some(arn(&app.cell, &service.id)),
        created_at: Some(service.created_at),
        last_updated_at: Some(service.updated_at),
        dns_entry: Some(dns_entry(&app.cell, &service)),
        custom_domain_name: service.custom_domain_name.clone(),
        certificate_arn: service.certificate_arn.clone(),
        status: Some(service.status),
        auth_type: Some(service.auth_type),
        failure_code: failure.map(|failure| failure.code.clone()),
        failure_message: failure.map(|failure| failure.message.clone()),
    })
}

fn list(app: &Lattice, view: &View, op: &ListServices) -> Result<ListServicesOutput, ApiError> {
    let page = page_from(
        |start| behind::<Service>(view, &start),
        |service| service.id.to_string(),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    let items = page.items.iter();
    Ok(ListServicesOutput {
        items: Some(items.map(|service| summary(&app.cell, service)).collect()),
        next_token: page.next_token,
    })
}

fn update(app: &Lattice, tx: &mut Tx, op: UpdateService) -> Result<UpdateServiceOutput, ApiError> {
    let cell = &app.cell;
    let named = region::named(cell, Kind::Service, &op.service_identifier)?;
    if let Some(arn) = &named.foreign {
        return update_here(cell, tx, &named.id, arn, op);
    }
    let service = find_active(cell, tx.view(), &op.service_identifier)?;
    let custom_domain_name = service.custom_domain_name.as_deref();
    let certificate_arn = match op.certificate_arn {
        None => service.certificate_arn.clone(),
        Some(arn) if arn.is_empty() => None,
        Some(arn) => {
            certificate::check(cell, tx.view(), &arn, custom_domain_name)?;
            Some(arn)
        }
    };
    certificate::release(cell, tx, &service);
    let service = tx.put(Service {
        certificate_arn,
        auth_type: op.auth_type.unwrap_or(service.auth_type),
        updated_at: tx.now(),
        ..Service::clone(&service)
    });
    certificate::claim(cell, tx, &service);
    Ok(UpdateServiceOutput {
        id: Some(service.id.to_string()),
        arn: Some(arn(cell, &service.id)),
        name: Some(service.name.clone()),
        custom_domain_name: service.custom_domain_name.clone(),
        certificate_arn: service.certificate_arn.clone(),
        auth_type: Some(service.auth_type),
    })
}

/// What another region's service presents in this one, where its own certificate is not.
fn update_here(
    cell: &Cell,
    tx: &mut Tx,
    id: &str,
    arn: &str,
    op: UpdateService,
) -> Result<UpdateServiceOutput, ApiError> {
    let found = id.parse().ok();
    let found = found.and_then(|id| region::find_service(tx.view(), &id));
    let service = found
        .filter(|it| it.arn == arn)
        .ok_or_else(|| fault::not_found(Kind::Service, id))?;
    if op.auth_type.is_some() {
        let owner = region::region_of(arn).unwrap_or_default();
        return Err(fault::invalid(
            "authType",
            format!(
                "Service {id} belongs to region {owner}, where its auth type is changed; here it can be given a certificate"
            ),
        ));
    }
    if let Some(arn) = op.certificate_arn {
        let wanted = Some(arn).filter(|arn| !arn.is_empty());
        if let Some(arn) = &wanted {
            let domain = service.custom_domain_name.as_deref();
            certificate::check(cell, tx.view(), arn, domain)?;
        }
        certificate::present_here(tx, &service, wanted);
    }
    let auth_type = match service.auth {
        Auth::None => AuthType::None,
        Auth::AwsIam { .. } => AuthType::AwsIam,
    };
    Ok(UpdateServiceOutput {
        certificate_arn: certificate::arn_here(tx.view(), &service.id),
        id: Some(service.id.to_string()),
        arn: Some(service.arn),
        name: Some(service.name),
        custom_domain_name: service.custom_domain_name,
        auth_type: Some(auth_type),
    })
}

/// Takes a service out of use, with all that it owns; its record goes when no node shows it any more.
fn delete(cell: &Cell, tx: &mut Tx, op: &DeleteService) -> Result<Arc<Service>, ApiError> {
    let service = find(cell, tx.view(), &op.service_identifier)?;
    if service.status == Status::DeleteInProgress {
        return Ok(service);
    }
    let id = &service.id;
    let holder = service_association::of_service(tx.view(), id).next();
    if let Some(holder) = holder {
        let network = &holder.network;
        return Err(fault::conflict(
            Kind::Service,
            id.as_str(),
            format!("Service {id} is associated with service network {network}"),
        ));
    }
    listener::delete_all(cell, tx, id);
    auth_policy::remove(tx, id.as_str());
    certificate::release(cell, tx, &service);
    network::unsubscribe(tx, &LogSource::Service(id.clone()));
    let status_after = tx.view().revision();
    Ok(tx.put(Service {
        status: Status::DeleteInProgress,
        status_after,
        failure: None,
        ..Service::clone(&service)
    }))
}

fn delete_service(
    app: &Lattice,
    tx: &mut Tx,
    op: DeleteService,
) -> Result<DeleteServiceOutput, ApiError> {
    let cell = &app.cell;
    let service = delete(cell, tx, &op)?;
    Ok(DeleteServiceOutput {
        id: Some(service.id.to_string()),
        arn: Some(arn(cell, &service.id)),
        name: Some(service.name.clone()),
        status: Some(service.status),
    })
}
