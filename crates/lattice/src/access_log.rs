//! Access log subscriptions.

use std::sync::Arc;

use lath_control::Cell;
use lath_model::arn::Arn;
use lath_model::id::AccessLogSubscriptionId;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::ident::{Identifier, Kind, resolve};
use crate::record::{AccessLogSubscription, LogSource, Service};
use crate::region::{NetworkSide, ServiceSide};
use crate::resource::{ResourceConfiguration, configuration};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Lattice, fault, network, page, service, token};

operations! {
    for Lattice as "vpc-lattice";
    change CreateAccessLogSubscription: post "/accesslogsubscriptions" 201 -> CreateAccessLogSubscriptionOutput = create, checked
        => makes(&ACCESS_LOG_SUBSCRIPTION)
            .with_tags(|op| &op.tags)
            .on(&SERVICE_NETWORK, |op, _| network_of(&op.resource_identifier))
            .with_tags(|op| &op.tags)
            .on(&SERVICE, |op, _| service_of(&op.resource_identifier))
            .with_tags(|op| &op.tags)
            .on(&RESOURCE_CONFIGURATION, |op, _| configuration_of(&op.resource_identifier))
            .with_tags(|op| &op.tags)
            .tagging(&ACCESS_LOG_SUBSCRIPTION, |_, _| "*".into(), |op| &op.tags)
            .also_any("logs:CreateLogDelivery", |_, _| true)
            .also_any("logs:GetLogDelivery", |_, _| true);
    read GetAccessLogSubscription: get "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 200 -> AccessLogSubscriptionDetail = get
        => on(&ACCESS_LOG_SUBSCRIPTION, |op, _| op.access_log_subscription_identifier.clone())
            .also_any("logs:GetLogDelivery", |_, _| true);
    read ListAccessLogSubscriptions: get "/accesslogsubscriptions" 200 -> ListAccessLogSubscriptionsOutput = list
        => any();
    change UpdateAccessLogSubscription: patch "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 200 -> UpdateAccessLogSubscriptionOutput = update, checked
        => on(&ACCESS_LOG_SUBSCRIPTION, |op, _| op.access_log_subscription_identifier.clone())
            .also_any("logs:GetLogDelivery", |_, _| true)
            .also_any("logs:UpdateLogDelivery", |_, _| true);
    change DeleteAccessLogSubscription: delete "/accesslogsubscriptions/{accessLogSubscriptionIdentifier}" 204 -> Empty = delete
        => on(&ACCESS_LOG_SUBSCRIPTION, |op, _| op.access_log_subscription_identifier.clone())
            .also_any("logs:GetLogDelivery", |_, _| true)
            .also_any("logs:DeleteLogDelivery", |_, _| true);
}

const KIND: Kind = Kind::AccessLogSubscription;

/// The kind of the records that CloudWatch Logs keeps of its log groups; their ids are the groups' names.
const LOG_GROUP_KIND: &str = "logs.group";

fn find(cell: &Cell, view: &View, text: &str) -> Result<Arc<AccessLogSubscription>, ApiError> {
    let id = resolve(cell, KIND, text, &[])?;
    view.get(&id).ok_or_else(|| fault::not_found(KIND, &id))
}

/// A subscription's ARN.
pub(crate) fn arn(cell: &Cell, id: &AccessLogSubscriptionId) -> String {
    cell.arn("vpc-lattice", format!("accesslogsubscription/{id}"))
}

impl LogSource {
    pub(crate) fn id(&self) -> String {
        self.as_str().to_owned()
    }

    fn arn(&self, cell: &Cell) -> String {
        match self {
            Self::ServiceNetwork(id) | Self::NetworkResources(id) => network::arn(cell, id),
            Self::Service(id) => service::arn(cell, id),
            Self::Resource(id) => configuration::arn(cell, id),
        }
    }

    fn log_type(&self) -> Option<ServiceNetworkLogType> {
        match self {
            Self::ServiceNetwork(_) => Some(ServiceNetworkLogType::Service),
            Self::NetworkResources(_) => Some(ServiceNetworkLogType::Resource),
            Self::Service(_) | Self::Resource(_) => None,
        }
    }
}

