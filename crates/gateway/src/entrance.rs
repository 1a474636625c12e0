//! Gateways with an address, where they are asked for: a Gateway is a service of its own, whose listeners are entrances to the services of the
//! routes that are attached to it.
//!
//! What of routes is behind an entrance, and in which order, is known to Lath alone: a Gateway's service names its listeners'
//! hostnames and certificates (tag `lath:gateway`), and each route's service names the entrances that lead to it (tag
//! `lath:gateway-routes`). So a route that changes costs calls for that route.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::attach::{Parent, protocol};
use crate::desired::{self, MANAGED_BY, Protocol, Tags, key, tags};
use crate::kinds::{Gateway, Route};
use crate::listeners::{self, Certificate, Judged, Section};
use crate::settings::Settings;
use crate::world::{Name, World};

/// The tag of a listener of a Gateway's service.
pub(crate) const GATEWAY_TAG: &str = "lath:gateway";
/// The tag of such a listener that says what clients are asked for.
pub(crate) const CLIENTS_TAG: &str = "lath:mutual-tls";
/// The tag of a route's service.
pub(crate) const ROUTES_TAG: &str = "lath:gateway-routes";
/// The tag by which Lath says a service's address.
pub(crate) const ADDRESS_TAG: &str = "lath:address";
/// The tags that say which Gateway a service was made for.
const GATEWAY_NAME: &str = "GatewayName";
const GATEWAY_NAMESPACE: &str = "GatewayNamespace";

/// A listener of Lattice's that stands for all listeners of a Gateway with one port and protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) port: i32,
    pub(crate) protocol: Protocol,
    /// The keys of the Gateway's listeners.
    pub(crate) names: BTreeSet<String>,
    /// The text of its tag.
    pub(crate) text: String,
    /// What clients are asked for: the text of another one.
    pub(crate) asks: Option<String>,
}

/// What should be in Lattice for a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entrance {
    pub(crate) name: String,
    /// The ARN of what targets are shown that ask who calls.
    pub(crate) shown: Option<String>,
    pub(crate) identity: Tags,
    pub(crate) networks: BTreeSet<String>,
    pub(crate) doors: Vec<Door>,
}

/// What is in Lattice for a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) domain_name: String,
    /// The address in the VPCs of its networks.
    pub(crate) address: Option<String>,
    /// The ARN of what targets are shown.
    pub(crate) shown: Option<String>,
    /// The ARNs of listeners, and the names of the Gateway's listeners that each stands for.
    pub(crate) doors: BTreeMap<(i32, Protocol), (String, BTreeSet<String>)>,
}

/// Where an entrance leads to a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attachment {
    pub(crate) gateway: Name,
    pub(crate) port: i32,
    pub(crate) protocol: Protocol,
    /// The key of the Gateway's listener.
    pub(crate) listener: String,
    /// None: the listener's own hostname.
    pub(crate) hosts: Vec<String>,
}

/// A route's place behind entrances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteBinding {
    pub(crate) attachments: BTreeSet<Attachment>,
    /// Of rules that are equal otherwise, those of the route that is the first by this count.
    pub(crate) order: String,
}

impl RouteBinding {
    /// The text of the tag of the route's service, and a Gateway that lacks a listener still. The error is a Gateway of which nothing is
    /// known yet: what the tag says of it has to stay until then.
    pub(crate) fn text(
        &self,
        entered: &BTreeMap<Name, Entered>,
    ) -> Result<(String, Option<Name>), Name> {
        let (mut entries, mut lacking) = (Vec::new(), None);
        for it in &self.attachments {
            let known = entered.get(&it.gateway);
            let doors = &known.ok_or_else(|| it.gateway.clone())?.doors;
            let door = doors.get(&(it.port, it.protocol));
            let Some((arn, _)) = door.filter(|(_, names)| names.contains(&it.listener)) else {
                lacking = Some(it.gateway.clone());
                continue;
            };
            let mut entry = json!({"listener": arn, "name": it.listener, "order": self.order});
            if !it.hosts.is_empty() {
                entry["hosts"] = json!(it.hosts);
            }
            entries.push(entry);
        }
        Ok((Value::from(entries).to_string(), lacking))
    }

    /// The first name, without wildcards, under which a Gateway leads to the route.
    pub(crate) fn hostname(&self, gateway: &Name) -> Option<&String> {
        let of_it = self.attachments.iter().filter(|it| it.gateway == *gateway);
        let mut hosts = of_it.flat_map(|it| &it.hosts);
        hosts.find(|it| !it.starts_with('*'))
    }
}

/// The name of a Gateway's service, and the tags that prove that it is the Gateway's.
pub(crate) fn service_of(settings: &Settings, gateway: &Name) -> (String, Tags) {
    let managed_by = settings.managed_by();
    let identity = tags([
        (MANAGED_BY, &managed_by),
        (GATEWAY_NAME, &gateway.name),
        (GATEWAY_NAMESPACE, &gateway.namespace),
    ]);
    (desired::entrance_name(&managed_by, gateway), identity)
}

