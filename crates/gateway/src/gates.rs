//! Readiness gates of pods: one that has the gate is ready when VPC Lattice sends it requests, and not before, so that a
//! Deployment does not end the pods that it replaces too early.
//!
//! Such a pod is registered when nothing but the gate is missing. Its gate opens once all of its targets are healthy and is not
//! shut again: what happens to a pod later is for health checks to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_vpclattice::types::TargetStatus;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, Patch, PatchParams};
use kube::core::Object;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::attach::said;
use crate::condition::ConditionState;
use crate::controller::{App, Undone};
use crate::desired::{Action, Group, GroupRef, Service};
use crate::expose;
use crate::kinds::Route;
use crate::lattice::Fault;
use crate::mcs;
use crate::plan::{self, Imports};
use crate::settings::Settings;
use crate::world::{BackendKind, Key, Name, Slice, World, backend_of};

/// The gate, and the condition that opens it: those of AWS's controller.
pub(crate) const GATE: &str = "application-networking.k8s.aws/pod-readiness-gate";
/// The plural name of pods.
pub(crate) const PODS: &str = "pods";

/// Pods, as the API server has them.
pub(crate) fn pods() -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        plural: PODS.to_owned(),
    }
}

/// A pod, as far as it is read.
pub(crate) type Gated = Object<PodSpec, PodStatus>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    #[serde(default)]
    readiness_gates: Vec<ReadinessGate>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadinessGate {
    condition_type: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct PodStatus {
    #[serde(default)]
    conditions: Vec<PodCondition>,
}

/// A condition of a pod. What it is about may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
struct PodCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// A pod that has the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    /// Whether all is well but the gate: its containers are ready, its other gates are open, and it does not end.
    pub(crate) ready_otherwise: bool,
    /// The gate's condition as it is.
    said: Option<PodCondition>,
}

impl Pod {
    /// What is kept of a pod; nothing of one without the gate.
    pub(crate) fn of(pod: Gated) -> Option<Self> {
        let gates = &pod.spec.readiness_gates;
        if !gates.iter().any(|it| it.condition_type == GATE) {
            return None;
        }
        let conditions = pod.status.unwrap_or_default().conditions;
        let is_true = |kind: &str| {
            let mut all = conditions.iter();
            all.any(|it| it.kind == kind && it.status == "True")
        };
        let mut others = gates.iter().filter(|it| it.condition_type != GATE);
        let ready_otherwise = pod.metadata.deletion_timestamp.is_none()
            && is_true("ContainersReady")
            && others.all(|it| is_true(&it.condition_type));
        Some(Self {
            uid: pod.metadata.uid.unwrap_or_default(),
            ready_otherwise,
            said: conditions.into_iter().find(|it| it.kind == GATE),
        })
    }

    /// Whether the gate is open.
    pub(crate) fn is_open(&self) -> bool {
        self.said.as_ref().is_some_and(|it| it.status == "True")
    }
}

