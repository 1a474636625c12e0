//! Routes and exports: their plans are made, VPC Lattice is brought to them, and their status says what came of it.

use kube::ResourceExt as _;
use kube::api::ApiResource;
use kube::runtime::events::EventType;
use serde_json::{Value, json};

use crate::attach::uncertain;
use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::desired::{
    MANAGED_BY, Protocol, ROUTE_NAME, ROUTE_NAMESPACE, SOURCE_TYPE, Tags, key, tags,
};
use crate::guards::Target;
use crate::kinds::{self, ParentStatus, Route, RouteKind};
use crate::lattice::{Deployed, Fault};
use crate::plan::{self, Imports, Plan};
use crate::settings::OWN_CONTROLLER;
use crate::world::{BackendKind, Key, Name, backend_of};

/// The annotation that says under which name Lattice has a route's service.
pub(crate) const DOMAIN_NAME: &str = "lattice-assigned-domain-name";
pub(crate) const SERVICE_ARN: &str = "lattice-service-arn";
/// Groups whose controllers replace all annotations of the routes that they own, and, when one of them differs, what else
/// they have changed: Flagger would set its weights back at each step.
const ANNOTATION_REPLACERS: [&str; 1] = ["flagger.app/"];
/// The types of conditions that are this controller's in its entries of routes.
const OF_ROUTES: [&str; 4] = ["Accepted", "ResolvedRefs", "PartiallyInvalid", "Programmed"];

impl App {
    /// The finalizers by which a route is this controller's. That of AWS's controller counts where this one has its place.
    fn finalizers_of(&self, kind: RouteKind) -> Vec<String> {
        let names = self.settings.controller_names.iter();
        names.map(|it| finalizer_of(kind, it)).collect()
    }

