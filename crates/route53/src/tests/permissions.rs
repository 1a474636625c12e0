//! What requests need permission for.

use lath_authz::Authorized;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::shape::*;

/// What a request needs: the action, the resource, its condition keys.
#[track_caller]
fn needs<Op: Authorized + DeserializeOwned>(request: Value, want: &[&str]) {
    let op: Op = serde_json::from_value(request).unwrap();
    let view = Cell::for_test().0.db.view();
    let permissions = lath_authz::permissions(&view, &caller(), &op);
    let got: Vec<String> = permissions
        .iter()
        .map(|it| {
            let keys = it.keys.iter();
            let keys = keys.map(|(key, values)| format!(" {key}={}", values.join("+")));
            let keys: String = keys.collect();
            format!("{} {}{keys}", it.action, it.resource)
        })
        .collect();
    assert_eq!(got, want);
}

#[test]
fn every_spelling_of_a_zone_is_the_same_one() {
    let want = "route53:GetHostedZone arn:aws:route53:::hostedzone/Z0123456789ABCDEFGHIJ";
    for spelling in ["", "/hostedzone/", "hostedzone/"] {
        let id = format!("{spelling}Z0123456789ABCDEFGHIJ");
        needs::<GetHostedZone>(json!({ "Id": id }), &[want]);
    }
}

#[test]
fn a_batch_says_of_which_names_types_and_actions_it_is() {
    let change = |action: &str, name: &str, kind: &str| json!({ "Action": action, "ResourceRecordSet": { "Name": name, "Type": kind } });
    let changes = json!([
        change("UPSERT", "WWW.Example.com.", "A"),
        change("DELETE", "*.example.com", "TXT"),
        change("UPSERT", "www.example.com", "AAAA"),
    ]);
    needs::<ChangeResourceRecordSets>(
        json!({ "Id": "Z1", "ChangeBatch": { "Changes": changes } }),
        &[
            "route53:ChangeResourceRecordSets arn:aws:route53:::hostedzone/Z1 \
             route53:ChangeResourceRecordSetsActions=DELETE+UPSERT \
             route53:ChangeResourceRecordSetsNormalizedRecordNames=\\052.example.com+www.example.com \
             route53:ChangeResourceRecordSetsRecordTypes=A+AAAA+TXT",
        ],
    );
}

#[test]
fn vpcs_are_named_with_their_regions_and_tags_belong_to_a_zone_or_a_check() {
    let vpc = json!({ "VPCId": "vpc-1", "VPCRegion": "eu-west-1" });
    needs::<AssociateVPCWithHostedZone>(
        json!({ "Id": "Z1", "VPC": vpc }),
        &[
            "route53:AssociateVPCWithHostedZone arn:aws:route53:::hostedzone/Z1 \
             route53:VPCs=VPCId=vpc-1,VPCRegion=eu-west-1",
            "ec2:DescribeVpcs * ec2:Region=us-east-1",
        ],
    );
    needs::<CreateHostedZone>(
        json!({ "Name": "a.test", "CallerReference": "1" }),
        &["route53:CreateHostedZone *"],
    );
    needs::<ListTagsForResources>(
        json!({ "ResourceType": "healthcheck", "ResourceIds": ["b", "a"] }),
        &[
            "route53:ListTagsForResources arn:aws:route53:::healthcheck/a",
            "route53:ListTagsForResources arn:aws:route53:::healthcheck/b",
        ],
    );
}
