//! A route as what should be in VPC Lattice for it: Kubernetes' objects in, plain values and conditions out.

mod backends;

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;

use crate::attach::{Parent, meet, parents, protocol};
use crate::condition::ConditionState;
use crate::desired::{
    self, Action, CLUSTER_NAME, Group, Listener, MANAGED_BY, Protocol, ROUTE_NAME, ROUTE_NAMESPACE,
    ROUTE_TYPE, SERVICE_NAME, SERVICE_NAMESPACE, SOURCE_TYPE, Service, Source, Tags, key,
    listener_name, service_names, tags,
};
use crate::entrance::{self, RouteBinding};
use crate::group_policies::Of;
use crate::kinds::{Route, RouteKind, Rule, ServiceExport};
use crate::listeners::Section;
use crate::matching;
use crate::settings::Settings;
use crate::world::{BackendKind, Name, World, backend_of, backing};
use backends::Builder;
pub(crate) use backends::group_of;

/// How many rules have a priority in a listener.
pub(crate) fn most_rules(addresses: bool) -> i32 {
    if addresses { 2000 } else { 100 }
}

/// What becomes of a route.
pub(crate) struct Plan {
    pub(crate) kind: RouteKind,
    /// The parents that are this controller's.
    pub(crate) parents: Vec<Parent>,
    /// Whether all backends are what they should be.
    pub(crate) resolved: ConditionState,
    /// What of an accepted route cannot be had.
    pub(crate) left_out: Option<String>,
    /// What should be in Lattice; `None` when no parent accepts the route.
    pub(crate) service: Option<Service>,
    /// Which entrances lead to it.
    pub(crate) place: RouteBinding,
}

/// How a ServiceImport finds the target group that another cluster, or anything else, has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Import {
    Arn(String),
    Tagged { tags: Tags, vpc: Option<String> },
}

/// The ids of the groups that imports stand for, for those that have one.
pub(crate) type Imports = BTreeMap<Name, String>;

/// The imports that a route's backends name.
pub(crate) fn imports(world: &World, name: &Name, route: &Route) -> BTreeMap<Name, Import> {
    let backends = route.spec.rules.iter().flat_map(Rule::backends);
    let named = backends.filter_map(|it| backend_of(it, name));
    let imports = named.filter(|(kind, _)| *kind == BackendKind::Import);
    imports
        .filter_map(|(_, name)| Some((name.clone(), import(world, &name)?)))
        .collect()
}

fn import(world: &World, name: &Name) -> Option<Import> {
    let annotations = world.imports.get(name)?.annotations();
    let annotation = |short: &str| annotations.get(&key(short)).filter(|it| !it.is_empty());
    if let Some(arn) = annotation("target-group-arn") {
        return Some(Import::Arn(arn.clone()));
    }
    let exported = annotation("export-name").unwrap_or(&name.name);
    let mut tags = tags([
        (SERVICE_NAME, exported),
        (SERVICE_NAMESPACE, &name.namespace),
        (SOURCE_TYPE, "ServiceExport"),
    ]);
    if let Some(cluster) = annotation("aws-eks-cluster-name") {
        tags.insert(key(CLUSTER_NAME), cluster.clone());
    }
    let vpc = annotation("aws-vpc").cloned();
    Some(Import::Tagged { tags, vpc })
}

/// Whether a route or Gateway wants its services in no service network.
fn standalone(annotations: &BTreeMap<String, String>) -> Option<bool> {
    annotations.get(&key("standalone")).map(|it| it == "true")
}

/// The tags that an annotation asks for: `key=value` with commas between.
pub(crate) fn asked_tags(annotations: &BTreeMap<String, String>) -> Tags {
    let text = annotations
        .get(&key("tags"))
        .map(String::as_str)
        .unwrap_or_default();
    let pairs = text
        .split(',')
        .filter_map(|pair| pair.trim().split_once('='));
    let pairs = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    let reserved = |key: &str| {
        key.is_empty() || key.starts_with("aws:") || key.starts_with(crate::kinds::AWS_GROUP)
    };
    pairs.filter(|(key, _)| !reserved(key)).take(40).collect()
}

