//! Discovery: a Service that asks for it by an annotation, or that the controller's selector finds, is a service of VPC Lattice
//! without any route, and has names in private zones of Route 53 if it asks for those.

mod asked;
mod reconcile;
mod records;

use std::collections::{BTreeMap, BTreeSet};

pub use self::asked::selector;
use self::asked::{is_exposed, names, ports};
pub(crate) use self::records::Records;
use crate::desired::{
    self, Action, GroupRef, Listener, MANAGED_BY, Protocol, ROUTE_NAME, ROUTE_NAMESPACE,
    ROUTE_TYPE, SOURCE_TYPE, Source, Tags, key, listener_name, tags,
};
use crate::group_policies::Of;
use crate::kinds::RouteKind;
use crate::plan::group_of;
use crate::routes::SERVICE_ARN;
use crate::settings::Settings;
use crate::world::{Name, Service, World};

/// The annotation by which a Service asks for it.
const EXPOSE: &str = "lath.dev/expose";
const NETWORKS: &str = "lath.dev/service-network";
const LISTENERS: &str = "lath.dev/listener-port";
const PROTOCOL: &str = "lath.dev/protocol";
/// The annotations of external-dns.
const HOSTNAME: &str = "external-dns.alpha.kubernetes.io/hostname";
const TTL: &str = "external-dns.alpha.kubernetes.io/ttl";
/// What holds a Service until nothing of it is in Lattice.
pub(crate) const FINALIZER: &str = "service.lath.dev/resources";
/// The type of the condition of a Service that says what came of it.
const CONDITION: &str = "lath.dev/Programmed";
/// The value of tags that say what a resource was made for.
const KIND: &str = "Service";
/// How long a record may be believed, unless the Service says it.
const USUAL_TTL: i64 = 300;
const LONGEST_TTL: i64 = 7 * 24 * 3600;
/// How many names a Service may have.
const MOST_NAMES: usize = 16;

/// Which annotations of Services are kept.
pub(crate) fn is_read(annotation: &str) -> bool {
    let certificate = key("certificate-arn");
    [EXPOSE, NETWORKS, LISTENERS, PROTOCOL, HOSTNAME, TTL].contains(&annotation)
        || annotation == certificate
        || annotation == key("tags")
        || annotation == key(SERVICE_ARN)
}

/// Names in Route 53 that a Service asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) hostnames: BTreeSet<String>,
    pub(crate) ttl: i64,
}

/// What should be in Lattice for a Service, and in Route 53.
pub(crate) struct Exposed {
    pub(crate) service: desired::Service,
    pub(crate) names: Names,
}

/// The networks that a Service's service is in. Which ones Services may ask for says the controller's operator: a Service's
/// author would otherwise choose who can reach whom.
fn networks(settings: &Settings, asked: Option<&String>) -> Result<BTreeSet<String>, String> {
    let default = settings.default_service_network.as_ref();
    let Some(asked) = asked else {
        let only = match &settings.discover_networks[..] {
            [only] if only != "*" => Some(only),
            _ => None,
        };
        let network = default.or(only).ok_or_else(|| {
            format!("{NETWORKS} says no network, and the controller has no default one")
        })?;
        return Ok(BTreeSet::from([network.clone()]));
    };
    let all = asked.split(',').map(str::trim).filter(|it| !it.is_empty());
    all.map(|network| {
        let named = |it: &String| it == "*" || it == network;
        let may =
            default.is_some_and(|it| it == network) || settings.discover_networks.iter().any(named);
        match may {
            true => Ok(network.to_owned()),
            false => Err(format!(
                "{NETWORKS}: --discover-networks of the controller has no {network}"
            )),
        }
    })
    .collect()
}

/// The names that a Service's service may have. The second one is for where a route has the first.
fn service_names(name: &Name) -> Vec<String> {
    let (first, _) = desired::service_names(name);
    vec![first, desired::hashed_name(name, KIND)]
}

