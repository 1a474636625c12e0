//! What GetMetricStatistics, GetMetricData and DeleteDashboards answer, as recorded from CloudWatch.

use super::*;

async fn put(lab: &Lab, data: Value) {
    lab.call::<cw::PutMetricData>(json!({"Namespace": "N", "MetricData": data}))
        .await
        .unwrap();
}

/// The query of a metric `M`.
fn query(id: &str, stat: &str, period: i64, unit: Option<&str>) -> Value {
    let mut stat =
        json!({"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": period, "Stat": stat});
    if let Some(unit) = unit {
        stat["Unit"] = unit.into();
    }
    json!({"Id": id, "MetricStat": stat})
}

async fn ask(lab: &Lab, queries: Vec<Value>) -> Vec<Value> {
    let input = json!({"MetricDataQueries": queries, "StartTime": now() - 600_000, "EndTime": now() + 60_000});
    let reply = lab.call::<cw::GetMetricData>(input).await.unwrap();
    reply["MetricDataResults"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_limit_on_datapoints_is_on_what_was_asked_for() {
    let lab = Lab::new();
    // Half past a minute, so that the aligned span has one minute more.
    let start = now() / 60_000 * 60_000 - 86_400_000 - 30_000;
    for (seconds, period, fits) in [
        (86_400, 60, true),
        (86_459, 60, true),
        (86_460, 60, false),
        (1_440, 1, true),
        (1_441, 1, false),
    ] {
        let input = json!({"Namespace": "N", "MetricName": "M", "StartTime": start,
            "EndTime": start + seconds * 1000, "Period": period, "Statistics": ["Sum"]});
        let got = lab.call::<cw::GetMetricStatistics>(input).await;
        assert_eq!(got.is_ok(), fits, "{seconds} s at {period} s: {got:?}");
    }
}

#[tokio::test]
async fn labels_show_what_differs_among_the_queries() {
    let lab = Lab::new();
    for (queries, want) in [
        (vec![query("a", "Sum", 60, None)], vec!["M"]),
        (
            vec![query("a", "Sum", 60, None), query("b", "Minimum", 60, None)],
            vec!["M Sum", "M Minimum"],
        ),
        (
            vec![query("a", "Sum", 60, None), query("b", "Sum", 30, None)],
            vec!["M 60", "M 30"],
        ),
        (
            vec![query("a", "Sum", 60, None), query("b", "Minimum", 30, None)],
            vec!["M Sum 60", "M Minimum 30"],
        ),
        (
            vec![
                query("a", "Sum", 60, Some("Seconds")),
                query("b", "Sum", 60, Some("Count")),
            ],
            vec!["M", "M"],
        ),
    ] {
        let got = ask(&lab, queries).await;
        let labels: Vec<&str> = got.iter().map(|r| r["Label"].as_str().unwrap()).collect();
        assert_eq!(labels, want);
    }
}

#[tokio::test]
async fn data_of_standard_resolution_are_read_in_short_periods() {
    let lab = Lab::new();
    let at = now() / 60_000 * 60_000 - 60_000 + 45_000;
    put(
        &lab,
        json!([{"MetricName": "M", "Value": 2.0, "Timestamp": at},
               {"MetricName": "M", "Value": 5.0, "Timestamp": at}]),
    )
    .await;
    for period in [1, 30, 60] {
        let got = ask(&lab, vec![query("a", "Sum", period, None)]).await;
        assert_eq!(got[0]["Values"], json!([7.0]), "{period}");
        assert_eq!(
            got[0]["Timestamps"],
            json!([at / 60_000 * 60_000]),
            "{period}"
        );
    }
}

#[tokio::test]
async fn of_several_units_one_is_answered_and_a_message_names_all() {
    let lab = Lab::new();
    let datum = |unit: &str, value: f64| json!({"MetricName": "M", "Unit": unit, "Value": value, "Timestamp": now()});
    put(
        &lab,
        json!([datum("Seconds", 60.0), datum("Milliseconds", 60_000.0)]),
    )
    .await;
    let got = ask(&lab, vec![query("a", "Sum", 60, None)]).await;
    assert_eq!(got[0]["Values"], json!([60_000.0]));
    let said = |text: &str| json!([{"Code": "MultipleUnits", "Value": text}]);
    assert_eq!(
        got[0]["Messages"],
        said("Multiple units returned: '[Milliseconds, Seconds]'")
    );
    put(&lab, json!([datum("Count", 5.0)])).await;
    let got = ask(
        &lab,
        vec![
            query("a", "Sum", 60, None),
            query("b", "Sum", 60, Some("Seconds")),
        ],
    )
    .await;
    assert_eq!(
        (&got[0]["Values"], &got[0]["Messages"]),
        (
            &json!([5.0]),
            &said("Multiple units returned: '[Count, Milliseconds, Seconds]'")
        )
    );
    assert_eq!(
        (&got[1]["Values"], &got[1]["Messages"]),
        (&json!([60.0]), &Value::Null)
    );
}

#[tokio::test]
async fn queries_are_refused_in_cloudwatchs_words() {
    let lab = Lab::new();
    let minute = now() / 60_000 * 60_000;
    let input = |queries: Vec<Value>, start, end| json!({"MetricDataQueries": queries, "StartTime": start, "EndTime": end});
    let fine = || vec![query("a", "Sum", 60, None)];
    for (input, want) in [
        (
            input(fine(), minute + 20, minute + 987),
            "The parameter StartTime must not equal parameter EndTime.",
        ),
        (
            input(fine(), minute, minute - 1000),
            "The parameter EndTime must be greater than StartTime.",
        ),
        (
            input(
                vec![
                    query("a", "None", 60, None),
                    query("b", "Sum", 60, None),
                    query("c", "p101", 60, None),
                ],
                0,
                minute,
            ),
            "The value None for parameter MetricDataQueries.member.1.MetricStat.Stat is not a valid statistic.\nThe value p101 for parameter MetricDataQueries.member.3.MetricStat.Stat is not a valid statistic.",
        ),
    ] {
        let error = lab.call::<cw::GetMetricData>(input).await.unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.message.as_str()),
            ("ValidationError", want)
        );
    }
}

#[tokio::test]
async fn dashboards_are_deleted_all_or_none() {
    let lab = Lab::new();
    for name in ["d-1", "d-2"] {
        let put = json!({"DashboardName": name, "DashboardBody": r#"{"widgets":[]}"#});
        lab.call::<cw::PutDashboard>(put).await.unwrap();
    }
    let missing = json!({"DashboardNames": ["d-1", "nope", "d-2"]});
    assert_eq!(
        lab.refused::<cw::DeleteDashboards>(missing).await.0,
        "DashboardNotFoundError"
    );
    let count = |listed: &Value| listed["DashboardEntries"].as_array().unwrap().len();
    let listed = lab.call::<cw::ListDashboards>(json!({})).await.unwrap();
    assert_eq!(count(&listed), 2);
    let all = json!({"DashboardNames": ["d-1", "d-2", "d-1"]});
    lab.call::<cw::DeleteDashboards>(all).await.unwrap();
    let listed = lab.call::<cw::ListDashboards>(json!({})).await.unwrap();
    assert_eq!(count(&listed), 0);
}
