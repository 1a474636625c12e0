//! What the controller knows of its cluster: the newest state of every object that it watches, cut down to what it reads.

mod touched;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::ResourceExt as _;
use kube::core::ObjectMeta;

use crate::authorities::Authorities;
use crate::expose;
use crate::gates::Pod;
use crate::kinds::{
    self, AWS_GROUP, BackendRef, BackendTls, GATEWAY_GROUP, Gateway, GatewayClass, Listener,
    ListenerSet, MCS_GROUP, McsExport, McsImport, ParentRef, Policy, PolicyKind, ReferenceGrant,
    Route, RouteKind, ServiceExport, ServiceImport, ServiceNetwork,
};
use crate::mcs::ByRegion;
use crate::secrets::{ObjectRef, Secret};
use crate::shown;

/// An object's name in its namespace, which is empty where a kind has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a worker brings into the desired state: one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Class(Name),
    Gateway(Name),
    Route(RouteKind, Name),
    Export(Name),
    Policy(PolicyKind, Name),
    /// A Service that is exposed, or may have been.
    Exposed(Name),
    /// A ServiceNetwork.
    Network(Name),
    /// A ServiceImport.
    Import(Name),
    /// The ServiceImport of the Kubernetes project's group that a name has, or is to have.
    Mcs(Name),
    /// The readiness gates of a Service's pods.
    Gates(Name),
    /// A TargetGroupPolicy.
    GroupPolicy(Name),
    /// A BackendTLSPolicy.
    BackendTls(Name),
    /// The certificates that no Gateway names any more.
    Certificates,
}

impl Key {
    /// What kind of work it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Class(_) => "GatewayClass",
            Self::Gateway(_) => "Gateway",
            Self::Route(kind, _) => kind.kind(),
            Self::Export(_) => "ServiceExport",
            Self::Policy(kind, _) => kind.kind(),
            Self::Exposed(_) => "Service",
            Self::Network(_) => "ServiceNetwork",
            Self::Import(_) | Self::Mcs(_) => "ServiceImport",
            Self::Gates(_) => "Pods",
            Self::GroupPolicy(_) => "TargetGroupPolicy",
            Self::BackendTls(_) => "BackendTLSPolicy",
            Self::Certificates => "Certificates",
        }
    }

    fn name(&self) -> &Name {
        static NONE: Name = Name {
            namespace: String::new(),
            name: String::new(),
        };
        match self {
            Self::Certificates => &NONE,
            Self::Class(name)
            | Self::Gateway(name)
            | Self::Route(_, name)
            | Self::Export(name)
            | Self::Policy(_, name)
            | Self::Exposed(name)
            | Self::Network(name)
            | Self::Import(name)
            | Self::Mcs(name)
            | Self::Gates(name)
            | Self::GroupPolicy(name)
            | Self::BackendTls(name) => name,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if matches!(self, Self::Gates(_)) {
            " of Service"
        } else {
            ""
        };
        write!(f, "{}{of} {}", self.kind(), self.name())
    }
}

/// A Service, as far as routes need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) ports: Vec<ServicePort>,
    /// The labels of its pods; empty for a Service that selects none.
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The annotations that discovery reads.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether discovery holds it, because there may be something of it in Lattice.
    pub(crate) held: bool,
    /// Whether it is deleted.
    pub(crate) goes: bool,
    /// Whether it has no address of its own.
    pub(crate) headless: bool,
    /// Whether requests of a client go to one pod, by the client's address.
    pub(crate) client_ip: bool,
    pub(crate) external_name: bool,
    pub(crate) ipv6_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) port: i32,
    pub(crate) app_protocol: Option<String>,
}

impl From<core::Service> for Service {
    fn from(service: core::Service) -> Self {
        let held = service
            .finalizers()
            .iter()
            .any(|it| it == expose::FINALIZER);
        let meta = service.metadata;
        let mut annotations = meta.annotations.unwrap_or_default();
        annotations.retain(|name, _| expose::is_read(name));
        let spec = service.spec.unwrap_or_default();
        let port = |port: core::ServicePort| ServicePort {
            name: port.name.unwrap_or_default(),
            port: port.port,
            app_protocol: port.app_protocol,
        };
        let families = spec.ip_families.unwrap_or_default();
        Self {
            ports: spec
                .ports
                .unwrap_or_default()
                .into_iter()
                // Lattice has no others.
                .filter(|it| it.protocol.as_deref().unwrap_or("TCP") == "TCP")
                .map(port)
                .collect(),
            selector: spec.selector.unwrap_or_default(),
            labels: meta.labels.unwrap_or_default(),
            annotations,
            held,
            goes: meta.deletion_timestamp.is_some(),
            headless: spec.cluster_ip.as_deref() == Some("None"),
            client_ip: spec.session_affinity.as_deref() == Some("ClientIP"),
            external_name: spec.type_.as_deref() == Some("ExternalName"),
            ipv6_only: !families.is_empty() && families.iter().all(|it| it == "IPv6"),
        }
    }
}

