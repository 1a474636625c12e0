//! Lattice's part of the feed: a pure function of the state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lath_control::{Cell, Contribute, Derive, Mode};
use lath_feed as feed;
use lath_feed::{AccessLogDestination, Auth, Snapshot};
use lath_model::id::{ServiceId, ServiceNetworkId, TargetGroupId};
use lath_model::lattice::{self, Action, ProtocolVersion};
use lath_store::{Record, View};

use crate::record::{
    AccessLogSubscription, Listener, Rule, Service, ServiceAssociation, ServiceNetwork, Target,
    TargetGroup, VpcAssociation, key,
};
use crate::region::{Exported, ExportedGroup};
use crate::resource::{
    ResourceAssociation, ResourceConfiguration, ResourceGateway, contribute as resources,
};
use crate::shape::{AuthType, LambdaEventStructureVersion, Status, VpcAssociationStatus};
use crate::{
    access_log, action, auth_policy, canary, certificate, gateway, gateway_routes, health_check,
    listener, matcher, mutual_tls, network, probing, region, service, target, target_group,
    target_tls, vpc, workload_authority,
};

/// How long a connection may be idle: AWS's default, which nothing here can change.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Fills service networks, services and target groups, and the associations of the VPCs that EC2's
/// contribution put there before. What is being deleted or could not be made is left out; what other regions
/// have is there as far as something here uses it.
pub const CONTRIBUTIONS: [Contribute; 9] = [
    each::<lath_ec2_records::Vpc>(associate),
    each::<ServiceNetwork>(fill_network),
    each::<Service>(fill_service),
    each::<TargetGroup>(fill_group),
    each::<ResourceGateway>(resources::fill_gateway),
    each::<ResourceConfiguration>(resources::fill_resource),
    each::<ResourceAssociation>(resources::fill_association),
    Derive::Whole(foreign),
    Derive::Whole(present),
];

/// The part of each record of a kind.
const fn each<R: Record>(make: fn(&Cell, &View, &str, &mut Snapshot)) -> Contribute {
    Derive::Each {
        kind: R::KIND,
        make,
    }
}

/// Whether a policy somewhere asks who calls: then nodes must know callers.
pub fn asks_who_calls(view: &View) -> bool {
    let asks = format!("{:?}", AuthType::AwsIam);
    let is_guarded = |auth: &Auth| matches!(auth, Auth::AwsIam { .. });
    view.by::<ServiceNetwork>("auth", &asks).next().is_some()
        || view.by::<Service>("auth", &asks).next().is_some()
        || region::services(view).any(|service| is_guarded(&service.auth))
        || region::networks(view).any(|network| is_guarded(&network.auth))
}

