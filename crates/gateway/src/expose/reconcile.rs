//! VPC Lattice and Route 53 are brought to what Services ask for, and their conditions say what came of it.

use k8s_openapi::api::core::v1 as core;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::{CONDITION, FINALIZER, HOSTNAME, Names, identity, plan, service_names, sources};
use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::desired::{Tags, key};
use crate::guards::Target;
use crate::kinds::Condition;
use crate::lattice::Fault;
use crate::routes::{DOMAIN_NAME, SERVICE_ARN};
use crate::world::Name;

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
                let verdict = ConditionState::bad("Invalid", why);
                return self
                    .write_service_condition(&api, &live, Some(verdict))
                    .await;
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
            Ok(deployed) => ConditionState::good("Programmed")
                .with_message(deployed.remark.clone().unwrap_or_default()),
            Err(Fault::Waits(message) | Fault::Unanswered(message)) => {
                ConditionState::bad("Pending", message.clone())
            }
            Err(Fault::Conflict(message)) => ConditionState::bad("Conflicted", message.clone()),
            Err(fault) => ConditionState::bad("Invalid", fault.to_string()),
        };
        self.write_service_condition(&api, &live, Some(verdict))
            .await?;
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
        self.write_service_condition(api, live, None).await?;
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
        merge(api, &live, &patch).await
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
        merge(api, live, &patch).await
    }

    /// Says what came of it by a condition, or takes that away.
    async fn write_service_condition(
        &self,
        api: &Api<core::Service>,
        live: &core::Service,
        verdict: Option<ConditionState>,
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
        let next = merged(&self.settings.now(), &known, new, &[CONDITION]);
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

async fn merge(
    api: &Api<core::Service>,
    live: &core::Service,
    patch: &Value,
) -> Result<(), Undone> {
    let (name, usual) = (live.name_any(), PatchParams::default());
    patched(api.patch(&name, &usual, &Patch::Merge(patch)).await)
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
