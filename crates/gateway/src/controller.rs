//! What is done for each object: its plan is made, VPC Lattice is brought to it, and its status says what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use kube::api::{Api, ApiResource, Patch, PatchParams};
use kube::core::Object;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::attach::controller_of;
use crate::condition::{Verdict, merged};
use crate::desired::{
    MANAGED_BY, ROUTE_NAME, ROUTE_NAMESPACE, SERVICE_NAME, SERVICE_NAMESPACE, SOURCE_TYPE, key,
    service_names, tags,
};
use crate::gateway::{self, Network};
use crate::kinds::{self, ParentStatus, Route, RouteKind};
use crate::lattice::{Deployed, Fault, Lattice};
use crate::plan::{self, Imports, Plan};
use crate::queue::{LONGEST, Queue};
use crate::settings::{AWS_CONTROLLER, OWN_CONTROLLER, Settings};
use crate::world::{Key, Name, World};

/// How long to wait at most between two looks at what Lattice is at.
const WAIT: Duration = Duration::from_secs(5);
/// The annotation that says under which name Lattice has a route's service.
const DOMAIN_NAME: &str = "lattice-assigned-domain-name";
const SERVICE_ARN: &str = "lattice-service-arn";
/// The types of conditions that are this controller's in its entries of routes.
const OF_ROUTES: [&str; 4] = ["Accepted", "ResolvedRefs", "PartiallyInvalid", "Programmed"];

