use lath_authz::{Authorized, Permission};
use lath_control::Cell;
use lath_ec2_compute::images::{ImageDirectory, offer_directories};
use lath_ec2_kit::Ec2;
use lath_ec2_records::{DirectoryImage, Instance, KeyPair, Subnet};
use lath_store::{Record, Tx};
use lath_wire::{ApiError, Caller, Handle, Principal};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{CreateTags, DeleteTags};

const SUBNET: &str = "subnet-0000000a";
const INSTANCE: &str = "i-0000000a";
const VOLUME: &str = "vol-0000000a";
const PAIR: &str = "key-0000000a";

fn caller() -> Caller {
    Caller {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        service: "ec2".into(),
        principal: Principal {
            arn: "arn:aws:iam::123456789012:root".into(),
            user_id: "123456789012".into(),
        },
        access_key_id: "AKIA".into(),
        request_id: "r".into(),
        source_ip: None,
        from_vpc: None,
    }
}

fn put<R: Record>(tx: &mut Tx, record: Value) {
    tx.put::<R>(serde_json::from_value(record).unwrap());
}

/// A subnet, an instance with a volume, a key pair and an image, whose id is answered.
async fn world(app: &Ec2) -> String {
    let directory = ImageDirectory {
        name: "custom".into(),
        description: "of a test".into(),
        path: "/".into(),
    };
    offer_directories(&app.cell, vec![directory]).await.unwrap();
    let owner = "123456789012";
    let written = app.cell.db.write(|tx| {
        let now = tx.now();
        put::<Subnet>(
            tx,
            json!({
                "id": SUBNET, "vpc": "vpc-0000000a", "owner": owner, "cidr": "10.0.0.0/24",
                "availability_zone": "us-east-1b", "default_for_az": false,
                "map_public_ip_on_launch": false, "acl_association": "aclassoc-0000000a",
                "created_after": 0, "available": true,
            }),
        );
        put::<KeyPair>(
            tx,
            json!({
                "id": PAIR, "name": "mine", "kind": "Ed25519", "public_key": "ssh-ed25519 AAAA",
                "fingerprint": "f", "created_at": now,
            }),
        );
        put::<Instance>(
            tx,
            json!({
                "id": INSTANCE, "owner": owner, "reservation": "r-0000000a", "launch_index": 0,
                "image": "ami-0000000a", "root": "Host",
                "root_volume": {"id": VOLUME, "size": 8, "kind": "gp3", "created_at": now},
                "architecture": "x86_64", "instance_type": "t3.medium", "key": null,
                "vpc": "vpc-0000000a", "subnet": SUBNET, "availability_zone": "us-east-1b",
                "primary_interface": null, "private_ip": null, "wants_public_ip": false,
                "user_data": null, "state": "Running", "state_after": 0, "boot": 1,
                "state_reason": null, "transition_reason": "", "launched_at": now,
                "terminated_at": null, "client_token": null,
                "metadata": {"enabled": true, "tokens_required": false, "hop_limit": 1, "tags": false},
                "on_shutdown": "Stop", "termination_protected": false, "stop_protected": false,
            }),
        );
        let image = tx.list::<DirectoryImage>().next().unwrap().id.to_string();
        Ok::<_, ApiError>(image)
    });
    written.await.unwrap()
}

fn asked<Op: Authorized + DeserializeOwned>(app: &Ec2, request: Value) -> Vec<Permission> {
    let op: Op = serde_json::from_value(request).unwrap();
    lath_authz::permissions(&app.cell.db.view(), &caller(), &op)
}

fn values<'a>(permission: &'a Permission, key: &str) -> Vec<&'a str> {
    let pairs = permission.keys.iter().filter(|(name, _)| name == key);
    let values = pairs.flat_map(|(_, values)| values);
    values.map(String::as_str).collect()
}

#[tokio::test]
async fn tags_are_of_resources_of_every_kind() {
    let app = Ec2 {
        cell: Cell::for_test().0,
    };
    let image = world(&app).await;
    let all = json!([INSTANCE, image, PAIR, VOLUME, SUBNET]);
    let tag = json!([{"Key": "env", "Value": "prod"}]);
    let create = json!({"ResourceId": all, "Tag": tag});
    let asked_for = asked::<CreateTags>(&app, create.clone());
    let name = |it: &Permission| it.resource.rsplit_once(':').unwrap().1.to_owned();
    let mut resources: Vec<_> = asked_for.iter().map(name).collect();
    resources.sort();
    let mut want = [
        format!("image/{image}"),
        format!("instance/{INSTANCE}"),
        "key-pair/mine".into(),
        format!("subnet/{SUBNET}"),
        format!("volume/{VOLUME}"),
    ];
    want.sort();
    assert_eq!(resources, want);
    for permission in &asked_for {
        assert_eq!(permission.action, "ec2:CreateTags");
        assert_eq!(values(permission, "aws:RequestTag/env"), ["prod"]);
        assert!(values(permission, "ec2:CreateAction").is_empty());
    }
    let op: CreateTags = serde_json::from_value(create).unwrap();
    app.handle(&caller(), op).await.unwrap();
    // All that a resource has, when none is named.
    let bare = asked::<DeleteTags>(&app, json!({"ResourceId": all}));
    assert_eq!(bare.len(), 5);
    assert!(bare.iter().all(|it| values(it, "aws:TagKeys") == ["env"]));
    let key = asked_for.iter().find(|it| it.resource_type == "key-pair");
    assert_eq!(values(key.unwrap(), "ec2:KeyPairType"), ["ed25519"]);
    for permission in &bare {
        let tag = values(permission, "aws:ResourceTag/env");
        assert_eq!(tag, ["prod"], "{}", permission.resource);
    }
}
