//! Lattice's part of the feed: a pure function of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lath_control::Cell;
use lath_feed as feed;
use lath_feed::{AccessLogDestination, Auth, Snapshot};
use lath_model::id::{ServiceId, ServiceNetworkId, TargetGroupId};
use lath_model::lattice::{self, Action};
use lath_store::View;

use crate::record::{
    AccessLogSubscription, Listener, LogSource, Rule, Service, ServiceAssociation, ServiceNetwork,
    Target, TargetGroup, VpcAssociation, key,
};
use crate::region::{Told, ToldGroup};
use crate::shape::{AuthType, Status, VpcAssociationStatus};
use crate::{
    access_log, action, auth_policy, listener, matcher, network, probing, region, service,
    target_group, vpc,
};

/// How long a connection may be idle: AWS's default, which nothing here can change.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Fills service networks, services and target groups, and the associations of the VPCs that EC2's
/// contribution put there before. What is being deleted or could not be made is left out; what other regions
/// have is there as far as something here uses it.
pub fn contribute(cell: &Cell, view: &View, snapshot: &mut Snapshot) {
    let mut logs = access_logs(view);
    associate(view, snapshot);
    snapshot.service_networks = service_networks(cell, view, &mut logs);
    foreign_networks(view, snapshot, &mut logs);
    let mut services = associated_services(view);
    for network in snapshot.service_networks.values_mut() {
        Arc::make_mut(network).services = services.remove(&network.id).unwrap_or_default();
    }
    snapshot.services = feed_services(cell, view, &mut logs);
    foreign_services(view, snapshot, &mut logs);
    snapshot.target_groups = target_groups(cell, view);
    foreign_groups(view, snapshot);
}

/// What this region tells the others.
pub(crate) fn told(cell: &Cell, view: &View) -> Told {
    let mut logs = AccessLogs::new();
    let groups = target_groups(cell, view).into_values().map(|group| {
        let mut group = Arc::unwrap_or_clone(group);
        let targets = std::mem::take(&mut group.targets).into_iter().collect();
        ToldGroup { group, targets }
    });
    Told {
        networks: service_networks(cell, view, &mut logs)
            .into_values()
            .map(Arc::unwrap_or_clone)
            .collect(),
        services: feed_services(cell, view, &mut logs)
            .into_values()
            .map(Arc::unwrap_or_clone)
            .collect(),
        groups: groups.collect(),
        service_associations: view
            .list::<ServiceAssociation>()
            .map(Arc::unwrap_or_clone)
            .collect(),
        vpc_associations: view
            .list::<VpcAssociation>()
            .map(Arc::unwrap_or_clone)
            .collect(),
    }
}

/// The networks of other regions that VPCs or endpoints of this one are joined with.
fn foreign_networks(view: &View, snapshot: &mut Snapshot, logs: &mut AccessLogs) {
    let named = |vpc: &Arc<feed::Vpc>| {
        let association = vpc.lattice.iter().map(|it| it.service_network.clone());
        let endpoints = vpc.endpoints.values().map(|it| it.service_network.clone());
        association.chain(endpoints).collect::<Vec<_>>()
    };
    let named: BTreeSet<ServiceNetworkId> = snapshot.vpcs.values().flat_map(named).collect();
    for id in named {
        if snapshot.service_networks.contains_key(&id) {
            continue;
        }
        if let Some(mut network) = region::find_network(view, &id) {
            let source = LogSource::ServiceNetwork(id.clone());
            network.access_logs = logs.remove(&source).unwrap_or_default();
            snapshot.service_networks.insert(id, Arc::new(network));
        }
    }
}

/// The services of each network, whichever region associated them.
fn associated_services(view: &View) -> BTreeMap<ServiceNetworkId, BTreeSet<ServiceId>> {
    let mut services: BTreeMap<_, BTreeSet<ServiceId>> = BTreeMap::new();
    let here = view.list::<ServiceAssociation>();
    let elsewhere = region::service_associations(view).map(|(_, it)| Arc::new(it));
    for association in here.chain(elsewhere) {
        if is_served(association.status) {
            let known = services.entry(association.network.clone()).or_default();
            known.insert(association.service.clone());
        }
    }
    services
}