/// What this region exports to the others.
pub(crate) fn exported(cell: &Cell, view: &View) -> Exported {
    let groups = view
        .list::<TargetGroup>()
        .filter(|group| is_served(group.status))
        // A function is of its region alone.
        .filter_map(|record| {
            let mut group = feed_group(cell, view, &record)?.without_keys();
            let targets = std::mem::take(&mut group.targets).into_iter().collect();
            Some(ExportedGroup { group, targets })
        });
    let networks = view
        .list::<ServiceNetwork>()
        .map(|record| feed::ServiceNetwork {
            services: BTreeSet::new(),
            access_logs: Vec::new(),
            ..feed_network(cell, view, &record)
        });
    let services = view
        .list::<Service>()
        .filter(|service| is_served(service.status))
        .map(|record| feed::Service {
            access_logs: Vec::new(),
            // No private key leaves its region.
            ..feed_service(cell, view, &record).without_keys()
        });
    Exported {
        networks: networks.collect(),
        services: services.collect(),
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

fn fill_network(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    match view.get::<ServiceNetwork>(id) {
        Some(record) => {
            let network = Arc::new(feed_network(cell, view, &record));
            snapshot.service_networks.insert(key, network);
        }
        None => drop(snapshot.service_networks.remove(&key)),
    }
}

fn fill_service(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    let record = view.get::<Service>(id);
    match record.filter(|service| is_served(service.status)) {
        Some(record) => {
            let service = Arc::new(feed_service(cell, view, &record));
            snapshot.services.insert(key, service);
        }
        None => drop(snapshot.services.remove(&key)),
    }
}

fn fill_group(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse::<TargetGroupId>() else {
        return;
    };
    let record = view.get::<TargetGroup>(id);
    let record = record.filter(|group| is_served(group.status));
    let of_function = record
        .as_ref()
        .filter(|it| target_group::is_of_function(it));
    match of_function.map(|it| function_group(cell, view, it)) {
        Some(group) => drop(
            snapshot
                .function_groups
                .insert(key.clone(), Arc::new(group)),
        ),
        None => drop(snapshot.function_groups.remove(&key)),
    }
    match record.and_then(|record| feed_group(cell, view, &record)) {
        Some(group) => drop(snapshot.target_groups.insert(key, Arc::new(group))),
        None => drop(snapshot.target_groups.remove(&key)),
    }
}

/// What HTTPS listeners present by generated names, and what certifies workloads.
fn present(cell: &Cell, view: &View, snapshot: &mut Snapshot) {
    snapshot.lattice_certificate = certificate::generated(cell, view).map(Arc::new);
    snapshot.workload_authority = workload_authority::in_feed(cell, view).map(Arc::new);
}

/// What other regions have and something here uses. Where no region told anything, nothing more is looked at.
fn foreign(cell: &Cell, view: &View, snapshot: &mut Snapshot) {
    let here = |arn: &str| region::is_here(cell, Some(arn));
    snapshot.service_networks.retain(|_, it| here(&it.arn));
    snapshot.services.retain(|_, it| here(&it.arn));
    snapshot.target_groups.retain(|_, it| here(&it.arn));
    if !region::has_exported(view) {
        return;
    }
    foreign_networks(view, snapshot);
    foreign_services(cell, view, snapshot);
    foreign_groups(view, snapshot);
}

/// The networks of other regions that VPCs or endpoints of this one are joined with.
fn foreign_networks(view: &View, snapshot: &mut Snapshot) {
    let associated = view.list::<VpcAssociation>().map(|it| it.network.clone());
    let endpoints = view.list::<lath_ec2_records::VpcEndpoint>();
    let named: BTreeSet<ServiceNetworkId> = associated
        .chain(endpoints.filter_map(|it| it.to.network().cloned()))
        .collect();
    for id in named {
        if view.contains(ServiceNetwork::KIND, id.as_str()) {
            continue;
        }
        if let Some(mut network) = region::find_network(view, &id) {
            network.access_logs = access_logs(view, id.as_str());
            network.services = services_of(view, &id);
            snapshot.service_networks.insert(id, Arc::new(network));
        }
    }
}

/// The services of a network, whichever region associated them.
fn services_of(view: &View, network: &ServiceNetworkId) -> BTreeSet<ServiceId> {
    let here = view.by::<ServiceAssociation>("network", network.as_str());
    let elsewhere = region::service_associations(view)
        .filter(|(_, it)| it.network == *network)
        .map(|(_, it)| Arc::new(it));
    here.chain(elsewhere)
        .filter(|association| is_served(association.status))
        .map(|association| association.service.clone())
        .collect()
}

/// The services of other regions that are in a network here, at addresses of this region.
fn foreign_services(cell: &Cell, view: &View, snapshot: &mut Snapshot) {
    let here = view.list::<ServiceAssociation>();
    let elsewhere = region::service_associations(view).map(|(_, it)| Arc::new(it));
    let wanted: BTreeSet<ServiceId> = here
        .chain(elsewhere)
        .filter(|it| snapshot.service_networks.contains_key(&it.network) && is_served(it.status))
        .map(|it| it.service.clone())
        .collect();
    for id in wanted {
        if view.contains(Service::KIND, id.as_str()) {
            continue;
        }
        let address = region::address(view, &id);
        if let (Some(mut service), Some(address)) = (region::find_service(view, &id), address) {
            service.address = address;
            service.access_logs = access_logs(view, id.as_str());
            service.certificate = certificate::of_foreign(cell, view, &service);
            snapshot.services.insert(id, Arc::new(service));
        }
    }
}

/// The target groups of other regions that rules here forward to.
fn foreign_groups(view: &View, snapshot: &mut Snapshot) {
    // The rules are read, and not the services that were filled in: a change of one is seen.
    let rules = view.list::<Rule>();
    let own = rules.flat_map(|rule| action::groups_of(&rule).cloned().collect::<Vec<_>>());
    let foreign = snapshot.services.values();
    let foreign = foreign.flat_map(|service| region::groups_of(service).cloned());
    let used: BTreeSet<TargetGroupId> = own.chain(foreign).collect();
    for id in used {
        if !view.contains(TargetGroup::KIND, id.as_str())
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

/// Where the logs of a network or service go.
pub(crate) fn access_logs(view: &View, source: &str) -> Vec<AccessLogDestination> {
    view.by::<AccessLogSubscription>("source", source)
        .map(|subscription| AccessLogDestination {
            id: subscription.id.clone(),
            destination_arn: access_log::log_group_arn(&subscription),
        })
        .collect()
}

fn feed_network(cell: &Cell, view: &View, record: &ServiceNetwork) -> feed::ServiceNetwork {
    feed::ServiceNetwork {
        id: record.id.clone(),
        arn: network::arn(cell, &record.id),
        name: record.name.clone(),
        auth: auth(view, record.auth_type, record.id.as_str()),
        services: services_of(view, &record.id),
        access_logs: access_logs(view, record.id.as_str()),
        workloads_only: mutual_tls::is_required(&record.tags),
    }
}

fn feed_service(cell: &Cell, view: &View, record: &Service) -> feed::Service {
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
        certificate: certificate::of_service(cell, view, record),
        address: record.address,
        auth: auth(view, record.auth_type, record.id.as_str()),
        idle_timeout: IDLE_TIMEOUT,
        listeners,
        routes: gateway_routes::in_feed(cell, record),
        access_logs: access_logs(view, record.id.as_str()),
    }
}

/// `None` cannot be: a listener and its default rule are written and deleted together.
fn feed_listener(cell: &Cell, view: &View, record: &Listener) -> Option<feed::Listener> {
    let default = view.get::<Rule>(&key(&record.id, &record.default_rule))?;
    let prefix = format!("{}/", record.id);
    let extended = cell.mode == Mode::Extended;
    // In strict mode a rule with further conditions is left out: without them it would be for other requests.
    let (matched, plain): (Vec<_>, Vec<_>) = view
        .range::<Rule>(&prefix)
        .partition(|rule| rule.more.is_some());
    let mut rules: Vec<lattice::Rule> = plain.iter().filter_map(|it| feed_rule(it)).collect();
    rules.sort_by_key(|rule| rule.priority);
    let matched = matched.iter().filter(|_| extended).filter_map(|it| {
        Some(feed::MatchedRule {
            rule: feed_rule(it)?,
            more: it.more.as_deref()?.clone(),
        })
    });
    let mut matched: Vec<_> = matched.collect();
    matched.sort_by_key(|it| it.rule.priority);
    let policies = view.range::<Rule>(&prefix).filter(|_| extended);
    let policies = policies.filter_map(|rule| {
        let mut policy = rule.traffic.as_deref()?.clone();
        if canary::is_rolled_back(&rule)
            && let Some(session) = &mut policy.session
        {
            session.target_group = false;
        }
        Some((rule.id.clone(), policy))
    });
    Some(feed::Listener {
        id: record.id.clone(),
        arn: listener::arn(cell, &record.service, &record.id),
        protocol: record.protocol,
        port: record.port,
        rules,
        matched,
        default_rule: record.default_rule.clone(),
        default_action: Action::clone(&default.action),
        traffic: policies.collect(),
        mutual_tls: mutual_tls::in_feed(cell, view, record),
        gateway: gateway::in_feed(cell, view, record),
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

fn function_group(cell: &Cell, view: &View, record: &TargetGroup) -> feed::FunctionGroup {
    feed::FunctionGroup {
        id: record.id.clone(),
        arn: target_group::arn(cell, &record.id),
        name: record.name.clone(),
        events: match record.events.unwrap_or_default() {
            LambdaEventStructureVersion::V1 => feed::EventVersion::V1,
            LambdaEventStructureVersion::V2 => feed::EventVersion::V2,
        },
        function: target::function(cell, view, record),
    }
}

/// `None`: its target is a function.
fn feed_group(cell: &Cell, view: &View, record: &TargetGroup) -> Option<feed::TargetGroup> {
    let targets = format!("{}/", record.id);
    Some(feed::TargetGroup {
        id: record.id.clone(),
        arn: target_group::arn(cell, &record.id),
        name: record.name.clone(),
        vpc: record.vpc.clone()?,
        protocol: record.protocol,
        protocol_version: target_group::version(record),
        health_check: feed_check(cell, record),
        balancing: record
            .balancing
            .as_deref()
            .cloned()
            .filter(|_| cell.mode == Mode::Extended),
        tls: target_tls::in_feed(cell, view, record),
        in_use: action::is_used(view, &record.id),
        targets: view
            .range::<Target>(&targets)
            .map(|target| feed_target(view, &target))
            .collect(),
        region: None,
    })
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
        protocol_version: match health_check::is_of_grpc(cell, group) {
            true => ProtocolVersion::Grpc,
            false => check.protocol_version.into(),
        },
        port: check.port,
        path: check.path.clone(),
        matcher: matcher::parse(&check.matcher).unwrap_or_else(|| vec![(200, 200)]),
        interval: often.unwrap_or_else(|| Duration::from_secs(check.interval.into())),
        timeout: often.unwrap_or_else(|| Duration::from_secs(check.timeout.into())),
        healthy_threshold: check.healthy_threshold.into(),
        unhealthy_threshold: check.unhealthy_threshold.into(),
    })
}

/// A VPC's association with a network.
fn associate(_: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    use VpcAssociationStatus::{CreateFailed, DeleteFailed, DeleteInProgress};
    let served = |status| !matches!(status, CreateFailed | DeleteInProgress | DeleteFailed);
    let mut associations = view.by::<VpcAssociation>("vpc", id);
    let Some(association) = associations.find(|it| served(it.status)) else {
        return;
    };
    if let Some(vpc) = snapshot.vpcs.get_mut(&association.vpc) {
        Arc::make_mut(vpc).lattice = Some(feed::LatticeAssociation {
            id: association.id.clone(),
            service_network: association.network.clone(),
            security_groups: association.security_groups.iter().cloned().collect(),
        });
    }
}