/// The tags by which a route's service is known.
pub(crate) fn service_tags(settings: &Settings, kind: RouteKind, name: &Name) -> Tags {
    tags([
        (MANAGED_BY, &settings.managed_by()),
        (ROUTE_NAME, &name.name),
        (ROUTE_NAMESPACE, &name.namespace),
        (ROUTE_TYPE, kind.tag()),
    ])
}

/// The listeners of all parents that accept the route. Of two with one port, the first counts.
fn listeners(name: &Name, parents: &[Parent]) -> Vec<Listener> {
    let mut listeners: BTreeMap<i32, Listener> = BTreeMap::new();
    for parent in parents.iter().filter(|it| it.accepted.good) {
        for listener in parent.listeners.iter().map(Section::listener) {
            let Some(protocol) = protocol(listener) else {
                continue;
            };
            listeners.entry(listener.port).or_insert_with(|| Listener {
                name: listener_name(name, listener.port, protocol),
                port: listener.port,
                protocol,
                default: Action::Fixed(404),
                rules: Vec::new(),
            });
        }
    }
    listeners.into_values().collect()
}

/// The certificate that a parent's listener names.
fn certificate(world: &World, parents: &[Parent]) -> Option<String> {
    let option = key("certificate-arn");
    let accepting = parents.iter().filter(|it| it.accepted.good);
    let mut named = accepting.flat_map(|parent| {
        let own = parent.listeners.iter().filter(|it| it.set().is_none());
        let listeners = own.map(Section::listener);
        let named = listeners.filter_map(|it| it.tls.as_ref()?.options.get(&option));
        named.filter(|arn| world.may_present(&parent.name, arn))
    });
    named.next().cloned()
}

fn networks(settings: &Settings, route: &Route, parents: &[Parent]) -> BTreeSet<String> {
    let own = standalone(route.annotations());
    let associated = parents.iter().filter(|it| it.accepted.good).filter(|it| {
        !own.or_else(|| standalone(it.gateway.annotations()))
            .unwrap_or(false)
    });
    associated
        .map(|it| settings.network_of(&it.name.name).to_owned())
        .collect()
}

fn annotation(route: &Route, short: &str) -> Option<String> {
    let value = route.annotations().get(&key(short))?;
    (!value.is_empty()).then(|| value.clone())
}

/// The names that a route's service may have.
pub(crate) struct ServiceNames {
    /// Those under which it is made, the first that is free.
    pub(crate) first: Vec<String>,
    /// Others under which it may be there already.
    pub(crate) former: Vec<String>,
    /// What is wrong with the name that the route asks for.
    wrong: Option<String>,
}

/// The names that a route's service may have. One that it asks for by an annotation counts when the service is made; where it is
/// afterwards, another annotation says, which proves nothing: tags do.
pub(crate) fn service_names_of(
    name: &Name,
    annotations: &BTreeMap<String, String>,
) -> ServiceNames {
    let (own, other) = service_names(name);
    let usual: Vec<_> = std::iter::once(own).chain(other).collect();
    let asked = annotations.get(&key("service-name-override"));
    let there = annotations.get(&key("lattice-service-arn")).cloned();
    let valid = |it: &&String| {
        let fits = (3..=40).contains(&it.len()) && !it.starts_with("svc-") && !it.contains("--");
        let mut letters = it.bytes();
        fits && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
            && !it.starts_with('-')
            && !it.ends_with('-')
    };
    let wrong = asked.filter(|it| !valid(it)).map(|it| {
        format!(
            "Dropped annotation {}: {it:?} is no name of a service (3 to 40 of a-z, 0-9 and single hyphens between them, not svc-)",
            key("service-name-override")
        )
    });
    match asked.filter(valid) {
        Some(asked) => ServiceNames {
            first: vec![asked.clone()],
            former: usual.into_iter().chain(there).collect(),
            wrong,
        },
        None => ServiceNames {
            first: usual,
            former: there.into_iter().collect(),
            wrong,
        },
    }
}