fn feed_services(
    cell: &Cell,
    view: &View,
    logs: &mut AccessLogs,
) -> BTreeMap<ServiceId, Arc<feed::Service>> {
    view.list::<Service>()
        .filter(|service| is_served(service.status))
        .map(|record| {
            let service = feed_service(cell, view, &record, logs);
            (record.id.clone(), Arc::new(service))
        })
        .collect()
}

/// The services of other regions that are in a network here, at addresses of this region.
fn foreign_services(view: &View, snapshot: &mut Snapshot, logs: &mut AccessLogs) {
    let networks = snapshot.service_networks.values();
    let wanted: BTreeSet<ServiceId> = networks.flat_map(|it| it.services.clone()).collect();
    for id in wanted {
        if snapshot.services.contains_key(&id) {
            continue;
        }
        let address = region::address(view, &id);
        if let (Some(mut service), Some(address)) = (region::find_service(view, &id), address) {
            service.address = address;
            let source = LogSource::Service(id.clone());
            service.access_logs = logs.remove(&source).unwrap_or_default();
            snapshot.services.insert(id, Arc::new(service));
        }
    }
}

/// The target groups of other regions that rules here forward to.
fn foreign_groups(view: &View, snapshot: &mut Snapshot) {
    let services = snapshot.services.values();
    let used = services.flat_map(|service| region::groups_of(service).cloned());
    let used: BTreeSet<TargetGroupId> = used.collect();
    for id in used {
        if !snapshot.target_groups.contains_key(&id)
            && let Some(mut group) = region::find_group(view, &id)
        {
            group.in_use = true;
            snapshot.target_groups.insert(id, Arc::new(group));
        }
    }
}

fn is_served(status: Status) -> bool {
    matches!(status, Status::CreateInProgress | Status::Active)
}

fn auth(view: &View, auth_type: AuthType, id: &str) -> Auth {
    match auth_type {
        AuthType::None => Auth::None,
        AuthType::AwsIam => Auth::AwsIam {
            policy: auth_policy::document(view, id),
        },
    }
}

/// Where the logs of each network and service go.
type AccessLogs = BTreeMap<LogSource, Vec<AccessLogDestination>>;

fn access_logs(view: &View) -> AccessLogs {
    let mut logs = AccessLogs::new();
    for subscription in view.list::<AccessLogSubscription>() {
        let known = logs.entry(subscription.source.clone()).or_default();
        known.push(AccessLogDestination {
            id: subscription.id.clone(),
            destination_arn: access_log::log_group_arn(&subscription),
        });
    }
    logs
}

fn service_networks(
    cell: &Cell,
    view: &View,
    logs: &mut AccessLogs,
) -> BTreeMap<ServiceNetworkId, Arc<feed::ServiceNetwork>> {
    view.list::<ServiceNetwork>()
        .map(|record| {
            let id = record.id.clone();
            let source = LogSource::ServiceNetwork(id.clone());
            let network = feed::ServiceNetwork {
                id: id.clone(),
                arn: network::arn(cell, &id),
                name: record.name.clone(),
                auth: auth(view, record.auth_type, id.as_str()),
                services: BTreeSet::new(),
                access_logs: logs.remove(&source).unwrap_or_default(),
            };
            (id, Arc::new(network))
        })
        .collect()
}

fn feed_service(
    cell: &Cell,
    view: &View,
    record: &Service,
    logs: &mut AccessLogs,
) -> feed::Service {
    let listeners = view
        .range::<Listener>(&format!("{}/", record.id))
        .filter_map(|listener| Some((listener.id.clone(), feed_listener(cell, view, &listener)?)))
        .collect();
    feed::Service {
        id: record.id.clone(),
        arn: service::arn(cell, &record.id),
        name: record.name.clone(),
        domain_name: service::domain_name(cell, record),
        custom_domain_name: record.custom_domain_name.clone(),
        address: record.address,
        auth: auth(view, record.auth_type, record.id.as_str()),
        idle_timeout: IDLE_TIMEOUT,
        listeners,
        access_logs: logs
            .remove(&LogSource::Service(record.id.clone()))
            .unwrap_or_default(),
    }
}

