//! Pods that come and end: what is registered when, and in which order, and when their readiness gates open.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::bench::{Bench, route};
use super::{backend, http, settings, world};
use crate::controller::Undone;
use crate::gates::{GATE, Gated, Pod};
use crate::lattice::Fault;
use crate::world::{Key, Name, Slice};

fn web(backends: &[&str]) -> Value {
    let backends: Vec<_> = backends.iter().map(|it| backend(it, 1)).collect();
    json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": backends}]})
}

/// An endpoint of pod `p-LAST` at `10.0.0.LAST`.
fn endpoint(last: u8, conditions: Value) -> Value {
    let name = format!("p-{last}");
    json!({"addresses": [format!("10.0.0.{last}")], "conditions": conditions,
           "targetRef": {"kind": "Pod", "name": name, "namespace": "default", "uid": name}})
}

fn ready(last: u8) -> Value {
    endpoint(
        last,
        json!({"ready": true, "serving": true, "terminating": false}),
    )
}

fn shut(last: u8) -> Value {
    endpoint(
        last,
        json!({"ready": false, "serving": false, "terminating": false}),
    )
}

/// What a slice of Service `one` becomes.
fn slice(endpoints: &[Value]) -> Slice {
    let slice = json!({
        "metadata": {"name": "one-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "one"}},
        "addressType": "IPv4", "ports": [{"name": "web", "port": 8080}], "endpoints": endpoints});
    Slice::from(serde_json::from_value::<EndpointSlice>(slice).unwrap())
}

fn set(bench: &Bench, endpoints: &[Value]) {
    let at = Name::new("default", "one-1");
    let slice = Arc::new(slice(endpoints));
    bench.app.world().slices.insert(at, slice);
}

/// The changes of targets since the last look: what was asked, and the addresses.
fn changes(bench: &Bench) -> Vec<(String, Vec<String>)> {
    let asked = bench.server.asked();
    bench.server.forget();
    let changes = asked.into_iter().filter(|it| {
        let what = it.path.last().map_or("", String::as_str);
        ["registertargets", "deregistertargets"].contains(&what)
    });
    changes
        .map(|it| {
            let targets = it.body["targets"].as_array().unwrap().iter();
            let ids = targets.map(|it| it["id"].as_str().unwrap().to_owned());
            (it.path[2].clone(), ids.collect())
        })
        .collect()
}

fn change(what: &str, addresses: &[&str]) -> (String, Vec<String>) {
    let addresses = addresses.iter().map(|&it| it.to_owned());
    (what.to_owned(), addresses.collect())
}

async fn bench(backends: &[&str]) -> Bench {
    let bench = Bench::usual().await;
    bench.put("httproutes", "web", &web(backends));
    bench.settle(&[route("web")]).await;
    changes(&bench);
    bench
}

#[test]
fn what_terminates_is_no_target_whether_it_serves_or_not() {
    let state = |ready: bool, serving: bool, terminating: bool| json!({"ready": ready, "serving": serving, "terminating": terminating});
    let found = slice(&[
        ready(1),
        // No word on anything.
        endpoint(2, json!({})),
        endpoint(3, state(false, true, true)),
        endpoint(4, state(false, false, true)),
        // A Service that publishes addresses which are not ready.
        endpoint(5, state(true, true, true)),
        shut(6),
        // The same Service before its pod is ready.
        endpoint(7, state(true, false, false)),
    ]);
    let ready: Vec<_> = found.ready.iter().map(String::as_str).collect();
    assert_eq!(ready, ["10.0.0.1", "10.0.0.2", "10.0.0.7"]);
    let waiting: Vec<_> = found.waiting.keys().map(String::as_str).collect();
    assert_eq!(waiting, ["10.0.0.6", "10.0.0.7"]);
}

#[tokio::test]
async fn a_pod_that_comes_is_registered_before_one_that_ends_is_taken_out() {
    let bench = bench(&["one"]).await;
    let ending = json!({"ready": false, "serving": true, "terminating": true});
    set(&bench, &[endpoint(1, ending), ready(2), ready(7)]);
    bench.once(&route("web")).await.unwrap();
    assert_eq!(
        changes(&bench),
        [
            change("registertargets", &["10.0.0.7"]),
            change("deregistertargets", &["10.0.0.1"]),
        ]
    );
}

#[tokio::test]
async fn a_pod_that_ends_is_taken_out_although_others_cannot_be_registered() {
    let bench = bench(&["one"]).await;
    let id = bench.there().ids("targetgroups").remove(0);
    let line = format!("POST targetgroups/{id}/registertargets");
    let refused = (line, "ServiceQuotaExceededException");
    bench.there().unanswered.extend([refused]);
    set(&bench, &[ready(2), ready(7)]);
    let result = bench.once(&route("web")).await;
    assert!(
        matches!(result, Err(Undone::Lattice(Fault::Failed(_)))),
        "{result:?}"
    );
    let asked = [
        change("registertargets", &["10.0.0.7"]),
        change("deregistertargets", &["10.0.0.1"]),
    ];
    assert_eq!(changes(&bench), asked);
    bench.once(&route("web")).await.unwrap();
    let targets = &bench.there().targets[&id];
    let addresses: Vec<_> = targets.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(addresses, ["10.0.0.2", "10.0.0.7"]);
}

#[tokio::test]
async fn a_group_that_fails_holds_up_no_other() {
    let bench = bench(&["one", "two"]).await;
    // The one group gets an address that is refused, the other loses one: whichever comes first.
    for (fails, at, last) in [("one", "two-1", "10.0.0.3"), ("two", "one-1", "10.0.0.1")] {
        let bad = format!("10.0.0.{}", fails.len() + 100);
        bench.there().refused.insert(bad.clone());
        let change_of = |name: &str, change: &dyn Fn(&mut Slice)| {
            let name = Name::new("default", name);
            let mut slice = Slice::clone(&bench.app.look().slices[&name]);
            change(&mut slice);
            bench.app.world().slices.insert(name, Arc::new(slice));
        };
        change_of(&format!("{fails}-1"), &|it| {
            it.ready.insert(bad.clone());
        });
        change_of(at, &|it| {
            it.ready.remove(last);
        });
        bench.once(&route("web")).await.unwrap_err();
        let asked = changes(&bench);
        assert!(
            asked.contains(&change("deregistertargets", &[last])),
            "{asked:?}"
        );
        change_of(&format!("{fails}-1"), &|it| {
            it.ready.remove(&bad);
        });
        bench.once(&route("web")).await.unwrap();
        changes(&bench);
    }
}

#[tokio::test]
async fn a_pod_that_ends_is_taken_out_although_an_import_cannot_be_looked_up() {
    let bench = bench(&["one"]).await;
    let mut import: crate::kinds::ServiceImport =
        (*super::object::<crate::kinds::ServiceImport>("default/far", &json!({}))).clone();
    let annotation = crate::desired::key("target-group-arn");
    import.metadata.annotations = Some([(annotation, "tg-far".to_owned())].into());
    let name = Name::new("default", "far");
    bench.app.world().imports.insert(name, Arc::new(import));
    let mut spec = web(&["one"]);
    let far =
        json!({"name": "far", "kind": "ServiceImport", "group": "application-networking.k8s.aws"});
    spec["rules"][0]["backendRefs"]
        .as_array_mut()
        .unwrap()
        .push(far);
    bench.put("httproutes", "web", &spec);
    let refused = (
        "GET targetgroups/tg-far".to_owned(),
        "AccessDeniedException",
    );
    bench.there().unanswered.extend([refused]);
    set(&bench, &[ready(2)]);
    bench.once(&route("web")).await.unwrap_err();
    assert_eq!(
        changes(&bench),
        [change("deregistertargets", &["10.0.0.1"])]
    );
    // It is said why, so that somebody can see to it, and that no pod waits for what cannot be had.
    let said = bench.said("httproutes", "web", "ResolvedRefs");
    assert_eq!(said.0, "BackendNotFound");
    assert!(said.1.contains("AccessDenied"), "{said:?}");
    assert_eq!(bench.said("httproutes", "web", "Programmed").0, "Invalid");
    // Then it can be looked up, although there is none.
    bench.once(&route("web")).await.unwrap_err();
    assert_eq!(
        bench.said("httproutes", "web", "Programmed").0,
        "Programmed"
    );
}

/// A pod with the gate, and perhaps another one, as the API server has it.
fn pod(last: u8, containers: bool, other: Option<bool>) -> Value {
    let mut gates = vec![json!({"conditionType": GATE})];
    let word = |it: bool| if it { "True" } else { "False" };
    let mut conditions = vec![json!({"type": "ContainersReady", "status": word(containers)})];
    if let Some(other) = other {
        gates.push(json!({"conditionType": "example.com/other"}));
        conditions.push(json!({"type": "example.com/other", "status": word(other)}));
    }
    let name = format!("p-{last}");
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "uid": name},
           "spec": {"readinessGates": gates, "containers": []}, "status": {"conditions": conditions}})
}