/// The priorities that a route's annotations give to its rules, by their places, and what is wrong with one.
fn priorities(route: &Route) -> (BTreeMap<usize, i32>, Option<String>) {
    let mut priorities = BTreeMap::new();
    let mut wrong = None;
    for at in 0..route.spec.rules.len() {
        let name = format!("rule-{at}-priority");
        let Some(value) = annotation(route, &name) else {
            continue;
        };
        match value.trim().parse() {
            Ok(priority @ 1..=2000) => drop(priorities.insert(at, priority)),
            _ => {
                let what = format!("{value:?} is no priority (1 to 2000)");
                wrong = Some(format!("Dropped annotation {}: {what}", key(&name)));
            }
        }
    }
    (priorities, wrong)
}

/// Makes a route's plan.
pub(crate) fn route(
    world: &World,
    settings: &Settings,
    imports: &Imports,
    (kind, name, route): (RouteKind, &Name, &Route),
) -> Plan {
    let mut parents = parents(world, settings, kind, name, route);
    let mut builder = Builder::new(world, settings, imports, (kind, name), &parents);
    let mut left_out = Vec::new();
    let mut rules = Vec::new();
    let mut passed_on = None;
    let mut served = false;
    for (at, rule) in route.spec.rules.iter().enumerate() {
        let conditions = match matching::conditions(kind, rule, settings.has_addresses()) {
            Ok(conditions) => conditions,
            Err(what) => {
                left_out.push(format!("Dropped Rule {at}: VPC Lattice has no {what}"));
                continue;
            }
        };
        let (action, traffic) = match builder.deed(at, rule) {
            Ok(deed) => {
                served = true;
                deed
            }
            // Connections have no answer: the next rule takes them.
            Err(what) if kind.is_of_connections() => {
                left_out.push(format!("Dropped Rule {at}: VPC Lattice has no {what}"));
                continue;
            }
            Err(what) => {
                left_out.push(format!(
                    "Dropped Rule {at}: VPC Lattice has no {what}; what it matches is answered 500"
                ));
                // Left out, its requests would be those of a rule that matches more, past what this one asked for.
                (Action::Fixed(500), None)
            }
        };
        if kind.is_of_connections() {
            passed_on.get_or_insert(action);
            continue;
        }
        let conditions = conditions.into_iter();
        rules.extend(conditions.map(|(rank, condition)| {
            let (action, traffic) = (action.clone(), traffic.clone());
            let rule = desired::Rule {
                condition,
                action,
                traffic,
            };
            (rank, at, rule)
        }));
    }
    let whole = !served && !builder.crowded && !route.spec.rules.is_empty();
    left_out.extend(std::mem::take(&mut builder.remarks));
    let (priorities, wrong) = priorities(route);
    left_out.extend(wrong);
    let mut rules = matching::in_order(rules, &priorities);
    let most = usize::try_from(most_rules(settings.has_addresses())).unwrap_or(usize::MAX);
    if rules.len() > most {
        left_out.push(format!(
            "Dropped Rules: VPC Lattice has no more than {most} rules in a listener"
        ));
        rules.truncate(most);
    }
    let mut accepting = parents.iter().filter(|it| it.accepted.good).peekable();
    let has_entrance =
        accepting.peek().is_some() && accepting.all(|it| settings.has_entrances(&it.controller));
    // A name that no listener takes is not the route's to have.
    let is_taken = |hostname: &&String| {
        let accepting = parents.iter().filter(|it| it.accepted.good);
        let mut listeners = accepting.flat_map(|it| it.listeners.iter().map(Section::listener));
        listeners.any(|it| match it.hostname.as_deref().unwrap_or_default() {
            "" => true,
            own => meet(own, hostname),
        })
    };
    let mut hostnames = route.spec.hostnames.iter().filter(is_taken);
    let mut plain = hostnames.find(|it| !it.starts_with('*'));
    let mut unnamed =
        plain.is_none() && (kind == RouteKind::Tls || !route.spec.hostnames.is_empty());
    if has_entrance {
        // Its hostnames are the entrances' business.
        (plain, unnamed) = (None, false);
    } else {
        for hostname in route.spec.hostnames.iter().filter(|it| Some(*it) != plain) {
            left_out.push(format!(
                "Dropped hostname {hostname}: a service of VPC Lattice has one name, without wildcards"
            ));
        }
    }
    if whole || unnamed {
        let message = match unnamed {
            true => "a service of VPC Lattice needs a hostname without wildcards here".to_owned(),
            false => left_out.join("; "),
        };
        for parent in parents.iter_mut().filter(|it| it.accepted.good) {
            parent.accepted = ConditionState::bad("UnsupportedValue", message.clone());
        }
        left_out.clear();
    }
    let mut listeners = listeners(name, &parents);
    for listener in &mut listeners {
        match listener.protocol {
            Protocol::Tls | Protocol::Tcp => {
                listener.default = passed_on.clone().unwrap_or(Action::Fixed(404))
            }
            Protocol::Http | Protocol::Https => listener.rules.clone_from(&rules),
        }
    }
    if has_entrance {
        // A connection has no other answer than that nothing listens.
        listeners
            .retain(|it| !kind.is_of_connections() || matches!(it.default, Action::Forward(_)));
    }
    let accepted = parents.iter().any(|it| it.accepted.good);
    let names = service_names_of(name, route.annotations());
    left_out.extend(names.wrong);
    let asked = annotation(route, "allow-takeover-from");
    let takeover = asked.clone().filter(|it| settings.may_take_over(it));
    if let Some(from) = asked.filter(|_| takeover.is_none()) {
        left_out.push(format!(
            "Dropped annotation {}: the controller's --takeover-from has no {from}",
            key("allow-takeover-from")
        ));
    }
    let mut service_tags = asked_tags(route.annotations());
    service_tags.extend(self::service_tags(settings, kind, name));
    let service = accepted.then(|| Service {
        names: names.first,
        former: names.former,
        takeover,
        tags: service_tags,
        custom_domain: plain.cloned(),
        // A name that Lattice gives has a certificate of Lattice's, and takes no other.
        certificate: plain.and_then(|_| certificate(world, &parents)),
        has_entrance,
        networks: networks(settings, route, &parents),
        listeners,
        groups: builder.groups.into_values().collect(),
    });
    let resolved = builder.unresolved.into_iter().next();
    let place = entrance::place(world, settings, (name, route), &parents);
    Plan {
        kind,
        place,
        parents,
        resolved: resolved.unwrap_or_else(|| ConditionState::good("ResolvedRefs")),
        left_out: (!left_out.is_empty()).then(|| left_out.join("; ")),
        service,
    }
}

