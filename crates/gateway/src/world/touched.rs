//! What a change of one object changes for others: what has to be worked on because of it.

use std::collections::BTreeSet;

use super::{BackendKind, Key, Name, World, backend_of, backing, listener_set_of, parent_of};
use crate::kinds::{ListenerSet, Policy, PolicyKind, ReferenceGrant, Route, RouteKind};
use crate::secrets::ObjectRef;
use crate::shown;

impl World {
    fn routes_where(&self, wanted: impl Fn(&Name, &Route) -> bool) -> Vec<Key> {
        self.all_routes()
            .filter(|(_, name, route)| wanted(name, route))
            .map(|(kind, name, _)| Key::Route(kind, name.clone()))
            .collect()
    }

    /// The routes that name a Gateway as a parent.
    pub(crate) fn routes_of(&self, gateway: &Name) -> Vec<Key> {
        self.routes_where(|name, route| {
            let parents = route.spec.parent_refs.iter();
            parents
                .filter_map(|parent| self.gateway_of(parent, name))
                .any(|parent| parent == *gateway)
        })
    }

    /// What a Gateway changes.
    pub(crate) fn touched_by_gateway(&self, gateway: &Name) -> Vec<Key> {
        let mut keys = self.routes_of(gateway);
        keys.extend(self.policies_for("Gateway", gateway));
        keys.push(Key::Gateway(gateway.clone()));
        keys.extend(self.tls_policies_at(gateway));
        let network = Name::new("", &gateway.name);
        if self.networks.contains_key(&network) {
            keys.push(Key::Network(network));
        }
        keys
    }

    /// The BackendTLSPolicies that say something of a Gateway.
    fn tls_policies_at(&self, gateway: &Name) -> BTreeSet<Key> {
        let routes = match self.tls_policies.is_empty() {
            true => Vec::new(),
            false => self.routes_of(gateway),
        };
        let policies = routes.iter().filter_map(|key| match key {
            Key::Route(kind, name) => {
                let route = self.route(*kind, name)?;
                Some(self.tls_policies_behind(*kind, name, route))
            }
            _ => None,
        });
        policies.flatten().collect()
    }