impl World {
    /// The endpoints of a slice that are not ready and belong to pods with the gate: address, name and pod.
    pub(crate) fn gated<'a>(
        &'a self,
        namespace: &'a str,
        slice: &'a Slice,
    ) -> impl Iterator<Item = (&'a String, Name, &'a Arc<Pod>)> {
        slice.waiting.iter().filter_map(move |(address, of)| {
            let name = Name::new(namespace, &of.name);
            let pod = self.pods.get(&name).filter(|it| it.uid == of.uid)?;
            Some((address, name, pod))
        })
    }

    /// Whether two states of a slice differ in what is, or may be, a target. Pods that are not ready and have no gate do not
    /// count: a slice changes often because of them.
    pub(crate) fn endpoints_differ(&self, name: &Name, before: &Slice, after: &Slice) -> bool {
        let gated = |slice| -> BTreeMap<_, _> {
            let gated = self.gated(&name.namespace, slice);
            gated.map(|(at, _, pod)| (at, &pod.uid)).collect()
        };
        (&before.service, &before.ports, &before.ready)
            != (&after.service, &after.ports, &after.ready)
            || gated(before) != gated(after)
    }

    /// What the endpoints of a Service change: what has them as targets, and the gates of its pods.
    pub(crate) fn touched_by_endpoints(&self, service: &Name) -> Vec<Key> {
        let mut keys = self.touched_by_backend(BackendKind::Service, service);
        if self.waits(service) {
            keys.push(Key::Gates(service.clone()));
        }
        keys
    }

    /// Whether pods of a Service wait for their gates.
    pub(crate) fn waits(&self, service: &Name) -> bool {
        let mut slices = self.slices_in(&service.namespace);
        slices.any(|slice| {
            slice.service == service.name
                && self
                    .gated(&service.namespace, slice)
                    .any(|(_, _, pod)| !pod.is_open())
        })
    }

    /// What a pod with the gate changes.
    pub(crate) fn touched_by_pod(&self, pod: &Name) -> Vec<Key> {
        let slices = self.slices_in(&pod.namespace);
        let of_it = slices.filter(|slice| slice.waiting.values().any(|it| it.name == pod.name));
        let services: BTreeSet<_> = of_it.map(|it| &it.service).collect();
        let services = services.into_iter();
        services
            .flat_map(|it| self.touched_by_endpoints(&Name::new(&pod.namespace, it)))
            .collect()
    }

    /// The Services whose pods wait for their gates.
    pub(crate) fn gated_services(&self) -> BTreeSet<Name> {
        let slices = self.slices.iter();
        let services = slices.map(|(name, slice)| Name::new(&name.namespace, &slice.service));
        services.filter(|it| self.waits(it)).collect()
    }
}

/// A group that a pod is in.
struct PodGroup {
    group: Group,
    /// Whether what serves changes to it, so that a pod waits for it although it is not there or used yet.
    comes: bool,
    /// Whether a route forwards to it, whatever Lattice says of that so far.
    forwarded: bool,
}

/// A pod that waits: its addresses, and what its condition is to say.
struct Waiting {
    pod: Arc<Pod>,
    addresses: BTreeSet<String>,
}

/// The pods of a Service that wait for nothing but the gate.
fn waiting(world: &World, service: &Name) -> BTreeMap<Name, Waiting> {
    let mut all: BTreeMap<Name, Waiting> = BTreeMap::new();
    let slices = world.slices_in(&service.namespace);
    for slice in slices.filter(|it| it.service == service.name) {
        for (address, name, pod) in world.gated(&service.namespace, slice) {
            if pod.is_open() || !pod.ready_otherwise {
                continue;
            }
            let waiting = all.entry(name).or_insert_with(|| Waiting {
                pod: Arc::clone(pod),
                addresses: BTreeSet::new(),
            });
            waiting.addresses.insert(address.clone());
        }
    }
    all
}

/// Whether Lattice has refused a route, as it is now. One that is programmed may get other groups nevertheless, by a policy or
/// by its Service, without a change of its own.
fn refused(settings: &Settings, route: &Route) -> bool {
    let said = said(settings, route, "Programmed");
    let mut all = said.iter();
    !said.is_empty() && all.all(|it| it.status != "True" && it.reason != "Pending")
}

/// The names of the groups that a service forwards requests to.
fn forwarded(service: &Service) -> BTreeSet<String> {
    let listeners = service.listeners.iter();
    let actions = listeners
        .flat_map(|it| std::iter::once(&it.default).chain(it.rules.iter().map(|it| &it.action)));
    let mut names = BTreeSet::new();
    for action in actions {
        let Action::Forward(groups) = action else {
            continue;
        };
        for (group, weight) in groups {
            if let (GroupRef::Own(name), 1..) = (group, weight) {
                names.insert(name.clone());
            }
        }
    }
    names
}

