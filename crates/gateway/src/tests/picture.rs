//! What the controller makes of a picture of the cluster that is not whole.

use std::sync::Arc;

use kube::core::DeserializeGuard;
use serde_json::json;

use super::bench::{Bench, route};
use super::fake::{Answer, Server};
use super::{backend, http, settings, world};
use crate::attach::uncertain;
use crate::controller::{App, Undone};
use crate::kinds::{Route, RouteKind, ServiceExport};
use crate::lattice::Lattice;
use crate::settings::OWN_CONTROLLER;
use crate::watch::readable;
use crate::world::{BackendKind, Key, Name};

fn web() -> serde_json::Value {
    json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 1)]}]})
}

#[tokio::test]
async fn a_route_keeps_its_service_while_nobody_knows_whose_its_gateway_is() {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    bench.settle(&[route("web")]).await;
    assert_eq!(bench.there().ids("services").len(), 1);
    let whole = |bench: &Bench| bench.there().ids("services").len() == 1;
    // The kind is not served, after a start in the middle of an upgrade.
    let gateways = std::mem::take(&mut bench.app.world().gateways);
    bench.app.world().read.remove("gateways");
    bench.settle(&[route("web")]).await;
    assert!(whole(&bench));
    bench.app.world().gateways = gateways;
    bench.app.world().read.insert("gateways".into());
    // The class is gone for a moment.
    let classes = std::mem::take(&mut bench.app.world().classes);
    bench.settle(&[route("web")]).await;
    assert!(whole(&bench));
    bench.app.world().classes = classes;
    // The Gateway goes: that is said, not supposed.
    bench.app.world().gateways.clear();
    bench.settle(&[route("web")]).await;
    assert!(!whole(&bench));
    let left = bench.object("httproutes", "web").unwrap();
    assert_eq!(left["metadata"]["finalizers"], json!([]));
    assert_eq!(left["status"]["parents"], json!([]));
}

#[test]
fn a_gateway_of_others_without_a_class_holds_nothing_up() {
    let mut world = world(http());
    world
        .read
        .extend(["gateways".into(), "gatewayclasses".into()]);
    let name = Name::new("default", "web");
    let mut object = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"parentRefs": [{"name": "gw"}]}});
    let read =
        |object: &serde_json::Value| serde_json::from_value::<Route>(object.clone()).unwrap();
    world.classes.clear();
    assert_eq!(uncertain(&world, &settings(), &name, &read(&object)), None);
    let controller = settings().controller_names.remove(0);
    object["status"] =
        json!({"parents": [{"parentRef": {"name": "gw"}, "controllerName": controller}]});
    assert!(uncertain(&world, &settings(), &name, &read(&object)).is_some());
    // Nor is a Gateway gone because it cannot be read.
    world.gateways.clear();
    assert_eq!(uncertain(&world, &settings(), &name, &read(&object)), None);
    let gateway = ("gateways".to_owned(), Name::new("default", "gw"));
    world.unreadable.insert(gateway);
    assert!(uncertain(&world, &settings(), &name, &read(&object)).is_some());
}

#[tokio::test]
async fn a_gateway_keeps_its_network_while_its_class_is_gone() {
    let mut world = world(http());
    let own = super::object("own", &json!({"controllerName": OWN_CONTROLLER}));
    world.classes.insert(Name::new("", "own"), own);
    let mut settings = settings();
    settings.controller_names.push(OWN_CONTROLLER.into());
    let bench = Bench::new(world, settings).await;
    bench.put(
        "gateways",
        "shop",
        &json!({"gatewayClassName": "own", "listeners": http()}),
    );
    let key = [Key::Gateway(Name::new("default", "shop"))];
    bench.settle(&key).await;
    bench.app.world().classes.clear();
    bench.settle(&key).await;
    assert_eq!(bench.there().ids("servicenetworks").len(), 1);
    // It can be deleted without one.
    bench.delete("gateways", "shop");
    bench.settle(&key).await;
    assert!(bench.object("gateways", "shop").is_none());
    assert!(bench.there().ids("servicenetworks").is_empty());
}