/// The tags by which a Service's service is known.
fn identity(settings: &Settings, name: &Name) -> Tags {
    tags([
        (MANAGED_BY, &settings.managed_by()),
        (ROUTE_NAME, &name.name),
        (ROUTE_NAMESPACE, &name.namespace),
        (ROUTE_TYPE, "service"),
    ])
}

/// The tags that all target groups of it have.
fn sources(settings: &Settings, name: &Name) -> Tags {
    tags([
        (MANAGED_BY, &settings.managed_by()),
        (SOURCE_TYPE, KIND),
        (ROUTE_NAME, &name.name),
        (ROUTE_NAMESPACE, &name.namespace),
    ])
}

/// What a Service becomes; `None` for one that is not to be exposed, and the error says what is wrong.
pub(crate) fn plan(
    world: &World,
    settings: &Settings,
    name: &Name,
) -> Option<Result<Exposed, String>> {
    let service = world.services.get(name)?;
    (!service.goes && is_exposed(settings, service))
        .then(|| exposed(world, settings, name, service))
}

fn exposed(
    world: &World,
    settings: &Settings,
    name: &Name,
    service: &Service,
) -> Result<Exposed, String> {
    let annotations = &service.annotations;
    if service.external_name || service.ipv6_only {
        return Err("the Service has no IPv4 addresses in the VPC".to_owned());
    }
    let (protocol, kind) = match annotations.get(PROTOCOL).map_or("HTTP", String::as_str) {
        "HTTP" => (Protocol::Http, RouteKind::Http),
        "HTTPS" => (Protocol::Https, RouteKind::Http),
        "TLS" => (Protocol::Tls, RouteKind::Tls),
        other => return Err(format!("{PROTOCOL}: {other:?} is not HTTP, HTTPS or TLS")),
    };
    let names = names(annotations)?;
    // Others lead to it by DNS; this one clients may also name in a handshake.
    let custom_domain = names.hostnames.first().cloned();
    let certificate = annotations.get(&key("certificate-arn")).cloned();
    if protocol == Protocol::Https && custom_domain.is_some() && certificate.is_none() {
        return Err(format!(
            "{HOSTNAME} with HTTPS needs a certificate: {}",
            key("certificate-arn")
        ));
    }
    if protocol == Protocol::Tls && custom_domain.is_none() {
        return Err(format!(
            "TLS that is passed through needs a name: {HOSTNAME}"
        ));
    }
    let policy = world
        .group_policy(Of::Service, name)
        .map(|(_, policy)| policy);
    let mut groups = BTreeMap::new();
    let mut listeners = Vec::new();
    for (number, port) in ports(service, annotations.get(LISTENERS))? {
        let mut group = group_of(
            settings,
            Source::Exposed(name),
            kind,
            (name, port),
            (policy, None),
        );
        group.targets = world.targets(name, port);
        let forward = BTreeMap::from([(GroupRef::Own(group.name.clone()), 1)]);
        listeners.push(Listener {
            name: listener_name(name, number, protocol),
            port: number,
            protocol,
            default: Action::Forward(forward),
            rules: Vec::new(),
        });
        groups.insert(group.name.clone(), group);
    }
    if listeners.is_empty() {
        return Err("the Service has no TCP port".to_owned());
    }
    let mut service_tags = crate::plan::asked_tags(annotations);
    service_tags.extend(identity(settings, name));
    Ok(Exposed {
        service: desired::Service {
            names: service_names(name),
            former: annotations
                .get(&key(SERVICE_ARN))
                .cloned()
                .into_iter()
                .collect(),
            tags: service_tags,
            certificate: certificate.filter(|_| custom_domain.is_some()),
            custom_domain,
            networks: networks(settings, annotations.get(NETWORKS))?,
            listeners,
            groups: groups.into_values().collect(),
            ..desired::Service::default()
        },
        names,
    })
}