/// Why an object is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undone {
    #[error(transparent)]
    Lattice(#[from] Fault),
    #[error("the API server: {0}")]
    Kubernetes(#[from] kube::Error),
}

impl Undone {
    /// How long the next try may be away, at most.
    fn longest(&self) -> Duration {
        match self {
            Self::Lattice(Fault::Waits(_)) => WAIT,
            // Another has changed the object: its newest state is on its way here.
            Self::Kubernetes(kube::Error::Api(status)) if status.code == 409 => WAIT,
            _ => LONGEST,
        }
    }
}

/// A controller at work.
pub(crate) struct App {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    world: RwLock<World>,
    pub(crate) queue: Queue<Key>,
    pub(crate) lattice: Lattice,
    /// In which version each kind is served, by its plural name.
    served: Mutex<BTreeMap<String, ApiResource>>,
    recorder: Recorder,
}

impl App {
    pub(crate) fn new(client: Client, settings: Settings, lattice: Lattice) -> Self {
        let reporter = Reporter {
            controller: OWN_CONTROLLER.to_owned(),
            instance: None,
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            settings,
            world: RwLock::default(),
            queue: Queue::new(),
            lattice,
            served: Mutex::default(),
        }
    }

    pub(crate) fn world(&self) -> RwLockWriteGuard<'_, World> {
        self.world.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn look(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that a kind is served.
    pub(crate) fn serves(&self, form: &ApiResource) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.insert(form.plural.clone(), form.clone());
    }

    pub(crate) fn form(&self, otherwise: ApiResource) -> ApiResource {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.get(&otherwise.plural).cloned().unwrap_or(otherwise)
    }

    pub(crate) fn api<P, U>(&self, name: &Name, form: &ApiResource) -> Api<Object<P, U>>
    where
        P: Clone + DeserializeOwned + Debug,
        U: Clone + Default + DeserializeOwned + Debug,
    {
        if name.namespace.is_empty() {
            return Api::all_with(self.client.clone(), form);
        }
        Api::namespaced_with(self.client.clone(), &name.namespace, form)
    }

    /// Everything, to be looked at again.
    pub(crate) fn enqueue_all(&self) {
        let world = self.look();
        let routes = world
            .all_routes()
            .map(|(kind, name, _)| Key::Route(kind, name.clone()));
        let policies = world.policies.iter();
        let policies = policies
            .flat_map(|(kind, table)| table.keys().map(|name| Key::Policy(*kind, name.clone())));
        let keys: Vec<_> = routes
            .chain(world.classes.keys().cloned().map(Key::Class))
            .chain(world.gateways.keys().cloned().map(Key::Gateway))
            .chain(world.exports.keys().cloned().map(Key::Export))
            .chain(policies)
            .collect();
        drop(world);
        keys.into_iter().for_each(|key| self.queue.add(key));
    }

    /// Works on what is due, one object after another.
    pub(crate) async fn work(self: Arc<Self>) {
        loop {
            let key = self.queue.next().await;
            let result = match &key {
                Key::Class(name) => self.class(name).await,
                Key::Gateway(name) => self.gateway(name).await,
                Key::Route(kind, name) => self.route(*kind, name).await,
                Key::Export(name) => self.export(name).await,
                Key::Policy(kind, name) => self.policy(*kind, name).await,
            };
            match result {
                Ok(()) => {
                    tracing::debug!(%key, "done");
                    self.queue.done(key, None);
                }
                Err(undone) => {
                    match undone.longest() == WAIT {
                        true => tracing::debug!(%key, %undone, "not done yet"),
                        false => tracing::warn!(%key, %undone, "not done"),
                    }
                    self.queue.done(key, Some(undone.longest()));
                }
            }
        }
    }

    async fn event<P, U>(
        &self,
        form: &ApiResource,
        object: &Object<P, U>,
        what: (EventType, &str, String),
    ) where
        P: Clone,
        U: Clone,
    {
        let (type_, reason, note) = what;
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // An event is a courtesy: the status says the same.
        if let Err(error) = self
            .recorder
            .publish(&event, &object.object_ref(form))
            .await
        {
            tracing::debug!(%error, "an event is lost");
        }
    }

    /// Adds or removes a finalizer.
    pub(crate) async fn finalizer<P, U>(
        &self,
        form: &ApiResource,
        object: &Object<P, U>,
        change: impl FnOnce(&mut Vec<String>),
    ) -> Result<Object<P, U>, kube::Error>
    where
        P: Clone + DeserializeOwned + Debug,
        U: Clone + Default + DeserializeOwned + Debug,
    {
        let mut finalizers = object.finalizers().to_vec();
        change(&mut finalizers);
        let patch = json!({"metadata": {
            "finalizers": finalizers,
            "resourceVersion": object.resource_version(),
        }});
        let name = Name::of(&object.metadata);
        let api = self.api(&name, form);
        match api
            .patch(&name.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            // It went in between.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(object.clone()),
            result => result,
        }
    }

    pub(crate) async fn annotate<P, U>(
        &self,
        form: &ApiResource,
        object: &Object<P, U>,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<(), kube::Error>
    where
        P: Clone + DeserializeOwned + Debug,
        U: Clone + Default + DeserializeOwned + Debug,
    {
        let annotations = object.annotations();
        let mut changes = serde_json::Map::new();
        for (short, value) in wanted {
            let key = key(short);
            if annotations.get(&key).map(String::as_str) != *value {
                changes.insert(key, json!(value));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let patch = json!({"metadata": {"annotations": changes}});
        let name = Name::of(&object.metadata);
        let api: Api<Object<P, U>> = self.api(&name, form);
        api.patch(&name.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(())
    }

    pub(crate) async fn set_status<P, U>(
        &self,
        form: &ApiResource,
        object: &Object<P, U>,
        status: Value,
    ) -> Result<(), kube::Error>
    where
        P: Clone + DeserializeOwned + Debug,
        U: Clone + Default + DeserializeOwned + Debug,
    {
        let name = Name::of(&object.metadata);
        // Lists of a status are whole: the version keeps another controller's entries, should they have come meanwhile.
        let patch = json!({
            "metadata": {"resourceVersion": object.resource_version()},
            "status": status,
        });
        let api: Api<Object<P, U>> = self.api(&name, form);
        api.patch_status(&name.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(())
    }

    async fn class(&self, name: &Name) -> Result<(), Undone> {
        let Some(class) = self.look().classes.get(name).cloned() else {
            return Ok(());
        };
        if !self.settings.answers_to(&class.spec.controller_name) {
            return Ok(());
        }
        let verdict = match &class.spec.parameters_ref {
            None => Verdict::good("Accepted"),
            Some(_) => Verdict::bad("InvalidParameters", "this controller takes no parameters"),
        };
        let known = class.status.clone().unwrap_or_default().conditions;
        let generation = class.metadata.generation.unwrap_or_default();
        let conditions = merged(
            &known,
            vec![verdict.condition("Accepted", generation)],
            &["Accepted"],
        );
        if conditions != known {
            let form = self.form(kinds::gateway_class());
            self.set_status(&form, &*class, json!({"conditions": conditions}))
                .await?;
        }
        Ok(())
    }

    async fn gateway(&self, name: &Name) -> Result<(), Undone> {
        const FINALIZER: &str = "gateway.lath.dev/resources";
        // What AWS's controller left behind, where this one has taken its place.
        const THEIRS: &str = "gateway.k8s.aws/resources";
        let form = self.form(kinds::gateway());
        let (gateway, controller, shared, with_vpc) = {
            let world = self.look();
            let Some(gateway) = world.gateways.get(name).cloned() else {
                return Ok(());
            };
            let controller = controller_of(&world, &self.settings, &gateway);
            let twins = world.gateways.iter();
            let shared = twins
                .filter(|(other, it)| *other != name && it.metadata.deletion_timestamp.is_none())
                .any(|(other, _)| other.name == name.name);
            (gateway, controller, shared, !world.vpc_decided(name))
        };
        let network = self.settings.network_of(&name.name).to_owned();
        let makes = controller.as_deref() == Some(OWN_CONTROLLER);
        let held = gateway.finalizers().iter().any(|it| it == FINALIZER);
        if gateway.metadata.deletion_timestamp.is_some() || controller.is_none() {
            let own = |it: &str| {
                it == FINALIZER || (it == THEIRS && self.settings.answers_to(AWS_CONTROLLER))
            };
            if held {
                let default = self.settings.default_service_network.as_deref() == Some(&network);
                if !shared && !default {
                    self.lattice.delete_network(&network).await?;
                }
            }
            if gateway.finalizers().iter().any(|it| own(it)) && (held || controller.is_some()) {
                self.finalizer(&form, &*gateway, |all| all.retain(|it| !own(it)))
                    .await?;
            }
            return Ok(());
        }
        if makes && !held {
            // The new state comes by the watch, and with it this work again.
            self.finalizer(&form, &*gateway, |all| all.push(FINALIZER.to_owned()))
                .await?;
            return Ok(());
        }
        let found = match makes {
            true => self
                .lattice
                .ensure_network(&network, with_vpc)
                .await
                .map(|it| Some(it.arn)),
            false => self
                .lattice
                .network(&network)
                .await
                .map(|it| it.map(|it| it.arn)),
        };
        let (network, undone) = match found {
            Ok(Some(arn)) => (Network::There(arn), None),
            Ok(None) => {
                let why = format!("there is no service network {network}");
                (Network::Missing(why.clone()), Some(Fault::Waits(why)))
            }
            Err(fault) => (Network::Missing(fault.to_string()), Some(fault)),
        };
        let status = gateway::status(&self.look(), &self.settings, name, &gateway, &network);
        let address = status.addresses.first().map(|it| it.value.clone());
        if gateway.status.as_ref() != Some(&status) {
            let status = serde_json::to_value(&status).unwrap_or_default();
            self.set_status(&form, &*gateway, status).await?;
        }
        self.annotate(&form, &*gateway, &[(DOMAIN_NAME, address.as_deref())])
            .await?;
        undone.map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// The finalizers by which a route is this controller's. That of AWS's controller counts where this one has its place.
    fn finalizers_of(&self, kind: RouteKind) -> Vec<String> {
        let names = self.settings.controller_names.iter();
        names.map(|it| finalizer_of(kind, it)).collect()
    }

    async fn route(&self, kind: RouteKind, name: &Name) -> Result<(), Undone> {
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
        let mut imports = Imports::new();
        let all = wanted.len();
        for (import, query) in wanted {
            if let Some(id) = self.lattice.imported(&query).await? {
                imports.insert(import, id);
            }
        }
        let plan = plan::route(&self.look(), &self.settings, &imports, (kind, name, &route));
        let Some(service) = &plan.service else {
            if held {
                self.withdraw(kind, name).await?;
                let gone = [(DOMAIN_NAME, None), (SERVICE_ARN, None)];
                self.annotate(&form, &*route, &gone).await?;
            }
            let route = match held {
                true => Arc::new(self.api(name, &form).get(&name.name).await?),
                false => Arc::clone(&route),
            };
            self.report(&form, &route, &plan, None).await?;
            if held {
                let route: Route = self.api(name, &form).get(&name.name).await?;
                self.finalizer(&form, &route, |all| all.retain(|it| !own.contains(it)))
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
        let result = self
            .lattice
            .deploy(service, &self.sources(kind, name))
            .await;
        self.report(&form, &route, &plan, Some(&result)).await?;
        let deployed = result?;
        let annotations = [
            (DOMAIN_NAME, Some(deployed.domain_name.as_str())),
            (SERVICE_ARN, Some(deployed.arn.as_str())),
        ];
        self.annotate(&form, &*route, &annotations).await?;
        match deployed.leftovers {
            true => Err(Fault::Waits("groups that are no longer used still go".to_owned()).into()),
            // An import's group is made by another cluster, without a word to this one.
            false if imports.len() < all => Err(Fault::Waits(plan.resolved.message.clone()).into()),
            false => Ok(()),
        }
    }

    /// The tags that all target groups of a route have.
    fn sources(&self, kind: RouteKind, name: &Name) -> crate::desired::Tags {
        tags([
            (MANAGED_BY, &self.settings.managed_by()),
            (SOURCE_TYPE, kind.kind()),
            (ROUTE_NAME, &name.name),
            (ROUTE_NAMESPACE, &name.namespace),
        ])
    }

    async fn withdraw(&self, kind: RouteKind, name: &Name) -> Result<(), Fault> {
        let (first, other) = service_names(name);
        let names: Vec<_> = std::iter::once(first).chain(other).collect();
        let identity = plan::service_tags(&self.settings, kind, name);
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
        let programmed = programmed(result);
        let mut next = Vec::new();
        for parent in &plan.parents {
            let mut new = vec![
                parent.accepted.clone().condition("Accepted", generation),
                plan.resolved.clone().condition("ResolvedRefs", generation),
            ];
            if let Some(what) = plan.left_out.as_ref().filter(|_| parent.accepted.good) {
                let verdict = Verdict::good("UnsupportedValue").saying(what);
                new.push(verdict.condition("PartiallyInvalid", generation));
            }
            let verdict = match parent.accepted.good {
                true => programmed.clone(),
                false => Verdict::bad("Invalid", parent.accepted.message.clone()),
            };
            new.push(verdict.condition("Programmed", generation));
            let before = ours.iter().find(|it| it.parent_ref == parent.reference);
            let before = before.map_or(&[][..], |it| &it.conditions);
            next.push(ParentStatus {
                parent_ref: parent.reference.clone(),
                controller_name: parent.controller.clone(),
                conditions: merged(before, new, &OF_ROUTES),
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

    async fn export(&self, name: &Name) -> Result<(), Undone> {
        const FINALIZER: &str = "serviceexport.k8s.aws/resources";
        let form = self.form(kinds::service_export());
        let (export, groups) = {
            let world = self.look();
            let Some(export) = world.exports.get(name).cloned() else {
                return Ok(());
            };
            let groups = plan::export(&world, &self.settings, name, &export);
            (export, groups.unwrap_or_default())
        };
        let held = export.finalizers().iter().any(|it| it == FINALIZER);
        let goes = export.metadata.deletion_timestamp.is_some();
        if !goes && !held && !groups.is_empty() {
            self.finalizer(&form, &*export, |all| all.push(FINALIZER.to_owned()))
                .await?;
            return Ok(());
        }
        if !held {
            return Ok(());
        }
        let mut keep = BTreeSet::new();
        if !goes {
            for group in &groups {
                keep.insert(self.lattice.ensure_group(group).await?);
            }
        }
        let own = tags([
            (MANAGED_BY, &self.settings.managed_by()),
            (SOURCE_TYPE, "ServiceExport"),
            (SERVICE_NAME, &name.name),
            (SERVICE_NAMESPACE, &name.namespace),
        ]);
        self.lattice.delete_groups(&own, &keep).await?;
        if goes {
            self.finalizer(&form, &*export, |all| all.retain(|it| it != FINALIZER))
                .await?;
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

fn programmed(result: Option<&Result<Deployed, Fault>>) -> Verdict {
    match result {
        None => Verdict::bad("Invalid", "no parent takes the route"),
        Some(Ok(_)) => Verdict::good("Programmed"),
        Some(Err(Fault::Waits(message))) => Verdict::bad("Pending", message.clone()),
        Some(Err(Fault::Conflict(message))) => Verdict::bad("Conflicted", message.clone()),
        Some(Err(fault)) => Verdict::bad("Invalid", fault.to_string()),
    }
}