/// All groups that these pods are in, also by other Services than the one that is looked at.
fn places(world: &World, settings: &Settings, pods: &BTreeMap<Name, Waiting>) -> Vec<PodGroup> {
    let mut keys = BTreeSet::new();
    let namespaces: BTreeSet<_> = pods.keys().map(|it| &it.namespace).collect();
    for namespace in namespaces {
        let slices = world.slices_in(namespace);
        let of_them = slices.filter(|slice| {
            let mut gated = world.gated(namespace, slice);
            gated.any(|(_, name, _)| pods.contains_key(&name))
        });
        let services: BTreeSet<_> = of_them.map(|it| &it.service).collect();
        for service in services {
            let service = Name::new(namespace, service);
            keys.extend(world.touched_by_backend(BackendKind::Service, &service));
        }
    }
    let mut places = Vec::new();
    let none = Imports::new();
    for key in keys {
        match key {
            Key::Route(kind, name) => {
                let Some(route) = world.route(kind, &name) else {
                    continue;
                };
                if route.metadata.deletion_timestamp.is_some() {
                    continue;
                }
                let plan = plan::route(world, settings, &none, (kind, &name, route));
                let Some(service) = plan.service else {
                    continue;
                };
                let comes = !refused(settings, route);
                let forwarded = forwarded(&service);
                places.extend(service.groups.into_iter().map(|group| PodGroup {
                    comes,
                    forwarded: forwarded.contains(&group.name),
                    group,
                }));
            }
            Key::Export(name) => {
                let groups = mcs::export_groups(world, settings, &name).into_iter();
                // Another cluster's route may use it one day, or none, and none uses one that is not there.
                places.extend(groups.map(|group| PodGroup {
                    group,
                    comes: false,
                    forwarded: false,
                }));
            }
            Key::Exposed(name) => {
                let Some(Ok(exposed)) = expose::plan(world, settings, &name) else {
                    continue;
                };
                // All of its groups are forwarded to.
                places.extend(exposed.service.groups.into_iter().map(|group| PodGroup {
                    group,
                    comes: true,
                    forwarded: true,
                }));
            }
            _ => {}
        }
    }
    places
}

/// The targets of a group that is there, by address and port.
type Health = BTreeMap<(String, i32), TargetStatus>;