/// The addresses of an EndpointSlice that are ready, and those of pods that are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) service: String,
    pub(crate) ports: Vec<(String, i32)>,
    pub(crate) ready: BTreeSet<String>,
    /// By address: what is not ready and does not end. A pod may wait for nothing but its readiness gate.
    pub(crate) waiting: BTreeMap<String, PodRef>,
}

/// A pod as an endpoint names it: by its uid too, because the next pod may have its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodRef {
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl From<discovery::EndpointSlice> for Slice {
    fn from(slice: discovery::EndpointSlice) -> Self {
        let labels = slice.metadata.labels.unwrap_or_default();
        let service = labels.get("kubernetes.io/service-name").cloned();
        let ports = slice.ports.unwrap_or_default().into_iter();
        let mut ready = BTreeSet::new();
        let mut waiting = BTreeMap::new();
        if slice.address_type == "IPv4" {
            for endpoint in slice.endpoints {
                let conditions = endpoint.conditions.unwrap_or_default();
                // What terminates gets no new requests, although it may serve for a while.
                if conditions.terminating.unwrap_or(false) {
                    continue;
                }
                // No word on readiness means ready. A Service may publish also what is not: then only the other word says so.
                if conditions.ready.unwrap_or(true) {
                    ready.extend(endpoint.addresses.iter().cloned());
                    if conditions.serving.unwrap_or(true) {
                        continue;
                    }
                }
                let of = endpoint.target_ref.unwrap_or_default();
                if let (Some("Pod"), Some(name), Some(uid)) = (of.kind.as_deref(), of.name, of.uid)
                {
                    let pod = PodRef { name, uid };
                    waiting.extend(endpoint.addresses.into_iter().map(|it| (it, pod.clone())));
                }
            }
        }
        Self {
            service: service.unwrap_or_default(),
            ports: ports
                .filter_map(|port| Some((port.name.unwrap_or_default(), port.port?)))
                .collect(),
            ready,
            waiting,
        }
    }
}

/// All objects of a kind.
pub(crate) type Table<T> = BTreeMap<Name, Arc<T>>;

/// The newest known state of the cluster.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) classes: Table<GatewayClass>,
    pub(crate) gateways: Table<Gateway>,
    pub(crate) listener_sets: Table<ListenerSet>,
    pub(crate) routes: BTreeMap<RouteKind, Table<Route>>,
    pub(crate) services: Table<Service>,
    pub(crate) slices: Table<Slice>,
    /// Pods that have the readiness gate; others are not kept.
    pub(crate) pods: Table<Pod>,
    /// Of namespaces: their labels.
    pub(crate) namespaces: Table<BTreeMap<String, String>>,
    pub(crate) grants: Table<ReferenceGrant>,
    /// ConfigMaps with authorities, where Gateways have addresses.
    pub(crate) authorities: Table<Authorities>,
    /// With certificates, where Gateways have addresses.
    pub(crate) secrets: Table<Secret>,
    /// The Secrets of the certificates of ACM that this controller has imported, by ARN.
    pub(crate) imported: BTreeMap<String, Name>,
    /// Secrets that ACM refuses, with the content's hash and why.
    pub(crate) refused: BTreeMap<Name, (String, String)>,
    pub(crate) exports: Table<ServiceExport>,
    pub(crate) imports: Table<ServiceImport>,
    pub(crate) networks: Table<ServiceNetwork>,
    pub(crate) mcs_exports: Table<McsExport>,
    pub(crate) mcs_imports: Table<McsImport>,
    /// What clusters of the ClusterSet export.
    pub(crate) exported: ByRegion,
    pub(crate) group_policies: Table<Policy>,
    pub(crate) tls_policies: Table<BackendTls>,
    pub(crate) policies: BTreeMap<PolicyKind, Table<Policy>>,
    /// The kinds that were read as a whole, by their plural names. Of another kind, that an object is absent says nothing.
    pub(crate) read: BTreeSet<String>,
    /// The objects, by their kinds' plural names, that are there and cannot be read.
    pub(crate) unreadable: BTreeSet<(String, Name)>,
}