/// What should be in Lattice for a Gateway whose listeners were judged so; `arns` are the certificates of Secrets.
pub(crate) fn entrance(
    settings: &Settings,
    (name, gateway): (&Name, &Gateway),
    (sections, judged): (&[Section], &[Judged]),
    arns: &BTreeMap<Name, String>,
    shown: Option<&Name>,
) -> Entrance {
    let shown = shown.and_then(|it| arns.get(it));
    let mut doors: Vec<((i32, Protocol), Vec<Value>)> = Vec::new();
    // The same for all listeners of a port.
    let mut asks = BTreeMap::new();
    for (section, judged) in sections.iter().zip(judged) {
        let listener = section.listener();
        let Some(protocol) = protocol(listener).filter(|_| judged.serves()) else {
            continue;
        };
        let mut entry = json!({"name": section.key()});
        let hostname = listeners::hostname(listener);
        if !hostname.is_empty() {
            entry["hostname"] = json!(hostname);
        }
        if protocol == Protocol::Https {
            let arns = judged.certificates.iter().filter_map(|it| match it {
                Certificate::Acm(arn) => Some(arn),
                Certificate::Secret(name) => arns.get(name),
            });
            let mut seen = BTreeSet::new();
            let arns: Vec<_> = arns.filter(|it| seen.insert(*it)).collect();
            if arns.is_empty() {
                continue;
            }
            entry["certificateArns"] = json!(arns);
        }
        let at = (listener.port, protocol);
        asks.insert(at, judged.asks.clone());
        match doors.iter_mut().find(|(it, _)| *it == at) {
            Some((_, entries)) => entries.push(entry),
            None => doors.push((at, vec![entry])),
        }
    }
    let alone = gateway.annotations().get(&key("standalone"));
    let alone = alone.is_some_and(|it| it == "true");
    let (service, identity) = service_of(settings, name);
    let network = settings.network_of(&name.name).to_owned();
    Entrance {
        name: service,
        shown: shown.cloned(),
        identity,
        networks: (!alone).then_some(network).into_iter().collect(),
        doors: doors
            .into_iter()
            .map(|((port, protocol), entries)| Door {
                port,
                protocol,
                names: entries
                    .iter()
                    .filter_map(|it| it["name"].as_str().map(str::to_owned))
                    .collect(),
                text: text(protocol, entries, shown),
                asks: asks.remove(&(port, protocol)).flatten(),
            })
            .collect(),
    }
}

/// The text of a listener's tag.
fn text(protocol: Protocol, entries: Vec<Value>, shown: Option<&String>) -> String {
    let mut text = json!({"listeners": entries});
    match (protocol, shown) {
        (Protocol::Tcp, _) => text["protocol"] = json!("TCP"),
        (Protocol::Http | Protocol::Https, Some(arn)) => text["clientCertificateArn"] = json!(arn),
        (Protocol::Http | Protocol::Https | Protocol::Tls, _) => {}
    }
    text.to_string()
}

/// What both a listener's hostname and one of a route cover, when they have a name in common: the narrower one.
fn common(listener: Option<&str>, route: &str) -> String {
    let narrower = match listener.filter(|it| !it.is_empty()) {
        None => route,
        Some(listener) if !listener.starts_with('*') => listener,
        Some(_) if !route.starts_with('*') => route,
        Some(listener) if listener.len() > route.len() => listener,
        Some(_) => route,
    };
    narrower.to_ascii_lowercase()
}

/// A route's place behind the entrances of its parents: of those of their listeners that serve.
pub(crate) fn place(
    world: &World,
    settings: &Settings,
    (name, route): (&Name, &Route),
    parents: &[Parent],
) -> RouteBinding {
    let mut attachments = BTreeSet::new();
    let accepted = parents.iter().filter(|it| it.accepted.good);
    for parent in accepted.filter(|it| settings.has_entrances(&it.controller)) {
        let sections = listeners::sections(world, (&parent.name, &parent.gateway), true);
        let at = (&parent.name, &*parent.gateway);
        let judged = listeners::judge(world, at, &sections, true);
        for section in &parent.listeners {
            let listener = section.listener();
            let serves = judged[section.place].serves();
            let Some(protocol) = protocol(listener).filter(|_| serves) else {
                continue;
            };
            let hostname = listener.hostname.as_deref();
            let hostnames = route.spec.hostnames.iter();
            let hosts: BTreeSet<_> = hostnames
                .filter(|it| hostname.is_none_or(|hostname| crate::attach::meet(hostname, it)))
                .map(|it| common(hostname, it))
                .collect();
            attachments.insert(Attachment {
                gateway: parent.name.clone(),
                port: listener.port,
                protocol,
                listener: section.key(),
                hosts: hosts.into_iter().collect(),
            });
        }
    }
    let created = route.creation_timestamp();
    let created = created.map(|it| it.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let created = created.unwrap_or_default();
    RouteBinding {
        attachments,
        order: format!("{created}/{}/{}", name.namespace, name.name),
    }
}

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn of_two_hostnames_the_narrower_counts() {
        for (listener, route, want) in [
            (None, "*.A.example", "*.a.example"),
            (Some(""), "a.example", "a.example"),
            (Some("a.example"), "*.example", "a.example"),
            (Some("*.example"), "a.example", "a.example"),
            (Some("*.example"), "*.a.example", "*.a.example"),
            (Some("*.a.example"), "*.example", "*.a.example"),
        ] {
            assert_eq!(common(listener, route), want, "{listener:?} {route}");
        }
    }
}
