//! Which listeners of which Gateways a route is attached to, and why it is not.

use std::sync::Arc;

use serde::Deserialize as _;

use crate::condition::ConditionState;
use crate::desired::Protocol;
use crate::kinds::{
    self, AllowedNamespaces, Condition, GATEWAY_GROUP, Gateway, Listener, ParentRef, ParentStatus,
    Requirement, Route, RouteKind,
};
use crate::listeners::{Section, sections};
use crate::settings::Settings;
use crate::world::{Name, World, listener_set_of};

/// A parent of a route that is a Gateway of this controller, or a ListenerSet for one.
pub(crate) struct Parent {
    pub(crate) reference: ParentRef,
    pub(crate) controller: String,
    pub(crate) name: Name,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) accepted: ConditionState,
    /// The Gateway's listeners that the route is attached to.
    pub(crate) listeners: Vec<Section>,
}

/// The controller name by which a Gateway is this controller's.
pub(crate) fn controller_of(
    world: &World,
    settings: &Settings,
    gateway: &Gateway,
) -> Option<String> {
    let class = world
        .classes
        .get(&Name::new("", &gateway.spec.gateway_class_name))?;
    let name = &class.spec.controller_name;
    settings.answers_to(name).then(|| name.clone())
}

/// Whether a parent of a route is a Gateway of this controller.
pub(crate) fn is_own(world: &World, settings: &Settings, name: &Name, route: &Route) -> bool {
    let parents = route.spec.parent_refs.iter();
    let gateways = parents.filter_map(|it| world.gateways.get(&world.gateway_of(it, name)?));
    gateways
        .filter_map(|it| controller_of(world, settings, it))
        .next()
        .is_some()
}

/// What this controller has said of a route's generation: the conditions of a type in its entries.
pub(crate) fn said(settings: &Settings, route: &Route, kind: &str) -> Vec<Condition> {
    let generation = route.metadata.generation.unwrap_or_default();
    let entries = route.status.iter().flat_map(|it| &it.parents);
    let entries = entries.filter_map(|it| ParentStatus::deserialize(it).ok());
    let own = entries.filter(|it| settings.answers_to(&it.controller_name));
    own.flat_map(|it| it.conditions)
        .filter(|it| it.kind == kind && it.observed_generation == generation)
        .collect()
}

/// Whether Lattice has all of a route, as far as its status says.
pub(crate) fn is_programmed(settings: &Settings, route: &Route) -> bool {
    let said = said(settings, route, "Programmed");
    said.iter().any(|it| it.status == "True")
}

/// Why nothing can be said about a route's parents now: what would say whose they are was not read, or is gone. What
/// was made for the route has to stay as it is until then.
pub(crate) fn uncertain(
    world: &World,
    settings: &Settings,
    name: &Name,
    route: &Route,
) -> Option<String> {
    for form in [kinds::gateway(), kinds::gateway_class()] {
        if !world.read.contains(&form.plural) {
            return Some(format!("the API server does not serve {}", form.plural));
        }
    }
    // Only a parent that was this controller's matters: its entry is still there.
    let entries = route.status.iter().flat_map(|it| &it.parents);
    let entries = entries.filter_map(|it| ParentStatus::deserialize(it).ok());
    let parents = entries
        .filter(|it| settings.answers_to(&it.controller_name))
        .filter(|it| route.spec.parent_refs.contains(&it.parent_ref));
    for entry in parents {
        if let Some(set) = listener_set_of(&entry.parent_ref, name) {
            let plural = kinds::listener_set().plural;
            if !world.read.contains(&plural) {
                return Some(format!("the API server does not serve {plural}"));
            }
            let at = (plural, set);
            if world.unreadable.contains(&at) {
                return Some(format!("ListenerSet {} cannot be read", at.1));
            }
        }
        let Some(parent) = world.gateway_of(&entry.parent_ref, name) else {
            continue;
        };
        if let Some(gateway) = world.gateways.get(&parent)
            && !has_class(world, gateway)
        {
            let class = &gateway.spec.gateway_class_name;
            return Some(format!("there is no GatewayClass {class}"));
        }
        let at = (kinds::gateway().plural, parent);
        if world.unreadable.contains(&at) {
            return Some(format!("Gateway {} cannot be read", at.1));
        }
    }
    None
}