/// The network, service or resource that an identifier names, with its ARN when it is another region's.
fn source(cell: &Cell, view: &View, text: &str) -> Result<(LogSource, Option<String>), ApiError> {
    if Identifier::parse(Kind::ResourceConfiguration, text).is_some() {
        let resource = configuration::find(cell, view, text)?;
        return Ok((LogSource::Resource(resource.id.clone()), None));
    }
    if Identifier::parse(Kind::ServiceNetwork, text).is_some() {
        let network = NetworkSide::find(cell, view, text)?;
        let foreign = network.foreign();
        return Ok((LogSource::ServiceNetwork(network.id), foreign));
    }
    let service = ServiceSide::find(cell, view, text)?;
    let foreign = service.foreign();
    Ok((LogSource::Service(service.id), foreign))
}

impl AccessLogSubscription {
    fn source_arn(&self, cell: &Cell) -> String {
        let foreign = self.foreign_source.clone();
        foreign.unwrap_or_else(|| self.source.arn(cell))
    }
}

/// A service on its way out has lost its subscriptions already: a new one would be left behind.
fn refuse_while_deleting(view: &View, source: &LogSource) -> Result<(), ApiError> {
    if let LogSource::Resource(id) = source
        && let Some(resource) = view.get::<ResourceConfiguration>(id.as_str())
        && resource.status == ChangingStatus::DeleteInProgress
    {
        let (kind, status) = (Kind::ResourceConfiguration, resource.status.as_str());
        return Err(fault::wrong_status(kind, id.as_str(), status));
    }
    let LogSource::Service(id) = source else {
        return Ok(());
    };
    let service = view.get::<Service>(id.as_str());
    match service.filter(|service| service.status == Status::DeleteInProgress) {
        Some(service) => {
            let status = service.status.as_str();
            Err(fault::wrong_status(Kind::Service, id.as_str(), status))
        }
        None => Ok(()),
    }
}

/// The destination must be a log group of this account and region that exists.
pub(crate) fn check_destination(
    cell: &Cell,
    view: &View,
    destination: &str,
) -> Result<(), ApiError> {
    let foreign = || fault::denied(format!("Not authorized to deliver logs to {destination}"));
    let arn: Arn = destination.parse().map_err(|_| foreign())?;
    let partition = cell.partition().name();
    if arn.partition != partition || arn.region != cell.region || arn.account != cell.account {
        return Err(foreign());
    }
    let group = arn.resource.trim_start_matches("log-group:");
    let group = group.strip_suffix(":*").unwrap_or(group);
    if view.contains(LOG_GROUP_KIND, group) {
        return Ok(());
    }
    Err(fault::missing("LOG_GROUP", "Log group", destination))
}

/// A destination as the feed knows it.
pub(crate) fn log_group_arn(subscription: &AccessLogSubscription) -> String {
    let arn = subscription.destination_arn.as_str();
    arn.strip_suffix(":*").unwrap_or(arn).to_owned()
}

fn created(cell: &Cell, subscription: &AccessLogSubscription) -> CreateAccessLogSubscriptionOutput {
    CreateAccessLogSubscriptionOutput {
        id: subscription.id.to_string(),
        arn: arn(cell, &subscription.id),
        resource_id: subscription.source.id(),
        resource_arn: subscription.source_arn(cell),
        service_network_log_type: subscription.source.log_type(),
        destination_arn: subscription.destination_arn.clone(),
    }
}

fn detail(cell: &Cell, subscription: &AccessLogSubscription) -> AccessLogSubscriptionDetail {
    AccessLogSubscriptionDetail {
        id: subscription.id.to_string(),
        arn: arn(cell, &subscription.id),
        resource_id: subscription.source.id(),
        resource_arn: subscription.source_arn(cell),
        destination_arn: subscription.destination_arn.clone(),
        service_network_log_type: subscription.source.log_type(),
        created_at: subscription.created_at,
        last_updated_at: subscription.updated_at,
    }
}