fn read(pod: &Value) -> Option<Pod> {
    Pod::of(serde_json::from_value::<Gated>(pod.clone()).unwrap())
}

fn put_pod(bench: &Bench, last: u8, object: &Value) {
    let name = format!("p-{last}");
    bench.put(
        "pods",
        &name,
        &json!({"readinessGates": object["spec"]["readinessGates"]}),
    );
    bench.patch("pods", &name, &json!({"status": object["status"]}));
}

/// The gate's condition of a pod.
fn gate_of(bench: &Bench, last: u8) -> Option<(String, String)> {
    let pod = bench.object("pods", &format!("p-{last}")).unwrap();
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == GATE)?;
    let word = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Some((word("status"), word("reason")))
}

fn words(status: &str, reason: &str) -> Option<(String, String)> {
    Some((status.to_owned(), reason.to_owned()))
}

fn gates() -> Key {
    Key::Gates(Name::new("default", "one"))
}

#[test]
fn a_pod_is_kept_when_it_has_the_gate_and_waits_for_nothing_else() {
    assert!(read(&pod(1, true, None)).unwrap().ready_otherwise);
    assert!(read(&pod(1, true, Some(true))).unwrap().ready_otherwise);
    assert!(!read(&pod(1, true, Some(false))).unwrap().ready_otherwise);
    assert!(!read(&pod(1, false, None)).unwrap().ready_otherwise);
    let mut ends = pod(1, true, None);
    ends["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(!read(&ends).unwrap().ready_otherwise);
    let mut without = pod(1, true, Some(true));
    without["spec"]["readinessGates"] = json!([{"conditionType": "example.com/other"}]);
    assert_eq!(read(&without), None);
    without["spec"] = json!({});
    assert_eq!(read(&without), None);
}

#[tokio::test]
async fn a_gate_opens_when_all_targets_of_the_pod_are_healthy() {
    let bench = bench(&["one"]).await;
    bench.put("httproutes", "more", &web(&["one"]));
    bench.settle(&[route("more")]).await;
    changes(&bench);
    put_pod(&bench, 7, &pod(7, false, None));
    set(&bench, &[ready(1), ready(2), shut(7)]);
    // Its containers are not ready: it is no target, and nothing is said of it.
    bench.once(&route("web")).await.unwrap();
    bench.once(&gates()).await.unwrap();
    assert_eq!((changes(&bench), gate_of(&bench, 7)), (vec![], None));
    put_pod(&bench, 7, &pod(7, true, None));
    bench.once(&gates()).await.unwrap_err();
    assert_eq!(gate_of(&bench, 7), words("False", "TargetNotFound"));
    for name in ["web", "more"] {
        bench.once(&route(name)).await.unwrap();
        assert_eq!(changes(&bench), [change("registertargets", &["10.0.0.7"])]);
    }
    let groups = bench.there().ids("targetgroups");
    let report = |at: usize, status: &'static str| {
        let target = (groups[at].clone(), "10.0.0.7".to_owned());
        bench.there().health.insert(target, status);
    };
    for (status, reason) in [
        ("INITIAL", "Initial"),
        ("UNHEALTHY", "Unhealthy"),
        ("DRAINING", "Unhealthy"),
    ] {
        report(1, status);
        bench.once(&gates()).await.unwrap_err();
        assert_eq!(gate_of(&bench, 7), words("False", reason));
    }
    report(1, "HEALTHY");
    bench.once(&gates()).await.unwrap();
    assert_eq!(gate_of(&bench, 7), words("True", "Healthy"));
    // It is not shut again, and stays a target until its slice says that it is ready.
    report(0, "UNHEALTHY");
    bench.once(&gates()).await.unwrap();
    bench.once(&route("web")).await.unwrap();
    assert_eq!(gate_of(&bench, 7), words("True", "Healthy"));
    set(&bench, &[ready(1), ready(2), ready(7)]);
    bench.once(&route("web")).await.unwrap();
    assert_eq!(changes(&bench), []);
    let patches = bench.server.asked();
    assert!(patches.iter().all(|it| it.path[0] != "api"));
}

