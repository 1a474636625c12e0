//! Operations called as the server calls them, over a real archive.

mod groups;
mod metrics;
mod permissions;

use std::sync::Arc;

use lath_clock::ManualClock;
use lath_control::Cell;
use lath_feed::telemetry::{AccessLog, LogLines, MetricSample, Sink as _};
use lath_model::Timestamp;
use lath_wire::{ApiError, Caller, Handle, Operation, Principal};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::logs::api as logs;
use crate::monitoring::api as cw;
use crate::{CloudWatch, Delivery, Limits, sweep};

struct Lab {
    cloudwatch: Arc<CloudWatch>,
    directory: tempfile::TempDir,
    limits: Limits,
}

impl Lab {
    fn new() -> Self {
        Self::with(Limits {
            series: 50,
            ..Limits::default()
        })
    }

    fn with(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cloudwatch = CloudWatch::open(cell(), directory.path(), limits).unwrap();
        Self {
            cloudwatch,
            directory,
            limits,
        }
    }

    /// Opens the archive anew, as after a restart, under the same control state.
    fn reopened(self) -> Self {
        let cell = self.cloudwatch.cell.clone();
        drop(self.cloudwatch);
        let cloudwatch = CloudWatch::open(cell, self.directory.path(), self.limits).unwrap();
        Self {
            cloudwatch,
            directory: self.directory,
            limits: self.limits,
        }
    }

    async fn call<Op: Operation>(&self, input: Value) -> Result<Value, ApiError>
    where
        CloudWatch: Handle<Op>,
    {
        let op: Op = serde_json::from_value(input).expect("the test's input decodes");
        let output = self.cloudwatch.handle(&caller(), op).await?;
        Ok(serde_json::to_value(output).unwrap())
    }

    async fn refused<Op: Operation>(&self, input: Value) -> (String, Option<&'static str>, u16)
    where
        CloudWatch: Handle<Op>,
    {
        let error = self
            .call::<Op>(input.clone())
            .await
            .expect_err(&format!("{} {input}", Op::NAME));
        (error.code.into_owned(), error.query_code, error.status)
    }
}

fn caller() -> Caller {
    Caller {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        service: "logs".into(),
        principal: Principal {
            arn: "arn:aws:iam::123456789012:root".into(),
            user_id: "1".into(),
        },
        access_key_id: "AKIA".into(),
        request_id: "r".into(),
        source_ip: None,
        from_vpc: None,
    }
}

/// When tests happen.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn now() -> i64 {
    NOW.as_millis()
}

fn cell() -> Cell {
    Cell::for_test_at(ManualClock::at(NOW).clock()).0
}

fn sum_of(name: &str) -> Value {
    json!({"Namespace": "N", "MetricName": name, "StartTime": now() - 3_600_000,
           "EndTime": now() + 60_000, "Period": 3600, "Statistics": ["Sum", "SampleCount"]})
}