    pub(crate) async fn route(&self, kind: RouteKind, name: &Name) -> Result<(), Undone> {
        let form = self.form(kind.resource("v1"));
        let (route, wanted) = {
            let world = self.look();
            let Some(route) = world.route(kind, name).cloned() else {
                return Ok(());
            };
            let wanted = plan::imports(&world, name, &route);
            (route, wanted)
        };
        let own = self.finalizers_of(kind);
        let held = route.finalizers().iter().any(|it| own.contains(it));
        if route.metadata.deletion_timestamp.is_some() {
            if held {
                self.withdraw(kind, name).await?;
                self.finalizer(&form, &*route, |all| all.retain(|it| !own.contains(it)))
                    .await?;
            }
            return Ok(());
        }
        let uncertain = || uncertain(&self.look(), &self.settings, name, &route);
        if let Some(why) = held.then(uncertain).flatten() {
            return Err(Fault::Waits(why).into());
        }
        if let Err(fault) = self.know_certificates().await {
            // Who may not ask ACM has imported nothing.
            tracing::debug!(%name, error = %fault, "certificates of ACM are not known");
        }
        if let Some(why) = held.then(|| self.unheard(name, &route)).flatten() {
            // What clusters of that region serve must not be taken out of the rules. The pods of the route's own groups end nevertheless.
            let plan = plan::route(
                &self.look(),
                &self.settings,
                &Imports::new(),
                (kind, name, &route),
            );
            self.fit_groups(name, &plan).await;
            return Err(Fault::Waits(why).into());
        }
        let mut imports = Imports::new();
        let all = wanted.len();
        for (import, query) in wanted {
            match self.lattice.imported(&query).await {
                Ok(Some(id)) => drop(imports.insert(import, id)),
                Ok(None) => {}
                Err(fault) => {
                    // The rules cannot be known without it. The pods of the route's own groups end nevertheless.
                    if held {
                        let none = Imports::new();
                        let mut plan =
                            plan::route(&self.look(), &self.settings, &none, (kind, name, &route));
                        self.fit_groups(name, &plan).await;
                        // Refused it stays refused, until somebody reads why.
                        if plan.service.is_some() && matches!(fault, Fault::Failed(_)) {
                            let why = format!("ServiceImport {}: {fault}", import.name);
                            plan.resolved = ConditionState::bad("BackendNotFound", why);
                            let result = Err(fault.clone());
                            self.report(&form, &route, &plan, Some(&result)).await?;
                        }
                    }
                    return Err(fault.into());
                }
            }
        }
        let mut plan = plan::route(&self.look(), &self.settings, &imports, (kind, name, &route));
        self.certify(name, &mut plan).await;
        let Some(service) = &plan.service else {
            if !held {
                return self.report(&form, &route, &plan, None).await;
            }
            // What is said comes first: the service may take its time to go.
            self.report(&form, &route, &plan, None).await?;
            // The name comes first: it would lead nowhere.
            self.dns_endpoint(&form, (name, &route), None, "").await;
            self.withdraw(kind, name).await?;
            let gone = [(DOMAIN_NAME, None), (SERVICE_ARN, None)];
            self.annotate(&form, &*route, &gone).await?;
            let latest: Route = self.api(name, &form).get(&name.name).await?;
            if latest.metadata.generation == route.metadata.generation {
                self.finalizer(&form, &latest, |all| all.retain(|it| !own.contains(it)))
                    .await?;
            }
            return Ok(());
        };
        if !held {
            let controller = plan.parents.iter().find(|it| it.accepted.good);
            let controller = controller.map_or(OWN_CONTROLLER, |it| &it.controller);
            let finalizer = finalizer_of(kind, controller);
            // The new state comes by the watch, and with it this work again.
            self.finalizer(&form, &*route, |all| all.push(finalizer))
                .await?;
            return Ok(());
        }
        let guards = |target: &Target| self.guard(target);
        let target = Target::Route(kind, name.clone());
        let mut result = self
            .lattice
            .deploy(service, &self.sources(kind, name), (&target, &guards))
            .await;
        if self.settings.has_addresses()
            && let Ok(deployed) = &result
            && let Err(fault) = self.lead_to(&deployed.arn, &plan).await
        {
            result = Err(fault);
        }
        self.look_at_gates_of(name, &route);
        self.report(&form, &route, &plan, Some(&result)).await?;
        if !service.has_entrance && service.custom_domain.is_none() {
            // Also where the service cannot lose the name that it has.
            self.dns_endpoint(&form, (name, &route), None, "").await;
        }
        let deployed = result?;
        if !replaces_annotations(&route) {
            let annotations = [
                (DOMAIN_NAME, Some(deployed.domain_name.as_str())),
                (SERVICE_ARN, Some(deployed.arn.as_str())),
            ];
            self.annotate(&form, &*route, &annotations).await?;
        }
        let gateway = plan
            .place
            .attachments
            .first()
            .filter(|_| service.has_entrance);
        let entered = gateway.and_then(|it| self.entered_now().get(&it.gateway).cloned());
        // Where a Gateway has an address, hostnames of routes are at the Gateway's.
        let (hostname, target) = match &entered {
            Some(entered) => {
                let name = gateway.and_then(|it| plan.place.hostname(&it.gateway));
                (name.map(String::as_str), &entered.domain_name)
            }
            None => (service.custom_domain.as_deref(), &deployed.domain_name),
        };
        self.dns_endpoint(&form, (name, &route), hostname, target)
            .await;
        match deployed.leftovers {
            true => Err(Fault::Waits("groups that are no longer used still go".to_owned()).into()),
            // An import's group is made by another cluster, without a word to this one.
            false if imports.len() < all => Err(Fault::Waits(plan.resolved.message.clone()).into()),
            false => Ok(()),
        }
    }

    /// Says at a route's service which entrances lead to it.
    async fn lead_to(&self, arn: &str, plan: &Plan) -> Result<(), Fault> {
        let text = plan.place.text(&self.entered_now());
        let waits = |gateway: Name| {
            // Its Gateway's work brings this one back.
            Fault::Waits(format!("Gateway {gateway} has no listener for it yet"))
        };
        let (text, lacking) = text.map_err(waits)?;
        self.lattice.attach(arn, &text).await?;
        lacking.map_or(Ok(()), |gateway| Err(waits(gateway)))
    }

    /// Finds the certificate of a route's name in ACM, where no listener names one.
    async fn certify(&self, name: &Name, plan: &mut Plan) {
        let Some(service) = &mut plan.service else {
            return;
        };
        let Some(hostname) = service.custom_domain.clone() else {
            return;
        };
        let mut listeners = service.listeners.iter();
        let https = listeners.any(|it| it.protocol == Protocol::Https);
        if !https || service.certificate.is_some() {
            return;
        }
        match self.lattice.certificate_for(&hostname).await {
            Ok(Some(arn)) => service.certificate = Some(arn),
            Ok(None) => {
                tracing::warn!(%name, "ACM has no certificate that is issued for {hostname}")
            }
            // A service that has one keeps it.
            Err(fault) => {
                tracing::warn!(%name, error = %fault, "certificates cannot be looked for in ACM")
            }
        }
    }

