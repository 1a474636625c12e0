//! Discovery: a Service that asks for it by an annotation, or that the controller's selector finds, is a service of VPC Lattice
//! without any route, and has names in private zones of Route 53 if it asks for those.

mod records;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

pub(crate) use self::records::Records;
use crate::condition::{Verdict, merged};
use crate::controller::{App, Undone};
use crate::desired::{
    self, Action, GroupRef, Listener, MANAGED_BY, Protocol, ROUTE_NAME, ROUTE_NAMESPACE,
    ROUTE_TYPE, SOURCE_TYPE, Source, Tags, key, listener_name, tags,
};
use crate::group_policies::Of;
use crate::guards::Target;
use crate::kinds::{Condition, RouteKind};
use crate::lattice::Fault;
use crate::plan::group_of;
use crate::routes::{DOMAIN_NAME, SERVICE_ARN};
use crate::settings::Settings;
use crate::world::{Name, Service, ServicePort, World};

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

/// Reads the controller's selector, in the form of `kubectl -l`: `a=b,c!=d,e,!f`.
///
/// # Errors
/// What is wrong with it.
pub fn selector(text: &str) -> Result<Vec<(String, Option<String>, bool)>, String> {
    let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    let parts = parts.map(|part| {
        let (key, value, wanted) = if let Some((key, value)) = part.split_once("!=") {
            (key, Some(value), false)
        } else if let Some((key, value)) = part.split_once('=') {
            (key, Some(value.trim_start_matches('=')), true)
        } else if let Some(key) = part.strip_prefix('!') {
            (key, None, false)
        } else {
            (part, None, true)
        };
        let key = key.trim();
        let good = |it: char| it.is_ascii_alphanumeric() || "-_./".contains(it);
        if key.is_empty() || !key.chars().all(good) {
            return Err(format!(
                "{part:?}: give KEY=VALUE, KEY!=VALUE, KEY or !KEY, with commas between"
            ));
        }
        Ok((key.to_owned(), value.map(|it| it.trim().to_owned()), wanted))
    });
    parts.collect()
}

fn selected(settings: &Settings, labels: &BTreeMap<String, String>) -> bool {
    let selector = &settings.discover_selector;
    let mut all = selector.iter();
    !selector.is_empty()
        && all.all(|(key, value, wanted)| {
            let label = labels.get(key);
            let found = match value {
                Some(value) => label == Some(value),
                None => label.is_some(),
            };
            found == *wanted
        })
}

/// Whether a Service is to be a service of Lattice: what its annotation says, else what the selector says.
fn is_exposed(settings: &Settings, service: &Service) -> bool {
    match service.annotations.get(EXPOSE).map(String::as_str) {
        Some("true") => true,
        Some(_) => false,
        None => selected(settings, &service.labels),
    }
}

/// Seconds, or a duration such as `1m30s`.
fn ttl(text: &str) -> Result<i64, String> {
    let wrong = || {
        format!(
            "{TTL}: {text:?} is no time to live (seconds, or a duration such as 1m; 1 s to 7 days)"
        )
    };
    let mut seconds: i64 = 0;
    let mut number: Option<i64> = None;
    for letter in text.trim().chars() {
        if let Some(digit) = letter.to_digit(10) {
            let more = number.unwrap_or_default().checked_mul(10);
            number = more.and_then(|it| it.checked_add(i64::from(digit)));
            number.ok_or_else(wrong)?;
            continue;
        }
        let unit = match letter {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let part = number.take().and_then(|it| it.checked_mul(unit));
        seconds = part
            .and_then(|it| seconds.checked_add(it))
            .ok_or_else(wrong)?;
    }
    seconds = seconds.saturating_add(number.unwrap_or_default());
    match seconds {
        1..=LONGEST_TTL => Ok(seconds),
        _ => Err(wrong()),
    }
}

fn names(annotations: &BTreeMap<String, String>) -> Result<Names, String> {
    let mut names = Names {
        ttl: USUAL_TTL,
        ..Names::default()
    };
    let text = annotations
        .get(HOSTNAME)
        .map(String::as_str)
        .unwrap_or_default();
    for name in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let good = |label: &str| {
            let mut letters = label.bytes();
            (1..=63).contains(&label.len())
                && letters.all(|it| {
                    it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-' || it == b'_'
                })
        };
        // With what is put before it the record of its owner has to be a name, too.
        if name.len() > 240 || !name.contains('.') || !name.split('.').all(good) {
            return Err(format!(
                "{HOSTNAME}: {name:?} is no name for a record (without wildcards)"
            ));
        }
        names.hostnames.insert(name);
    }
    if names.hostnames.len() > MOST_NAMES {
        return Err(format!("{HOSTNAME}: more than {MOST_NAMES} names"));
    }
    if let Some(text) = annotations.get(TTL) {
        names.ttl = ttl(text)?;
    }
    Ok(names)
}