impl World {
    /// Whether a Gateway is there and cannot be read.
    pub(crate) fn has_unreadable_gateways(&self) -> bool {
        let plural = kinds::gateway().plural;
        self.unreadable.iter().any(|(of, _)| *of == plural)
    }

    /// Whether a Gateway of a name, in any namespace, is there and cannot be read.
    pub(crate) fn has_unreadable_gateway(&self, name: &str) -> bool {
        let plural = kinds::gateway().plural;
        let mut all = self.unreadable.iter();
        all.any(|(of, it)| *of == plural && it.name == name)
    }
}

/// Whether a reference to a parent is to this kind of the Gateway API.
fn is_to(parent: &ParentRef, wanted: &str) -> bool {
    parent.group.as_deref().unwrap_or(GATEWAY_GROUP) == GATEWAY_GROUP
        && parent.kind.as_deref().unwrap_or("Gateway") == wanted
}

/// What a reference to a parent of a kind names: in its namespace, or else in the one of what refers.
fn named(parent: &ParentRef, wanted: &str, from: &Name) -> Option<Name> {
    let namespace = parent.namespace.as_deref().unwrap_or(&from.namespace);
    is_to(parent, wanted).then(|| Name::new(namespace, &parent.name))
}

/// The ListenerSet that a route's parentRef names, if it names one.
pub(crate) fn listener_set_of(parent: &ParentRef, route: &Name) -> Option<Name> {
    named(parent, "ListenerSet", route)
}

/// The Gateway that a ListenerSet is for.
pub(crate) fn parent_of(name: &Name, set: &ListenerSet) -> Option<Name> {
    named(&set.spec.parent_ref, "Gateway", name)
}

impl World {
    /// Where a route's parentRef leads, when it leads to a Gateway, be it by a ListenerSet.
    pub(crate) fn gateway_of(&self, parent: &ParentRef, route: &Name) -> Option<Name> {
        match listener_set_of(parent, route) {
            Some(set) => parent_of(&set, self.listener_sets.get(&set)?),
            None => named(parent, "Gateway", route),
        }
    }

    /// The ListenerSets that are for a Gateway, whether it takes them or not.
    pub(crate) fn sets_for<'a>(
        &'a self,
        gateway: &'a Name,
    ) -> impl Iterator<Item = (&'a Name, &'a Arc<ListenerSet>)> {
        let sets = self.listener_sets.iter();
        sets.filter(|(name, set)| {
            let parent = &set.spec.parent_ref;
            let namespace = parent.namespace.as_ref().unwrap_or(&name.namespace);
            is_to(parent, "Gateway")
                && (namespace, &parent.name) == (&gateway.namespace, &gateway.name)
        })
    }
}

/// What kinds of backends there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackendKind {
    Service,
    Import,
    /// A ServiceImport of the Kubernetes project's group.
    Mcs,
}

/// A backend's kind and name; `None` for kinds that cannot be one.
pub(crate) fn backend_of(backend: &BackendRef, route: &Name) -> Option<(BackendKind, Name)> {
    let group = backend.group.as_deref().unwrap_or_default();
    let kind = match (group, backend.kind.as_deref().unwrap_or("Service")) {
        ("", "Service") => BackendKind::Service,
        (AWS_GROUP, "ServiceImport") => BackendKind::Import,
        (MCS_GROUP, "ServiceImport") => BackendKind::Mcs,
        _ => return None,
    };
    let namespace = backend.namespace.as_deref().unwrap_or(&route.namespace);
    Some((kind, Name::new(namespace, &backend.name)))
}

/// The Service that an export is of: another than that of its name, where an annotation says so.
pub(crate) fn backing(name: &Name, export: &ServiceExport) -> Name {
    let annotation = format!("{AWS_GROUP}/service-name");
    let named = export.annotations().get(&annotation);
    Name::new(&name.namespace, named.unwrap_or(&name.name))
}

impl World {
    pub(crate) fn route(&self, kind: RouteKind, name: &Name) -> Option<&Arc<Route>> {
        self.routes.get(&kind)?.get(name)
    }

    pub(crate) fn all_routes(&self) -> impl Iterator<Item = (RouteKind, &Name, &Arc<Route>)> {
        let tables = self.routes.iter();
        tables.flat_map(|(kind, table)| table.iter().map(|(name, route)| (*kind, name, route)))
    }

    /// Whether a policy decides on the VPC's place in a Gateway's network.
    pub(crate) fn vpc_decided(&self, gateway: &Name) -> bool {
        let mut policies = self.policies_for("Gateway", gateway);
        policies.any(|it| matches!(it, Key::Policy(PolicyKind::Vpc, _)))
    }

