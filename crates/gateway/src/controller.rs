//! What is done for each object: its plan is made, VPC Lattice is brought to it, and its status says what came of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use kube::api::{Api, ApiResource, Patch, PatchParams};
use kube::core::Object;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::attach;
use crate::condition::{ConditionState, merged};
use crate::desired::key;
use crate::entrance::Entered;
use crate::expose::Records;
use crate::features;
use crate::guards::{self, Guard, Target};
use crate::kinds;
use crate::lattice::{Fault, Lattice};
use crate::metrics::Metrics;
use crate::queue::{LONGEST, Queue};
use crate::settings::{OWN_CONTROLLER, Settings};
use crate::world::{Key, Name, World};

/// How long to wait at most between two looks at what Lattice is at.
const WAIT: Duration = Duration::from_secs(5);

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
    pub(crate) metrics: Arc<Metrics>,
    /// What is in Lattice for Gateways with an address.
    pub(crate) entered: Mutex<BTreeMap<Name, Entered>>,
    /// In which version each kind is served, by its plural name.
    served: Mutex<BTreeMap<String, ApiResource>>,
    recorder: Recorder,
    endpoints: Mutex<Endpoints>,
    /// Names of Services in Route 53, where the controller may write any.
    pub(crate) records: OnceLock<Records>,
}

/// The hostnames and targets of routes' DNSEndpoints, as they were applied last, or that there is none, beside the routes' uids; by the
/// routes' plural kind and name.
type Endpoints = BTreeMap<(String, Name), (String, Option<(String, String)>)>;

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
            metrics: lattice.metrics(),
            lattice,
            entered: Mutex::default(),
            served: Mutex::default(),
            endpoints: Mutex::default(),
            records: OnceLock::new(),
        }
    }

    pub(crate) fn world(&self) -> RwLockWriteGuard<'_, World> {
        self.world.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn look(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to guard a target now, if anything is.
    pub(crate) fn guard(&self, of: &Target) -> Option<Guard> {
        guards::guard(&self.look(), &self.settings, of)
    }

    /// What is to guard a target when the policy that guarded it ends.
    pub(crate) fn successor(&self, of: &Target) -> Option<Guard> {
        guards::successor(&self.look(), &self.settings, of)
    }

    /// Remembers that a kind is served.
    pub(crate) fn serves(&self, form: &ApiResource) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.insert(kinds::known_as(form), form.clone());
    }

    /// Whether a kind is served.
    pub(crate) fn is_served(&self, form: &ApiResource) -> bool {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.contains_key(&kinds::known_as(form))
    }

    /// What is remembered of DNSEndpoints.
    pub(crate) fn endpoints(&self) -> std::sync::MutexGuard<'_, Endpoints> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn form(&self, otherwise: ApiResource) -> ApiResource {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served
            .get(&kinds::known_as(&otherwise))
            .cloned()
            .unwrap_or(otherwise)
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
        self.endpoints().clear();
        let world = self.look();
        let routes = world
            .all_routes()
            .map(|(kind, name, _)| Key::Route(kind, name.clone()));
        let policies = world.policies.iter();
        let policies = policies
            .flat_map(|(kind, table)| table.keys().map(|name| Key::Policy(*kind, name.clone())));
        let keys: Vec<_> = routes
            .chain(world.gated_services().into_iter().map(Key::Gates))
            .chain(world.classes.keys().cloned().map(Key::Class))
            .chain(world.gateways.keys().cloned().map(Key::Gateway))
            .chain(world.group_policies.keys().cloned().map(Key::GroupPolicy))
            .chain(world.tls_policies.keys().cloned().map(Key::BackendTls))
            .chain(world.exports.keys().cloned().map(Key::Export))
            .chain(world.mcs_exports.keys().cloned().map(Key::Export))
            .chain(world.mcs_imports.keys().cloned().map(Key::Mcs))
            .chain(world.services.keys().cloned().map(Key::Exposed))
            .chain(world.networks.keys().cloned().map(Key::Network))
            .chain(policies)
            .chain(self.settings.has_addresses().then_some(Key::Certificates))
            .collect();
        drop(world);
        keys.into_iter().for_each(|key| self.queue.add(key));
    }

    /// Works on what is due, one object after another.
    pub(crate) async fn work(self: Arc<Self>) {
        loop {
            let (key, due) = self.queue.next().await;
            self.note(&key, due);
            let begun = tokio::time::Instant::now();
            let result = match &key {
                Key::Class(name) => self.class(name).await,
                Key::Gateway(name) => self.gateway(name).await,
                Key::Route(kind, name) => self.route(*kind, name).await,
                Key::Export(name) => self.export(name).await,
                Key::Policy(kind, name) => self.policy(*kind, name).await,
                Key::Exposed(name) => self.exposed(name).await,
                Key::Network(name) => self.service_network(name).await,
                Key::Import(name) => self.import(name).await,
                Key::Mcs(name) => self.mcs_import(name).await,
                Key::Gates(name) => self.gates(name).await,
                Key::GroupPolicy(name) => self.group_policy(name).await,
                Key::BackendTls(name) => self.backend_tls(name).await,
                Key::Certificates => self.certificates().await,
            };
            match result {
                Ok(()) => {
                    tracing::debug!(%key, "done");
                    self.metrics.worked(key.kind(), "done", begun.elapsed());
                    self.queue.done(key, None);
                }
                Err(undone) => {
                    let waits = undone.longest() == WAIT;
                    match waits {
                        true => tracing::debug!(%key, error = %undone, "not done yet"),
                        false => tracing::warn!(%key, error = %undone, "not done"),
                    }
                    let result = if waits { "waits" } else { "failed" };
                    self.metrics.worked(key.kind(), result, begun.elapsed());
                    self.queue.done(key, Some(undone.longest()));
                }
            }
        }
    }

    /// Notes since when a route's newest generation is to be in Lattice.
    pub(crate) fn note(&self, key: &Key, due: tokio::time::Instant) {
        let Key::Route(kind, name) = key else {
            return;
        };
        let route = {
            let world = self.look();
            let route = world.route(*kind, name).cloned();
            // Those of other controllers are looked at too, and none of this one's business.
            route.filter(|it| attach::is_own(&world, &self.settings, name, it))
        };
        match route.filter(|it| it.metadata.deletion_timestamp.is_none()) {
            None => self.metrics.forget(key),
            Some(route) => {
                let generation = route.metadata.generation.unwrap_or_default();
                if !attach::is_programmed(&self.settings, &route) {
                    self.metrics.applied(key, generation, due);
                }
            }
        }
    }

    pub(crate) async fn event<P, U>(
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
            None => ConditionState::good("Accepted"),
            Some(_) => {
                ConditionState::bad("InvalidParameters", "this controller takes no parameters")
            }
        };
        let status = class.status.clone().unwrap_or_default();
        let known = status.conditions;
        let extended = self.settings.has_entrances(&class.spec.controller_name);
        let features = if extended {
            features::supported()
        } else {
            Vec::new()
        };
        let generation = class.metadata.generation.unwrap_or_default();
        let conditions = merged(
            &self.settings.now(),
            &known,
            vec![verdict.condition("Accepted", generation)],
            &["Accepted"],
        );
        if conditions != known || features != status.supported_features {
            let form = self.form(kinds::gateway_class());
            let status = json!({"conditions": conditions, "supportedFeatures": features});
            self.set_status(&form, &*class, status).await?;
        }
        Ok(())
    }
}
