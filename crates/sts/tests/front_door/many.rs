//! A caller with many policies, and a request with many resources.

use lath_judge::Judge;
use lath_secrets::RootKey;
use lath_wire::{Ask, Authorize, Caller, Denied, Permission, Principal};

use crate::installation::*;

const COUNT: usize = 1000;

fn instance(number: usize) -> String {
    format!("arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-{number:017x}")
}

/// Attaches ten managed policies of twenty statements each to Ann. The very last statement denies one instance.
async fn attach(lath: &Installation, denied: &str) {
    for policy in 0..10 {
        let mut statements: Vec<String> = (0..19)
            .map(|index| {
                format!(
                    r#"{{"Effect":"Deny","Action":"ec2:*","Resource":"arn:aws:ec2:*:*:*/x-{policy}-{index}-*",
                    "Condition":{{"StringLike":{{"aws:ResourceTag/env":"p*"}}}}}}"#
                )
            })
            .collect();
        statements.push(match policy {
            9 => format!(r#"{{"Effect":"Deny","Action":"ec2:*","Resource":"{denied}"}}"#),
            _ => r#"{"Effect":"Allow","Action":"ec2:Stop*","Resource":"*"}"#.to_owned(),
        });
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":[{}]}}"#,
            statements.join(",")
        );
        let name = format!("many-{policy}");
        let create = [
            ("Action", "CreatePolicy"),
            ("PolicyName", &*name),
            ("PolicyDocument", &*document),
        ];
        let arn = element(&lath.iam(&lath.root, &create).await, "Arn").unwrap();
        let attach = [
            ("Action", "AttachUserPolicy"),
            ("UserName", "ann"),
            ("PolicyArn", &*arn),
        ];
        lath.iam(&lath.root, &attach).await;
    }
}

#[tokio::test]
async fn each_of_a_thousand_resources_is_decided() {
    let lath = Installation::new().await;
    let nothing =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*"}}"#;
    let ann = lath.user("ann", nothing).await;
    attach(&lath, &instance(COUNT)).await;
    let shown = lath.iam(&lath.root, &[("Action", "GetUser"), ("UserName", "ann")]);
    let shown = shown.await;
    let caller = Caller {
        account: ACCOUNT.into(),
        region: "us-east-1".into(),
        service: "ec2".into(),
        principal: Principal {
            arn: element(&shown, "Arn").unwrap(),
            user_id: element(&shown, "UserId").unwrap(),
        },
        access_key_id: ann.id.clone(),
        request_id: "r".into(),
        source_ip: None,
        from_vpc: None,
    };
    let judge = Judge::new(RootKey::random().unwrap(), ACCOUNT)
        .with_iam(lath.seal.clone(), lath.cell.clone());
    let mut permissions: Vec<Permission> = (0..COUNT)
        .map(|number| Permission {
            action: "ec2:StopInstances".into(),
            resource_type: "instance",
            resource: instance(number),
            keys: vec![("aws:ResourceTag/env".into(), vec!["test".into()])],
            known: vec![lath_authz::RESOURCE_TAG],
        })
        .collect();
    let decide = |permissions: &[Permission]| {
        judge.authorize(&Ask {
            caller: &caller,
            user_agent: None,
            operation: "StopInstances",
            permissions,
        })
    };
    assert_eq!(decide(&permissions), Ok(()));
    permissions[COUNT - 1].resource = instance(COUNT);
    let Err(Denied::ByPolicy(refusal)) = decide(&permissions) else {
        panic!("the last is denied");
    };
    let want = format!(
        "is not authorized to perform: ec2:StopInstances on resource: {} with an explicit deny",
        instance(COUNT)
    );
    assert!(refusal.message.contains(&want), "{}", refusal.message);
    // The decoded message has the request's keys and the statement, in AWS's form.
    let form = [
        ("Action", "DecodeAuthorizationMessage"),
        ("EncodedMessage", &*refusal.encoded),
    ];
    let (status, text) = lath.call(&lath.root, "sts", &form).await;
    assert_eq!(status, 200, "{text}");
    let decoded = element(&text, "DecodedMessage")
        .unwrap()
        .replace("&quot;", "\"");
    let decoded: serde_json::Value = serde_json::from_str(&decoded).unwrap();
    assert_eq!(decoded["explicitDeny"], true);
    assert_eq!(decoded["context"]["principal"]["name"], "ann");
    let conditions = decoded["context"]["conditions"]["items"]
        .as_array()
        .unwrap();
    let key = |key: &str, value: &str| serde_json::json!({"key": key, "values": {"items": [{"value": value}]}});
    for wanted in [
        key("aws:ResourceTag/env", "test"),
        key("aws:Resource", &format!("instance/i-{COUNT:017x}")),
        key("aws:Type", "instance"),
        key("aws:Region", "us-east-1"),
    ] {
        assert!(conditions.contains(&wanted), "{wanted}: {conditions:?}");
    }
    let matched = decoded["matchedStatements"]["items"].as_array().unwrap();
    assert_eq!(matched.len(), 1, "{decoded}");
    assert_eq!(matched[0]["effect"], "DENY");
    assert_eq!(
        matched[0]["resources"]["items"][0]["value"],
        instance(COUNT)
    );
}
