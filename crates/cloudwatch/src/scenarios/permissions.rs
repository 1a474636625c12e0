//! What requests need permission for, over real records.

use lath_authz::Authorized;

use super::*;

/// What a request needs: the action, the resource without its beginning, its condition keys.
#[track_caller]
fn needs<Op: Authorized>(lab: &Lab, request: Value, want: &[&str]) {
    let op: Op = serde_json::from_value(request).unwrap();
    let permissions = lath_authz::permissions(&lab.cloudwatch.cell.db.view(), &caller(), &op);
    let got: Vec<String> = permissions
        .iter()
        .map(|it| {
            let keys = it.keys.iter();
            let keys = keys.map(|(key, values)| format!(" {key}={}", values.join("+")));
            let keys: String = keys.collect();
            let resource = it
                .resource
                .replace("arn:aws:logs:us-east-1:123456789012:", "");
            format!("{} {resource}{keys}", it.action)
        })
        .collect();
    assert_eq!(got, want);
}

#[tokio::test]
async fn groups_and_streams_have_one_arn_however_they_are_named() {
    let lab = Lab::new();
    let made = json!({ "logGroupName": "/a/b", "tags": { "env": "prod" } });
    lab.call::<logs::CreateLogGroup>(made).await.unwrap();
    let arn = "arn:aws:logs:us-east-1:123456789012:log-group:/a/b";
    for identifier in [
        json!({ "logGroupName": "/a/b" }),
        json!({ "logGroupIdentifier": "/a/b" }),
        json!({ "logGroupIdentifier": arn }),
        json!({ "logGroupIdentifier": format!("{arn}:*") }),
    ] {
        needs::<logs::FilterLogEvents>(
            &lab,
            identifier.clone(),
            &["logs:FilterLogEvents log-group:/a/b:* aws:ResourceTag/env=prod"],
        );
        let mut request = identifier;
        request["logStreamName"] = json!("s");
        needs::<logs::GetLogEvents>(
            &lab,
            request,
            &["logs:GetLogEvents log-group:/a/b:log-stream:s aws:ResourceTag/env=prod"],
        );
    }
    for arn in [arn.to_owned(), arn.replace("arn:aws:", "arn:aws-cn:")] {
        needs::<logs::UntagResource>(
            &lab,
            json!({ "resourceArn": arn, "tagKeys": ["env"] }),
            &["logs:UntagResource log-group:/a/b aws:TagKeys=env aws:ResourceTag/env=prod"],
        );
    }
}

#[tokio::test]
async fn tags_of_a_new_group_need_a_permission_of_their_own() {
    let lab = Lab::new();
    needs::<logs::CreateLogGroup>(
        &lab,
        json!({ "logGroupName": "g", "tags": { "a": "b" } }),
        &[
            "logs:CreateLogGroup log-group:g:* aws:RequestTag/a=b aws:TagKeys=a",
            "logs:TagResource log-group:g aws:RequestTag/a=b aws:TagKeys=a",
        ],
    );
    needs::<logs::CreateLogGroup>(
        &lab,
        json!({ "logGroupName": "g" }),
        &["logs:CreateLogGroup log-group:g:*"],
    );
}

#[tokio::test]
async fn metrics_are_of_a_namespace_and_dashboards_of_no_region() {
    let lab = Lab::new();
    needs::<cw::PutMetricData>(
        &lab,
        json!({ "Namespace": "Shop" }),
        &["cloudwatch:PutMetricData * cloudwatch:namespace=Shop"],
    );
    needs::<cw::DeleteDashboards>(
        &lab,
        json!({ "DashboardNames": ["b", "a"] }),
        &[
            "cloudwatch:DeleteDashboards arn:aws:cloudwatch::123456789012:dashboard/a",
            "cloudwatch:DeleteDashboards arn:aws:cloudwatch::123456789012:dashboard/b",
        ],
    );
}
