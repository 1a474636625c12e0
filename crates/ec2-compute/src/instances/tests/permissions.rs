//! What requests need permission for: named anywhere in them, or taken by default.

use lath_authz::Authorized;
use lath_iam::records::{InstanceProfile as Profile, Role};
use lath_wire::Permission;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::instances::profiles::{
    AssociateIamInstanceProfile, DisassociateIamInstanceProfile,
    ReplaceIamInstanceProfileAssociation,
};

fn asked<Op: Authorized + DeserializeOwned>(lab: &Lab, request: Value) -> Vec<Permission> {
    let op: Op = serde_json::from_value(request).unwrap();
    lath_authz::permissions(&lab.app.cell.db.view(), &caller(), &op)
}

/// `ec2:RunInstances subnet/subnet-1`, in the order of the statement.
fn short(permissions: &[Permission]) -> Vec<String> {
    let line = |it: &Permission| {
        let resource = it.resource.rsplit_once(':').map_or("*", |(_, name)| name);
        format!("{} {resource}", it.action)
    };
    permissions.iter().map(line).collect()
}

fn values<'a>(permission: &'a Permission, key: &str) -> Vec<&'a str> {
    let pairs = permission.keys.iter().filter(|(name, _)| name == key);
    pairs
        .flat_map(|(_, values)| values)
        .map(String::as_str)
        .collect()
}

fn find<'a>(permissions: &'a [Permission], resource_type: &str) -> Vec<&'a Permission> {
    let own = permissions.iter();
    own.filter(|it| it.resource_type == resource_type && it.action != "ec2:CreateTags")
        .collect()
}

impl Lab {
    /// Makes the lab's VPC and subnet the default ones.
    async fn become_default(&self) {
        let subnet = self.subnet.to_string();
        let written = lath_service::run::change(&*self.app, None, |tx| {
            let subnet = tx.update::<Subnet>(&subnet, |it| it.default_for_az = true);
            let vpc = subnet.unwrap().vpc.to_string();
            tx.update::<Vpc>(&vpc, |it| it.is_default = true);
            Ok(())
        });
        written.await.unwrap();
    }

    async fn put_profile(&self) {
        let written = lath_service::run::change(&*self.app, None, |tx| {
            tx.put(Role {
                name: "Worker".into(),
                unique_id: "AROA1".into(),
                path: "/deep/".into(),
                description: None,
                trust: "{}".into(),
                trusted: Default::default(),
                max_session: 3600,
                policies: Default::default(),
                tags: Default::default(),
                created_at: tx.now(),
            });
            tx.put(Profile {
                name: "p".into(),
                unique_id: "AIPA1".into(),
                path: "/".into(),
                role: Some("worker".into()),
                tags: Default::default(),
                created_at: tx.now(),
            });
            Ok(())
        });
        written.await.unwrap();
    }
}

