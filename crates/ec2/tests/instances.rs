//! Stock boto3 against instances, over a real socket; what a node would observe is observed at once.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;
use std::sync::Arc;

use lath_control::Cell;
use lath_door::FrontDoor;
use lath_ec2::Ec2;
use lath_feed::{InstanceObserved, InstancePhase, Observed, Power, Snapshot};
use lath_judge::Judge;
use lath_secrets::{RootKey, SecretsManager};
use lath_sts::Sts;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_boto3_leads_an_instance_through_its_life() {
    if !has_boto3() {
        eprintln!("SKIPPED: python3 with boto3 is not installed");
        return;
    }
    let (cell, observe) = Cell::for_test();
    let app = Arc::new(Ec2 { cell: cell.clone() });
    let key = RootKey::random().unwrap();
    let judge = Arc::new(Judge::new(key, cell.account.clone()));
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let mut reconcilers = lath_control::Group::new("reconcilers");
    lath_ec2::reconcilers(&app, &mut reconcilers);
    tasks.spawn(obey_at_once(cell, observe));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let door = FrontDoor::new(Arc::clone(&judge) as _).with_region(
        "us-east-1",
        vec![
            lath_ec2::service(&app),
            lath_sts::sts_service(&Arc::new(Sts::new(Arc::clone(&judge)))),
            lath_secrets::secretsmanager_service(&SecretsManager::of(judge.owner())),
        ],
    );
    let serving = tokio::spawn(Arc::new(door).serve(listener, stop.clone()));
    let client = tokio::task::spawn_blocking(move || client(&endpoint, judge.root_key()));
    let output = client.await.unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

/// Every instance is at once as the feed wants it.
async fn obey_at_once(cell: Cell, observe: watch::Sender<Arc<Observed>>) {
    let mut changes = cell.db.changes();
    loop {
        changes.borrow_and_update();
        let view = cell.db.view();
        let mut snapshot = Snapshot::default();
        lath_control::derive_into(&cell, &lath_ec2::CONTRIBUTIONS, &view, &mut snapshot);
        let observed = |power| match power {
            Power::On => InstancePhase::Running,
            Power::Off => InstancePhase::Stopped,
        };
        let instances = snapshot.instances.values().map(|instance| {
            let state = InstanceObserved {
                state: observed(instance.power),
                boot: instance.boot,
                since: cell.now(),
            };
            (instance.id.clone(), state)
        });
        observe.send_replace(Arc::new(Observed {
            applied_version: view.revision(),
            instances: instances.collect(),
            ..Observed::default()
        }));
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn client(endpoint: &str, key: &RootKey) -> std::process::Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instances_client.py");
    Command::new("python3")
        .arg(script)
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", &key.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", key.secret_access_key.reveal())
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .output()
        .unwrap()
}

fn has_boto3() -> bool {
    Command::new("python3")
        .args(["-c", "import boto3"])
        .status()
        .is_ok_and(|status| status.success())
}
