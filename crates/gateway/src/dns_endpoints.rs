//! DNSEndpoints: where external-dns has installed the kind, a route with a hostname gets one, so that external-dns makes the hostname
//! lead to the route's service.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, Patch, PatchParams};
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
    /// Lets a route's hostname lead to its service by a DNSEndpoint, where the cluster has such. What is in the way of that is in
    /// the log: the route is served nevertheless.
    pub(crate) async fn dns_endpoint(
        &self,
        form: &ApiResource,
        (name, route): (&Name, &Route),
        hostname: Option<&str>,
        target: &str,
    ) {
        let endpoints = kinds::dns_endpoint();
        let Some(hostname) = hostname.filter(|_| self.is_served(&endpoints)) else {
            return;
        };
        let wanted = (hostname.to_owned(), target.to_owned());
        let at = (form.plural.clone(), name.clone());
        if self.endpoints().get(&at) == Some(&wanted) {
            return;
        }
        match self.apply_endpoint(form, (name, route), &wanted).await {
            Ok(()) => drop(self.endpoints().insert(at, wanted)),
            Err(why) => {
                tracing::warn!(%name, why, "the route's DNSEndpoint is not as it should be")
            }
        }
    }

    async fn apply_endpoint(
        &self,
        form: &ApiResource,
        (name, route): (&Name, &Route),
        (hostname, target): &(String, String),
    ) -> Result<(), String> {
        let endpoints = kinds::dns_endpoint();
        let api: Api<Endpoint> =
            Api::namespaced_with(self.client.clone(), &name.namespace, &endpoints);
        let endpoint = name_of(&name.name);
        let uid = route.metadata.uid.clone().unwrap_or_default();
        let found = api.get_opt(&endpoint).await.map_err(|it| it.to_string())?;
        if let Some(found) = found {
            let mut owners = found.owner_references().iter();
            if !owners.any(|it| it.uid == uid) {
                return Err(format!("DNSEndpoint {endpoint} is not this route's"));
            }
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