#[test]
fn an_object_that_cannot_be_read_is_skipped_by_its_name() {
    let meta = json!({"name": "web", "namespace": "default", "managedFields": [], "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{}", "other": "1"}});
    let read = |spec| {
        let object = json!({"metadata": meta, "spec": spec});
        readable(serde_json::from_value::<DeserializeGuard<Route>>(object).unwrap())
    };
    let (name, object) = read(json!({"parentRefs": "none"}));
    assert_eq!(
        (name, object.is_none()),
        (Name::new("default", "web"), true)
    );
    let (_, object) = read(web());
    let meta = object.unwrap().metadata;
    assert!(meta.managed_fields.is_none());
    assert_eq!(
        meta.annotations.unwrap().into_keys().collect::<Vec<_>>(),
        ["other"]
    );
}

#[test]
fn a_change_of_a_service_is_work_for_the_exports_that_name_it() {
    let mut world = world(http());
    let mut export: ServiceExport =
        (*super::object::<ServiceExport>("default/far", &json!({}))).clone();
    let annotation = |name: &str| format!("application-networking.k8s.aws/{name}");
    export.metadata.annotations = Some(
        [
            (annotation("service-name"), "one".to_owned()),
            (annotation("federation"), "amazon-vpc-lattice".to_owned()),
        ]
        .into(),
    );
    let policy = json!({"targetRef": {"kind": "Service", "name": "one"}, "protocol": "HTTPS"});
    world.group_policies.insert(
        Name::new("default", "p"),
        super::object("default/p", &policy),
    );
    let name = Name::new("default", "far");
    let groups = crate::plan::export(&world, &settings(), &name, &export).unwrap();
    assert_eq!(
        (groups[0].protocol.as_str(), groups[0].targets.len()),
        ("HTTPS", 2)
    );
    world.exports.insert(name.clone(), Arc::new(export));
    let touched = world.touched_by_backend(BackendKind::Service, &Name::new("default", "one"));
    assert_eq!(touched, [Key::Export(name)]);
}

#[tokio::test]
async fn a_status_is_of_the_generation_that_it_was_made_from() {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web());
    bench.settle(&[route("web")]).await;
    bench.app.world().gateways.clear();
    // The route has changed since, which the watch has not brought yet.
    let changed = json!({"metadata": {"generation": 2}});
    bench.unseen("httproutes", "web", &changed);
    let result = bench
        .app
        .route(RouteKind::Http, &Name::new("default", "web"))
        .await;
    assert!(matches!(result, Err(Undone::Kubernetes(_))), "{result:?}");
    let object = bench.object("httproutes", "web").unwrap();
    let conditions = &object["status"]["parents"][0]["conditions"];
    assert_eq!(conditions[0]["observedGeneration"], 1, "{object}");
    assert_eq!(bench.there().ids("services").len(), 1);
}

#[tokio::test]
async fn a_role_that_allows_no_pods_keeps_nothing_else_from_being_read() {
    let server = Server::begin(|request| {
        let path: Vec<_> = request.path.iter().map(String::as_str).collect();
        match &path[..] {
            ["apis", _, _] => Answer::not_found(),
            [.., "pods"] => Answer::refused(403, "Forbidden"),
            _ if request.query.contains_key("watch") => Answer::Never,
            _ => Answer::ok(json!({"metadata": {"resourceVersion": "1"}, "items": []})),
        }
    })
    .await;
    let lattice = Lattice::for_tests(&server.url(), &settings());
    let app = Arc::new(App::new(server.kubernetes(), settings(), lattice));
    let unread = crate::watch::begin(&app);
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, unread.none_left())
        .await
        .unwrap();
    let read = app.look().read.clone();
    assert!(
        read.contains("services") && !read.contains("pods"),
        "{read:?}"
    );
}
