//! Log groups and what names them.

use super::*;

async fn with_group() -> Lab {
    let lab = Lab::new();
    lab.call::<logs::CreateLogGroup>(json!({"logGroupName": "g", "tags": {"a": "b"}}))
        .await
        .unwrap();
    lab.call::<logs::CreateLogStream>(json!({"logGroupName": "g", "logStreamName": "s"}))
        .await
        .unwrap();
    lab
}

/// The ARN of the group, as DescribeLogGroups gives it without `:*`.
async fn arn(lab: &Lab) -> String {
    let groups = lab
        .call::<logs::DescribeLogGroups>(json!({}))
        .await
        .unwrap();
    groups["logGroups"][0]["logGroupArn"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_group_is_named_by_name_or_arn_but_not_by_both() {
    let lab = with_group().await;
    let arn = arn(&lab).await;
    let elsewhere = arn.replace("us-east-1", "eu-west-1");
    assert_ne!(elsewhere, arn);
    for (input, want) in [
        (json!({"logGroupName": "g"}), Ok(())),
        (json!({"logGroupIdentifier": "g"}), Ok(())),
        (json!({"logGroupIdentifier": arn}), Ok(())),
        (
            json!({"logGroupIdentifier": elsewhere}),
            Err("ResourceNotFoundException"),
        ),
        (
            json!({"logGroupName": "g", "logGroupIdentifier": "g"}),
            Err("ValidationException"),
        ),
        (json!({}), Err("ValidationException")),
    ] {
        let got = lab.call::<logs::DescribeLogStreams>(input.clone()).await;
        if let Ok(reply) = &got {
            let stream = reply["logStreams"][0].as_object().unwrap();
            let mut members: Vec<_> = stream
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, _)| name.as_str())
                .collect();
            members.sort_unstable();
            assert_eq!(
                members,
                ["arn", "creationTime", "logStreamName", "storedBytes"]
            );
        }
        let got = got.map(drop).map_err(|error| error.code.into_owned());
        assert_eq!(got, want.map_err(str::to_owned), "{input}");
    }
}

#[tokio::test]
async fn tags_are_the_same_by_name_and_by_arn() {
    let lab = with_group().await;
    let arn = arn(&lab).await;
    let tag = json!({"resourceArn": arn, "tags": {"c": "d"}});
    lab.call::<logs::TagResource>(tag).await.unwrap();
    let tag = json!({"logGroupName": "g", "tags": {"e": "f"}});
    lab.call::<logs::TagLogGroup>(tag).await.unwrap();
    let untag = json!({"logGroupName": "g", "tags": ["a"]});
    lab.call::<logs::UntagLogGroup>(untag).await.unwrap();
    let untag = json!({"resourceArn": arn, "tagKeys": ["c"]});
    lab.call::<logs::UntagResource>(untag).await.unwrap();
    let by_name = json!({"logGroupName": "g"});
    let by_name = lab.call::<logs::ListTagsLogGroup>(by_name).await.unwrap();
    let by_arn = json!({"resourceArn": arn});
    let by_arn = lab.call::<logs::ListTagsForResource>(by_arn).await.unwrap();
    assert_eq!((&by_name, &by_name["tags"]), (&by_arn, &json!({"e": "f"})));
    let missing = json!({"logGroupName": "x"});
    assert_eq!(
        lab.refused::<logs::ListTagsLogGroup>(missing).await.0,
        "ResourceNotFoundException"
    );
    let many: serde_json::Map<String, Value> =
        (0..50).map(|n| (n.to_string(), json!("v"))).collect();
    let many = json!({"logGroupName": "g", "tags": many});
    assert_eq!(
        lab.refused::<logs::TagLogGroup>(many).await.0,
        "InvalidParameterException"
    );
}

#[tokio::test]
async fn a_protected_group_and_its_streams_stay() {
    let lab = with_group().await;
    let protect = |on: bool| json!({"logGroupIdentifier": "g", "deletionProtectionEnabled": on});
    lab.call::<logs::PutLogGroupDeletionProtection>(protect(true))
        .await
        .unwrap();
    let described = lab
        .call::<logs::DescribeLogGroups>(json!({}))
        .await
        .unwrap();
    assert_eq!(
        described["logGroups"][0]["deletionProtectionEnabled"],
        json!(true)
    );
    let (group, stream) = (
        json!({"logGroupName": "g"}),
        json!({"logGroupName": "g", "logStreamName": "s"}),
    );
    assert_eq!(
        lab.refused::<logs::DeleteLogGroup>(group.clone()).await.0,
        "ValidationException"
    );
    assert_eq!(
        lab.refused::<logs::DeleteLogStream>(stream).await.0,
        "ValidationException"
    );
    lab.call::<logs::PutLogGroupDeletionProtection>(protect(false))
        .await
        .unwrap();
    lab.call::<logs::DeleteLogGroup>(group).await.unwrap();
}

#[tokio::test]
async fn an_entity_is_rejected_and_its_events_are_kept() {
    let lab = with_group().await;
    let put = json!({"logGroupName": "g", "logStreamName": "s", "entity": {"keyAttributes": {"Type": "Service", "Name": "web"}},
        "logEvents": [{"timestamp": now(), "message": "m"}]});
    let reply = lab.call::<logs::PutLogEvents>(put).await.unwrap();
    assert_eq!(
        reply["rejectedEntityInfo"]["errorType"],
        "UnsupportedLogGroupType"
    );
    let got = lab
        .call::<logs::FilterLogEvents>(json!({"logGroupName": "g"}))
        .await
        .unwrap();
    assert_eq!(got["events"][0]["message"], "m");
}
