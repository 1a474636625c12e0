//! BackendTLSPolicies: for which Services one is, which of several counts, what a group of targets learns of it, and what its status says.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt as _;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::attach::controller_of;
use crate::authorities::Authorities;
use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::kinds::{
    self, AncestorStatus, BackendTls, GATEWAY_GROUP, ParentRef, Route, RouteKind, Rule, SectionRef,
};
use crate::long_tags;
use crate::secrets::ObjectRef;
use crate::settings::Settings;
use crate::world::{BackendKind, Key, Name, ServicePort, World, backend_of};

/// The tag of a group that says how its targets prove who they are, and how many parts it has at most.
pub(crate) const TAG: &str = "lath:target-tls";
const PARTS: usize = 32;
/// As many authorities may a group trust.
const MOST_ANCHORS: usize = 16;
/// As many entries may a policy's status have, of all controllers.
const MOST_ANCESTORS: usize = 16;
/// Why a backend is lost whose policy names nothing that can be trusted: that is the policy's to say, and no fault of the route's reference.
pub(crate) const UNTRUSTED: &str = "NoValidCACertificate";
/// The types of conditions that are this controller's.
const OWN: [&str; 2] = ["Accepted", "ResolvedRefs"];

/// What a policy says of its targets.
pub(crate) struct Judged {
    accepted: ConditionState,
    resolved: ConditionState,
    /// What a group learns; `None` where nothing can be trusted.
    verification: Option<Value>,
}

/// A Service of the policy's namespace, and the name of its port, if the policy is for one.
fn service_of<'a>(at: &Name, target: &'a SectionRef) -> Option<(Name, Option<&'a str>)> {
    let section = target.section_name.as_deref().filter(|it| !it.is_empty());
    let is_service = target.group.is_empty() && target.kind == "Service";
    is_service.then(|| (Name::new(&at.namespace, &target.name), section))
}

/// The Services that a policy is for.
fn services_of(at: &Name, policy: &BackendTls) -> BTreeSet<Name> {
    let targets = policy.spec.target_refs.iter();
    let services = targets.filter_map(|it| service_of(at, it));
    services.map(|(service, _)| service).collect()
}

/// The Services that a route's rules name.
fn backends(kind: RouteKind, name: &Name, route: &Route) -> BTreeSet<Name> {
    // What is passed on has TLS of its client's, or none.
    let rules = route.spec.rules.iter();
    let rules = rules.filter(|_| !kind.is_of_connections());
    let backends = rules.flat_map(Rule::backends);
    let services = backends.filter_map(|it| backend_of(it, name));
    let services = services.filter(|(kind, _)| *kind == BackendKind::Service);
    services.map(|(_, service)| service).collect()
}

impl World {
    /// The policies of a namespace that are not deleted, the one that comes first in a conflict first.
    fn tls_policies_in(&self, namespace: &str) -> Vec<(&Name, &Arc<BackendTls>)> {
        let within = self.tls_policies.range(Name::new(namespace, "")..);
        let within = within.take_while(|(name, _)| name.namespace == namespace);
        let mut all: Vec<_> = within
            .filter(|(_, policy)| policy.metadata.deletion_timestamp.is_none())
            .collect();
        all.sort_by_key(|(name, policy)| (policy.creation_timestamp(), *name));
        all
    }

    /// The policy that counts for a Service or for its port of a name.
    fn tls_policy_for(
        &self,
        service: &Name,
        section: Option<&str>,
    ) -> Option<(&Name, &Arc<BackendTls>)> {
        let all = self.tls_policies_in(&service.namespace).into_iter();
        let mut all = all.filter(|(at, policy)| {
            let targets = policy.spec.target_refs.iter();
            let mut targets = targets.filter_map(|it| service_of(at, it));
            targets.any(|(it, of)| it == *service && of == section)
        });
        all.next()
    }

    /// The policy by which the targets of a Service's port prove who they are: one for the port comes before one for the Service.
    pub(crate) fn tls_policy(
        &self,
        service: &Name,
        port: &ServicePort,
    ) -> Option<(&Name, &Arc<BackendTls>)> {
        let section = Some(port.name.as_str()).filter(|it| !it.is_empty());
        section
            .and_then(|section| self.tls_policy_for(service, Some(section)))
            .or_else(|| self.tls_policy_for(service, None))
    }

