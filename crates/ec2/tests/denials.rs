//! Stock boto3 as a user with one denial, over a real socket.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;
use std::sync::Arc;

use lath_control::Cell;
use lath_door::FrontDoor;
use lath_ec2::Ec2;
use lath_iam::Iam;
use lath_judge::Judge;
use lath_secrets::{RootKey, SealingKey};
use lath_store::{Db, Kinds, Memory};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_holds_however_a_request_names_the_resource() {
    if !has_boto3() {
        eprintln!("SKIPPED: python3 with boto3 is not installed");
        return;
    }
    let mut cell = Cell::for_test().0;
    let kinds = lath_ec2::kinds(lath_iam::kinds(lath_control::kinds(Kinds::default())));
    cell.db = Db::open(Arc::new(Memory::new()), kinds).await.unwrap();
    let judge = Judge::new(RootKey::random().unwrap(), cell.account.clone());
    let judge = Arc::new(judge.with_iam(SealingKey::random(), cell.clone()));
    let iam = Arc::new(Iam::new(cell.clone(), judge.last_used()));
    let services = vec![
        lath_ec2::service(&Arc::new(Ec2 { cell })),
        lath_iam::service(&iam),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let door = FrontDoor::new(Arc::<Judge>::clone(&judge))
        .with_judge(Arc::<Judge>::clone(&judge))
        .with_region("us-east-1", services);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Arc::new(door).serve(listener, stop.clone()));
    let client = tokio::task::spawn_blocking(move || client(&endpoint, judge.root_key()));
    let output = client.await.unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

fn client(endpoint: &str, key: &RootKey) -> std::process::Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/denials_client.py");
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