/// The groups of an export: one for each port. `None` when the export is not for this controller, or its Service is not
/// there.
pub(crate) fn export(
    world: &World,
    settings: &Settings,
    name: &Name,
    export: &ServiceExport,
) -> Option<Vec<Group>> {
    let annotations = export.annotations();
    if annotations.get(&key("federation")).map(String::as_str) != Some("amazon-vpc-lattice") {
        return None;
    }
    let backing = backing(name, export);
    let service = world.services.get(&backing)?;
    let mut wanted: Vec<(i32, RouteKind)> = Vec::new();
    for port in export.spec.iter().flat_map(|it| &it.exported_ports) {
        let kind = match port.route_type.as_str() {
            "GRPC" => RouteKind::Grpc,
            "TLS" => RouteKind::Tls,
            _ => RouteKind::Http,
        };
        wanted.push((port.port, kind));
    }
    if wanted.is_empty() {
        let ports = annotations
            .get(&key("port"))
            .map(String::as_str)
            .unwrap_or_default();
        let ports = ports.split(',').filter_map(|it| it.trim().parse().ok());
        wanted.extend(ports.map(|port| (port, RouteKind::Http)));
    }
    if wanted.is_empty() {
        wanted.extend(service.ports.iter().map(|it| (it.port, RouteKind::Http)));
    }
    let mut groups = BTreeMap::new();
    for (number, kind) in wanted {
        let Some(port) = service.ports.iter().find(|it| it.port == number) else {
            continue;
        };
        let policy = world
            .group_policy(Of::Export, name)
            .or_else(|| world.group_policy(Of::Service, &backing));
        let policy = policy.map(|(_, policy)| policy);
        let mut group = group_of(settings, Source::Export, kind, (name, port), (policy, None));
        group.targets = world.targets(&backing, port);
        groups.insert(group.name.clone(), group);
    }
    Some(groups.into_values().collect())
}
