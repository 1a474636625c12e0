//! Nodes join a cluster and run pods.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_feed::{Addon, Observed};
use lath_model::id::InstanceId;

use crate::world::*;

const DEPLOYMENT: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "containers": [{"name": "nginx", "image": "nginx:latest", "command": ["/bin/sh", "-c",
                "echo hello > /usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"]}]}}}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
     "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": {
        "containers": [{"name": "curl", "image": "curlimages/curl:latest", "command": ["sleep", "3600"]}]}}]}"#;

pub(crate) async fn pods_run_on_nodes() {
    let Some(images) = images() else {
        eprintln!("SKIPPED: no images (conformance/kubernetes/images/build.py makes them)");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let store = lath_registry::Images::open(directory.path().join("images")).unwrap();
    // Beside the archives is a directory of those that only clusters of kubeadm use.
    let entries = std::fs::read_dir(images).unwrap().flatten();
    for archive in entries.map(|it| it.path()).filter(|it| it.is_file()) {
        store.load(&archive, None).unwrap();
    }
    let mut plane = plane();
    let addon = Addon {
        version: "v1.15.0-eksbuild.1".into(),
        configuration: None,
    };
    plane.addons.insert("coredns".into(), addon);
    let streams = Arc::<Streams>::default();
    let begun = Instant::now();
    let mut running = start(directory.path(), &with_nodes(1, &plane, false, 2), &streams).await;
    let nodes = |observed: &Observed| {
        let seen = observed.clusters.get(&cluster());
        seen.map(|it| it.nodes.values().filter(|it| it.ready).count())
    };
    wait_for(&mut running, "nodes get ready", |it| nodes(it) == Some(2)).await;
    eprintln!("nodes ready after {:?}", begun.elapsed());

    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, &plane.keys.authority).unwrap();
    let file = directory.path().join("web.json");
    std::fs::write(&file, DEPLOYMENT).unwrap();
    let ask = |arguments: &[&str]| {
        let answer = kubectl(&ca, arguments, "blue");
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        (
            answer.status.success(),
            format!("{text}{}", String::from_utf8_lossy(&answer.stderr)),
        )
    };
    let (made, text) = ask(&["apply", "-f", file.to_str().unwrap()]);
    assert!(made, "{text}");
    let (done, text) = ask(&["rollout", "status", "deployment/web", "--timeout=90s"]);
    let (_, pods) = ask(&["get", "pods", "-A", "-o", "wide"]);
    let (_, events) = ask(&["get", "events", "-A"]);
    assert!(
        done,
        "{text}
{pods}
{events}"
    );
    eprintln!("pods ready after {:?}", begun.elapsed());
    let (done, text) = ask(&[
        "-n",
        "kube-system",
        "rollout",
        "status",
        "deployment/coredns",
        "--timeout=90s",
    ]);
    assert!(done, "{text}");
    let (done, text) = ask(&[
        "wait",
        "--for=condition=Ready",
        "pod/client",
        "--timeout=60s",
    ]);
    assert!(done, "{text}");
    // Names of the cluster, addresses of services, logs and exec: through every part.
    let end = Instant::now() + PATIENCE;
    loop {
        let (_, text) = ask(&[
            "exec",
            "client",
            "--",
            "curl",
            "-sS",
            "-m",
            "5",
            "http://web.default.svc.cluster.local/",
        ]);
        if text.contains("hello") {
            break;
        }
        assert!(Instant::now() < end, "{text}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (_, logs) = ask(&["logs", "deployment/web"]);
    assert!(logs.contains("GET /") || !logs.contains("rror"), "{logs}");
    let (_, labels) = ask(&[
        "get",
        "nodes",
        "-L",
        "team,topology.kubernetes.io/zone,eks.amazonaws.com/nodegroup",
    ]);
    eprintln!("{labels}{pods}");
    assert_eq!(labels.matches("us-east-1a").count(), 2, "{labels}");

    // One leaves: its pods go elsewhere, then it goes.
    running
        .snapshots_tx
        .send_replace(Arc::new(with_nodes(2, &plane, true, 2)));
    let leaving: InstanceId = INSTANCES[1].0.parse().unwrap();
    wait_for(&mut running, "it is drained", |it| {
        let seen = it
            .clusters
            .get(&cluster())
            .and_then(|it| it.nodes.get(&leaving));
        seen.is_some_and(|it| it.drained)
    })
    .await;
    running
        .snapshots_tx
        .send_replace(Arc::new(with_nodes(3, &plane, false, 1)));
    let end = Instant::now() + PATIENCE;
    while ask(&["get", "node", &name_of(INSTANCES[1].1)]).0 {
        assert!(Instant::now() < end, "its node stays");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    running.node.shutdown(Duration::ZERO, false).await.unwrap();
}