    /// The policies that are for an object.
    pub(super) fn policies_for<'a>(
        &'a self,
        kind: &'a str,
        name: &'a Name,
    ) -> impl Iterator<Item = Key> + 'a {
        let tables = self.policies.iter();
        let all = tables.flat_map(|(of, table)| table.iter().map(|(at, policy)| (*of, at, policy)));
        let fitting = all.filter(move |(_, at, policy)| {
            let target = &policy.spec.target_ref;
            at.namespace == name.namespace && target.kind == kind && target.name == name.name
        });
        fitting.map(|(kind, at, _)| Key::Policy(kind, at.clone()))
    }

    /// What a policy changes: itself, others that may be for the same, a Gateway that leaves its VPC to it, and the
    /// object whose service or network it guards.
    pub(crate) fn touched_by_policy(
        &self,
        kind: PolicyKind,
        name: &Name,
        policy: &Policy,
    ) -> Vec<Key> {
        let target = &policy.spec.target_ref;
        let at = Name::new(&name.namespace, &target.name);
        let mut keys: Vec<_> = self.policies_for(&target.kind, &at).collect();
        keys.push(Key::Policy(kind, name.clone()));
        if target.kind == "Gateway" {
            keys.push(Key::Gateway(at));
            // Gateways of other namespaces may stand for the same network.
            let all = self.policies.get(&kind).into_iter().flatten();
            let others = all.filter(|(_, it)| it.spec.target_ref.kind == "Gateway");
            keys.extend(others.map(|(other, _)| Key::Policy(kind, other.clone())));
        } else if kind == PolicyKind::Auth {
            let kinds = RouteKind::ALL.into_iter();
            let kinds = kinds.filter(|it| it.kind() == target.kind);
            keys.extend(kinds.map(|kind| Key::Route(kind, at.clone())));
        }
        keys
    }

    /// What a GatewayClass changes.
    pub(crate) fn touched_by_class(&self, class: &Name) -> Vec<Key> {
        let gateways = self.gateways.iter();
        let mut keys: Vec<_> = gateways
            .filter(|(_, gateway)| gateway.spec.gateway_class_name == class.name)
            .flat_map(|(name, _)| self.touched_by_gateway(name))
            .collect();
        keys.push(Key::Class(class.clone()));
        keys
    }

    /// What a route changes: Gateways count their routes.
    pub(crate) fn touched_by_route(&self, kind: RouteKind, name: &Name, route: &Route) -> Vec<Key> {
        let parents = route.spec.parent_refs.iter();
        let mut keys: Vec<_> = parents
            .filter_map(|parent| self.gateway_of(parent, name))
            .map(Key::Gateway)
            .collect();
        keys.extend(self.policies_for(kind.kind(), name));
        keys.extend(self.tls_policies_behind(kind, name, route));
        keys.push(Key::Route(kind, name.clone()));
        keys
    }

    /// What a backend changes, whether that be the object or its endpoints.
    pub(crate) fn touched_by_backend(&self, of_kind: BackendKind, backend: &Name) -> Vec<Key> {
        let mut keys = self.routes_where(|name, route| {
            let backends = route
                .spec
                .rules
                .iter()
                .flat_map(crate::kinds::Rule::backends);
            backends
                .filter_map(|it| backend_of(it, name))
                .any(|(kind, it)| kind == of_kind && it == *backend)
        });
        if of_kind == BackendKind::Service {
            let exports = self.exports.iter();
            let of_it = exports.filter(|(name, export)| backing(name, export) == *backend);
            keys.extend(of_it.map(|(name, _)| Key::Export(name.clone())));
            let export = Key::Export(backend.clone());
            if self.mcs_exports.contains_key(backend) && !keys.contains(&export) {
                keys.push(export);
            }
            if self.services.get(backend).is_some_and(|it| it.held) {
                keys.push(Key::Exposed(backend.clone()));
            }
        }
        keys
    }

    /// What some ListenerSets change for their Gateways.
    fn touched_by_sets_where(&self, wanted: impl Fn(&Name) -> bool) -> Vec<Key> {
        let sets = self.listener_sets.iter().filter(|(name, _)| wanted(name));
        let gateways: BTreeSet<_> = sets.filter_map(|(name, it)| parent_of(name, it)).collect();
        let gateways = gateways.iter();
        gateways
            .flat_map(|it| self.touched_by_gateway(it))
            .collect()
    }

    /// What a namespace's labels change: its routes and ListenerSets, and what Gateways say of them.
    pub(crate) fn touched_by_namespace(&self, namespace: &str) -> Vec<Key> {
        let imports = self.exported.values().flat_map(|it| it.keys());
        let imports = imports.filter(|it| it.namespace == namespace);
        let imports = imports.cloned().map(Key::Mcs);
        self.all_routes()
            .filter(|(_, name, _)| name.namespace == namespace)
            .flat_map(|(kind, name, route)| self.touched_by_route(kind, name, route))
            .chain(imports)
            .chain(self.touched_by_sets_where(|name| name.namespace == namespace))
            .collect()
    }

    /// What a grant changes: the routes, Gateways and ListenerSets of the namespaces that it names.
    pub(crate) fn touched_by_grant(&self, grant: &ReferenceGrant) -> Vec<Key> {
        let names = |name: &Name| {
            let mut from = grant.spec.from.iter();
            from.any(|from| from.namespace == name.namespace)
        };
        let mut keys = self.routes_where(|name, _| names(name));
        let gateways = self.gateways.keys().filter(|name| names(name));
        keys.extend(gateways.cloned().map(Key::Gateway));
        keys.extend(self.touched_by_sets_where(|name| names(name)));
        keys
    }

    /// What a Secret changes.
    pub(crate) fn touched_by_secret(&self, secret: &Name) -> Vec<Key> {
        let gateways = self.gateways.iter().filter(|(name, it)| {
            let named = Self::secrets_in(&name.namespace, &it.spec.listeners);
            let mut named = named.chain(shown::named(name, it));
            named.any(|it| it == *secret)
        });
        let sets = self.listener_sets.iter().filter(|(name, it)| {
            let mut named = Self::secrets_in(&name.namespace, &it.spec.listeners);
            named.any(|it| it == *secret)
        });
        let parents = sets.filter_map(|(name, it)| parent_of(name, it));
        let names: BTreeSet<_> = gateways
            .map(|(name, _)| name.clone())
            .chain(parents)
            .collect();
        let mut keys = self.touched_by_anchors("Secret", secret);
        keys.extend(names.into_iter().map(Key::Gateway));
        keys
    }

    /// What a ConfigMap with authorities changes.
    pub(crate) fn touched_by_authorities(&self, map: &Name) -> Vec<Key> {
        let naming = self.gateways.iter().filter(|(name, gateway)| {
            let frontend = gateway
                .spec
                .tls
                .iter()
                .filter_map(|it| it.frontend.as_ref());
            let configs = frontend.flat_map(|it| {
                let ports = it.per_port.iter().map(|it| &it.tls);
                std::iter::once(&it.default).chain(ports)
            });
            let validations = configs.filter_map(|it| it.validation.as_ref());
            let mut references = validations.flat_map(|it| &it.ca_certificate_refs);
            references.any(|it| ObjectRef::of(it).at(&name.namespace) == *map)
        });
        let mut keys = self.touched_by_anchors("ConfigMap", map);
        keys.extend(naming.map(|(name, _)| Key::Gateway(name.clone())));
        keys
    }

    /// What a ListenerSet changes: its Gateway, all of whose listeners count together, and the routes that name it.
    pub(crate) fn touched_by_listener_set(&self, name: &Name, set: &ListenerSet) -> Vec<Key> {
        // Those of one that goes lead to no Gateway any more.
        let mut keys = self.routes_where(|route, it| {
            let mut parents = it.spec.parent_refs.iter();
            parents.any(|parent| listener_set_of(parent, route).as_ref() == Some(name))
        });
        if let Some(gateway) = parent_of(name, set) {
            keys.extend(self.touched_by_gateway(&gateway));
        }
        keys
    }
}