#[tokio::test]
async fn a_launch_needs_what_it_names_anywhere() {
    let lab = Lab::new().await;
    let (subnet, group) = (lab.subnet.to_string(), lab.group.to_string());
    let image = lab.image();
    let want = vec![
        format!("ec2:RunInstances image/{image}"),
        format!("ec2:RunInstances subnet/{subnet}"),
        format!("ec2:RunInstances security-group/{group}"),
        "ec2:RunInstances network-interface/*".into(),
        "ec2:RunInstances volume/*".into(),
        "ec2:RunInstances instance/*".into(),
    ];
    let base = json!({"ImageId": image, "InstanceType": "t3.medium", "MinCount": 1, "MaxCount": 1});
    let with = |more: Value| {
        let mut request = base.clone();
        let members = more.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(members);
        request
    };
    lab.become_default().await;
    for request in [
        json!({"SubnetId": subnet, "SecurityGroupId": [group]}),
        json!({"NetworkInterface": [{"DeviceIndex": 0, "SubnetId": subnet, "SecurityGroupId": [group]}]}),
        json!({"SecurityGroup": ["default"]}),
        // The default subnet, and its VPC's default group.
        json!({}),
    ] {
        let asked = asked::<RunInstances>(&lab, with(request.clone()));
        assert_eq!(short(&asked), want, "{request}");
    }
    // What the handler refuses is still asked about by its name.
    let bad = json!({"NetworkInterface": [{"SubnetId": "subnet-x", "SecurityGroupId": ["sg-x"]}]});
    let asked = short(&asked::<RunInstances>(&lab, with(bad)));
    for line in ["subnet/subnet-x", "security-group/sg-x"] {
        assert!(
            asked.contains(&format!("ec2:RunInstances {line}")),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn each_thing_that_a_launch_makes_has_its_own_keys() {
    let lab = Lab::new().await;
    lab.put_profile().await;
    let request = json!({
        "ImageId": lab.image(), "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.medium",
        "SubnetId": lab.subnet.to_string(),
        "IamInstanceProfile": {"Name": "P"},
        "MetadataOptions": {"HttpTokens": "optional"},
        "BlockDeviceMapping": [
            {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 500, "VolumeType": "st1", "Encrypted": true}},
        ],
        "TagSpecification": [{"ResourceType": "volume", "Tag": [{"Key": "env", "Value": "prod"}]}],
    });
    let asked = asked::<RunInstances>(&lab, request);
    let volumes = find(&asked, "volume");
    let mut kinds: Vec<_> = volumes
        .iter()
        .map(|it| values(it, "ec2:VolumeType"))
        .collect();
    kinds.sort();
    assert_eq!(kinds, [["gp3"], ["st1"]]);
    let encrypted = volumes
        .iter()
        .find(|it| values(it, "ec2:VolumeType") == ["st1"]);
    assert_eq!(values(encrypted.unwrap(), "ec2:Encrypted"), ["true"]);
    let instance = find(&asked, "instance")[0];
    for (key, want) in [
        ("ec2:InstanceType", "t3.medium"),
        ("ec2:MetadataHttpTokens", "optional"),
        ("ec2:MetadataHttpEndpoint", "enabled"),
        ("ec2:Tenancy", "default"),
        ("ec2:AvailabilityZone", "us-east-1a"),
        (
            "ec2:InstanceProfile",
            "arn:aws:iam::123456789012:instance-profile/p",
        ),
        ("ec2:InstanceID", "*"),
    ] {
        assert_eq!(values(instance, key), [want], "{key}");
    }
    let interface = find(&asked, "network-interface")[0];
    let subnet = format!("arn:aws:ec2:us-east-1:123456789012:subnet/{}", lab.subnet);
    assert_eq!(values(interface, "ec2:Subnet"), [subnet.as_str()]);
    assert_eq!(values(interface, "ec2:AssociatePublicIpAddress"), ["false"]);
    let tagging: Vec<_> = asked
        .iter()
        .filter(|it| it.action == "ec2:CreateTags")
        .collect();
    assert_eq!(tagging.len(), 2, "one for each volume");
    assert_eq!(values(tagging[0], "ec2:CreateAction"), ["RunInstances"]);
    assert_eq!(values(tagging[0], "aws:RequestTag/env"), ["prod"]);
    let passed = asked.iter().find(|it| it.action == "iam:PassRole").unwrap();
    assert_eq!(
        passed.resource,
        "arn:aws:iam::123456789012:role/deep/Worker"
    );
    assert_eq!(values(passed, "iam:PassedToService"), ["ec2.amazonaws.com"]);
}

#[tokio::test]
async fn associations_lead_to_their_instances() {
    let lab = Lab::new().await;
    lab.put_profile().await;
    let id = lab.run(lab.request()).await.instance_id;
    let associate = json!({"InstanceId": id, "IamInstanceProfile": {"Name": "p"}});
    let want = |action: &str| {
        let own = format!("ec2:{action} instance/{id}");
        vec![own, "iam:PassRole role/deep/Worker".into()]
    };
    let asked_for = asked::<AssociateIamInstanceProfile>(&lab, associate.clone());
    assert_eq!(short(&asked_for), want("AssociateIamInstanceProfile"));
    let op: AssociateIamInstanceProfile = serde_json::from_value(associate).unwrap();
    lab.call(op).await.unwrap();
    let association = lab.app.cell.db.view().list::<ProfileAssociation>().next();
    let association = association.unwrap().id.clone();
    let replace = json!({"AssociationId": association, "IamInstanceProfile": {"Name": "p"}});
    let asked_for = asked::<ReplaceIamInstanceProfileAssociation>(&lab, replace);
    assert_eq!(
        short(&asked_for),
        want("ReplaceIamInstanceProfileAssociation")
    );
    let profile = "arn:aws:iam::123456789012:instance-profile/p";
    for key in ["ec2:InstanceProfile", "ec2:NewInstanceProfile"] {
        assert_eq!(values(&asked_for[0], key), [profile], "{key}");
    }
    let end = json!({"AssociationId": association});
    let asked_for = asked::<DisassociateIamInstanceProfile>(&lab, end);
    let own = format!("ec2:DisassociateIamInstanceProfile instance/{id}");
    assert_eq!(short(&asked_for), [own]);
}

#[tokio::test]
async fn attributes_are_told_by_their_names_and_groups_by_either_form() {
    let lab = Lab::new().await;
    let by_name = json!({"InstanceId": "i-1", "Attribute": "groupSet", "Value": "sg-1"});
    let by_list = json!({"InstanceId": "i-1", "GroupId": ["sg-1"]});
    for request in [by_name, by_list] {
        let asked = short(&asked::<ModifyInstanceAttribute>(&lab, request));
        let want = ["instance/i-1", "security-group/sg-1"];
        assert_eq!(
            asked,
            want.map(|it| format!("ec2:ModifyInstanceAttribute {it}"))
        );
    }
    for request in [
        json!({"InstanceId": "i-1", "Attribute": "disableApiTermination", "Value": "false"}),
        json!({"InstanceId": "i-1", "DisableApiTermination": {"Value": false}}),
    ] {
        let asked = asked::<ModifyInstanceAttribute>(&lab, request);
        assert_eq!(
            values(&asked[0], "ec2:Attribute"),
            ["DisableApiTermination"]
        );
        let value = values(&asked[0], "ec2:Attribute/DisableApiTermination");
        assert_eq!(value, ["false"]);
    }
}

#[tokio::test]
async fn key_pairs_are_known_to_policies_by_their_names() {
    let lab = Lab::new().await;
    let pair = lab
        .call(CreateKeyPair::of("mine", "ed25519"))
        .await
        .unwrap();
    let pair = serde_json::to_value(&pair).unwrap()["keyPairId"].clone();
    let delete = asked::<DeleteKeyPair>(&lab, json!({"KeyPairId": pair}));
    assert_eq!(short(&delete), ["ec2:DeleteKeyPair key-pair/mine"]);
}

#[tokio::test]
async fn what_no_launch_takes_is_not_looked_up_to_be_judged() {
    use crate::instances::network::READ;
    let lab = Lab::new().await;
    let launch = |count: usize| {
        let interface = |index| json!({"DeviceIndex": index, "SubnetId": lab.subnet.to_string()});
        let interfaces: Vec<Value> = (0..count).map(interface).collect();
        json!({"MinCount": 1, "MaxCount": 1, "ImageId": "ami-1", "InstanceType": "t3.micro",
            "NetworkInterface": interfaces})
    };
    // A t3.micro takes two: each of them is read for each need that they have a part in.
    for (count, is_read) in [(1, true), (2, true), (3, false), (9_000, false)] {
        READ.with(|read| read.set(0));
        let found = asked::<RunInstances>(&lab, launch(count));
        let read = READ.with(std::cell::Cell::get);
        assert_eq!(
            (read > 0, read <= count * 10),
            (is_read, true),
            "{count}: {read}"
        );
        // What it names is judged all the same.
        assert_eq!(find(&found, "subnet").len(), 1);
    }
    let op: RunInstances = serde_json::from_value(launch(50_000)).unwrap();
    let view = lab.app.cell.db.view();
    READ.with(|read| read.set(0));
    let found = lath_authz::bounded_permissions(&view, lab.app.cell.owner(), &caller(), &op);
    assert_eq!(READ.with(std::cell::Cell::get), 0);
    // Fifty thousand times the same subnet is one.
    assert!(found.is_ok());
    let mut named = launch(50_000);
    for (index, it) in named["NetworkInterface"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        *it = json!({"DeviceIndex": index, "SubnetId": format!("subnet-{index:017x}")});
    }
    let op: RunInstances = serde_json::from_value(named).unwrap();
    let found = lath_authz::bounded_permissions(&view, lab.app.cell.owner(), &caller(), &op);
    assert_eq!(found, Err(lath_authz::TooMuch));
}