    /// The policies for some Services.
    fn tls_policies_for(&self, services: &BTreeSet<Name>) -> Vec<Key> {
        let all = self.tls_policies.iter();
        let fitting = all.filter(|(at, policy)| !services_of(at, policy).is_disjoint(services));
        fitting.map(|(at, _)| Key::BackendTls(at.clone())).collect()
    }

    /// What a policy changes: itself, the others for the same Services, and the routes to these.
    pub(crate) fn touched_by_backend_tls(&self, name: &Name, policy: &BackendTls) -> Vec<Key> {
        let services = services_of(name, policy);
        let mut keys = self.tls_policies_for(&services);
        if !keys.contains(&Key::BackendTls(name.clone())) {
            keys.push(Key::BackendTls(name.clone()));
        }
        let routes = self
            .all_routes()
            .filter(|(kind, at, route)| !backends(*kind, at, route).is_disjoint(&services));
        keys.extend(routes.map(|(kind, at, _)| Key::Route(kind, at.clone())));
        keys
    }

    /// The policies that say something of a route's Gateways.
    pub(crate) fn tls_policies_behind(
        &self,
        kind: RouteKind,
        name: &Name,
        route: &Route,
    ) -> Vec<Key> {
        if self.tls_policies.is_empty() {
            return Vec::new();
        }
        let services = backends(kind, name, route);
        self.tls_policies_for(&services)
    }

    /// The policies for a Service.
    pub(crate) fn tls_policies_of(&self, service: &Name) -> Vec<Key> {
        self.tls_policies_for(&BTreeSet::from([service.clone()]))
    }

    /// What an object with authorities changes for the policies that name it.
    pub(crate) fn touched_by_anchors(&self, kind: &str, at: &Name) -> Vec<Key> {
        let policies = self.tls_policies.iter().filter(|(name, policy)| {
            let references = policy.spec.validation.ca_certificate_refs.iter();
            let mut references = references.map(ObjectRef::of);
            name.namespace == at.namespace
                && references.any(|it| it.is_to("", kind) && it.name == at.name)
        });
        policies
            .flat_map(|(name, policy)| self.touched_by_backend_tls(name, policy))
            .collect()
    }

    /// The Gateways that a policy has to do with, beside those of other controllers: a route for one of them names a Service of the policy.
    fn ancestors(
        &self,
        settings: &Settings,
        name: &Name,
        policy: &BackendTls,
    ) -> Vec<(Name, String)> {
        let services = services_of(name, policy);
        let mut gateways = BTreeSet::new();
        for (kind, at, route) in self.all_routes() {
            if !backends(kind, at, route).is_disjoint(&services) {
                let parents = route.spec.parent_refs.iter();
                gateways.extend(parents.filter_map(|it| self.gateway_of(it, at)));
            }
        }
        let own = gateways.into_iter().filter_map(|at| {
            let gateway = self.gateways.get(&at)?;
            let there = gateway.metadata.deletion_timestamp.is_none();
            let controller = controller_of(self, settings, gateway)?;
            there.then_some((at, controller))
        });
        own.collect()
    }
}

/// The authorities that a reference leads to.
fn authorities<'a>(
    world: &'a World,
    namespace: &str,
    reference: &ObjectRef,
) -> Result<&'a [String], ConditionState> {
    // There are no references into other namespaces.
    let at = Name::new(namespace, &reference.name);
    let invalid = |why: String| ConditionState::bad("InvalidCACertificateRef", why);
    let found: Option<&Authorities> = if reference.is_to("", "ConfigMap") {
        world.authorities.get(&at).map(|it| &**it)
    } else if reference.is_to_secret() {
        let secret = world.secrets.get(&at);
        secret.and_then(|it| it.authorities.as_ref())
    } else {
        let message = format!(
            "caCertificateRef {} is neither to a ConfigMap nor to a Secret",
            reference.name
        );
        return Err(ConditionState::bad("InvalidKind", message));
    };
    let found = found.ok_or_else(|| {
        invalid(match reference.is_to_secret() {
            true => format!("there is no Secret {at} of type kubernetes.io/tls with ca.crt"),
            false => format!("ConfigMap {at}: it is not there, or has no ca.crt"),
        })
    })?;
    let certificates = found.certificates();
    certificates.map_err(|why| invalid(format!("{at}: {why}")))
}