/// The ports that listeners have, with those of the Service that they lead to.
fn ports<'a>(
    service: &'a Service,
    asked: Option<&String>,
) -> Result<Vec<(i32, &'a ServicePort)>, String> {
    let Some(asked) = asked else {
        return Ok(service.ports.iter().map(|it| (it.port, it)).collect());
    };
    let mut ports: Vec<(i32, &ServicePort)> = Vec::new();
    for part in asked.split(',').map(str::trim) {
        let (listener, to) = part
            .split_once(':')
            .map_or((part, None), |(a, b)| (a, Some(b)));
        let number = listener.parse::<u16>().ok().filter(|it| *it > 0);
        let number = number.ok_or_else(|| {
            format!("{LISTENERS}: {part:?} is not PORT, or PORT:PORT_OF_THE_SERVICE")
        })?;
        let mut all = service.ports.iter();
        let port = match to {
            None => all.next(),
            Some(to) => all.find(|it| it.name == to || it.port.to_string() == to),
        };
        let port =
            port.ok_or_else(|| format!("{LISTENERS}: the Service has no such port: {part:?}"))?;
        if ports.iter().any(|(it, _)| *it == i32::from(number)) {
            return Err(format!("{LISTENERS}: {number} is there twice"));
        }
        ports.push((i32::from(number), port));
    }
    Ok(ports)
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
        let mut group = group_of(settings, Source::Exposed(name), kind, (name, port), policy);
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

impl App {
    /// The names and tags of the service of a Service.
    pub(crate) fn exposed_service(&self, name: &Name) -> (Vec<String>, Tags) {
        let mut names = service_names(name);
        let known = self.look().services.get(name).cloned();
        names.extend(known.and_then(|it| it.annotations.get(&key(SERVICE_ARN)).cloned()));
        (names, identity(&self.settings, name))
    }

    /// Brings Lattice and Route 53 to what a Service asks for.
    pub(crate) async fn exposed(&self, name: &Name) -> Result<(), Undone> {
        let (held, plan) = {
            let world = self.look();
            let Some(service) = world.services.get(name) else {
                return Ok(());
            };
            (service.held, plan(&world, &self.settings, name))
        };
        if plan.is_none() && !held {
            return Ok(());
        }
        let api: Api<core::Service> = Api::namespaced(self.client.clone(), &name.namespace);
        let Some(live) = api.get_opt(&name.name).await? else {
            return Ok(());
        };
        let Some(plan) = plan else {
            return self.conceal(name, &api, &live).await;
        };
        let exposed = match plan {
            Ok(exposed) => exposed,
            // What was made before stays as it is until the Service says again what it wants.
            Err(why) => {
                let verdict = Verdict::bad("Invalid", why);
                return self.tell_service(&api, &live, Some(verdict)).await;
            }
        };
        if !held {
            // The new state comes by the watch, and with it this work again.
            return self.hold(&api, &live, true).await;
        }
        let guards = |target: &Target| self.guard(target);
        let target = Target::Exposed(name.clone());
        let sources = sources(&self.settings, name);
        // The custom domain name is claimed when the service is made: it has to be one that the Service may have.
        let unmade = exposed.service.former.is_empty();
        let allowed = match unmade {
            true => self.may_be_named(name, &exposed.names).await,
            false => Ok(()),
        };
        let result = match allowed {
            Ok(()) => {
                let service = &exposed.service;
                let deployed = self.lattice.deploy(service, &sources, (&target, &guards));
                deployed.await
            }
            Err(fault) => Err(fault),
        };
        self.look_at_gates(name.clone());
        let result = match result {
            Ok(deployed) => {
                let annotations = [
                    (DOMAIN_NAME, Some(deployed.domain_name.as_str())),
                    (SERVICE_ARN, Some(deployed.arn.as_str())),
                ];
                self.annotate_service(&api, &live, &annotations).await?;
                let named = self.name(name, &exposed.names, &deployed.domain_name).await;
                named.map(|()| deployed)
            }
            Err(fault) => Err(fault),
        };
        let verdict = match &result {
            Ok(deployed) => {
                Verdict::good("Programmed").saying(deployed.remark.clone().unwrap_or_default())
            }
            Err(Fault::Waits(message) | Fault::Unanswered(message)) => {
                Verdict::bad("Pending", message.clone())
            }
            Err(Fault::Conflict(message)) => Verdict::bad("Conflicted", message.clone()),
            Err(fault) => Verdict::bad("Invalid", fault.to_string()),
        };
        self.tell_service(&api, &live, Some(verdict)).await?;
        match result?.leftovers {
            true => Err(Fault::Waits("groups that are no longer used still go".to_owned()).into()),
            false => Ok(()),
        }
    }

    /// Whether a Service may have the names that it asks for.
    async fn may_be_named(&self, name: &Name, names: &Names) -> Result<(), Fault> {
        match self.records.get() {
            _ if names.hostnames.is_empty() => Ok(()),
            Some(records) => records.check(&resource(name), names).await,
            None => Err(unnamed()),
        }
    }

    /// Lets a Service's names lead to its service.
    async fn name(&self, name: &Name, names: &Names, target: &str) -> Result<(), Fault> {
        match self.records.get() {
            Some(records) => records.ensure(&resource(name), names, target).await,
            None if names.hostnames.is_empty() => Ok(()),
            None => Err(unnamed()),
        }
    }

    /// Takes away all that there is of a Service.
    async fn conceal(
        &self,
        name: &Name,
        api: &Api<core::Service>,
        live: &core::Service,
    ) -> Result<(), Undone> {
        // Names first: they would lead nowhere.
        if let Some(records) = self.records.get() {
            records
                .ensure(&resource(name), &Names::default(), "")
                .await?;
        }
        let (names, identity) = self.exposed_service(name);
        let sources = sources(&self.settings, name);
        self.lattice.withdraw(&names, &identity, &sources).await?;
        let gone = [(DOMAIN_NAME, None), (SERVICE_ARN, None)];
        self.annotate_service(api, live, &gone).await?;
        self.tell_service(api, live, None).await?;
        self.hold(api, live, false).await
    }

    /// Adds the finalizer to a Service, or removes it.
    async fn hold(
        &self,
        api: &Api<core::Service>,
        live: &core::Service,
        hold: bool,
    ) -> Result<(), Undone> {
        // What was annotated meanwhile has made another version of it.
        let Some(live) = api.get_opt(&live.name_any()).await? else {
            return Ok(());
        };
        let mut finalizers = live.finalizers().to_vec();
        finalizers.retain(|it| it != FINALIZER);
        if hold {
            finalizers.push(FINALIZER.to_owned());
        }
        if finalizers == live.finalizers() {
            return Ok(());
        }
        let version = live.resource_version();
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
        patched(
            api.patch(
                &live.name_any(),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await,
        )
    }

    async fn annotate_service(
        &self,
        api: &Api<core::Service>,
        live: &core::Service,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<(), Undone> {
        let mut changes = serde_json::Map::new();
        for (short, value) in wanted {
            let key = key(short);
            if live.annotations().get(&key).map(String::as_str) != *value {
                changes.insert(key, json!(value));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let patch = json!({"metadata": {"annotations": changes}});
        patched(
            api.patch(
                &live.name_any(),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await,
        )
    }

    /// Says what came of it by a condition, or takes that away.
    async fn tell_service(
        &self,
        api: &Api<core::Service>,
        live: &core::Service,
        verdict: Option<Verdict>,
    ) -> Result<(), Undone> {
        let conditions = live.status.as_ref().and_then(|it| it.conditions.as_ref());
        let known: Vec<Condition> = conditions
            .into_iter()
            .flatten()
            .filter_map(|it| serde_json::from_value(json!(it)).ok())
            .collect();
        let generation = live.metadata.generation.unwrap_or_default();
        let new: Vec<_> = verdict
            .map(|it| it.condition(CONDITION, generation))
            .into_iter()
            .collect();
        let next = merged(&known, new, &[CONDITION]);
        if next == known {
            return Ok(());
        }
        let of_type = |it: &&Condition| it.kind == CONDITION;
        let changed: Value = match next.iter().find(of_type) {
            Some(condition) => json!(condition),
            None => json!({"$patch": "delete", "type": CONDITION}),
        };
        // Conditions of others stay: a strategic patch knows them by their types.
        let patch = json!({"status": {"conditions": [changed]}});
        let params = PatchParams::default();
        let name = live.name_any();
        patched(
            api.patch_status(&name, &params, &Patch::Strategic(&patch))
                .await,
        )
    }
}

/// What is said of a Service that went in between does not matter.
fn patched(result: Result<core::Service, kube::Error>) -> Result<(), Undone> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What a controller says that may write no names.
fn unnamed() -> Fault {
    Fault::Failed(format!(
        "{HOSTNAME}: the controller has no --discover-zones"
    ))
}

/// What records say that they are for.
fn resource(name: &Name) -> String {
    format!("service/{}/{}", name.namespace, name.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_seconds_or_durations() {
        for (text, want) in [
            ("60", Some(60)),
            ("1m", Some(60)),
            ("1h30m", Some(5400)),
            ("1m5", Some(65)),
        ] {
            assert_eq!(ttl(text).ok(), want, "{text}");
        }
        for text in ["", "0", "-1", "1d", "m", "99999999999999999999", "8000000h"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selectors_are_those_of_kubectl() {
        let parts = selector("a=b, c!=d,e,!f/g").unwrap();
        let owned = |key: &str, value: Option<&str>, wanted| {
            (key.to_owned(), value.map(str::to_owned), wanted)
        };
        let want = [
            owned("a", Some("b"), true),
            owned("c", Some("d"), false),
            owned("e", None, true),
            owned("f/g", None, false),
        ];
        assert_eq!(parts, want);
        assert!(selector("a in (b)").is_err());
        assert_eq!(selector(""), Ok(Vec::new()));
    }
}