#[tokio::test]
async fn a_group_that_is_not_checked_or_used_holds_no_pod_up() {
    for (status, reason) in [
        ("UNAVAILABLE", "HealthCheckUnavailable"),
        ("UNUSED", "Unused"),
    ] {
        let bench = bench(&["one"]).await;
        put_pod(&bench, 7, &pod(7, true, None));
        set(&bench, &[ready(1), shut(7)]);
        bench.once(&route("web")).await.unwrap();
        let group = bench.there().ids("targetgroups").remove(0);
        let target = (group, "10.0.0.7".to_owned());
        bench.there().health.insert(target, status);
        if status == "UNUSED" {
            // The route forwards to it: Lattice is about to know.
            bench.once(&gates()).await.unwrap_err();
            assert_eq!(gate_of(&bench, 7), words("False", "Unused"));
            bench.put(
                "httproutes",
                "web",
                &json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [backend("one", 0), backend("two", 1)]}]}),
            );
        }
        bench.once(&gates()).await.unwrap();
        assert_eq!(gate_of(&bench, 7), words("True", reason));
    }
}

#[tokio::test]
async fn a_pod_waits_for_the_groups_that_a_policy_brings() {
    let bench = bench(&["one"]).await;
    put_pod(&bench, 7, &pod(7, true, None));
    set(&bench, &[ready(1), shut(7)]);
    bench.once(&route("web")).await.unwrap();
    // The route is the same, and programmed; its group will be another.
    let spec = json!({"targetRef": {"kind": "Service", "name": "one"}, "protocol": "HTTPS"});
    bench.put("targetgrouppolicies", "tls", &spec);
    assert_eq!(
        bench.said("httproutes", "web", "Programmed").0,
        "Programmed"
    );
    bench.once(&gates()).await.unwrap_err();
    assert_eq!(gate_of(&bench, 7), words("False", "TargetNotFound"));
    bench.settle(&[route("web")]).await;
    bench.once(&gates()).await.unwrap();
    assert_eq!(gate_of(&bench, 7), words("True", "Healthy"));
}