/// What a policy says, whether it counts or not.
pub(crate) fn judge(world: &World, name: &Name, policy: &BackendTls) -> Judged {
    let spec = &policy.spec;
    let validation = &spec.validation;
    let good = ConditionState::good("ResolvedRefs");
    let lost = |accepted: ConditionState, resolved: ConditionState| Judged {
        accepted,
        resolved,
        verification: None,
    };
    if let Some(field) = spec.unread.first() {
        return lost(
            ConditionState::bad("Invalid", format!("spec.{field}")),
            good,
        );
    }
    let well_known = validation.well_known.as_deref().filter(|it| !it.is_empty());
    if let Some(other) = well_known.filter(|it| *it != "System") {
        let why = format!("spec.validation.wellKnownCACertificates: {other} is not System");
        return lost(ConditionState::bad("Invalid", why), good);
    }
    let mut verification = json!({"hostname": validation.hostname});
    if !validation.subject_alt_names.is_empty() {
        verification["subjectAltNames"] = json!(validation.subject_alt_names);
    }
    let mut resolved = good;
    if well_known.is_some() {
        verification["wellKnownCACertificates"] = json!("System");
    } else {
        let mut anchors = Vec::<&String>::new();
        for reference in &validation.ca_certificate_refs {
            match authorities(world, &name.namespace, &ObjectRef::of(reference)) {
                Ok(found) => {
                    let new = found.iter().filter(|it| !anchors.contains(it));
                    let new: Vec<_> = new.collect();
                    anchors.extend(new);
                }
                Err(verdict) if resolved.good => resolved = verdict,
                Err(_) => {}
            }
        }
        verification["trustAnchorCertificates"] = json!(anchors);
        // What health checks show comes besides.
        let length = verification.to_string().chars().count() + 160;
        if anchors.len() > MOST_ANCHORS || length > PARTS * long_tags::PART {
            // What is left out would shut targets out without a word.
            let why = format!(
                "the certificates are too many: a group trusts {MOST_ANCHORS} of them at most, in {} characters of base64",
                PARTS * long_tags::PART
            );
            resolved = ConditionState::bad("InvalidCACertificateRef", why);
            anchors.clear();
        }
        if anchors.is_empty() {
            let why = match resolved.message.as_str() {
                "" => "there are no caCertificateRefs".to_owned(),
                why => why.to_owned(),
            };
            return lost(ConditionState::bad(UNTRUSTED, why), resolved);
        }
    }
    let mut accepted = ConditionState::good("Accepted");
    if spec.has_options {
        accepted = accepted.with_message("spec.options are not read");
    }
    Judged {
        accepted,
        resolved,
        verification: Some(verification),
    }
}

/// What a group for a Service's port learns, if a policy is for it; `shown` is the ARN of what its health checks show.
///
/// # Errors
/// Nothing can be trusted: what goes there is lost.
pub(crate) fn group_tls(
    world: &World,
    service: &Name,
    port: &ServicePort,
    shown: Option<&String>,
) -> Result<Option<String>, ConditionState> {
    let Some((name, policy)) = world.tls_policy(service, port) else {
        return Ok(None);
    };
    let judged = judge(world, name, policy);
    let mut verification = judged.verification.ok_or_else(|| {
        let why = format!(
            "Dropped backend {service}: BackendTLSPolicy {name}: {}; its requests are answered 500",
            judged.accepted.message
        );
        ConditionState::bad(UNTRUSTED, why)
    })?;
    if let Some(arn) = shown {
        verification["healthCheckCertificateArn"] = json!(arn);
    }
    Ok(Some(verification.to_string()))
}

/// Why a policy does not count for a target.
fn against(world: &World, name: &Name, target: &SectionRef) -> Option<ConditionState> {
    let Some((service, section)) = service_of(name, target) else {
        let why = format!(
            "spec.targetRefs: {} {} is no Service",
            target.kind, target.name
        );
        return Some(ConditionState::bad("Invalid", why));
    };
    let Some(found) = world.services.get(&service) else {
        let why = format!("there is no Service {service}");
        return Some(ConditionState::bad("TargetNotFound", why));
    };
    let has = |section: &str| found.ports.iter().any(|it| it.name == section);
    if let Some(section) = section.filter(|it| !has(it)) {
        let why = format!("Service {service} has no port of the name {section}");
        return Some(ConditionState::bad("TargetNotFound", why));
    }
    let counts = world.tls_policy_for(&service, section);
    let (other, _) = counts.filter(|(it, _)| *it != name)?;
    let why = format!("{other} is for Service {service} too, and comes first");
    Some(ConditionState::bad("Conflicted", why))
}

