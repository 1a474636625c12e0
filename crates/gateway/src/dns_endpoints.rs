//! DNSEndpoints: where external-dns has installed the kind, a route with a hostname gets one, so that external-dns makes the hostname
//! lead to the route's service.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DeleteParams, Patch, PatchParams};
use kube::core::Object;
use serde_json::{Value, json};

use crate::controller::App;
use crate::kinds::{self, Route};
use crate::settings::OWN_CONTROLLER;
use crate::world::{Key, Name};

/// How long a record may be believed: what AWS's controller asks for.
const TTL: u32 = 300;
/// How often it is asked whether the kind is there by now.
const LOOK: Duration = Duration::from_secs(30);

type Endpoint = Object<Value, Value>;

/// The name of a route's DNSEndpoint, which is that of AWS's controller.
fn name_of(route: &str) -> String {
    format!("{route}-dns")
}

/// Looks, for as long as the process lives, whether the kind is there.
pub(crate) async fn look_for(app: std::sync::Arc<App>) {
    let form = kinds::dns_endpoint();
    loop {
        let resources = app.client.list_api_group_resources(&form.api_version).await;
        let there = match resources {
            Ok(list) => list.resources.iter().any(|it| it.name == form.plural),
            Err(_) => false,
        };
        if there && !app.is_served(&form) {
            app.serves(&form);
            let world = app.look();
            let routes = world.all_routes();
            let keys: Vec<_> = routes
                .map(|(kind, name, _)| Key::Route(kind, name.clone()))
                .collect();
            drop(world);
            keys.into_iter().for_each(|key| app.queue.add(key));
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl App {
    /// Lets a route's hostname lead to its service by a DNSEndpoint, where the cluster has such; without a hostname it has none. What is
    /// in the way of that is in the log: the route is served nevertheless.
    pub(crate) async fn dns_endpoint(
        &self,
        form: &ApiResource,
        (name, route): (&Name, &Route),
        hostname: Option<&str>,
        target: &str,
    ) {
        if !self.is_served(&kinds::dns_endpoint()) {
            return;
        }
        let uid = route.metadata.uid.clone().unwrap_or_default();
        let wanted = hostname.map(|it| (it.to_owned(), target.to_owned()));
        let wanted = (uid, wanted);
        let at = (form.plural.clone(), name.clone());
        if self.endpoints().get(&at) == Some(&wanted) {
            return;
        }
        let result = match &wanted {
            (uid, Some(endpoint)) => self.apply_endpoint(form, (name, uid), endpoint).await,
            (uid, None) => self.remove_endpoint(name, uid).await,
        };
        match result {
            Ok(()) => drop(self.endpoints().insert(at, wanted)),
            Err(why) => {
                tracing::warn!(%name, error = why, "the route's DNSEndpoint is not as it should be")
            }
        }
    }

    /// The API of DNSEndpoints, and whether a route has one there.
    async fn endpoint_of(
        &self,
        name: &Name,
        uid: &str,
    ) -> Result<(Api<Endpoint>, Option<bool>), String> {
        let endpoints = kinds::dns_endpoint();
        let api: Api<Endpoint> =
            Api::namespaced_with(self.client.clone(), &name.namespace, &endpoints);
        let found = api.get_opt(&name_of(&name.name)).await;
        let found = found.map_err(|it| it.to_string())?;
        let own = found.map(|it| it.owner_references().iter().any(|it| it.uid == uid));
        Ok((api, own))
    }

    async fn remove_endpoint(&self, name: &Name, uid: &str) -> Result<(), String> {
        let (api, own) = self.endpoint_of(name, uid).await?;
        if own != Some(true) {
            return Ok(());
        }
        let (endpoint, params) = (name_of(&name.name), DeleteParams::default());
        match api.delete(&endpoint, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn apply_endpoint(
        &self,
        form: &ApiResource,
        (name, uid): (&Name, &str),
        (hostname, target): &(String, String),
    ) -> Result<(), String> {
        let endpoints = kinds::dns_endpoint();
        let endpoint = name_of(&name.name);
        let (api, own) = self.endpoint_of(name, uid).await?;
        if own == Some(false) {
            return Err(format!("DNSEndpoint {endpoint} is not this route's"));
        }
        let owner = json!({"apiVersion": form.api_version, "kind": form.kind, "name": name.name, "uid": uid,
                           "controller": true, "blockOwnerDeletion": false});
        let object = json!({
            "apiVersion": endpoints.api_version, "kind": endpoints.kind,
            "metadata": {"name": endpoint, "namespace": name.namespace, "ownerReferences": [owner]},
            "spec": {"endpoints": [{"dnsName": hostname, "targets": [target], "recordType": "CNAME", "recordTTL": TTL}]},
        });
        let params = PatchParams::apply(OWN_CONTROLLER).force();
        let applied = api.patch(&endpoint, &params, &Patch::Apply(&object)).await;
        applied.map(drop).map_err(|error| error.to_string())
    }
}