#[tokio::test]
async fn a_gate_is_not_shut_again_before_the_watch_brings_that_it_is_open() {
    let bench = bench(&["one"]).await;
    put_pod(&bench, 7, &pod(7, true, None));
    set(&bench, &[ready(1), shut(7)]);
    bench.once(&route("web")).await.unwrap();
    let one = Name::new("default", "one");
    bench.app.gates(&one).await.unwrap();
    assert_eq!(gate_of(&bench, 7), words("True", "Healthy"));
    let group = bench.there().ids("targetgroups").remove(0);
    let target = (group, "10.0.0.7".to_owned());
    bench.there().health.insert(target, "UNHEALTHY");
    bench.app.gates(&one).await.unwrap();
    assert_eq!(gate_of(&bench, 7), words("True", "Healthy"));
}

#[tokio::test]
async fn a_group_that_is_refused_leaves_pods_to_what_serves_still() {
    let bench = bench(&["one"]).await;
    put_pod(&bench, 7, &pod(7, true, None));
    set(&bench, &[ready(1), ready(2), shut(7)]);
    bench.once(&route("web")).await.unwrap();
    changes(&bench);
    let before = bench.there().ids("targetgroups").remove(0);
    let spec = json!({"targetRef": {"kind": "Service", "name": "one"}, "protocol": "HTTPS"});
    bench.put("targetgrouppolicies", "tls", &spec);
    bench.there().refused.insert("HTTPS".to_owned());
    set(&bench, &[ready(2), shut(7), ready(8)]);
    bench.once(&route("web")).await.unwrap_err();
    assert_eq!(bench.said("httproutes", "web", "Programmed").0, "Invalid");
    assert_eq!(bench.there().ids("targetgroups"), [before.as_str()]);
    assert_eq!(
        changes(&bench),
        [
            change("registertargets", &["10.0.0.8"]),
            change("deregistertargets", &["10.0.0.1"]),
        ]
    );
    // The rollout waits: the pods that serve must not end for one that is not among them as it should be.
    bench.once(&gates()).await.unwrap_err();
    assert_eq!(gate_of(&bench, 7), words("False", "TargetNotFound"));
    bench.there().refused.clear();
    bench.settle(&[route("web")]).await;
    bench.once(&gates()).await.unwrap();
    assert_eq!(gate_of(&bench, 7), words("True", "Healthy"));
}