    /// Why what clusters export for a route's backends is not known as a whole.
    fn unheard(&self, name: &Name, route: &Route) -> Option<String> {
        let world = self.look();
        let region = world.silent_region(&self.settings)?;
        let mut backends = route.spec.rules.iter().flat_map(kinds::Rule::backends);
        let by_import = backends
            .any(|it| backend_of(it, name).is_some_and(|(kind, _)| kind == BackendKind::Mcs));
        by_import.then(|| format!("region {region} has not said yet what its clusters export"))
    }

    /// Brings a route's own groups alone to what they should be: the change that cannot wait.
    async fn fit_groups(&self, name: &Name, plan: &Plan) {
        let groups = plan.service.as_ref().map_or(&[][..], |it| &it.groups);
        for made in self.lattice.ensure_groups(groups).await {
            if let Err(fault) = made {
                tracing::warn!(%name, error = %fault, "a group is not as it should be");
            }
        }
    }

    /// The tags that all target groups of a route have.
    fn sources(&self, kind: RouteKind, name: &Name) -> Tags {
        tags([
            (MANAGED_BY, &self.settings.managed_by()),
            (SOURCE_TYPE, kind.kind()),
            (ROUTE_NAME, &name.name),
            (ROUTE_NAMESPACE, &name.namespace),
        ])
    }

    /// The names that a route's service may have, and the tags that prove that it is the route's.
    pub(crate) fn service_of(&self, kind: RouteKind, name: &Name) -> (Vec<String>, Tags) {
        let annotations = self
            .look()
            .route(kind, name)
            .map(|it| it.annotations().clone());
        let names = plan::service_names_of(name, &annotations.unwrap_or_default());
        let names = names.first.into_iter().chain(names.former).collect();
        (names, plan::service_tags(&self.settings, kind, name))
    }

    async fn withdraw(&self, kind: RouteKind, name: &Name) -> Result<(), Fault> {
        let (names, identity) = self.service_of(kind, name);
        self.lattice
            .withdraw(&names, &identity, &self.sources(kind, name))
            .await
    }

    /// Writes what came of a route into its status, and says it by an event when it is news.
    async fn report(
        &self,
        form: &ApiResource,
        route: &Route,
        plan: &Plan,
        result: Option<&Result<Deployed, Fault>>,
    ) -> Result<(), Undone> {
        let generation = route.metadata.generation.unwrap_or_default();
        let known = route.status.clone().unwrap_or_default().parents;
        let own = |entry: &Value| {
            let name = entry.get("controllerName").and_then(Value::as_str);
            name.is_some_and(|name| self.settings.answers_to(name))
        };
        let (ours, theirs): (Vec<_>, Vec<_>) = known.iter().cloned().partition(|it| own(it));
        let ours: Vec<ParentStatus> = ours
            .into_iter()
            .filter_map(|it| serde_json::from_value(it).ok())
            .collect();
        let mut programmed = programmed(result);
        if let Some(Ok(deployed)) = result.filter(|_| replaces_annotations(route)) {
            programmed.message = match &deployed.remark {
                Some(remark) => format!("{}, {}; {remark}", deployed.domain_name, deployed.arn),
                None => format!("{}, {}", deployed.domain_name, deployed.arn),
            };
        }
        if programmed.good {
            let kind = plan.kind;
            let key = Key::Route(kind, Name::of(&route.metadata));
            self.metrics.programmed(kind.kind(), &key, generation);
        }
        let now = self.settings.now();
        let mut next = Vec::new();
        for parent in &plan.parents {
            let mut new = vec![
                parent.accepted.clone().condition("Accepted", generation),
                plan.resolved.clone().condition("ResolvedRefs", generation),
            ];
            if let Some(what) = plan.left_out.as_ref().filter(|_| parent.accepted.good) {
                let verdict = ConditionState::good("UnsupportedValue").with_message(what);
                new.push(verdict.condition("PartiallyInvalid", generation));
            }
            let verdict = match parent.accepted.good {
                true => programmed.clone(),
                false => ConditionState::bad("Invalid", parent.accepted.message.clone()),
            };
            new.push(verdict.condition("Programmed", generation));
            let before = ours.iter().find(|it| it.parent_ref == parent.reference);
            let before = before.map_or(&[][..], |it| &it.conditions);
            next.push(ParentStatus {
                parent_ref: parent.reference.clone(),
                controller_name: parent.controller.clone(),
                conditions: merged(&now, before, new, &OF_ROUTES),
            });
        }
        if ours == next {
            return Ok(());
        }
        let news = result.is_some()
            && !ours.iter().flat_map(|it| &it.conditions).any(|it| {
                it.kind == "Programmed"
                    && it.reason == programmed.reason
                    && it.message == programmed.message
            });
        let mut parents = theirs;
        for entry in next {
            parents.push(serde_json::to_value(entry).unwrap_or_default());
        }
        self.set_status(form, route, json!({"parents": parents}))
            .await?;
        if news {
            let event = match programmed.good {
                true => (
                    EventType::Normal,
                    "DeploySucceed",
                    "the service is as the route says".to_owned(),
                ),
                false if programmed.reason == "Pending" => return Ok(()),
                false => (EventType::Warning, "FailedDeployModel", programmed.message),
            };
            self.event(form, route, event).await;
        }
        Ok(())
    }
}

