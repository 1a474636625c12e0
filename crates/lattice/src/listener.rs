//! Listeners.

use std::sync::Arc;

use lath_acm::CERTIFICATE;
use lath_control::{Cell, Claim, Mode};
use lath_model::id::{ListenerId, RuleId, ServiceId};
use lath_model::lattice::{Action, ListenerProtocol, Match};
use lath_model::traffic::TrafficPolicy;
use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::{ApiError, Caller};

use crate::canary::Canary;
use crate::gateway::Gateway;
use crate::ident::{Kind, resolve};
use crate::mutual_tls::MutualTls;
use crate::record::{Listener, Rule, Service, key};
use crate::resource_types::*;
use crate::shape::*;
use crate::{
    Lattice, action, balancing, canary, fault, gateway, gateway_routes, matching, mutual_tls, page,
    quota, service, target_tls, token, traffic,
};

operations! {
    for Lattice as "vpc-lattice";
    change CreateListener: post "/services/{serviceIdentifier}/listeners" 201 -> ListenerOutput = create, checked, caller
        => on(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, "*"))
            .with(PROTOCOL, |op, _| protocol_name(op.protocol))
            .with(TARGET_GROUPS, |op, at| groups_of_new(at, &op.default_action, &op.tags))
            .with_tags(|op| &op.tags)
            .tagging(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, "*"), |op| &op.tags)
            .also(SEE_CERTIFICATE, &CERTIFICATE, |op, _| presented(&op.tags));
    read GetListener: get "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 200 -> GetListenerOutput = get
        => on(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, &op.listener_identifier));
    read ListListeners: get "/services/{serviceIdentifier}/listeners" 200 -> ListListenersOutput = list
        => any();
    change UpdateListener: patch "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 200 -> ListenerOutput = update, checked
        => on(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, &op.listener_identifier))
            .with(TARGET_GROUPS, |op, at| groups(at, &op.default_action));
    change DeleteListener: delete "/services/{serviceIdentifier}/listeners/{listenerIdentifier}" 204 -> Empty = delete_listener
        => on(&LISTENER, |op, at| listener_arn(at, &op.service_identifier, &op.listener_identifier));
}

/// A listener of a service, both by identifier.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(
    cell: &Cell,
    view: &View,
    service: &str,
    listener: &str,
) -> Result<(Arc<Service>, Arc<Listener>), ApiError> {
    let service = service::find(cell, view, service)?;
    let id = resolve(cell, Kind::Listener, listener, &[service.id.as_str()])?;
    let listener = view
        .get(&key(&service.id, &id))
        .ok_or_else(|| fault::not_found(Kind::Listener, &id))?;
    Ok((service, listener))
}

/// A listener's ARN.
pub(crate) fn arn(cell: &Cell, service: &ServiceId, id: &ListenerId) -> String {
    format!("{}/listener/{id}", service::arn(cell, service))
}

/// Deletes a service's listeners with their rules.
pub(crate) fn delete_all(cell: &Cell, tx: &mut Tx, service: &ServiceId) {
    let prefix = format!("{service}/");
    let listeners: Vec<_> = tx.view().range::<Listener>(&prefix).collect();
    for listener in listeners {
        delete(cell, tx, &listener);
    }
}

fn delete(cell: &Cell, tx: &mut Tx, listener: &Listener) {
    release(cell, tx, listener);
    let prefix = format!("{}/", listener.id);
    let rules: Vec<_> = tx.view().range::<Rule>(&prefix).collect();
    for rule in rules {
        tx.delete::<Rule>(&key(&rule.listener, &rule.id));
    }
    tx.delete::<Listener>(&key(&listener.service, &listener.id));
}

fn its_claims(cell: &Cell, record: &Listener) -> Vec<Claim> {
    let mut claims = mutual_tls::its_claims(cell, record);
    claims.extend(gateway::its_claims(cell, record));
    claims
}

/// A listener trusts its authorities and presents its certificates from now on.
pub(crate) fn claim(cell: &Cell, tx: &mut Tx, record: &Listener) {
    for claim in its_claims(cell, record) {
        tx.put(claim);
    }
}

/// A listener does neither any more.
pub(crate) fn release(cell: &Cell, tx: &mut Tx, record: &Listener) {
    for claim in its_claims(cell, record) {
        tx.delete::<Claim>(&claim.id());
    }
}

/// The rule that applies when no other does.
fn default_rule(view: &View, listener: &Listener) -> Option<Arc<Rule>> {
    view.get(&key(&listener.id, &listener.default_rule))
}