fn total(reply: &Value, member: &str) -> f64 {
    reply["Datapoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p[member].as_f64().unwrap())
        .sum()
}

#[tokio::test]
async fn metrics_that_were_put_are_read_after_a_restart() {
    let lab = Lab::new();
    let data = json!([
        {"MetricName": "M", "Value": 2.0},
        {"MetricName": "M", "Values": [1.0, 4.0], "Counts": [3.0, 1.0]},
        {"MetricName": "M", "StatisticValues": {"SampleCount": 2.0, "Sum": 5.0, "Minimum": 1.0, "Maximum": 4.0}},
        {"MetricName": "M", "Value": 100.0, "Dimensions": [{"Name": "D", "Value": "v"}]},
    ]);
    lab.call::<cw::PutMetricData>(json!({"Namespace": "N", "MetricData": data}))
        .await
        .unwrap();
    let lab = lab.reopened();
    let reply = lab
        .call::<cw::GetMetricStatistics>(sum_of("M"))
        .await
        .unwrap();
    assert_eq!(
        (total(&reply, "Sum"), total(&reply, "SampleCount")),
        (14.0, 7.0)
    );
    let listed = lab
        .call::<cw::ListMetrics>(json!({"Namespace": "N"}))
        .await
        .unwrap();
    assert_eq!(listed["Metrics"].as_array().unwrap().len(), 2);
    let filter = json!({"Dimensions": [{"Name": "D"}]});
    let listed = lab.call::<cw::ListMetrics>(filter).await.unwrap();
    assert_eq!(listed["Metrics"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_period_longer_than_the_span_begins_where_the_span_does() {
    let lab = Lab::new();
    let start = now() / 3_600_000 * 3_600_000 - 1_800_000;
    let data = json!([{"MetricName": "M", "Value": 3.0, "Timestamp": start + 60_000}]);
    lab.call::<cw::PutMetricData>(json!({"Namespace": "N", "MetricData": data}))
        .await
        .unwrap();
    let mut question = sum_of("M");
    question["StartTime"] = start.into();
    question["EndTime"] = (start + 600_000).into();
    let reply = lab.call::<cw::GetMetricStatistics>(question).await.unwrap();
    assert_eq!(total(&reply, "Sum"), 3.0, "{reply}");
}

#[tokio::test]
async fn metric_data_comes_in_pages_in_either_direction() {
    let lab = Lab::new();
    for minutes in 0..5 {
        let at = now() - minutes * 60_000;
        let data = json!([{"MetricName": "M", "Value": 1.0 + minutes as f64, "Timestamp": at}]);
        lab.call::<cw::PutMetricData>(json!({"Namespace": "N", "MetricData": data}))
            .await
            .unwrap();
    }
    let stat =
        json!({"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"});
    for (scan, want) in [
        ("TimestampDescending", [1.0, 2.0, 3.0, 4.0, 5.0]),
        ("TimestampAscending", [5.0, 4.0, 3.0, 2.0, 1.0]),
    ] {
        let mut values = Vec::new();
        let mut token = Value::Null;
        loop {
            let reply = lab.call::<cw::GetMetricData>(json!({
                "MetricDataQueries": [{"Id": "a", "MetricStat": stat}], "ScanBy": scan, "MaxDatapoints": 2,
                "StartTime": now() - 3_600_000, "EndTime": now() + 60_000, "NextToken": token,
            })).await.unwrap();
            let page = reply["MetricDataResults"][0]["Values"]
                .as_array()
                .unwrap()
                .clone();
            values.extend(page.iter().map(|v| v.as_f64().unwrap()));
            token = reply["NextToken"].clone();
            if token.is_null() {
                break;
            }
        }
        assert_eq!(values, want, "{scan}");
    }
}

#[tokio::test]
async fn bad_metric_calls_get_cloudwatchs_errors() {
    let lab = Lab::new();
    let put = |datum: Value| json!({"Namespace": "N", "MetricData": [datum]});
    let value = (
        "InvalidParameterValueException".to_owned(),
        Some("InvalidParameterValue"),
        400,
    );
    let missing = (
        "MissingRequiredParameterException".to_owned(),
        Some("MissingParameter"),
        400,
    );
    let combination = (
        "InvalidParameterCombinationException".to_owned(),
        Some("InvalidParameterCombination"),
        400,
    );
    for (input, want) in [
        (
            json!({"Namespace": "AWS/X", "MetricData": [{"MetricName": "M", "Value": 1.0}]}),
            &value,
        ),
        (
            json!({"Namespace": ":", "MetricData": [{"MetricName": "M", "Value": 1.0}]}),
            &value,
        ),
        (json!({"Namespace": "N"}), &missing),
        (put(json!({"MetricName": "M"})), &missing),
        (put(json!({"MetricName": "", "Value": 1.0})), &value),
        (put(json!({"MetricName": "M", "Value": 1e200})), &value),
        (
            put(json!({"MetricName": "M", "Value": 1.0, "StorageResolution": 5})),
            &value,
        ),
        (
            put(json!({"MetricName": "M", "Value": 1.0, "Timestamp": 1000})),
            &value,
        ),
        (
            put(json!({"MetricName": "M", "Value": 1.0, "Values": [1.0]})),
            &combination,
        ),
        (
            put(json!({"MetricName": "M", "Values": [1.0], "Counts": [1.0, 2.0]})),
            &value,
        ),
    ] {
        assert_eq!(
            lab.refused::<cw::PutMetricData>(input.clone()).await,
            *want,
            "{input}"
        );
    }
    let statistics = |change: Value| {
        let mut input = sum_of("M");
        input
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        input
    };
    for (input, want) in [
        (statistics(json!({"Period": 61})), &value),
        (statistics(json!({"Statistics": []})), &combination),
        (
            statistics(json!({"ExtendedStatistics": ["p99"]})),
            &combination,
        ),
        (
            statistics(json!({"Statistics": [], "ExtendedStatistics": ["q99"]})),
            &value,
        ),
        (statistics(json!({"EndTime": 0})), &value),
        (
            statistics(json!({"StartTime": now() - 90_000_000, "Period": 60})),
            &combination,
        ),
    ] {
        assert_eq!(
            lab.refused::<cw::GetMetricStatistics>(input.clone()).await,
            *want,
            "{input}"
        );
    }
    let query = |query: Value| json!({"MetricDataQueries": [query], "StartTime": 0, "EndTime": 1});
    for input in [
        query(json!({"Id": "A", "Expression": "1"})),
        query(json!({"Id": "a", "Expression": "1"})),
        query(json!({"Id": "a"})),
    ] {
        assert_eq!(
            lab.refused::<cw::GetMetricData>(input).await.0,
            "ValidationError"
        );
    }
    let token = json!({"NextToken": "?"});
    assert_eq!(
        lab.refused::<cw::ListMetrics>(token.clone()).await.0,
        "InvalidNextToken"
    );
    assert_eq!(
        lab.refused::<cw::ListDashboards>(token).await.0,
        "InvalidNextToken"
    );
}

#[tokio::test]
async fn series_are_bounded() {
    let lab = Lab::new();
    let data: Vec<Value> = (0..51)
        .map(|n| json!({"MetricName": format!("M{n}"), "Value": 1.0}))
        .collect();
    let input = json!({"Namespace": "N", "MetricData": data});
    assert_eq!(
        lab.refused::<cw::PutMetricData>(input).await.0,
        "LimitExceededFault"
    );
    let listed = lab.call::<cw::ListMetrics>(json!({})).await.unwrap();
    assert_eq!(listed["Metrics"], json!([]));
}

#[tokio::test]
async fn dashboards_live_and_die() {
    let lab = Lab::new();
    let body = r#"{"widgets":[]}"#;
    let put = json!({"DashboardName": "d-1", "DashboardBody": body});
    let reply = lab.call::<cw::PutDashboard>(put).await.unwrap();
    assert_eq!(reply["DashboardValidationMessages"], json!([]));
    let got = lab
        .call::<cw::GetDashboard>(json!({"DashboardName": "d-1"}))
        .await
        .unwrap();
    assert_eq!(got["DashboardBody"], body);
    assert_eq!(
        got["DashboardArn"],
        "arn:aws:cloudwatch::123456789012:dashboard/d-1"
    );
    let listed = lab
        .call::<cw::ListDashboards>(json!({"DashboardNamePrefix": "d-"}))
        .await
        .unwrap();
    assert_eq!(listed["DashboardEntries"][0]["Size"], body.len());
    let invalid = |code: &str, query_code| (code.to_owned(), Some(query_code), 400);
    for (input, want) in [
        (
            json!({"DashboardName": "d 1", "DashboardBody": body}),
            invalid("InvalidParameterValueException", "InvalidParameterValue"),
        ),
        (
            json!({"DashboardName": "d", "DashboardBody": "{"}),
            invalid("DashboardInvalidInputError", "InvalidParameterInput"),
        ),
    ] {
        assert_eq!(lab.refused::<cw::PutDashboard>(input).await, want);
    }
    let missing = (
        "DashboardNotFoundError".to_owned(),
        Some("ResourceNotFound"),
        404,
    );
    let gone = json!({"DashboardNames": ["d-1"]});
    lab.call::<cw::DeleteDashboards>(gone.clone())
        .await
        .unwrap();
    assert_eq!(lab.refused::<cw::DeleteDashboards>(gone).await, missing);
    assert_eq!(
        lab.refused::<cw::GetDashboard>(json!({"DashboardName": "d-1"}))
            .await,
        missing
    );
}

#[tokio::test]
async fn log_events_are_read_both_ways_and_survive_a_restart() {
    let lab = Lab::new();
    lab.call::<logs::CreateLogGroup>(json!({"logGroupName": "/g"}))
        .await
        .unwrap();
    lab.call::<logs::CreateLogStream>(json!({"logGroupName": "/g", "logStreamName": "s"}))
        .await
        .unwrap();
    let base = now() - 10_000;
    let events: Vec<Value> = (0..5)
        .map(|n| json!({"timestamp": base + n, "message": format!("event {n}")}))
        .collect();
    let put = json!({"logGroupName": "/g", "logStreamName": "s", "logEvents": events});
    lab.call::<logs::PutLogEvents>(put).await.unwrap();
    let lab = lab.reopened();
    for (from_head, token, order) in [
        (true, "nextForwardToken", ["event 0", "event 2", "event 4"]),
        (
            false,
            "nextBackwardToken",
            ["event 3", "event 1", "event 0"],
        ),
    ] {
        let mut input = json!({"logGroupName": "/g", "logStreamName": "s", "limit": 2, "startFromHead": from_head});
        let mut firsts = Vec::new();
        loop {
            let page = lab.call::<logs::GetLogEvents>(input.clone()).await.unwrap();
            if page["events"].as_array().unwrap().is_empty() {
                assert_eq!(
                    page[token], input["nextToken"],
                    "an empty page answers the same token"
                );
                break;
            }
            firsts.push(page["events"][0]["message"].clone());
            input["nextToken"] = page[token].clone();
        }
        assert_eq!(firsts, order);
    }
    let filter = json!({"logGroupName": "/g", "filterPattern": "\"event 3\""});
    let found = lab.call::<logs::FilterLogEvents>(filter).await.unwrap();
    assert_eq!(found["events"].as_array().unwrap().len(), 1);
    assert_eq!(found["events"][0]["logStreamName"], "s");
}

#[tokio::test]
async fn a_deleted_groups_events_are_gone_for_a_new_one_of_its_name_and_swept() {
    let lab = Lab::new();
    for _ in 0..2 {
        lab.call::<logs::CreateLogGroup>(json!({"logGroupName": "g"}))
            .await
            .unwrap();
        lab.call::<logs::CreateLogStream>(json!({"logGroupName": "g", "logStreamName": "s"}))
            .await
            .unwrap();
        let found = lab
            .call::<logs::FilterLogEvents>(json!({"logGroupName": "g"}))
            .await
            .unwrap();
        assert_eq!(found["events"], json!([]));
        let event = json!([{"timestamp": now(), "message": "x"}]);
        let put = json!({"logGroupName": "g", "logStreamName": "s", "logEvents": event});
        lab.call::<logs::PutLogEvents>(put).await.unwrap();
        lab.call::<logs::DeleteLogGroup>(json!({"logGroupName": "g"}))
            .await
            .unwrap();
    }
    sweep(&lab.cloudwatch).await.unwrap();
    assert_eq!(
        lab.cloudwatch.archive.groups_held().unwrap(),
        Vec::<u64>::new()
    );
}

#[tokio::test]
async fn retention_and_the_bound_remove_old_events() {
    let lab = Lab::with(Limits {
        log_bytes: 2_000,
        ..Limits::default()
    });
    lab.call::<logs::CreateLogGroup>(json!({"logGroupName": "g"}))
        .await
        .unwrap();
    lab.call::<logs::CreateLogStream>(json!({"logGroupName": "g", "logStreamName": "s"}))
        .await
        .unwrap();
    let put = |at: i64, message: String| json!({"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": at, "message": message}]});
    lab.call::<logs::PutLogEvents>(put(now() - 3 * 86_400_000, "old".into()))
        .await
        .unwrap();
    lab.call::<logs::PutLogEvents>(put(now(), "new".into()))
        .await
        .unwrap();
    lab.call::<logs::PutRetentionPolicy>(json!({"logGroupName": "g", "retentionInDays": 1}))
        .await
        .unwrap();
    sweep(&lab.cloudwatch).await.unwrap();
    let left = lab
        .call::<logs::FilterLogEvents>(json!({"logGroupName": "g"}))
        .await
        .unwrap();
    assert_eq!(left["events"].as_array().unwrap().len(), 1);
    for minutes in 0..60 {
        lab.call::<logs::PutLogEvents>(put(now() - (60 - minutes) * 60_000, "x".repeat(100)))
            .await
            .unwrap();
    }
    sweep(&lab.cloudwatch).await.unwrap();
    let left = lab
        .call::<logs::FilterLogEvents>(json!({"logGroupName": "g"}))
        .await
        .unwrap();
    let kept = left["events"].as_array().unwrap().len();
    assert!((1..=20).contains(&kept), "{kept} events are left");
    let groups = lab
        .call::<logs::DescribeLogGroups>(json!({}))
        .await
        .unwrap();
    assert!(
        groups["logGroups"][0]["storedBytes"].as_i64().unwrap() <= 2_500,
        "{groups}"
    );
}

#[tokio::test]
async fn bad_log_calls_get_the_services_errors() {
    let lab = Lab::new();
    lab.call::<logs::CreateLogGroup>(json!({"logGroupName": "g"}))
        .await
        .unwrap();
    let code = |answer: (String, Option<&'static str>, u16)| {
        assert_eq!(answer.2, 400);
        answer.0
    };
    let (bad, none, there) = (
        "InvalidParameterException",
        "ResourceNotFoundException",
        "ResourceAlreadyExistsException",
    );
    assert_eq!(
        code(
            lab.refused::<logs::CreateLogGroup>(json!({"logGroupName": "g"}))
                .await
        ),
        there
    );
    assert_eq!(
        code(
            lab.refused::<logs::DeleteLogGroup>(json!({"logGroupName": "x"}))
                .await
        ),
        none
    );
    let retention = json!({"logGroupName": "g", "retentionInDays": 2});
    assert_eq!(
        code(lab.refused::<logs::PutRetentionPolicy>(retention).await),
        bad
    );
    assert_eq!(
        code(
            lab.refused::<logs::DeleteRetentionPolicy>(json!({"logGroupName": "x"}))
                .await
        ),
        none
    );
    let stream =
        |group: &str, stream: &str| json!({"logGroupName": group, "logStreamName": stream});
    assert_eq!(
        code(lab.refused::<logs::CreateLogStream>(stream("x", "s")).await),
        none
    );
    assert_eq!(
        code(lab.refused::<logs::DeleteLogStream>(stream("g", "s")).await),
        none
    );
    assert_eq!(
        code(lab.refused::<logs::GetLogEvents>(stream("g", "s")).await),
        none
    );
    let mut put = stream("g", "s");
    put["logEvents"] = json!([{"timestamp": now(), "message": "m"}]);
    assert_eq!(
        code(lab.refused::<logs::PutLogEvents>(put.clone()).await),
        none
    );
    put["logEvents"] = json!([{"timestamp": 2, "message": "m"}, {"timestamp": 1, "message": "m"}]);
    assert_eq!(code(lab.refused::<logs::PutLogEvents>(put).await), bad);
    let filter = json!({"logGroupName": "g", "filterPattern": "{"});
    assert_eq!(
        code(lab.refused::<logs::FilterLogEvents>(filter).await),
        bad
    );
    let both = json!({"logGroupName": "g", "logGroupIdentifier": "g"});
    assert_eq!(
        code(lab.refused::<logs::FilterLogEvents>(both).await),
        "ValidationException"
    );
    assert_eq!(
        code(
            lab.refused::<logs::DescribeLogStreams>(json!({"logGroupName": "x"}))
                .await
        ),
        none
    );
    let arn = json!({"resourceArn": "arn:aws:logs:us-east-1:123456789012:log-group:x"});
    assert_eq!(
        code(lab.refused::<logs::ListTagsForResource>(arn).await),
        none
    );
}

#[tokio::test]
async fn what_a_data_plane_reports_arrives() {
    let lab = Lab::new();
    lab.call::<logs::CreateLogGroup>(json!({"logGroupName": "/aws/vpc-lattice/mesh"}))
        .await
        .unwrap();
    let (delivery, writer) = Delivery::new(Arc::clone(&lab.cloudwatch));
    delivery.access_log(record());
    delivery.log_lines(LogLines {
        group: "/aws/eks/blue/cluster".into(),
        stream: "kube-apiserver-0123".into(),
        at: NOW,
        lines: vec!["one".into(), "two".into()],
    });
    delivery.metric(MetricSample {
        namespace: "AWS/VpcLattice".into(),
        name: "TotalRequestCount".into(),
        dimensions: vec![("Service".into(), "svc-1".into())],
        unit: "Count",
        at: NOW,
        count: 3.0,
        sum: 3.0,
        min: 1.0,
        max: 1.0,
        values: Vec::new(),
    });
    let stop = CancellationToken::new();
    stop.cancel();
    writer.run(stop).await;
    let filter = json!({"logGroupName": "/aws/vpc-lattice/mesh", "filterPattern": "\"svc-1\""});
    let found = lab.call::<logs::FilterLogEvents>(filter).await.unwrap();
    let message: Value =
        serde_json::from_str(found["events"][0]["message"].as_str().unwrap()).unwrap();
    assert_eq!(message["responseCode"], 200);
    assert_eq!(message["targetIpPort"], "10.1.1.10:9090");
    let filter = json!({"logGroupName": "/aws/eks/blue/cluster"});
    let found = lab.call::<logs::FilterLogEvents>(filter).await.unwrap();
    assert_eq!(found["events"][1]["message"], "two");
    assert_eq!(found["events"][1]["logStreamName"], "kube-apiserver-0123");
    let statistics = json!({"Namespace": "AWS/VpcLattice", "MetricName": "TotalRequestCount", "Period": 300,
        "Dimensions": [{"Name": "Service", "Value": "svc-1"}], "Statistics": ["Sum", "SampleCount"],
        "StartTime": now() - 7_200_000, "EndTime": now() + 300_000});
    let reply = lab
        .call::<cw::GetMetricStatistics>(statistics)
        .await
        .unwrap();
    assert_eq!(total(&reply, "Sum"), 3.0);
    assert_eq!(delivery.dropped(), 0);
}

fn record() -> AccessLog {
    AccessLog {
        destinations: vec![
            "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vpc-lattice/mesh".into(),
        ],
        start_time: NOW,
        request_id: "id".into(),
        service_network_arn: Some("arn:sn/sn-1".into()),
        service_arn: Some("arn:service/svc-1".into()),
        listener: None,
        target_group_arn: None,
        source_vpc: "vpc-0123456789abcdef0".parse().unwrap(),
        source_vpc_arn: "arn:vpc".into(),
        destination_vpc: None,
        source: "10.0.1.10:40000".parse().unwrap(),
        target: Some("10.1.1.10:9090".parse().unwrap()),
        host: Some("h".into()),
        method: "GET".into(),
        path: "/".into(),
        user_agent: None,
        protocol: "HTTP/1.1",
        tls_version: None,
        ssl_cipher: None,
        server_name: None,
        auth_denied_by: None,
        resolved_user: None,
        caller_principal: None,
        caller_tags: Default::default(),
        response_code: 200,
        grpc_response_code: None,
        failure_reason: None,
        bytes_received: 1,
        bytes_sent: 2,
        duration_ms: 3,
        request_to_target_ms: 1,
        response_from_target_ms: 1,
        rule: None,
    }
}
