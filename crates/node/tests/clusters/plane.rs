//! The life of a control plane.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_feed::Condition;

use crate::world::*;

/// The processes of a program in a network namespace.
fn pids(program: &str, place: &Path) -> BTreeSet<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = format!("/usr/local/lib/kubernetes/{program}");
        line.starts_with(program.as_bytes()) && namespace(*pid).as_deref() == Some(place)
    };
    numbers.filter(is_it).collect()
}

fn namespace(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

pub(crate) async fn a_cluster_lives() {
    let directory = tempfile::tempdir().unwrap();
    let plane = plane();
    let mut wanted = snapshot(1);
    wanted
        .control_planes
        .insert(cluster(), Arc::new(plane.clone()));
    let streams = Arc::<Streams>::default();
    let begun = Instant::now();
    let mut running = start(directory.path(), &wanted, &streams).await;
    wait_for(&mut running, "it gets ready", is_ready).await;
    eprintln!("ready after {:?}", begun.elapsed());
    let known = running.observed.borrow().clusters[&cluster()].clone();
    assert_eq!(known.version.as_deref(), Some("v1.37.2"));

    // As kubectl does: a token from AWS's client, which no server was asked for.
    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, &plane.keys.authority).unwrap();
    let asked = kubectl(&ca, &["auth", "whoami", "--output=json"], "blue");
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success(), "{asked:?}");
    assert!(
        text.contains("kubernetes-admin") && text.contains("system:masters"),
        "{text}"
    );
    let asked = kubectl(&ca, &["get", "namespaces"], "green");
    assert!(
        !asked.status.success(),
        "a token of another cluster: {asked:?}"
    );

    let components = [
        "authenticator",
        "kube-apiserver",
        "kube-apiserver-audit",
        "kube-controller-manager",
        "kube-scheduler",
    ];
    let end = Instant::now() + PATIENCE;
    while !components.iter().eq(streams.0.lock().unwrap().iter()) {
        assert!(Instant::now() < end, "{:?}", streams.0.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // The next node finds the processes, and makes the sockets again.
    let pin = std::fs::File::open(directory.path().join("run/netns/control-plane:blue")).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&pin.metadata().unwrap());
    let place = PathBuf::from(format!("net:[{inode}]"));
    drop(pin);
    let before = pids("kube-apiserver", &place);
    assert_eq!(before.len(), 1);
    running.node.shutdown(Duration::ZERO, true).await.unwrap();
    let mut running = start(directory.path(), &wanted, &streams).await;
    wait_for(&mut running, "it is found again", is_ready).await;
    assert_eq!(pids("kube-apiserver", &place), before);
    let asked = kubectl(&ca, &["get", "namespaces"], "blue");
    assert!(asked.status.success(), "{asked:?}");

    // A new boot starts the processes again, with what etcd knows.
    let made = kubectl(&ca, &["create", "namespace", "shop"], "blue");
    assert!(made.status.success(), "{made:?}");
    let mut again = plane.clone();
    again.boot = 2;
    let mut wanted = snapshot(2);
    wanted.control_planes.insert(cluster(), Arc::new(again));
    running.snapshots_tx.send_replace(Arc::new(wanted));
    let end = Instant::now() + PATIENCE;
    while !pids("kube-apiserver", &place).is_disjoint(&before) {
        assert!(Instant::now() < end, "it is not started again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_for(&mut running, "it gets ready again", |it| {
        let seen = it.clusters.get(&cluster());
        seen.is_some_and(|it| it.condition == Condition::Ready { version: 2 })
    })
    .await;
    let asked = kubectl(&ca, &["get", "namespace", "shop"], "blue");
    assert!(asked.status.success(), "{asked:?}");

    // What is not wanted any more goes.
    let mut none = snapshot(3);
    none.workloads.remove(&cluster());
    none.vpcs.clear();
    none.security_groups.clear();
    running.snapshots_tx.send_replace(Arc::new(none));
    wait_for(&mut running, "it is gone", |it| it.clusters.is_empty()).await;
    let end = Instant::now() + PATIENCE;
    while !pids("kube-apiserver", &place).is_empty() || !pids("etcd", &place).is_empty() {
        assert!(Instant::now() < end, "its processes stay");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(std::net::TcpStream::connect("127.0.0.1:16443").is_err());
    running.node.shutdown(Duration::ZERO, false).await.unwrap();
}