/// The finalizer that a route gets for a controller's name.
fn finalizer_of(kind: RouteKind, controller: &str) -> String {
    match controller {
        OWN_CONTROLLER => format!("{}.lath.dev/resources", kind.kind().to_ascii_lowercase()),
        _ => kind.finalizer().to_owned(),
    }
}

/// Whether a route's owner takes away annotations that others write.
fn replaces_annotations(route: &Route) -> bool {
    let mut owners = route.owner_references().iter();
    owners.any(|owner| {
        let group = owner.api_version.as_str();
        owner.controller == Some(true)
            && ANNOTATION_REPLACERS.iter().any(|it| group.starts_with(it))
    })
}

/// The name and the ARN of a route's service: its annotations have them, or, where its owner takes those away, the message of
/// its condition `Programmed`.
pub(crate) fn service_of(route: &Route) -> (Option<String>, Option<String>) {
    let annotation = |short: &str| route.annotations().get(&key(short)).cloned();
    if !replaces_annotations(route) {
        return (annotation(DOMAIN_NAME), annotation(SERVICE_ARN));
    }
    let parents = route.status.iter().flat_map(|it| &it.parents);
    let entries = parents.filter_map(|it| serde_json::from_value::<ParentStatus>(it.clone()).ok());
    let mut conditions = entries.flat_map(|it| it.conditions);
    let words = conditions.find_map(|it| {
        let placed = it.kind == "Programmed" && it.status == "True";
        let (name, arn) = it
            .message
            .split("; ")
            .next()
            .filter(|_| placed)?
            .split_once(", ")?;
        Some((name.to_owned(), arn.to_owned()))
    });
    words.unzip()
}

fn programmed(result: Option<&Result<Deployed, Fault>>) -> ConditionState {
    match result {
        None => ConditionState::bad("Invalid", "no parent takes the route"),
        Some(Ok(deployed)) => ConditionState::good("Programmed")
            .with_message(deployed.remark.clone().unwrap_or_default()),
        Some(Err(Fault::Waits(message) | Fault::Unanswered(message))) => {
            ConditionState::bad("Pending", message.clone())
        }
        Some(Err(Fault::Conflict(message))) => ConditionState::bad("Conflicted", message.clone()),
        Some(Err(fault)) => ConditionState::bad("Invalid", fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(owner: &str, annotated: bool, message: &str) -> Route {
        let annotations = match annotated {
            true => json!({key(DOMAIN_NAME): "a.on.aws", key(SERVICE_ARN): "arn:a"}),
            false => json!({}),
        };
        let owner = json!({"apiVersion": owner, "kind": "Canary", "name": "web", "uid": "u", "controller": true});
        let condition = json!({"type": "Programmed", "status": "True", "reason": "Programmed", "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "web", "annotations": annotations, "ownerReferences": [owner]}, "spec": {},
            "status": {"parents": [{"parentRef": {"name": "shop"}, "controllerName": OWN_CONTROLLER, "conditions": [condition]}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_route_whose_owner_takes_annotations_away_says_its_service_by_its_condition() {
        let placed = |name: &str, arn: &str| (Some(name.to_owned()), Some(arn.to_owned()));
        let said = "b.on.aws, arn:b; the name was taken";
        let flagger = "flagger.app/v1beta1";
        assert_eq!(
            service_of(&route("apps/v1", true, said)),
            placed("a.on.aws", "arn:a")
        );
        assert_eq!(
            service_of(&route(flagger, false, said)),
            placed("b.on.aws", "arn:b")
        );
        // What others own has its annotations, or nothing: conditions of theirs are no names.
        assert_eq!(service_of(&route("apps/v1", false, said)), (None, None));
        assert_eq!(service_of(&route(flagger, false, "")), (None, None));
    }
}
