//! A small network, and what requests about it need permission for.

use lath_authz::{Authorized, Permission};
use lath_ec2_kit::Ec2;
use lath_ec2_records::{
    Address, NetworkInterface, ResourceTags, RouteTable, SecurityGroup, Subnet, Vpc,
};
use lath_store::{Record, Tx};
use lath_wire::{Caller, Principal};
use serde_json::{Value, json};

pub(crate) const VPC: &str = "vpc-0000000a";
pub(crate) const BLOCK: &str = "vpc-cidr-assoc-0000000a";
pub(crate) const SUBNET: &str = "subnet-0000000a";
pub(crate) const MAIN_TABLE: &str = "rtb-0000000a";
pub(crate) const MAIN_ASSOCIATION: &str = "rtbassoc-0000000a";
pub(crate) const TABLE: &str = "rtb-0000000b";
pub(crate) const ASSOCIATION: &str = "rtbassoc-0000000b";
pub(crate) const DEFAULT_GROUP: &str = "sg-0000000a";
pub(crate) const WEB_GROUP: &str = "sg-0000000b";
pub(crate) const INSTANCE: &str = "i-0000000a";
/// The instance's, with `10.0.0.4` and the elastic address.
pub(crate) const INTERFACE: &str = "eni-0000000a";
pub(crate) const ATTACHMENT: &str = "eni-attach-0000000a";
/// With `10.0.0.5` and, as a secondary address, `10.0.0.6`.
pub(crate) const OTHER_INTERFACE: &str = "eni-0000000b";
pub(crate) const ALLOCATION: &str = "eipalloc-0000000a";
pub(crate) const ADDRESS_ASSOCIATION: &str = "eipassoc-0000000a";

/// The default VPC, with everything above in it.
pub(crate) struct World(Ec2);

impl World {
    pub(crate) async fn new() -> Self {
        let world = Self(Ec2 {
            cell: lath_control::Cell::for_test().0,
        });
        let written = lath_service::run::change(&world.0, None, |tx| {
            put_vpc(tx);
            put_interfaces(tx);
            Ok(())
        });
        written.await.unwrap();
        world
    }

    /// What a request needs.
    pub(crate) fn permissions<Op: Authorized>(&self, request: Value) -> Vec<Permission> {
        let caller = Caller {
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "ec2".into(),
            principal: Principal {
                arn: "arn:aws:iam::123456789012:user/ann".into(),
                user_id: "AIDATEST".into(),
            },
            access_key_id: "AKIATEST".into(),
            request_id: "r".into(),
            source_ip: None,
            from_vpc: None,
        };
        let op: Op = serde_json::from_value(request).unwrap();
        lath_authz::permissions(&self.0.cell.db.view(), &caller, &op)
    }

    /// The resources that a request needs its own action on, without what all ARNs begin with.
    pub(crate) fn resources<Op: Authorized>(&self, request: Value) -> Vec<String> {
        let own = format!("ec2:{}", Op::NAME);
        let needs = self.permissions::<Op>(request).into_iter();
        let own = needs.filter(|it| it.action == own);
        let plain = own.map(|it| {
            let resource = it
                .resource
                .strip_prefix("arn:aws:ec2:us-east-1:123456789012:");
            resource.unwrap_or(&it.resource).to_owned()
        });
        plain.collect()
    }
}

/// The values of a key.
pub(crate) fn values(permission: &Permission, key: &str) -> Vec<String> {
    let pairs = permission.keys.iter().filter(|(name, _)| name == key);
    pairs.flat_map(|(_, values)| values.clone()).collect()
}

fn put<R: Record>(tx: &mut Tx, record: Value) {
    tx.put::<R>(serde_json::from_value(record).unwrap());
}

fn put_vpc(tx: &mut Tx) {
    let owner = "123456789012";
    put::<Vpc>(
        tx,
        json!({
            "id": VPC, "owner": owner, "cidrs": [{"association": BLOCK, "cidr": "10.0.0.0/16"}],
            "is_default": true, "dhcp_options": "dopt-0000000a", "network_acl": "acl-0000000a",
            "dns_support": true, "dns_hostnames": false, "available": true,
            "created_at": tx.now(),
        }),
    );
    put::<Subnet>(
        tx,
        json!({
            "id": SUBNET, "vpc": VPC, "owner": owner, "cidr": "10.0.0.0/24",
            "availability_zone": "us-east-1b", "default_for_az": false,
            "map_public_ip_on_launch": false, "acl_association": "aclassoc-0000000a",
            "created_after": 0, "available": true,
        }),
    );
    put::<ResourceTags>(tx, json!({"resource": SUBNET, "tags": {"env": "prod"}}));
    for (id, association, subnet) in [
        (MAIN_TABLE, MAIN_ASSOCIATION, None),
        (TABLE, ASSOCIATION, Some(SUBNET)),
    ] {
        let association = json!({"id": association, "subnet": subnet});
        put::<RouteTable>(
            tx,
            json!({"id": id, "vpc": VPC, "owner": owner, "associations": [association], "routes": []}),
        );
    }
    for (id, name) in [(DEFAULT_GROUP, "default"), (WEB_GROUP, "web")] {
        put::<SecurityGroup>(
            tx,
            json!({
                "id": id, "vpc": VPC, "owner": owner, "name": name, "description": "d", "rules": [],
            }),
        );
    }
}

fn put_interfaces(tx: &mut Tx) {
    let elastic = json!({"ip": "203.0.113.9", "elastic": [ALLOCATION, ADDRESS_ASSOCIATION]});
    let attachment = json!({
        "id": ATTACHMENT, "instance": INSTANCE, "device_index": 0, "delete_on_termination": true,
        "attached_at": tx.now(),
    });
    let first = json!([{"private": "10.0.0.4", "public": elastic}]);
    let second = json!([
        {"private": "10.0.0.5", "public": null},
        {"private": "10.0.0.6", "public": null},
    ]);
    for (id, addresses, attachment) in [
        (INTERFACE, first, attachment),
        (OTHER_INTERFACE, second, Value::Null),
    ] {
        put::<NetworkInterface>(
            tx,
            json!({
                "id": id, "vpc": VPC, "subnet": SUBNET, "availability_zone": "us-east-1b",
                "owner": "123456789012", "description": "d", "mac": "02:00:0a:00:00:04",
                "addresses": addresses, "groups": [WEB_GROUP], "source_dest_check": true,
                "attachment": attachment,
            }),
        );
    }
    let association =
        json!({"id": ADDRESS_ASSOCIATION, "interface": INTERFACE, "private": "10.0.0.4"});
    put::<Address>(
        tx,
        json!({
            "id": ALLOCATION, "owner": "123456789012", "ip": "203.0.113.9",
            "association": association,
        }),
    );
}
