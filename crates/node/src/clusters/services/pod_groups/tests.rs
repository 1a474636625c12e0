use super::*;

use std::sync::Arc;

use lath_feed::SecurityGroup;
use serde_json::Value;

fn pod(more: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "db-0", "namespace": "shop", "uid": "u", "labels": {"role": "db"},
                     "creationTimestamp": "2026-01-01T00:00:20Z"},
        "spec": {"nodeName": "ip-1"}, "status": {"phase": "Pending"},
    });
    for (path, value) in more.as_object().unwrap() {
        let (at, key) = path.rsplit_once('/').unwrap();
        pod.pointer_mut(at).unwrap()[key] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn policy(groups: &[String], made: &str) -> Policy {
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "creationTimestamp": made},
        "spec": {"podSelector": {"matchLabels": {"role": "db"}}, "securityGroups": {"groupIds": groups}},
    }))
    .unwrap()
}

#[test]
fn a_pod_gets_the_groups_of_its_policies_or_does_not_begin() {
    let vpc = VpcId::random();
    let mut snapshot = Snapshot::default();
    let mut group = |vpc: &VpcId| {
        let id = SecurityGroupId::random();
        let group = SecurityGroup {
            id: id.clone(),
            name: "g".into(),
            vpc: vpc.clone(),
            ingress: Vec::new(),
            egress: Vec::new(),
        };
        snapshot.security_groups.insert(id.clone(), Arc::new(group));
        id
    };
    let own: Vec<String> = (0..6).map(|_| group(&vpc).to_string()).collect();
    let foreign = group(&VpcId::random()).to_string();
    let decide = |groups: &[String], made: &str, pod: &Pod| {
        let policies = [policy(groups, made)];
        let rules = Rules {
            snapshot: &snapshot,
            vpc: &vpc,
            policies: &policies,
            namespaces: BTreeSet::from(["shop".to_owned()]),
            accounts: BTreeMap::new(),
        };
        rules.decide(pod)
    };
    let (early, late) = ("2026-01-01T00:00:10Z", "2026-01-01T00:00:30Z");
    let plain = pod(&json!({}));
    let two = own[..2].iter().map(|it| it.parse().unwrap()).collect();
    assert_eq!(decide(&own[..2], early, &plain), Decision::Own(two));
    let is_refused =
        |groups: &[String]| matches!(decide(groups, early, &plain), Decision::Refused(_));
    assert!(is_refused(&own));
    assert!(is_refused(&[own[0].clone(), foreign]));
    assert!(is_refused(&["sg-none".to_owned()]));
    // It came before the policy, runs already, or is of another kind or namespace.
    assert_eq!(decide(&own[..1], late, &plain), Decision::Shared);
    let marked = pod(&json!({"/metadata/annotations": {pod_groups::ASKED: "asked"}}));
    assert!(matches!(decide(&own[..1], late, &marked), Decision::Own(_)));
    let runs = pod(&json!({"/status/podIP": "10.0.1.9"}));
    assert_eq!(decide(&own[..1], early, &runs), Decision::Shared);
    let web = pod(&json!({"/metadata/labels": {"role": "web"}}));
    assert_eq!(decide(&own[..1], early, &web), Decision::Shared);
    let elsewhere = pod(&json!({"/metadata/namespace": "till"}));
    assert_eq!(decide(&own[..1], early, &elsewhere), Decision::Unasked);
}

#[test]
fn what_control_is_told_is_known_once_it_was_looked_at() {
    let decided = Decided::default();
    assert_eq!(decided.wanted(), None);
    decided.set(BTreeMap::new());
    assert_eq!(decided.wanted(), Some(BTreeMap::new()));
}

#[test]
fn a_pod_that_began_with_another_address_has_no_interface() {
    let branch = Branch {
        id: lath_model::id::NetworkInterfaceId::random(),
        pod: "u".into(),
        address: "10.0.1.9".parse().unwrap(),
        mac: "02:00:00:00:00:01".into(),
        security_groups: BTreeSet::new(),
    };
    let with = |address: &str| pod(&json!({"/status/podIP": address})).began_without(&branch);
    assert!(
        !pod(&json!({})).began_without(&branch),
        "it waits for its node"
    );
    assert!(!with(""));
    assert!(!with("10.0.1.9"));
    assert!(with("10.0.1.21"));
}