/// What a pod's gate says: open when Lattice sends requests to all of its targets. `None` for a pod that is in no group.
fn verdict(of: &Waiting, places: &[(PodGroup, Option<Health>)]) -> Option<ConditionState> {
    let bad = |reason, message: String| Some(ConditionState::bad(reason, message));
    let mut good: Option<(u8, &'static str)> = None;
    for (place, health) in places {
        let name = &place.group.name;
        let targets = place.group.targets.iter();
        for target in targets.filter(|it| of.addresses.contains(&it.0)) {
            let at = format!("target {}:{} of group {name}", target.0, target.1);
            let status = health.as_ref().and_then(|it| it.get(target));
            let reason = match status {
                // A route's status says why there is none. No pod is served by it, and none waits for it.
                None if health.is_none() && !place.comes => (0, "Unused"),
                None => return bad("TargetNotFound", format!("{at} is not registered yet")),
                Some(TargetStatus::Healthy) => (2, "Healthy"),
                // Nothing more will be known of it.
                Some(TargetStatus::Unavailable) => (1, "HealthCheckUnavailable"),
                Some(TargetStatus::Unused) if place.comes && place.forwarded => {
                    return bad("Unused", format!("nothing forwards to {at} yet"));
                }
                // No request comes this way.
                Some(TargetStatus::Unused) => (0, "Unused"),
                Some(TargetStatus::Initial) => {
                    return bad("Initial", format!("{at} is not checked yet"));
                }
                Some(status) => return bad("Unhealthy", format!("{at} is {status}")),
            };
            good = good.max(Some(reason));
        }
    }
    good.map(|(_, reason)| ConditionState::good(reason))
}

impl App {
    /// Looks after the gates of a route's pods, which may be in its groups now.
    pub(crate) fn look_at_gates_of(&self, name: &Name, route: &Route) {
        let world = self.look();
        let backends = route
            .spec
            .rules
            .iter()
            .flat_map(crate::kinds::Rule::backends);
        let services = backends
            .filter_map(|it| backend_of(it, name))
            .filter(|(kind, service)| *kind == BackendKind::Service && world.waits(service));
        let services: BTreeSet<_> = services.map(|(_, service)| service).collect();
        drop(world);
        for service in services {
            self.queue.add(Key::Gates(service));
        }
    }

    /// The same of an export's Service.
    pub(crate) fn look_at_gates(&self, service: Name) {
        let waits = self.look().waits(&service);
        if waits {
            self.queue.add(Key::Gates(service));
        }
    }

    /// Opens the gates of a Service's pods that Lattice sends requests to, and says of the others what they wait for.
    pub(crate) async fn gates(&self, service: &Name) -> Result<(), Undone> {
        let (pods, places) = {
            let world = self.look();
            let pods = waiting(&world, service);
            let places = places(&world, &self.settings, &pods);
            (pods, places)
        };
        let addresses: BTreeSet<_> = pods.values().flat_map(|it| &it.addresses).collect();
        let mut seen = Vec::new();
        for mut place in places {
            let mut targets = place.group.targets.iter();
            if targets.any(|it| addresses.contains(&it.0)) {
                let health = self.lattice.health(&place.group).await?;
                // What was served before serves on: it must not lose its pods to ones that nothing forwards to.
                place.comes = place.comes || self.lattice.has_former(&place.group).await?;
                seen.push((place, health));
            }
        }
        let (mut waits, mut failed) = (None, None);
        for (name, waiting) in &pods {
            // A pod of another controller's routes, or of none, is not this one's to speak of.
            let Some(verdict) = verdict(waiting, &seen) else {
                continue;
            };
            if !verdict.good {
                waits = Some(format!("pod {name}: {}", verdict.message));
            }
            // A pod whose condition cannot be written keeps no other's gate shut.
            if let Err(error) = self.write_condition(name, &waiting.pod, &verdict).await {
                failed = failed.or(Some(error));
            }
        }
        match (failed, waits) {
            // The next look must not be so far away as after an error alone.
            (Some(error), Some(message)) => {
                tracing::warn!(%service, %error, "the condition of a pod's gate cannot be written");
                Err(Fault::Waits(message).into())
            }
            (Some(error), None) => Err(error),
            (None, Some(message)) => Err(Fault::Waits(message).into()),
            (None, None) => Ok(()),
        }
    }

    /// Writes the gate's condition into a pod, if it says something else.
    async fn write_condition(
        &self,
        name: &Name,
        pod: &Pod,
        verdict: &ConditionState,
    ) -> Result<(), Undone> {
        let status = if verdict.good { "True" } else { "False" };
        let said = pod.said.as_ref();
        let same = said.is_some_and(|it| {
            it.status == status
                && it.reason.as_deref() == Some(verdict.reason)
                && it.message.as_deref().unwrap_or_default() == verdict.message
        });
        if same {
            return Ok(());
        }
        let mut condition = json!({
            "type": GATE,
            "status": status,
            "reason": verdict.reason,
            "message": verdict.message,
        });
        if said.is_none_or(|it| it.status != status) {
            condition["lastTransitionTime"] = json!(self.settings.now());
        }
        // The uid keeps the next pod of this name from getting this one's condition.
        let patch = json!({
            "metadata": {"uid": pod.uid},
            "status": {"conditions": [condition]},
        });
        let api: Api<Gated> = Api::namespaced_with(self.client.clone(), &name.namespace, &pods());
        // Strategic: conditions of others stay.
        let patched = api
            .patch_status(
                &name.name,
                &PatchParams::default(),
                &Patch::Strategic(&patch),
            )
            .await;
        match patched {
            Ok(patched) => {
                tracing::debug!(%name, reason = verdict.reason, uid = patched.uid(), "the condition of a pod's gate is written");
                // Known at once: a look before the watch brings it must not shut the gate again.
                let mut world = self.world();
                if let (Some(patched), Some(known)) = (Pod::of(patched), world.pods.get_mut(name))
                    && known.uid == patched.uid
                {
                    Arc::make_mut(known).said = patched.said;
                }
                Ok(())
            }
            // It went, or another has its name by now.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
