//! The oracle: toy services against the published models.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../wire/tests/support/mod.rs"]
mod support;

use std::process::Command;
use std::sync::Arc;

use lath_oracle::{compare, compat_table};
use lath_wire::{
    ApiError, Caller, Handle, Operation, Permission, Permissions, Protocol, Route, Service,
    ServiceInfo, Stated, TooMuch,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The models, or nothing where botocore is not installed.
fn models() -> Option<Value> {
    let output = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/model/dump.py"
        ))
        .args(["ec2", "sts", "vpc-lattice", "secretsmanager", "cloudwatch"])
        .output()
        .ok()?;
    if !output.status.success() {
        eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A GetService with one mistake of each sort.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only its form counts")]
struct GetService {
    #[serde(rename = "serviceIdentifier")]
    identifier: String,
    #[serde(rename = "MaxResults")]
    max_results: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Status {
    #[serde(rename = "ACTIVE")]
    Active,
    Strange,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    id: Option<i64>,
    status: Option<Status>,
    created_at: Option<String>,
}

impl Operation for GetService {
    const NAME: &'static str = "GetService";
    const ROUTE: Option<Route> = Some(Route::get("/service/{serviceIdentifier}", 201));
    type Output = Found;
}

struct App;

impl<Op: Operation> Permissions<Op> for App {
    fn permissions(&self, _: &Caller, _: &Op) -> Result<Vec<Permission>, TooMuch> {
        Ok(Vec::new())
    }

    fn stated() -> Vec<Stated> {
        Vec::new()
    }
}

impl Handle<GetService> for App {
    async fn handle(&self, _: &Caller, _: GetService) -> Result<Found, ApiError> {
        Err(ApiError::new("ResourceNotFoundException", 404, "none"))
    }
}

fn mistaken() -> Service {
    Service::new(ServiceInfo {
        signing_name: "vpc-lattice",
        model: "vpc-lattice",
        version: "2022-11-30",
        xmlns: "",
        target_prefix: "",
        protocols: &[Protocol::RestJson],
    })
    .on::<GetService>(&Arc::new(App))
}

#[test]
fn mistakes_are_found() {
    let Some(models) = models() else { return };
    let found: Vec<String> = compare(&mistaken(), &models)
        .into_iter()
        .filter(|difference| !difference.lax)
        .map(|difference| difference.to_string())
        .collect();
    let want = [
        "GetService route: GET /service/{serviceIdentifier} instead of GET /services/{serviceIdentifier}",
        "GetService route: status 201 instead of 200",
        "GetService input.MaxResults: GetServiceRequest has no such member",
        "GetService output.id: an integer instead of string",
        "GetService output.status: values that the model lacks: [\"Strange\"]",
        "GetService output.createdAt: a string instead of timestamp",
    ];
    assert_eq!(found, want);
}

#[test]
fn faithful_services_pass() {
    let Some(models) = models() else { return };
    for service in [support::ec2(), support::sts(), support::secrets()] {
        let wrong: Vec<String> = compare(&service, &models)
            .into_iter()
            .filter(|difference| !difference.lax)
            .map(|difference| difference.to_string())
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn the_table_names_every_operation() {
    let Some(models) = models() else { return };
    let table = compat_table([&support::sts(), &support::secrets()], &models);
    for line in [
        "| GetCallerIdentity | yes |  |",
        "| AssumeRole | not yet |  |",
        "## secretsmanager",
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
    let password = table
        .lines()
        .find(|line| line.starts_with("| GetRandomPassword"))
        .unwrap();
    assert!(password.contains("`ExcludeNumbers`"), "{password}");
}