/// Whether a policy counts for its targets: it is accepted when it does for one of them, and says what is wrong with the others.
fn counting(world: &World, name: &Name, policy: &BackendTls, judged: &Judged) -> ConditionState {
    let targets = &policy.spec.target_refs;
    let wrong = targets.iter().filter_map(|it| against(world, name, it));
    let mut wrong: Vec<_> = wrong.collect();
    if targets.is_empty() {
        return ConditionState::bad("Invalid", "spec.targetRefs: there is no target");
    }
    if wrong.len() == targets.len() {
        return wrong.swap_remove(0);
    }
    let accepted = judged.accepted.clone();
    if wrong.is_empty() || !accepted.good {
        return accepted;
    }
    let said = std::iter::once(accepted.message.clone()).filter(|it| !it.is_empty());
    let all: Vec<_> = said.chain(wrong.into_iter().map(|it| it.message)).collect();
    accepted.with_message(all.join("; "))
}

/// The entries of a policy's status: this controller's for each of its Gateways, beside those of others.
fn entries(world: &World, settings: &Settings, name: &Name, policy: &BackendTls) -> Vec<Value> {
    let generation = policy.metadata.generation.unwrap_or_default();
    let known = policy.status.iter().flat_map(|it| &it.ancestors);
    let of_this = |it: &&Value| {
        let controller = it.get("controllerName").and_then(Value::as_str);
        controller.is_some_and(|it| settings.answers_to(it))
    };
    let (own, others): (Vec<_>, Vec<_>) = known.partition(of_this);
    let own = own.into_iter();
    let own: Vec<_> = own
        .filter_map(|it| AncestorStatus::deserialize(it).ok())
        .collect();
    let now = settings.now();
    let mut entries: Vec<Value> = others.into_iter().cloned().collect();
    let judged = judge(world, name, policy);
    let accepted = counting(world, name, policy, &judged);
    for (gateway, controller) in world.ancestors(settings, name, policy) {
        if entries.len() == MOST_ANCESTORS {
            tracing::warn!(%name, %gateway, "a BackendTLSPolicy's status has no room for what is said of a Gateway");
            break;
        }
        let new = match settings.has_entrances(&controller) {
            true => vec![
                accepted.clone().condition("Accepted", generation),
                judged
                    .resolved
                    .clone()
                    .condition("ResolvedRefs", generation),
            ],
            false => {
                let why = "VPC Lattice verifies no target: only Gateways with an address do";
                vec![ConditionState::bad("Invalid", why).condition("Accepted", generation)]
            }
        };
        let ancestor_ref = ParentRef {
            group: Some(GATEWAY_GROUP.to_owned()),
            kind: Some("Gateway".to_owned()),
            namespace: Some(gateway.namespace),
            name: gateway.name,
            section_name: None,
            port: None,
        };
        let before = own
            .iter()
            .find(|it| it.ancestor_ref == ancestor_ref && it.controller_name == controller);
        let before = before.map_or(&[][..], |it| &it.conditions);
        let entry = AncestorStatus {
            conditions: merged(&now, before, new, &OWN),
            ancestor_ref,
            controller_name: controller,
        };
        entries.push(serde_json::to_value(entry).unwrap_or_default());
    }
    entries
}

impl App {
    /// Says what becomes of a policy. What it asks for is brought about with the groups of the routes to its Services.
    pub(crate) async fn backend_tls(&self, name: &Name) -> Result<(), Undone> {
        let (policy, entries) = {
            let world = self.look();
            let Some(policy) = world.tls_policies.get(name).cloned() else {
                return Ok(());
            };
            let entries = entries(&world, &self.settings, name, &policy);
            (policy, entries)
        };
        if policy.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let known = policy.status.as_ref().map_or(&[][..], |it| &it.ancestors);
        if entries != known {
            let form = self.form(kinds::backend_tls_policy());
            let status = json!({"ancestors": entries});
            self.set_status(&form, &*policy, status).await?;
        }
        Ok(())
    }
}