    /// The Services of a namespace.
    pub(crate) fn services_in(
        &self,
        namespace: &str,
    ) -> impl Iterator<Item = (&Name, &Arc<Service>)> {
        let services = self.services.range(Name::new(namespace, "")..);
        services.take_while(move |(name, _)| name.namespace == namespace)
    }

    /// The slices of a namespace.
    pub(crate) fn slices_in(&self, namespace: &str) -> impl Iterator<Item = &Slice> {
        let slices = self.slices.range(Name::new(namespace, "")..);
        let within = slices.take_while(move |(name, _)| name.namespace == namespace);
        within.map(|(_, slice)| &**slice)
    }

    /// The addresses and ports behind a Service's port that are ready, or would be if Lattice said so.
    pub(crate) fn targets(&self, service: &Name, port: &ServicePort) -> BTreeSet<(String, i32)> {
        let slices = self
            .slices_in(&service.namespace)
            .filter(|slice| slice.service == service.name);
        let mut targets = BTreeSet::new();
        for slice in slices {
            let gated = self.gated(&service.namespace, slice);
            let gated = gated.filter(|(_, _, pod)| pod.ready_otherwise);
            let addresses: Vec<_> = slice
                .ready
                .iter()
                .chain(gated.map(|(address, _, _)| address))
                .collect();
            for (name, number) in &slice.ports {
                if *name == port.name {
                    targets.extend(addresses.iter().map(|it| ((*it).clone(), *number)));
                }
            }
        }
        targets
    }

    /// Whether a route's reference into another namespace is granted there.
    pub(crate) fn granted(
        &self,
        kind: RouteKind,
        from: &str,
        to: BackendKind,
        name: &Name,
    ) -> bool {
        let to = match to {
            BackendKind::Service => ("", "Service"),
            BackendKind::Import => (AWS_GROUP, "ServiceImport"),
            BackendKind::Mcs => (MCS_GROUP, "ServiceImport"),
        };
        self.is_granted((kind.kind(), from), to, name)
    }

    /// Whether a reference from an object of a kind in a namespace to one of a group and kind is granted, where that is in another
    /// namespace.
    pub(crate) fn is_granted(
        &self,
        (kind, from): (&str, &str),
        (group, to): (&str, &str),
        name: &Name,
    ) -> bool {
        if from == name.namespace {
            return true;
        }
        let grants = self.grants.iter();
        grants
            .filter(|(grant, _)| grant.namespace == name.namespace)
            .any(|(_, grant)| {
                let mut froms = grant.spec.from.iter();
                let mut tos = grant.spec.to.iter();
                froms.any(|it| it.group == GATEWAY_GROUP && it.kind == kind && it.namespace == from)
                    && tos.any(|it| {
                        it.group == group
                            && it.kind == to
                            && it.name.as_ref().is_none_or(|only| *only == name.name)
                    })
            })
    }

    /// Whether ACM has a certificate of a Secret, be it of what the Secret was before.
    pub(crate) fn is_imported(&self, secret: &Name) -> bool {
        self.imported.values().any(|it| it == secret)
    }

    /// Whether a Gateway may present a certificate of ACM by its ARN: one of a Secret in another namespace wants a grant too.
    pub(crate) fn may_present(&self, gateway: &Name, arn: &str) -> bool {
        let from = ("Gateway", gateway.namespace.as_str());
        let secret = self.imported.get(arn);
        secret.is_none_or(|it| self.is_granted(from, ("", "Secret"), it))
    }

    /// The Secrets that listeners name, of a Gateway or a ListenerSet of a namespace.
    fn secrets_in<'a>(
        namespace: &'a str,
        listeners: &'a [Listener],
    ) -> impl Iterator<Item = Name> + 'a {
        let tls = listeners.iter().filter_map(|it| it.tls.as_ref());
        let references = tls.flat_map(|it| &it.certificate_refs).map(ObjectRef::of);
        let secrets = references.filter(ObjectRef::is_to_secret);
        secrets.map(move |it| it.at(namespace))
    }

    /// The Secrets that a Gateway and the ListenerSets for it name.
    pub(crate) fn secrets_of(&self, name: &Name, gateway: &Gateway) -> BTreeSet<Name> {
        let own = Self::secrets_in(&name.namespace, &gateway.spec.listeners);
        let own = own.chain(shown::named(name, gateway));
        let sets = self.sets_for(name);
        own.chain(sets.flat_map(|(at, set)| Self::secrets_in(&at.namespace, &set.spec.listeners)))
            .collect()
    }
}