fn default_action(view: &View, listener: &Listener) -> Option<RuleAction> {
    default_rule(view, listener).map(|rule| action::show(view, &rule.action))
}

fn output(cell: &Cell, view: &View, listener: &Listener) -> ListenerOutput {
    ListenerOutput {
        arn: Some(arn(cell, &listener.service, &listener.id)),
        id: Some(listener.id.to_string()),
        name: Some(listener.name.clone()),
        protocol: Some(listener.protocol),
        port: Some(i64::from(listener.port)),
        service_arn: Some(service::arn(cell, &listener.service)),
        service_id: Some(listener.service.to_string()),
        default_action: default_action(view, listener),
    }
}

fn summary(cell: &Cell, listener: &Listener) -> ListenerSummary {
    ListenerSummary {
        arn: Some(arn(cell, &listener.service, &listener.id)),
        id: Some(listener.id.to_string()),
        name: Some(listener.name.clone()),
        protocol: Some(listener.protocol),
        port: Some(i64::from(listener.port)),
        created_at: Some(listener.created_at),
        last_updated_at: Some(listener.updated_at),
    }
}

/// The default action. A gateway's listener that passes TLS on needs no group of its own: what no service takes is closed.
fn resolve_default(
    cell: &Cell,
    view: &View,
    user: action::User<'_>,
    is_gateway: bool,
    given: &RuleAction,
) -> Result<Action, ApiError> {
    let http = action::User {
        protocol: ListenerProtocol::Http,
        ..user
    };
    let user = match given.fixed_response {
        Some(_) if is_gateway => http,
        _ => user,
    };
    action::resolve(cell, view, user, given, "defaultAction")
}

fn default_port(protocol: ListenerProtocol) -> u16 {
    match protocol {
        ListenerProtocol::Http => 80,
        ListenerProtocol::Https | ListenerProtocol::TlsPassthrough => 443,
    }
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateListener,
) -> Result<ListenerOutput, ApiError> {
    let cell = &app.cell;
    const KIND: Kind = Kind::Listener;
    let client_token = op.client_token.take();
    let service = service::find(cell, tx.view(), &op.service_identifier)?;
    let id = ListenerId::random();
    let token = client_token.as_deref();
    if let Some(id) = token::claim(tx, "CreateListener", token, &op, KIND, id.as_str())? {
        let (_, listener) = find(cell, tx.view(), service.id.as_str(), &id)?;
        return Ok(output(cell, tx.view(), &listener));
    }
    service::find_active(cell, tx.view(), service.id.as_str())?;
    let port = op
        .port
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or_else(|| default_port(op.protocol));
    refuse_twin(caller, tx.view(), &service.id, &op.name, port)?;
    // In extended mode a service may be reached by gateways alone.
    if cell.mode == Mode::Strict
        && op.protocol == ListenerProtocol::TlsPassthrough
        && service.custom_domain_name.is_none()
    {
        return Err(fault::refused(format!(
            "Service {} has no custom domain name: a TLS_PASSTHROUGH listener is chosen by it",
            service.id
        )));
    }
    let user = action::User {
        service: &service.id,
        protocol: op.protocol,
    };
    balancing::check_given(KIND, &op.tags)?;
    target_tls::check_given(KIND, &op.tags)?;
    matching::check_given(KIND, false, &op.tags)?;
    gateway::check_given(KIND, &op.tags)?;
    gateway_routes::check_given(KIND, &op.tags)?;
    let gateway = gateway::of(cell, tx.view(), op.protocol, &op.tags)?;
    let action = resolve_default(cell, tx.view(), user, gateway.is_some(), &op.default_action)?;
    let traffic = traffic::of(cell, tx.view(), user, &op.tags, &action, None)?;
    let canary = canary::of(cell, tx.view(), user, &op.tags, &action, tx.now())?;
    let (canary, action) = match canary {
        Some((canary, action)) => (Some(canary), action),
        None => (None, action),
    };
    let mutual_tls = mutual_tls::of(cell, tx.view(), op.protocol, &op.tags)?;
    let done = Done {
        action,
        traffic,
        canary,
        mutual_tls,
        gateway,
    };
    let listener = put(tx, &service.id, id, op, port, done);
    claim(cell, tx, &listener);
    gateway::settle(tx, &listener)?;
    let count = tx
        .view()
        .range::<Listener>(&format!("{}/", service.id))
        .count();
    quota::check(quota::LISTENERS_PER_SERVICE, cell, count)?;
    action::check_quota(cell, tx.view(), &service.id)?;
    Ok(output(cell, tx.view(), &listener))
}