#[tokio::test]
async fn an_export_whose_group_is_not_there_holds_no_pod_up() {
    let bench = bench(&["one"]).await;
    put_pod(&bench, 7, &pod(7, true, None));
    set(&bench, &[ready(1), shut(7)]);
    bench.once(&route("web")).await.unwrap();
    let mut export =
        (*super::object::<crate::kinds::ServiceExport>("default/one", &json!({}))).clone();
    let annotation = (
        crate::desired::key("federation"),
        "amazon-vpc-lattice".to_owned(),
    );
    export.metadata.annotations = Some([annotation].into());
    let name = Name::new("default", "one");
    bench.app.world().exports.insert(name, Arc::new(export));
    bench.once(&gates()).await.unwrap();
    assert_eq!(gate_of(&bench, 7), words("True", "Healthy"));
}

#[tokio::test]
async fn a_route_that_lattice_does_not_answer_for_is_not_refused() {
    let bench = bench(&["one"]).await;
    for error in ["ThrottlingException", "InternalServerException", ""] {
        bench.put("httproutes", "web", &web(&["one"]));
        bench.app.lattice.forget().await;
        let refused = ("GET services".to_owned(), error);
        bench.there().unanswered.extend([refused]);
        bench.once(&route("web")).await.unwrap_err();
        let said = bench.said("httproutes", "web", "Programmed");
        assert_eq!(said.0, "Pending", "{said:?}");
        bench.once(&route("web")).await.unwrap();
    }
    bench.put("httproutes", "web", &web(&["one"]));
    bench.app.lattice.forget().await;
    let refused = ("GET services".to_owned(), "AccessDeniedException");
    bench.there().unanswered.extend([refused]);
    bench.once(&route("web")).await.unwrap_err();
    assert_eq!(bench.said("httproutes", "web", "Programmed").0, "Invalid");
}

#[tokio::test]
async fn the_last_pods_are_not_taken_out_while_lattice_does_not_answer() {
    let bench = bench(&["one"]).await;
    let id = bench.there().ids("targetgroups").remove(0);
    let line = format!("POST targetgroups/{id}/registertargets");
    bench
        .there()
        .unanswered
        .extend([(line, "ThrottlingException")]);
    set(&bench, &[ready(7)]);
    bench.once(&route("web")).await.unwrap_err();
    assert_eq!(changes(&bench), [change("registertargets", &["10.0.0.7"])]);
    bench.once(&route("web")).await.unwrap();
    // The request was carried out, although its answer said otherwise.
    assert_eq!(
        changes(&bench),
        [change("deregistertargets", &["10.0.0.1", "10.0.0.2"])]
    );
}

