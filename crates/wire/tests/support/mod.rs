//! Toy services, one per protocol, that answer what they were asked.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "each test binary uses its part of the toys"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_model::Timestamp;
use lath_wire::{
    ApiError, Blob, Caller, Doc, Handle, Operation, Permission, Permissions, Problems, Protocol,
    Route, Service, ServiceInfo, Stated, TooMuch,
};
use serde::{Deserialize, Serialize};

pub struct Toy;

impl<Op: Operation> Permissions<Op> for Toy {
    fn permissions(&self, _: &Caller, _: &Op) -> Result<Vec<Permission>, TooMuch> {
        Ok(Vec::new())
    }

    fn stated() -> Vec<Stated> {
        Vec::new()
    }
}

// === ec2 ===

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Filter {
    pub name: String,
    #[serde(default, rename = "Value")]
    pub values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeVpcs {
    #[serde(default, rename = "Filter")]
    pub filters: Vec<Filter>,
    #[serde(default, rename = "VpcId")]
    pub vpc_ids: Vec<String>,
    pub max_results: Option<u32>,
    pub dry_run: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tag {
    pub key: String,
    pub value: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vpc {
    pub vpc_id: String,
    pub is_default: bool,
    pub tag_set: Vec<Tag>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vpcs {
    pub vpc_set: Vec<Vpc>,
    pub next_token: Option<String>,
}

impl Operation for DescribeVpcs {
    const NAME: &'static str = "DescribeVpcs";
    type Output = Vpcs;
}

impl Handle<DescribeVpcs> for Toy {
    async fn handle(&self, _: &Caller, op: DescribeVpcs) -> Result<Vpcs, ApiError> {
        if op.dry_run == Some(true) {
            let text = "Request would have succeeded, but DryRun flag is set.";
            return Err(ApiError::new("DryRunOperation", 412, text));
        }
        let mut tag_set: Vec<Tag> = Vec::new();
        for filter in op.filters {
            tag_set.push(Tag {
                key: filter.name,
                value: filter.values.join("|"),
            });
        }
        let vpc = |vpc_id| Vpc {
            vpc_id,
            is_default: false,
            tag_set: std::mem::take(&mut tag_set),
        };
        Ok(Vpcs {
            vpc_set: op.vpc_ids.into_iter().map(vpc).collect(),
            next_token: op.max_results.map(|most| format!("after-{most}")),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVpc {
    pub vpc_id: String,
}

impl Operation for DeleteVpc {
    const NAME: &'static str = "DeleteVpc";
    type Output = ();
}

impl Handle<DeleteVpc> for Toy {
    async fn handle(&self, _: &Caller, _: DeleteVpc) -> Result<(), ApiError> {
        Ok(())
    }
}

#[must_use]
pub fn ec2() -> Service {
    let app = Arc::new(Toy);
    Service::new(ServiceInfo {
        signing_name: "ec2",
        model: "ec2",
        version: "2016-11-15",
        xmlns: "http://ec2.amazonaws.com/doc/2016-11-15/",
        target_prefix: "",
        protocols: &[Protocol::Ec2Query],
    })
    .on::<DescribeVpcs>(&app)
    .on::<DeleteVpc>(&app)
}

// === query ===

#[derive(Debug, Deserialize)]
pub struct GetCallerIdentity {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Identity {
    pub user_id: String,
    pub account: String,
    pub arn: String,
}

impl Operation for GetCallerIdentity {
    const NAME: &'static str = "GetCallerIdentity";
    type Output = Identity;
}

impl Handle<GetCallerIdentity> for Toy {
    async fn handle(&self, caller: &Caller, _: GetCallerIdentity) -> Result<Identity, ApiError> {
        Ok(Identity {
            user_id: caller.principal.user_id.clone(),
            account: caller.account.clone(),
            arn: caller.principal.arn.clone(),
        })
    }
}

#[must_use]
pub fn sts() -> Service {
    Service::new(ServiceInfo {
        signing_name: "sts",
        model: "sts",
        version: "2011-06-15",
        xmlns: "https://sts.amazonaws.com/doc/2011-06-15/",
        target_prefix: "",
        protocols: &[Protocol::Query],
    })
    .on::<GetCallerIdentity>(&Arc::new(Toy))
}

// === rest-json ===

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum AuthType {
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "AWS_IAM")]
    AwsIam,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateService {
    pub name: String,
    pub auth_type: Option<AuthType>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSummary {
    pub id: Option<String>,
    pub name: Option<String>,
    pub auth_type: Option<AuthType>,
    pub created_at: Option<Timestamp>,
}

impl Operation for CreateService {
    const NAME: &'static str = "CreateService";
    const ROUTE: Option<Route> = Some(Route::post("/services", 201));
    type Output = ServiceSummary;

    fn validate(&self, problems: &mut Problems) {
        if self.name.len() < 3 {
            problems.add("name", "Member must have length greater than or equal to 3");
        }
    }
}

impl Handle<CreateService> for Toy {
    async fn handle(&self, _: &Caller, op: CreateService) -> Result<ServiceSummary, ApiError> {
        if op.name == "taken" {
            return Err(ApiError::new("ConflictException", 409, "Name is taken")
                .with_field("resourceId", Doc::String("svc-1".into()))
                .with_field("resourceType", Doc::String("SERVICE".into())));
        }
        Ok(ServiceSummary {
            id: op.tags.get("id").cloned(),
            name: Some(op.name),
            auth_type: op.auth_type,
            created_at: Some(Timestamp::from_millis(1_683_348_064_122)),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetService {
    pub service_identifier: String,
}

impl Operation for GetService {
    const NAME: &'static str = "GetService";
    const ROUTE: Option<Route> = Some(Route::get("/services/{serviceIdentifier}", 200));
    type Output = ServiceSummary;
}

impl Handle<GetService> for Toy {
    async fn handle(&self, _: &Caller, op: GetService) -> Result<ServiceSummary, ApiError> {
        Ok(ServiceSummary {
            id: Some(op.service_identifier),
            name: None,
            auth_type: None,
            created_at: None,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UntagResource {
    pub resource_arn: String,
    pub tag_keys: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Nothing {}

impl Operation for UntagResource {
    const NAME: &'static str = "UntagResource";
    const ROUTE: Option<Route> = Some(Route::delete("/tags/{resourceArn}", 200));
    type Output = Nothing;
}

impl Handle<UntagResource> for Toy {
    async fn handle(&self, _: &Caller, op: UntagResource) -> Result<Nothing, ApiError> {
        let text = format!("{} {}", op.resource_arn, op.tag_keys.join(","));
        Err(ApiError::new("ResourceNotFoundException", 404, text))
    }
}

#[must_use]
pub fn lattice() -> Service {
    let app = Arc::new(Toy);
    Service::new(ServiceInfo {
        signing_name: "vpc-lattice",
        model: "vpc-lattice",
        version: "2022-11-30",
        xmlns: "",
        target_prefix: "",
        protocols: &[Protocol::RestJson],
    })
    .on::<CreateService>(&app)
    .on::<GetService>(&app)
    .on::<UntagResource>(&app)
}

// === json ===

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetRandomPassword {
    pub password_length: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RandomPassword {
    pub random_password: String,
}

impl Operation for GetRandomPassword {
    const NAME: &'static str = "GetRandomPassword";
    type Output = RandomPassword;
}

impl Handle<GetRandomPassword> for Toy {
    async fn handle(&self, _: &Caller, op: GetRandomPassword) -> Result<RandomPassword, ApiError> {
        let length = op.password_length.unwrap_or(32);
        let length = usize::try_from(length)
            .ok()
            .filter(|length| (1..=4096).contains(length))
            .ok_or_else(|| ApiError::new("InvalidParameterException", 400, "bad length"))?;
        Ok(RandomPassword {
            random_password: "x".repeat(length),
        })
    }
}

#[must_use]
pub fn secrets() -> Service {
    Service::new(ServiceInfo {
        signing_name: "secretsmanager",
        model: "secretsmanager",
        version: "2017-10-17",
        xmlns: "",
        target_prefix: "secretsmanager",
        protocols: &[Protocol::Json11],
    })
    .on::<GetRandomPassword>(&Arc::new(Toy))
}

// === json 1.0, query and CBOR at once ===

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dimension {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricDatum {
    pub metric_name: String,
    #[serde(default)]
    pub dimensions: Vec<Dimension>,
    pub timestamp: Option<Timestamp>,
    pub value: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutMetricData {
    pub namespace: String,
    #[serde(default)]
    pub metric_data: Vec<MetricDatum>,
}

impl Operation for PutMetricData {
    const NAME: &'static str = "PutMetricData";
    type Output = ();
}

impl Handle<PutMetricData> for Toy {
    async fn handle(&self, _: &Caller, op: PutMetricData) -> Result<(), ApiError> {
        let valued = |datum: &MetricDatum| {
            datum.value.is_some()
                && datum
                    .timestamp
                    .is_none_or(|t| t.as_millis() == 1_500_000_000_000)
                && datum
                    .dimensions
                    .iter()
                    .all(|d| d.name.len() <= d.value.len())
                && datum.metric_name.starts_with('m')
        };
        if op.namespace == "Toy" && op.metric_data.iter().all(valued) {
            Ok(())
        } else {
            Err(ApiError::new("InvalidParameterValue", 400, "not as sent"))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetMetricStatistics {
    pub namespace: String,
    pub metric_name: String,
    pub start_time: Timestamp,
    #[serde(default)]
    pub statistics: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Datapoint {
    pub timestamp: Timestamp,
    pub sum: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statistics {
    pub label: String,
    pub datapoints: Vec<Datapoint>,
}

impl Operation for GetMetricStatistics {
    const NAME: &'static str = "GetMetricStatistics";
    type Output = Statistics;
}

impl Handle<GetMetricStatistics> for Toy {
    async fn handle(&self, _: &Caller, op: GetMetricStatistics) -> Result<Statistics, ApiError> {
        if op.namespace == "None" {
            return Err(
                ApiError::new("DashboardNotFoundError", 404, "no such thing")
                    .with_query_code("ResourceNotFound"),
            );
        }
        Ok(Statistics {
            label: format!("{} {}", op.metric_name, op.statistics.join(",")),
            datapoints: vec![Datapoint {
                timestamp: op.start_time,
                sum: 1.5,
            }],
        })
    }
}

#[must_use]
pub fn cloudwatch() -> Service {
    let app = Arc::new(Toy);
    Service::new(ServiceInfo {
        signing_name: "monitoring",
        model: "cloudwatch",
        version: "2010-08-01",
        xmlns: "http://monitoring.amazonaws.com/doc/2010-08-01/",
        target_prefix: "GraniteServiceVersion20100801",
        protocols: &[Protocol::RpcV2Cbor, Protocol::Json10, Protocol::Query],
    })
    .on::<PutMetricData>(&app)
    .on::<GetMetricStatistics>(&app)
}

/// A blob member, so that the newtype is exercised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub data: Blob,
}

#[must_use]
pub fn all() -> Vec<Service> {
    vec![ec2(), sts(), lattice(), secrets(), cloudwatch()]
}