fn create(
    app: &Lattice,
    tx: &mut Tx,
    mut op: CreateAccessLogSubscription,
) -> Result<CreateAccessLogSubscriptionOutput, ApiError> {
    let cell = &app.cell;
    let client_token = op.client_token.take();
    let (mut source, foreign_source) = source(cell, tx.view(), &op.resource_identifier)?;
    if let (LogSource::ServiceNetwork(id), Some(ServiceNetworkLogType::Resource)) =
        (&source, op.service_network_log_type)
    {
        source = LogSource::NetworkResources(id.clone());
    }
    refuse_while_deleting(tx.view(), &source)?;
    let id = AccessLogSubscriptionId::random();
    let name = "CreateAccessLogSubscription";
    let known = token::claim(tx, name, client_token.as_deref(), &op, KIND, id.as_str())?;
    if let Some(id) = known {
        return Ok(created(cell, &*find(cell, tx.view(), &id)?));
    }
    check_destination(cell, tx.view(), &op.destination_arn)?;
    let twin = tx
        .view()
        .by::<AccessLogSubscription>("source", &source.key())
        .next();
    if let Some(twin) = twin {
        let message = format!(
            "Resource {} already has an access log subscription of this destination type, {}",
            source.id(),
            twin.id
        );
        return Err(fault::conflict(KIND, twin.id.as_str(), message));
    }
    let now = tx.now();
    let subscription = tx.put(AccessLogSubscription {
        id,
        source,
        foreign_source,
        destination_arn: op.destination_arn,
        tags: op.tags,
        created_at: now,
        updated_at: now,
    });
    Ok(created(cell, &subscription))
}

fn get(
    app: &Lattice,
    view: &View,
    op: &GetAccessLogSubscription,
) -> Result<AccessLogSubscriptionDetail, ApiError> {
    let cell = &app.cell;
    let subscription = find(cell, view, &op.access_log_subscription_identifier)?;
    Ok(detail(cell, &subscription))
}

fn list(
    app: &Lattice,
    view: &View,
    op: &ListAccessLogSubscriptions,
) -> Result<ListAccessLogSubscriptionsOutput, ApiError> {
    let cell = &app.cell;
    // The list knows no ResourceNotFound: what is not there has no subscriptions.
    let source = source(cell, view, &op.resource_identifier).ok();
    let wanted = view.list::<AccessLogSubscription>().filter(|subscription| {
        Some(subscription.source.as_str()) == source.as_ref().map(|(source, _)| source.as_str())
    });
    let token = op.next_token.as_deref();
    let page = page(wanted, |s| s.id.to_string(), op.max_results, token)?;
    Ok(ListAccessLogSubscriptionsOutput {
        items: page.items.iter().map(|s| detail(cell, s)).collect(),
        next_token: page.next_token,
    })
}

fn update(
    app: &Lattice,
    tx: &mut Tx,
    op: UpdateAccessLogSubscription,
) -> Result<UpdateAccessLogSubscriptionOutput, ApiError> {
    let cell = &app.cell;
    let known = find(cell, tx.view(), &op.access_log_subscription_identifier)?;
    check_destination(cell, tx.view(), &op.destination_arn)?;
    let subscription = tx.put(AccessLogSubscription {
        destination_arn: op.destination_arn,
        updated_at: tx.now(),
        ..AccessLogSubscription::clone(&known)
    });
    Ok(UpdateAccessLogSubscriptionOutput {
        id: subscription.id.to_string(),
        arn: arn(cell, &subscription.id),
        resource_id: subscription.source.id(),
        resource_arn: subscription.source_arn(cell),
        destination_arn: subscription.destination_arn.clone(),
    })
}

fn delete(app: &Lattice, tx: &mut Tx, op: DeleteAccessLogSubscription) -> Result<Empty, ApiError> {
    let cell = &app.cell;
    let known = find(cell, tx.view(), &op.access_log_subscription_identifier)?;
    tx.delete::<AccessLogSubscription>(known.id.as_str());
    Ok(Empty {})
}
