//! Stock boto3 against the front door, over every protocol it speaks.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod keys;
#[path = "../../wire/tests/support/mod.rs"]
mod support;

use std::process::Command;
use std::sync::Arc;

use lath_door::FrontDoor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_boto3_is_understood() {
    if !has_boto3() {
        eprintln!("SKIPPED: python3 with boto3 is not installed");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = FrontDoor::new(Arc::new(keys::Keys)).with_region("us-west-2", support::all());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Arc::new(door).serve(listener, stop.clone()));
    let output = tokio::task::spawn_blocking(move || {
        Command::new("python3")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/boto3_client.py"
            ))
            .env("AWS_ENDPOINT_URL", format!("http://{address}"))
            .env("AWS_ACCESS_KEY_ID", keys::KEY)
            .env("AWS_SECRET_ACCESS_KEY", keys::SECRET)
            .env("AWS_DEFAULT_REGION", "us-west-2")
            .env("AWS_MAX_ATTEMPTS", "1")
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

fn has_boto3() -> bool {
    Command::new("python3")
        .args(["-c", "import boto3"])
        .status()
        .is_ok_and(|status| status.success())
}
