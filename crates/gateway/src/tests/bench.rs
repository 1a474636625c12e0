//! A controller between an API server and a VPC Lattice that are both of tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::fake::{Answer, Request, Server};
use super::lattice::{Shared, State, merge};
use super::settings;
use crate::controller::{App, Undone};
use crate::gates::Pod;
use crate::kinds::{self, PolicyKind, RouteKind};
use crate::lattice::Lattice;
use crate::settings::Settings;
use crate::world::{Key, Name, World};

/// Objects by their plural name, namespace and name.
type Objects = BTreeMap<(String, String, String), Value>;

pub(crate) struct Bench {
    pub(crate) app: App,
    pub(crate) server: Server,
    pub(crate) lattice: Shared,
    objects: Arc<Mutex<Objects>>,
}

fn kubernetes(objects: &mut Objects, request: &Request) -> Answer {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let at = match &path[..] {
        ["apis", "events.k8s.io", ..] => return Answer::ok(request.body.clone()),
        [
            "apis",
            "multicluster.x-k8s.io",
            _,
            "namespaces",
            namespace,
            plural,
            name,
            ..,
        ] => {
            let plural = if *plural == "serviceexports" {
                "mcs-exports"
            } else {
                "mcs-imports"
            };
            (plural, *namespace, *name)
        }
        ["apis", _, _, "namespaces", namespace, plural, name, ..] => (*plural, *namespace, *name),
        ["api", "v1", "namespaces", namespace, plural, name, ..] => (*plural, *namespace, *name),
        ["apis", _, _, plural, name, ..] => (*plural, "", *name),
        _ => panic!("{}", request.line()),
    };
    let at = (at.0.to_owned(), at.1.to_owned(), at.2.to_owned());
    if request.method == "DELETE" {
        return objects
            .remove(&at)
            .map_or_else(Answer::not_found, Answer::ok);
    }
    if request.query.contains_key("fieldManager") && !objects.contains_key(&at) {
        let mut made = request.body.clone();
        made["metadata"]["uid"] = json!(at.2);
        made["metadata"]["generation"] = json!(1);
        objects.insert(at.clone(), made);
    }
    let Some(object) = objects.get_mut(&at) else {
        return Answer::not_found();
    };
    if request.method == "PATCH" {
        let version = &request.body["metadata"]["resourceVersion"];
        if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
            return Answer::refused(409, "Conflict");
        }
        if object["forbidden"] == true {
            return Answer::refused(403, "Forbidden");
        }
        let mut patch = request.body.clone();
        if at.0 == "pods" {
            add_conditions(object, &mut patch);
        }
        if at.0 == "services" {
            set_conditions(object, &mut patch);
        }
        merge(object, &patch);
        touch(object);
        let goes = !object["metadata"]["deletionTimestamp"].is_null();
        let held = object["metadata"]["finalizers"].as_array();
        if goes && held.is_none_or(Vec::is_empty) {
            return Answer::ok(objects.remove(&at).unwrap());
        }
    }
    Answer::ok(object.clone())
}

/// Makes of a strategic patch of a pod's conditions one that has all of them.
fn add_conditions(object: &Value, patch: &mut Value) {
    assert_eq!(patch["metadata"]["uid"], object["metadata"]["uid"]);
    let mut all = object["status"]["conditions"].as_array().unwrap().clone();
    for new in patch["status"]["conditions"].as_array().unwrap() {
        match all.iter_mut().find(|it| it["type"] == new["type"]) {
            Some(old) => merge(old, new),
            None => all.push(new.clone()),
        }
    }
    patch["status"]["conditions"] = json!(all);
}

/// The same of another object's, of which some may go.
fn set_conditions(object: &Value, patch: &mut Value) {
    let Some(new) = patch["status"]["conditions"].as_array().cloned() else {
        return;
    };
    let known = object["status"]["conditions"].as_array();
    let mut all = known.cloned().unwrap_or_default();
    for condition in new {
        all.retain(|it| it["type"] != condition["type"]);
        if condition["$patch"] != "delete" {
            all.push(condition);
        }
    }
    patch["status"]["conditions"] = json!(all);
}

/// Gives an object its next version.
fn touch(object: &mut Value) {
    let version = &object["metadata"]["resourceVersion"];
    let version: u64 = version.as_str().map_or(0, |it| it.parse().unwrap());
    object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
}