#[tokio::test]
async fn a_pod_that_cannot_be_told_keeps_no_other_gate_shut() {
    let bench = bench(&["one"]).await;
    for last in [7, 8] {
        put_pod(&bench, last, &pod(last, true, None));
    }
    set(&bench, &[ready(1), shut(7), shut(8)]);
    bench.once(&route("web")).await.unwrap();
    bench.forbid("pods", "p-7");
    let result = bench.once(&gates()).await;
    assert!(matches!(result, Err(Undone::Kubernetes(_))), "{result:?}");
    assert_eq!(gate_of(&bench, 7), None);
    assert_eq!(gate_of(&bench, 8), words("True", "Healthy"));
}

#[tokio::test]
async fn routes_of_other_controllers_are_not_waited_for() {
    let bench = bench(&["one"]).await;
    let theirs = json!({"parentRefs": [{"name": "theirs"}], "rules": []});
    bench.put("httproutes", "theirs", &theirs);
    let unprogrammed = |key: Key| {
        bench.app.note(&key, tokio::time::Instant::now());
        let text = bench.app.metrics.text(bench.app.queue.depth(), true);
        let mut lines = text.lines();
        lines
            .find_map(|it| it.strip_prefix("lath_gateway_unprogrammed_routes "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(unprogrammed(route("theirs")), "0");
    bench.put("httproutes", "web", &web(&["one"]));
    assert_eq!(unprogrammed(route("web")), "1");
    bench.put("httproutes", "web", &theirs);
    assert_eq!(unprogrammed(route("web")), "0");
}

#[tokio::test]
async fn a_route_that_cannot_be_had_holds_no_pod_up() {
    let bench = bench(&["one"]).await;
    put_pod(&bench, 7, &pod(7, true, None));
    set(&bench, &[ready(1), shut(7)]);
    bench.once(&route("web")).await.unwrap();
    bench.put("httproutes", "more", &web(&["one"]));
    bench.once(&gates()).await.unwrap_err();
    assert_eq!(gate_of(&bench, 7), words("False", "TargetNotFound"));
    // Lattice has no room for its group.
    let condition = json!({"type": "Programmed", "status": "False", "reason": "Invalid", "observedGeneration": 1});
    let controller = settings().controller_names.remove(0);
    let entry = json!({"parentRef": {"name": "gw"}, "controllerName": controller, "conditions": [condition]});
    bench.patch(
        "httproutes",
        "more",
        &json!({"status": {"parents": [entry]}}),
    );
    bench.once(&gates()).await.unwrap();
    assert_eq!(gate_of(&bench, 7), words("True", "Healthy"));
}

#[tokio::test]
async fn a_pod_that_is_in_no_group_is_another_controllers() {
    let bench = Bench::new(world(http()), settings()).await;
    put_pod(&bench, 7, &pod(7, true, None));
    set(&bench, &[ready(1), shut(7)]);
    bench.once(&gates()).await.unwrap();
    assert_eq!(gate_of(&bench, 7), None);
}

#[tokio::test]
async fn what_waits_for_a_gate_is_looked_at_when_anything_about_it_changes() {
    let bench = bench(&["one"]).await;
    let (before, after) = (slice(&[ready(1)]), slice(&[ready(1), shut(7)]));
    let name = Name::new("default", "one-1");
    // A pod without the gate is none of this controller's business until it is ready.
    assert!(!bench.app.look().endpoints_differ(&name, &before, &after));
    put_pod(&bench, 7, &pod(7, true, None));
    assert!(bench.app.look().endpoints_differ(&name, &before, &after));
    set(&bench, &[ready(1), shut(7)]);
    let pod = Name::new("default", "p-7");
    let touched = bench.app.look().touched_by_pod(&pod);
    assert_eq!(touched, [route("web"), gates()]);
    let all = bench.app.look().gated_services();
    assert_eq!(
        all.into_iter().map(Key::Gates).collect::<Vec<_>>(),
        [gates()]
    );
    // The next pod of that name is another.
    let mut other = slice(&[ready(1), shut(7)]);
    other.waiting.get_mut("10.0.0.7").unwrap().uid = "other".into();
    bench.app.world().slices.insert(name, Arc::new(other));
    assert_eq!(bench.app.look().touched_by_pod(&pod), [route("web")]);
    bench.once(&gates()).await.unwrap();
    assert_eq!(gate_of(&bench, 7), None);
}