/// Names and ports are unique in a service.
fn refuse_twin(
    caller: &Caller,
    view: &View,
    service: &ServiceId,
    name: &str,
    port: u16,
) -> Result<(), ApiError> {
    for known in view.range::<Listener>(&format!("{service}/")) {
        let id = known.id.as_str();
        if known.name == name {
            return Err(fault::name_taken(Kind::Listener, id, name, &caller.account));
        }
        if known.port == port {
            return Err(fault::conflict(
                Kind::Listener,
                id,
                format!("Service {service} already has a listener on port {port}, {id}"),
            ));
        }
    }
    Ok(())
}

/// What is done when no rule matches, and what clients are asked for.
struct Done {
    action: Action,
    traffic: Option<Box<TrafficPolicy>>,
    mutual_tls: Option<Box<MutualTls>>,
    gateway: Option<Box<Gateway>>,
    canary: Option<Box<Canary>>,
}

fn put(
    tx: &mut Tx,
    service: &ServiceId,
    id: ListenerId,
    op: CreateListener,
    port: u16,
    default: Done,
) -> Arc<Listener> {
    let now = tx.now();
    let rule = tx.put(Rule {
        id: RuleId::random(),
        service: service.clone(),
        listener: id.clone(),
        name: "default".to_owned(),
        priority: None,
        conditions: Match::default(),
        more: None,
        action: default.action,
        traffic: default.traffic,
        canary: default.canary,
        tags: Default::default(),
        created_at: now,
        updated_at: now,
    });
    tx.put(Listener {
        id,
        service: service.clone(),
        name: op.name,
        protocol: op.protocol,
        port,
        default_rule: rule.id.clone(),
        mutual_tls: default.mutual_tls,
        gateway: default.gateway,
        tags: op.tags,
        created_at: now,
        updated_at: now,
    })
}

fn get(app: &Lattice, view: &View, op: &GetListener) -> Result<GetListenerOutput, ApiError> {
    let cell = &app.cell;
    let (_, listener) = find(cell, view, &op.service_identifier, &op.listener_identifier)?;
    Ok(GetListenerOutput {
        arn: Some(arn(cell, &listener.service, &listener.id)),
        id: Some(listener.id.to_string()),
        name: Some(listener.name.clone()),
        protocol: Some(listener.protocol),
        port: Some(i64::from(listener.port)),
        service_arn: Some(service::arn(cell, &listener.service)),
        service_id: Some(listener.service.to_string()),
        default_action: default_action(view, &listener),
        created_at: Some(listener.created_at),
        last_updated_at: Some(listener.updated_at),
    })
}

fn list(app: &Lattice, view: &View, op: &ListListeners) -> Result<ListListenersOutput, ApiError> {
    let service = service::find(&app.cell, view, &op.service_identifier)?;
    let page = page(
        view.range::<Listener>(&format!("{}/", service.id)),
        |listener| listener.id.to_string(),
        op.max_results,
        op.next_token.as_deref(),
    )?;
    let items = page.items.iter();
    Ok(ListListenersOutput {
        items: items.map(|listener| summary(&app.cell, listener)).collect(),
        next_token: page.next_token,
    })
}

fn update(app: &Lattice, tx: &mut Tx, op: UpdateListener) -> Result<ListenerOutput, ApiError> {
    let cell = &app.cell;
    let view = tx.view();
    let (service, listener) = find(cell, view, &op.service_identifier, &op.listener_identifier)?;
    let user = action::User {
        service: &service.id,
        protocol: listener.protocol,
    };
    let is_gateway = listener.gateway.is_some() && cell.mode == Mode::Extended;
    let action = resolve_default(cell, view, user, is_gateway, &op.default_action)?;
    let before = default_rule(view, &listener);
    let policy = before.as_ref().and_then(|it| it.traffic.as_deref());
    traffic::fits(cell, policy, &action)?;
    let now = tx.now();
    tx.update::<Rule>(&key(&listener.id, &listener.default_rule), |rule| {
        canary::interrupt(rule, &action, now);
        rule.action = action;
        rule.updated_at = now;
    });
    let listener = tx.put(Listener {
        updated_at: now,
        ..Listener::clone(&listener)
    });
    action::check_quota(cell, tx.view(), &service.id)?;
    Ok(output(cell, tx.view(), &listener))
}

fn delete_listener(app: &Lattice, tx: &mut Tx, op: DeleteListener) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    let (service, listener) = (&op.service_identifier, &op.listener_identifier);
    let (_, listener) = find(cell, tx.view(), service, listener)?;
    delete(cell, tx, &listener);
    Ok(Empty {})
}