impl Bench {
    /// The classes, Gateways, Services and slices are those of the world; routes and policies are put in.
    pub(crate) async fn new(world: World, settings: Settings) -> Self {
        Self::beside(world, settings, Shared::default()).await
    }

    /// The same with a VPC Lattice that others use too.
    pub(crate) async fn beside(world: World, settings: Settings, lattice: Shared) -> Self {
        let objects = Arc::new(Mutex::new(Objects::new()));
        let (stored, there) = (Arc::clone(&objects), Arc::clone(&lattice));
        let server = Server::begin(move |request| match request.path[0].as_str() {
            "api" | "apis" => kubernetes(&mut stored.lock().unwrap(), &request),
            _ => there.lock().unwrap().answer(&request),
        })
        .await;
        let client = Lattice::for_tests(&server.url(), &settings);
        let app = App::new(server.kubernetes(), settings, client);
        *app.world() = world;
        let read = [
            kinds::gateway().plural,
            kinds::gateway_class().plural,
            kinds::listener_set().plural,
        ];
        app.world().read.extend(read);
        Self {
            app,
            server,
            lattice,
            objects,
        }
    }

    /// With Gateway `gw` and a network of its name that somebody else has made.
    pub(crate) async fn usual() -> Self {
        let bench = Self::new(super::world(super::http()), settings()).await;
        bench.network("gw");
        bench
    }

    pub(crate) fn network(&self, name: &str) -> String {
        let body = json!({"name": name});
        let mut lattice = self.there();
        lattice.make(
            "servicenetworks",
            super::lattice::ACCOUNT,
            body,
            &BTreeMap::new(),
        )
    }