/// `None` cannot be: a listener and its default rule are written and deleted together.
fn feed_listener(cell: &Cell, view: &View, record: &Listener) -> Option<feed::Listener> {
    let default = view.get::<Rule>(&key(&record.id, &record.default_rule))?;
    let prefix = format!("{}/", record.id);
    let mut rules: Vec<lattice::Rule> = view
        .range::<Rule>(&prefix)
        .filter_map(|rule| feed_rule(&rule))
        .collect();
    rules.sort_by_key(|rule| rule.priority);
    Some(feed::Listener {
        id: record.id.clone(),
        arn: listener::arn(cell, &record.service, &record.id),
        protocol: record.protocol,
        port: record.port,
        rules,
        default_rule: record.default_rule.clone(),
        default_action: Action::clone(&default.action),
    })
}

fn feed_rule(rule: &Rule) -> Option<lattice::Rule> {
    Some(lattice::Rule {
        id: rule.id.clone(),
        priority: rule.priority?,
        conditions: rule.conditions.clone(),
        action: rule.action.clone(),
    })
}

fn target_groups(cell: &Cell, view: &View) -> BTreeMap<TargetGroupId, Arc<feed::TargetGroup>> {
    let users = action::all_users(view);
    let mut targets: BTreeMap<TargetGroupId, BTreeMap<feed::TargetKey, feed::Target>> =
        BTreeMap::new();
    for target in view.list::<Target>() {
        let (key, value) = feed_target(view, &target);
        let known = targets.entry(target.group.clone()).or_default();
        known.insert(key, value);
    }
    view.list::<TargetGroup>()
        .filter(|group| is_served(group.status))
        .map(|record| {
            let id = record.id.clone();
            let group = feed::TargetGroup {
                id: id.clone(),
                arn: target_group::arn(cell, &id),
                name: record.name.clone(),
                vpc: record.vpc.clone(),
                protocol: record.protocol,
                protocol_version: Some(record.protocol_version),
                health_check: feed_check(cell, &record),
                in_use: users.contains_key(&id),
                targets: targets.remove(&id).unwrap_or_default(),
                region: None,
            };
            (id, Arc::new(group))
        })
        .collect()
}

fn feed_target(view: &View, target: &Target) -> (feed::TargetKey, feed::Target) {
    let key = feed::TargetKey {
        id: target.id.clone(),
        port: target.port,
    };
    let target = feed::Target {
        address: vpc::address_of(view, &target.id),
        draining_since: target.draining_since,
    };
    (key, target)
}

/// The interval that a tag asks for is also the timeout: a silent target is found out within it.
fn feed_check(cell: &Cell, group: &TargetGroup) -> Option<feed::HealthCheck> {
    let check = &group.health_check;
    let often = probing::interval(cell, &group.tags);
    check.enabled.then(|| feed::HealthCheck {
        protocol: check.protocol,
        protocol_version: check.protocol_version.into(),
        port: check.port,
        path: check.path.clone(),
        matcher: matcher::parse(&check.matcher).unwrap_or_else(|| vec![(200, 200)]),
        interval: often.unwrap_or_else(|| Duration::from_secs(check.interval.into())),
        timeout: often.unwrap_or_else(|| Duration::from_secs(check.timeout.into())),
        healthy_threshold: check.healthy_threshold.into(),
        unhealthy_threshold: check.unhealthy_threshold.into(),
    })
}

fn associate(view: &View, snapshot: &mut Snapshot) {
    use VpcAssociationStatus::{CreateFailed, DeleteFailed, DeleteInProgress};
    for association in view.list::<VpcAssociation>() {
        let served = !matches!(
            association.status,
            CreateFailed | DeleteInProgress | DeleteFailed
        );
        let Some(vpc) = snapshot.vpcs.get_mut(&association.vpc).filter(|_| served) else {
            continue;
        };
        Arc::make_mut(vpc).lattice = Some(feed::LatticeAssociation {
            id: association.id.clone(),
            service_network: association.network.clone(),
            security_groups: association.security_groups.iter().cloned().collect(),
        });
    }
}