/// Whether a Gateway's class is there, whosever it is.
pub(crate) fn has_class(world: &World, gateway: &Gateway) -> bool {
    let class = Name::new("", &gateway.spec.gateway_class_name);
    world.classes.contains_key(&class)
}

/// What a listener is in Lattice. `None` for what Lattice does not have. TCP is an extension: only Gateways with an address have it.
pub(crate) fn protocol(listener: &Listener) -> Option<Protocol> {
    let mode = listener.tls.as_ref().and_then(|tls| tls.mode.as_deref());
    match (listener.protocol.as_str(), mode.unwrap_or("Terminate")) {
        ("HTTP", _) => Some(Protocol::Http),
        ("HTTPS", "Terminate") => Some(Protocol::Https),
        ("TLS", "Passthrough") => Some(Protocol::Tls),
        ("TCP", _) => Some(Protocol::Tcp),
        _ => None,
    }
}

/// The kinds of routes that Lattice serves on a listener: gRPC wants HTTP/2, which it speaks behind TLS alone. Entrances speak it without.
pub(crate) fn kinds_for(protocol: Protocol, entrance: bool) -> &'static [RouteKind] {
    match protocol {
        Protocol::Http if entrance => &[RouteKind::Http, RouteKind::Grpc],
        Protocol::Http => &[RouteKind::Http],
        Protocol::Https => &[RouteKind::Http, RouteKind::Grpc],
        Protocol::Tls => &[RouteKind::Tls],
        Protocol::Tcp if entrance => &[RouteKind::Tcp],
        Protocol::Tcp => &[],
    }
}

/// The kinds of routes that a listener takes: those that it can have, as far as its `allowedRoutes` names them.
pub(crate) fn kinds_of(listener: &Listener, entrance: bool) -> Vec<RouteKind> {
    let all = protocol(listener).map_or(&[][..], |it| kinds_for(it, entrance));
    let named = listener.allowed_routes.as_ref().map(|it| &it.kinds);
    let named = named.filter(|kinds| !kinds.is_empty());
    let allowed = |kind: &RouteKind| {
        named.is_none_or(|named| {
            let mut named = named.iter();
            named.any(|it| {
                it.kind == kind.kind()
                    && it.group.as_deref().unwrap_or(GATEWAY_GROUP) == GATEWAY_GROUP
            })
        })
    };
    all.iter().copied().filter(allowed).collect()
}

fn holds(requirement: &Requirement, label: Option<&String>) -> bool {
    let listed = label.is_some_and(|label| requirement.values.contains(label));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => false,
    }
}

/// Whether a namespace is among those that are allowed to what is in the namespace `own`; `usual` counts where nothing is said.
pub(crate) fn is_allowed(
    world: &World,
    allowed: Option<&AllowedNamespaces>,
    usual: &str,
    (own, namespace): (&str, &str),
) -> bool {
    match allowed.and_then(|it| it.from.as_deref()).unwrap_or(usual) {
        "All" => true,
        "Selector" => {
            let Some(selector) = allowed.and_then(|it| it.selector.as_ref()) else {
                return false;
            };
            let Some(labels) = world.namespaces.get(&Name::new("", namespace)) else {
                return false;
            };
            let mut pairs = selector.match_labels.iter();
            let mut requirements = selector.match_expressions.iter();
            pairs.all(|(key, value)| labels.get(key) == Some(value))
                && requirements.all(|it| holds(it, labels.get(&it.key)))
        }
        "Same" => own == namespace,
        _ => false,
    }
}

fn takes_namespace(world: &World, section: &Section, route: &Name) -> bool {
    let allowed = section.listener().allowed_routes.as_ref();
    let allowed = allowed.and_then(|it| it.namespaces.as_ref());
    let (_, own) = section.referrer();
    is_allowed(world, allowed, "Same", (own, &route.namespace))
}

/// Whether a listener's hostname and one of a route have a name in common.
pub(crate) fn meet(listener: &str, route: &str) -> bool {
    let covers = |wild: &str, name: &str| {
        wild.strip_prefix('*').is_some_and(|suffix| {
            name.len() > suffix.len()
                && name
                    .to_ascii_lowercase()
                    .ends_with(&suffix.to_ascii_lowercase())
        })
    };
    listener.eq_ignore_ascii_case(route) || covers(listener, route) || covers(route, listener)
}