    pub(crate) fn there(&self) -> std::sync::MutexGuard<'_, State> {
        self.lattice.lock().unwrap()
    }

    /// Puts an object of `default`, or `NAMESPACE/NAME`, in, or changes its specification. The later one is the younger.
    pub(crate) fn put(&self, plural: &str, name: &str, spec: &Value) {
        let mut objects = self.objects.lock().unwrap();
        let count = objects.len();
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        let at = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let object = objects.entry(at).or_insert_with(|| {
            let created = format!("2026-01-01T00:00:{count:02}Z");
            json!({"metadata": {"name": name, "namespace": (!namespace.is_empty()).then_some(namespace), "uid": name, "generation": 0, "creationTimestamp": created}})
        });
        object["spec"] = spec.clone();
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        object["metadata"]["generation"] = json!(generation + 1);
        touch(object);
        drop(objects);
        self.sync();
    }

    /// Changes anything of an object.
    pub(crate) fn patch(&self, plural: &str, name: &str, patch: &Value) {
        self.unseen(plural, name, patch);
        self.sync();
    }

    /// The same, before a watch brings it.
    pub(crate) fn unseen(&self, plural: &str, name: &str, patch: &Value) {
        let mut objects = self.objects.lock().unwrap();
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        let at = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let object = objects.get_mut(&at).unwrap();
        merge(object, patch);
        touch(object);
    }

    /// Lets an object be deleted, as far as its finalizers allow that.
    pub(crate) fn delete(&self, plural: &str, name: &str) {
        let patch = json!({"metadata": {"deletionTimestamp": "2026-02-01T00:00:00Z"}});
        self.patch(plural, name, &patch);
    }

    /// Lets no patch of an object be carried out.
    pub(crate) fn forbid(&self, plural: &str, name: &str) {
        self.patch(plural, name, &json!({"forbidden": true}));
    }

    pub(crate) fn object(&self, plural: &str, name: &str) -> Option<Value> {
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        let at = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.lock().unwrap().get(&at).cloned()
    }

    /// What watches would do.
    fn sync(&self) {
        let objects = self.objects.lock().unwrap();
        let mut world = self.app.world();
        let stored = |plural: &str| {
            let of_kind = objects.iter().filter(|(at, _)| at.0 == plural);
            of_kind
                .map(|(at, object)| (Name::new(&at.1, &at.2), object.clone()))
                .collect::<Vec<_>>()
        };
        for kind in RouteKind::ALL {
            let all = stored(kind.plural()).into_iter();
            let all = all.map(|(at, it)| (at, Arc::new(serde_json::from_value(it).unwrap())));
            world.routes.insert(kind, all.collect());
        }
        for kind in PolicyKind::ALL {
            let all = stored(&kind.resource().plural).into_iter();
            let all = all.map(|(at, it)| (at, Arc::new(serde_json::from_value(it).unwrap())));
            world.policies.insert(kind, all.collect());
        }
        for (at, it) in stored("pods") {
            let pod = Pod::of(serde_json::from_value(it).unwrap());
            match pod {
                Some(pod) => drop(world.pods.insert(at, Arc::new(pod))),
                None => drop(world.pods.remove(&at)),
            }
        }
        let all = stored("targetgrouppolicies").into_iter();
        let all = all.map(|(at, it)| (at, Arc::new(serde_json::from_value(it).unwrap())));
        world.group_policies.extend(all);
        let all = stored("backendtlspolicies").into_iter();
        let all = all.map(|(at, it)| (at, Arc::new(serde_json::from_value(it).unwrap())));
        world.tls_policies = all.collect();
        for (at, it) in stored("services") {
            let service: k8s_openapi::api::core::v1::Service = serde_json::from_value(it).unwrap();
            world.services.insert(at, Arc::new(service.into()));
        }
        let all = stored("servicenetworks").into_iter();
        let all = all.map(|(at, it)| (at, Arc::new(serde_json::from_value(it).unwrap())));
        world.networks = all.collect();
        let all = stored("serviceimports").into_iter();
        let all = all.map(|(at, it)| (at, Arc::new(serde_json::from_value(it).unwrap())));
        world.imports.extend(all);
        let all = stored("mcs-exports").into_iter();
        let all = all.map(|(at, it)| (at, Arc::new(serde_json::from_value(it).unwrap())));
        world.mcs_exports = all.collect();
        let all = stored("mcs-imports").into_iter();
        let all = all.map(|(at, it)| (at, Arc::new(serde_json::from_value(it).unwrap())));
        world.mcs_imports = all.collect();
        for (at, it) in stored("listenersets") {
            let set = Arc::new(serde_json::from_value(it).unwrap());
            world.listener_sets.insert(at, set);
        }
        for (at, it) in stored("gateways") {
            world
                .gateways
                .insert(at, Arc::new(serde_json::from_value(it).unwrap()));
        }
    }

    pub(crate) async fn once(&self, key: &Key) -> Result<(), Undone> {
        self.sync();
        let result = match key {
            Key::Gateway(name) => self.app.gateway(name).await,
            Key::Route(kind, name) => self.app.route(*kind, name).await,
            Key::Policy(kind, name) => self.app.policy(*kind, name).await,
            Key::Export(name) => self.app.export(name).await,
            Key::Gates(name) => self.app.gates(name).await,
            Key::Exposed(name) => self.app.exposed(name).await,
            Key::Network(name) => self.app.service_network(name).await,
            Key::Import(name) => self.app.import(name).await,
            Key::Mcs(name) => self.app.mcs_import(name).await,
            Key::GroupPolicy(name) => self.app.group_policy(name).await,
            Key::BackendTls(name) => self.app.backend_tls(name).await,
            Key::Class(_) | Key::Certificates => panic!("{key}"),
        };
        self.sync();
        result
    }

    /// Works on these objects until nothing more comes of it; gives the last result of each.
    pub(crate) async fn settle(&self, keys: &[Key]) -> Vec<Result<(), Undone>> {
        let mut results = Vec::new();
        for _ in 0..6 {
            results.clear();
            for key in keys {
                results.push(self.once(key).await);
            }
        }
        results
    }

    /// A condition of an object, or of a route's or policy's first entry, with its message.
    pub(crate) fn said(&self, plural: &str, name: &str, kind: &str) -> (String, String) {
        let object = self.object(plural, name).unwrap();
        let status = &object["status"];
        let entry = status["parents"][0]["conditions"].as_array();
        let entry = entry.or_else(|| status["ancestors"][0]["conditions"].as_array());
        let of_object = || object["status"]["conditions"].as_array();
        let conditions = entry.or_else(of_object).unwrap();
        let found = conditions.iter().find(|it| it["type"] == kind).unwrap();
        let word = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        (word("reason"), word("message"))
    }
}

pub(crate) fn route(name: &str) -> Key {
    Key::Route(RouteKind::Http, Name::new("default", name))
}

pub(crate) fn policy(name: &str) -> Key {
    Key::Policy(PolicyKind::Auth, Name::new("default", name))
}
