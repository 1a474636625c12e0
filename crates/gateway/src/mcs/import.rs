//! ServiceImports: each namespace that the cluster has gets one for each name that some cluster exports there.

use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::{Exported, clusters, ports};
use crate::condition::{ConditionState, merged};
use crate::controller::{App, Undone};
use crate::kinds::{self, McsImport};
use crate::lattice::Fault;
use crate::settings::OWN_CONTROLLER;
use crate::world::{Name, World};

/// The label of imports that this controller has made.
const MANAGED: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "lath-gateway-controller";

/// What an import says of what is exported, the oldest first.
pub(super) fn spec(exported: &[&Exported]) -> Value {
    let ports: Vec<_> = ports(exported)
        .values()
        .map(|it| {
            let mut port = json!({"port": it.port, "protocol": "TCP"});
            if !it.port_name.is_empty() {
                port["name"] = json!(it.port_name);
            }
            if !it.app_protocol.is_empty() {
                port["appProtocol"] = json!(it.app_protocol);
            }
            port
        })
        .collect();
    let oldest = exported.first();
    let kind = if oldest.is_some_and(|it| it.headless) {
        "Headless"
    } else {
        "ClusterSetIP"
    };
    let affinity = oldest.map_or("None", |it| it.affinity.as_str());
    json!({"type": kind, "ports": ports, "sessionAffinity": affinity})
}

impl World {
    /// Whether a namespace is there and stays.
    fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(&Name::new("", name))
    }
}

/// Whether all of what is wanted is there: the API server adds what it likes.
fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, value)| there.get(name).is_some_and(|it| holds(it, value))),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(a, b)| holds(a, b))
        }
        _ => there == wanted,
    }
}

impl App {
    /// Brings the import of a name to what clusters export.
    pub(crate) async fn mcs_import(&self, name: &Name) -> Result<(), Undone> {
        if self.settings.cluster_set.is_none() {
            return Ok(());
        }
        let form = self.form(kinds::mcs_import());
        if !self.is_served(&form) {
            return Ok(());
        }
        let (import, wanted, status, silent) = {
            let world = self.look();
            let exported = world.exported(name);
            let wanted = (!exported.is_empty() && world.has_namespace(&name.namespace))
                .then(|| spec(&exported));
            let silent = world.silent_region(&self.settings).map(str::to_owned);
            let clusters: Vec<_> = clusters(&exported)
                .into_iter()
                .map(|it| json!({"cluster": it}))
                .collect();
            (
                world.mcs_imports.get(name).cloned(),
                wanted,
                clusters,
                silent,
            )
        };
        let own = import
            .as_ref()
            .is_none_or(|it| it.labels().get(MANAGED).map(String::as_str) == Some(MANAGER));
        if !own {
            tracing::debug!(%name, "a ServiceImport that another has made stays as it is");
            return Ok(());
        }
        let Some(wanted) = wanted else {
            let Some(import) = import else {
                return Ok(());
            };
            if let Some(region) = silent {
                let why = format!("region {region} has not said yet what it exports");
                return Err(Fault::Waits(why).into());
            }
            return self.remove_import(name, &import).await;
        };
        let api: Api<McsImport> = self.api(name, &form);
        let same = import.as_ref().filter(|it| holds(&json!(it.spec), &wanted));
        let import = match same {
            Some(import) => (**import).clone(),
            None => {
                let object = json!({
                    "apiVersion": form.api_version, "kind": form.kind,
                    "metadata": {"name": name.name, "namespace": name.namespace, "labels": {MANAGED: MANAGER}},
                    "spec": wanted,
                });
                let params = PatchParams::apply(OWN_CONTROLLER).force();
                match api.patch(&name.name, &params, &Patch::Apply(&object)).await {
                    Ok(import) => import,
                    // The namespace goes, and with it all that is in it.
                    Err(kube::Error::Api(status))
                        if [403, 404].contains(&status.code)
                            && status.message.contains("terminat") =>
                    {
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let known = import.status.clone().unwrap_or_default();
        let generation = import.metadata.generation.unwrap_or_default();
        let verdict = ConditionState::good("Ready").with_message(
            "routes may forward to it by a backendRef; it has no ClusterSetIP, and no name in the cluster's DNS",
        );
        let new = vec![verdict.condition("Ready", generation)];
        let next = merged(&self.settings.now(), &known.conditions, new, &["Ready"]);
        if next != known.conditions || known.clusters != status {
            let status = json!({"clusters": status, "conditions": next});
            self.set_status(&form, &import, status).await?;
        }
        Ok(())
    }

    async fn remove_import(&self, name: &Name, import: &McsImport) -> Result<(), Undone> {
        if import.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let form = self.form(kinds::mcs_import());
        let api: Api<McsImport> = self.api(name, &form);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: import.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(&name.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