fn hostname_meets(listener: &Listener, route: &Route) -> bool {
    let Some(hostname) = listener.hostname.as_deref().filter(|it| !it.is_empty()) else {
        return true;
    };
    let mut hostnames = route.spec.hostnames.iter();
    route.spec.hostnames.is_empty() || hostnames.any(|it| meet(hostname, it))
}

/// A route at one of its parents, whose sections these are.
pub(crate) fn attach(
    world: &World,
    (reference, sections): (&ParentRef, &[Section]),
    (kind, name, route): (RouteKind, &Name, &Route),
    entrance: bool,
) -> (ConditionState, Vec<Section>) {
    let parent = match listener_set_of(reference, name) {
        Some(set) => format!("ListenerSet {set}"),
        None => {
            let namespace = reference.namespace.as_ref().unwrap_or(&name.namespace);
            format!("Gateway {namespace}/{}", reference.name)
        }
    };
    let of = listener_set_of(reference, name);
    let all = sections.iter().filter(|it| it.set() == of.as_ref());
    let mut all = all.peekable();
    if of.is_some() && all.peek().is_none() {
        let message = format!("{parent} is not attached to its Gateway");
        return (ConditionState::bad("NoMatchingParent", message), Vec::new());
    }
    let mut left: Vec<_> = all
        .filter(|it| {
            let section = reference.section_name.as_ref();
            section.is_none_or(|section| *section == it.listener().name)
        })
        .filter(|it| reference.port.is_none_or(|port| port == it.listener().port))
        .collect();
    if left.is_empty() {
        let message = format!("{parent} has no such listener");
        return (ConditionState::bad("NoMatchingParent", message), Vec::new());
    }
    left.retain(|it| {
        kinds_of(it.listener(), entrance).contains(&kind) && takes_namespace(world, it, name)
    });
    if left.is_empty() {
        let mut message = format!("no listener of {parent} takes this route");
        if kind == RouteKind::Grpc && !entrance {
            message += "; VPC Lattice has gRPC on HTTPS listeners only";
        }
        return (
            ConditionState::bad("NotAllowedByListeners", message),
            Vec::new(),
        );
    }
    left.retain(|it| hostname_meets(it.listener(), route));
    if left.is_empty() {
        let message = format!("no listener of {parent} has such a hostname");
        return (
            ConditionState::bad("NoMatchingListenerHostname", message),
            Vec::new(),
        );
    }
    (
        ConditionState::good("Accepted"),
        left.into_iter().cloned().collect(),
    )
}

/// The parents of a route that are this controller's Gateways, or ListenerSets for them.
pub(crate) fn parents(
    world: &World,
    settings: &Settings,
    kind: RouteKind,
    name: &Name,
    route: &Route,
) -> Vec<Parent> {
    let mut parents = Vec::new();
    for reference in &route.spec.parent_refs {
        let Some(gateway_name) = world.gateway_of(reference, name) else {
            continue;
        };
        // One that goes takes no routes any more: so it goes in whatever order things are deleted.
        let gateway = world.gateways.get(&gateway_name);
        let Some(gateway) = gateway.filter(|it| it.metadata.deletion_timestamp.is_none()) else {
            continue;
        };
        let Some(controller) = controller_of(world, settings, gateway) else {
            continue;
        };
        let entrance = settings.has_entrances(&controller);
        let sections = sections(world, (&gateway_name, gateway), entrance);
        let (accepted, listeners) =
            attach(world, (reference, &sections), (kind, name, route), entrance);
        parents.push(Parent {
            reference: reference.clone(),
            controller,
            name: gateway_name,
            gateway: Arc::clone(gateway),
            accepted,
            listeners,
        });
    }
    parents
}

#[cfg(test)]
mod tests {
    use super::meet;

    #[test]
    fn hostnames_meet_as_the_gateway_api_says() {
        for (listener, route, want) in [
            ("a.example.com", "a.example.com", true),
            ("A.example.com", "a.EXAMPLE.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("a.example.com", "*.example.com", true),
            ("*.example.com", "*.b.example.com", true),
            ("a.example.com", "b.example.com", false),
        ] {
            assert_eq!(meet(listener, route), want, "{listener} {route}");
        }
    }
}
