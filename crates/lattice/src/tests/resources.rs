//! Resource gateways, configurations, their associations and domain verifications, from creation to deletion.

use std::time::Duration;

use lath_ec2_records::Subnet;
use lath_feed::{RESOURCE_BLOCK, ResourceTarget};

use super::*;

pub(super) const SUBNET: &str = "subnet-0bbbbbbbbbbbbbbbb";

fn subnet() -> Subnet {
    Subnet {
        id: SUBNET.parse().unwrap(),
        vpc: VPC_B.parse().unwrap(),
        owner: "123456789012".into(),
        cidr: "10.1.1.0/28".parse().unwrap(),
        availability_zone: "us-east-1a".into(),
        default_for_az: false,
        map_public_ip_on_launch: false,
        names: Default::default(),
        acl_association: "aclassoc-0bbbbbbbbbbbbbbbb".into(),
        network_acl: None,
        created_after: 0,
        available: true,
    }
}

pub(super) async fn world() -> World {
    let world = World::new().await;
    world.write(|tx| drop(tx.put(subnet()))).await;
    world
}

fn gateway(name: &str) -> Value {
    json!({
        "name": name, "vpcIdentifier": VPC_B, "subnetIds": [SUBNET],
        "securityGroupIds": [SG_B], "ipv4AddressesPerEni": 2,
    })
}

pub(super) async fn active_gateway(world: &World, more: Value) -> String {
    let mut body = gateway("gate");
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let made = world.post("/resourcegateways", body).await;
    world.settle().await;
    made.id()
}

pub(super) fn single(name: &str, gateway: &str) -> Value {
    json!({
        "name": name, "type": "SINGLE", "resourceGatewayIdentifier": gateway, "portRanges": ["80", "1000-2000"],
        "resourceConfigurationDefinition": { "ipResource": { "ipAddress": "10.1.1.9" } },
    })
}

pub(super) async fn active(world: &World, body: Value) -> String {
    let made = world.post("/resourceconfigurations", body).await;
    world.settle().await;
    made.id()
}

async fn status(world: &World, path: &str) -> String {
    world.get(path).await.text("status")
}

#[tokio::test]
async fn a_resource_lives_and_goes() {
    let world = world().await;
    let made = world.post("/resourcegateways", gateway("gate")).await;
    made.is(201, "");
    assert_eq!(made.text("status"), "CREATE_IN_PROGRESS");
    let gate = made.id();
    let path = format!("/resourcegateways/{gate}");
    world.pass().await;
    assert_eq!(
        status(&world, &path).await,
        "CREATE_IN_PROGRESS",
        "no node has said anything"
    );
    world
        .post("/resourceconfigurations", single("database", &gate))
        .await
        .is(409, "ConflictException");
    world.settle().await;
    assert_eq!(status(&world, &path).await, "ACTIVE");
    let configuration = active(&world, single("database", &gate)).await;
    let network = world.network("mesh").await;
    let body = json!({ "resourceConfigurationIdentifier": configuration, "serviceNetworkIdentifier": network });
    let made = world
        .post("/servicenetworkresourceassociations", body.clone())
        .await;
    made.is(201, "");
    let association = made.id();
    world.settle().await;
    let of = format!("/servicenetworkresourceassociations/{association}");
    let shown = world.get(&of).await;
    assert_eq!(shown.text("status"), "ACTIVE");
    let name = shown.body["dnsEntry"]["domainName"].as_str().unwrap();
    assert_eq!(
        name,
        format!("{association}.{configuration}.4232ccc.vpc-lattice-rsc.us-east-1.on.aws")
    );
    // What nodes get.
    let snapshot = world.snapshot();
    let fed = snapshot.resource_gateways.values().next().unwrap();
    assert_eq!(fed.addresses().count(), 2);
    let resource = snapshot.resources.values().next().unwrap();
    assert_eq!(resource.ports, [(80, 80), (1000, 2000)]);
    assert_eq!(
        resource.target,
        ResourceTarget::Address("10.1.1.9".parse().unwrap())
    );
    let joined = snapshot.resource_associations.values().next().unwrap();
    assert!(RESOURCE_BLOCK.contains(&joined.address) && joined.private_name.is_none());
    // Each is held by what uses it.
    world
        .post("/servicenetworkresourceassociations", body)
        .await
        .is(409, "ConflictException");
    for path in [
        format!("/resourceconfigurations/{configuration}"),
        path.clone(),
        format!("/servicenetworks/{network}"),
    ] {
        world.delete(&path).await.is(409, "ConflictException");
    }
    let deleted = world.delete(&of).await;
    assert_eq!(deleted.text("status"), "DELETE_IN_PROGRESS");
    world.settle().await;
    world.get(&of).await.is(404, "ResourceNotFoundException");
    let of = format!("/resourceconfigurations/{configuration}");
    world.delete(&of).await.is(204, "");
    world.settle().await;
    world.get(&of).await.is(404, "ResourceNotFoundException");
    world.delete(&path).await.is(200, "");
    world.settle().await;
    world.get(&path).await.is(404, "ResourceNotFoundException");
    let view = world.cell.db.view();
    let interfaces = view.by::<NetworkInterface>("vpc", VPC_B);
    assert_eq!(interfaces.count(), 0);
    assert_eq!(view.count::<lath_control::Claim>(), 0);
    let snapshot = world.snapshot();
    assert!(snapshot.resource_gateways.is_empty() && snapshot.resources.is_empty());
    assert!(snapshot.resource_associations.is_empty());
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let world = world().await;
    let gate = active_gateway(&world, json!({})).await;
    for (path, body, status, code) in [
        (
            "/resourcegateways",
            gateway("gate"),
            409,
            "ConflictException",
        ),
        (
            "/resourcegateways",
            json!({ "name": "two", "vpcIdentifier": VPC_B, "subnetIds": [SUBNET], "ipv4AddressesPerEni": 62 }),
            400,
            "ValidationException",
        ),
        (
            "/resourcegateways",
            json!({ "name": "two", "vpcIdentifier": VPC_A, "subnetIds": [SUBNET] }),
            400,
            "ValidationException",
        ),
        (
            "/resourcegateways",
            json!({ "name": "two", "vpcIdentifier": VPC_B, "subnetIds": [SUBNET], "securityGroupIds": [SG_A] }),
            400,
            "ValidationException",
        ),
        (
            "/resourceconfigurations",
            json!({
                "name": "database", "type": "ARN", "resourceGatewayIdentifier": gate,
                "resourceConfigurationDefinition": { "arnResource": { "arn": "arn:aws:rds:us-east-1:123456789012:db:x" } },
            }),
            404,
            "ResourceNotFoundException",
        ),
        (
            "/resourceconfigurations",
            json!({
                "name": "database", "type": "ARN", "resourceGatewayIdentifier": gate,
                "resourceConfigurationDefinition": { "arnResource": { "arn": "arn:aws:s3:::bucket" } },
            }),
            400,
            "ValidationException",
        ),
        (
            "/resourceconfigurations",
            json!({
                "name": "database", "type": "CHILD", "portRanges": ["1"], "resourceConfigurationGroupIdentifier": "rcfg-0123456789abcdef0",
                "resourceConfigurationDefinition": { "dnsResource": { "domainName": "db.test", "ipAddressType": "IPV4" } },
            }),
            404,
            "ResourceNotFoundException",
        ),
    ] {
        let answer = world.post(path, body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code.as_str()),
            (status, code),
            "{body} {answer:?}"
        );
    }
    // Nothing of what was refused is left.
    assert_eq!(
        world
            .cell
            .db
            .view()
            .by::<NetworkInterface>("vpc", VPC_B)
            .count(),
        1
    );
}

#[tokio::test]
async fn children_come_and_go_with_their_group() {
    let world = world().await;
    let gate = active_gateway(&world, json!({})).await;
    let group = json!({ "name": "shop", "type": "GROUP", "resourceGatewayIdentifier": gate, "groupDomain": "shop.test" });
    let group = active(&world, group).await;
    let child = |name: &str| {
        json!({
            "name": name, "type": "CHILD", "portRanges": ["80"], "resourceConfigurationGroupIdentifier": group,
            "resourceConfigurationDefinition": { "ipResource": { "ipAddress": "10.1.1.9" } },
        })
    };
    let first = active(&world, child("first")).await;
    let network = world.network("mesh").await;
    let join = |id: &str| json!({ "resourceConfigurationIdentifier": id, "serviceNetworkIdentifier": network });
    let path = "/servicenetworkresourceassociations";
    world
        .post(path, join(&first))
        .await
        .is(400, "ValidationException");
    let association = world.post(path, join(&group)).await.id();
    let second = active(&world, child("second")).await;
    world.settle().await;
    assert_eq!(
        status(&world, &format!("{path}/{association}")).await,
        "ACTIVE"
    );
    assert_eq!(world.snapshot().resource_associations.len(), 2);
    let listed = |query: &str| format!("{path}?resourceConfigurationIdentifier={group}{query}");
    for (query, want) in [("", 1), ("&includeChildren=true", 3)] {
        let items = world.get(&listed(query)).await.body["items"].clone();
        assert_eq!(items.as_array().unwrap().len(), want, "{query}");
    }
    let items = world.get(&listed("&includeChildren=true")).await.body["items"].clone();
    let managed = items
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["isManagedAssociation"] == true);
    let managed = managed.unwrap()["id"].as_str().unwrap();
    world
        .delete(&format!("{path}/{managed}"))
        .await
        .is(409, "ConflictException");
    world
        .delete(&format!("/resourceconfigurations/{second}"))
        .await
        .is(204, "");
    world.settle().await;
    assert_eq!(world.snapshot().resource_associations.len(), 1);
    world
        .delete(&format!("{path}/{association}"))
        .await
        .is(200, "");
    world.settle().await;
    assert!(world.snapshot().resource_associations.is_empty());
    world
        .get(&format!("{path}/{association}"))
        .await
        .is(404, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_record_proves_a_domain_and_gives_its_names() {
    let world = world().await;
    let gate = active_gateway(&world, json!({ "resourceConfigDnsResolution": "IN_VPC" })).await;
    let started = world
        .post(
            "/domainverifications",
            json!({ "domainName": "Example.test" }),
        )
        .await;
    started.is(201, "");
    let verification = started.id();
    let config = started.body["txtMethodConfig"].clone();
    let mut body = single("database", &gate);
    body["customDomainName"] = json!("db.example.test");
    body["domainVerificationIdentifier"] = json!(verification);
    let mut other = body.clone();
    other["customDomainName"] = json!("db.other.test");
    world
        .post("/resourceconfigurations", other)
        .await
        .is(400, "ValidationException");
    let configuration = active(&world, body).await;
    let network = world.network("mesh").await;
    let vpc = json!({ "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_A, "privateDnsEnabled": true });
    world.post("/servicenetworkvpcassociations", vpc).await.id();
    let join = json!({ "resourceConfigurationIdentifier": configuration, "serviceNetworkIdentifier": network });
    world
        .post("/servicenetworkresourceassociations", join)
        .await
        .id();
    world.settle().await;
    let name = |world: &World| {
        let snapshot = world.snapshot();
        let joined = snapshot.resource_associations.values().next().unwrap();
        joined.private_name.clone()
    };
    assert_eq!(name(&world), None);
    let path = format!("/domainverifications/{verification}");
    assert_eq!(status(&world, &path).await, "PENDING");
    let proof = Proof {
        name: format!("{}.example.test", config["name"].as_str().unwrap()),
        value: config["value"].as_str().unwrap().to_owned(),
    };
    let proof_name = proof.name.clone();
    world.write(|tx| drop(tx.put(proof.clone()))).await;
    world.pass().await;
    assert_eq!(status(&world, &path).await, "VERIFIED");
    let private = name(&world).unwrap();
    assert_eq!(private.name, "db.example.test");
    assert!(private.vpcs.contains(&VPC_A.parse().unwrap()));
    // It is looked for again after a day, and proves nothing once it is gone.
    world
        .write(|tx| assert!(tx.delete::<Proof>(&proof_name)))
        .await;
    world.pass().await;
    assert_eq!(
        status(&world, &path).await,
        "VERIFIED",
        "not looked for yet"
    );
    world.pass_after(Duration::from_secs(25 * 3600)).await;
    assert_eq!(status(&world, &path).await, "PENDING");
    assert_eq!(name(&world), None);
    world.write(|tx| drop(tx.put(proof))).await;
    world.pass().await;
    assert_eq!(status(&world, &path).await, "VERIFIED");
    assert!(name(&world).is_some());
    world.delete(&path).await.is(200, "");
    assert_eq!(name(&world), None);
    // A domain without its TXT record is given up.
    let made = world
        .post("/domainverifications", json!({ "domainName": "late.test" }))
        .await
        .id();
    world.pass_after(Duration::from_secs(73 * 3600)).await;
    let path = format!("/domainverifications/{made}");
    assert_eq!(status(&world, &path).await, "VERIFICATION_TIMED_OUT");
}

/// A configuration with a name of the user's own, behind a name that the gateway's VPC knows.
fn named(name: &str, gateway: &str, target: &str, custom: &str) -> Value {
    let mut body = single(name, gateway);
    body["customDomainName"] = json!(custom);
    body["resourceConfigurationDefinition"] = json!({ "dnsResource": { "domainName": target } });
    body
}

/// Associates a VPC that takes every private name.
async fn take_all_names(world: &World, network: &str, vpc: &str) {
    let body = json!({
        "serviceNetworkIdentifier": network, "vpcIdentifier": vpc, "privateDnsEnabled": true,
        "dnsOptions": { "privateDnsPreference": "ALL_DOMAINS" },
    });
    world
        .post("/servicenetworkvpcassociations", body)
        .await
        .id();
}

/// The gateway looks in its VPC for a name that its own name hides there: it would be led back to the resource.
#[tokio::test]
async fn no_private_name_hides_what_the_gateway_looks_for() {
    for (resolution, target, custom, vpcs) in [
        ("IN_VPC", "db.corp.test", "db.corp.test", &[VPC_A][..]),
        ("IN_VPC", "db.corp.test", "Corp.test", &[VPC_A]),
        ("IN_VPC", "db.corp.test", "x.db.corp.test", &[VPC_A, VPC_B]),
        ("PUBLIC", "db.corp.test", "db.corp.test", &[VPC_A, VPC_B]),
    ] {
        let world = world().await;
        let more = json!({ "resourceConfigDnsResolution": resolution });
        let gate = active_gateway(&world, more).await;
        let configuration = active(&world, named("database", &gate, target, custom)).await;
        let network = world.network("mesh").await;
        take_all_names(&world, &network, VPC_A).await;
        take_all_names(&world, &network, VPC_B).await;
        join(&world, &configuration, &network).await.id();
        world.settle().await;
        let snapshot = world.snapshot();
        let joined = snapshot.resource_associations.values().next().unwrap();
        let private = joined.private_name.clone().unwrap();
        let want = vpcs.iter().map(|vpc| vpc.parse().unwrap()).collect();
        assert_eq!(private.vpcs, want, "{resolution} {target} {custom}");
    }
}

async fn join(world: &World, configuration: &str, network: &str) -> Answer {
    let body = json!({ "resourceConfigurationIdentifier": configuration, "serviceNetworkIdentifier": network });
    world.post(JOIN, body).await
}

const JOIN: &str = "/servicenetworkresourceassociations";

#[tokio::test]
async fn a_name_leads_to_one_resource_of_a_network() {
    let world = world().await;
    let gate = active_gateway(&world, json!({})).await;
    let one = active(&world, named("one", &gate, "a.test", "db.shop.test")).await;
    let two = active(&world, named("two", &gate, "b.test", "DB.shop.test")).await;
    let group = json!({ "name": "shop", "type": "GROUP", "resourceGatewayIdentifier": gate, "groupDomain": "shop.test" });
    let group = active(&world, group).await;
    let child = |name: &str, custom: &str| {
        json!({
            "name": name, "type": "CHILD", "portRanges": ["80"], "resourceConfigurationGroupIdentifier": group,
            "customDomainName": custom, "resourceConfigurationDefinition": { "ipResource": { "ipAddress": "10.1.1.9" } },
        })
    };
    let (mesh, other) = (world.network("mesh").await, world.network("other").await);
    join(&world, &one, &mesh).await.id();
    join(&world, &two, &mesh).await.is(409, "ConflictException");
    join(&world, &two, &other).await.id();
    // What a group brings counts, when it comes and when its child does.
    join(&world, &group, &mesh).await.id();
    world.settle().await;
    let made = world
        .post("/resourceconfigurations", child("three", "db.shop.test"))
        .await;
    made.is(409, "ConflictException");
    active(&world, child("three", "web.shop.test")).await;
    let view = world.cell.db.view();
    let own: Vec<_> = view
        .list::<crate::resource::ResourceAssociation>()
        .collect();
    assert_eq!(own.len(), 4, "{own:#?}");
    let late = world.network("late").await;
    let four = active(&world, named("four", &gate, "c.test", "web.shop.test")).await;
    join(&world, &four, &late).await.id();
    join(&world, &group, &late)
        .await
        .is(409, "ConflictException");
}

/// Who asked for a name may use its address for a while after the resource went.
#[tokio::test]
async fn an_address_is_not_given_out_again_at_once() {
    let world = world().await;
    let gate = active_gateway(&world, json!({})).await;
    let configuration = active(&world, single("database", &gate)).await;
    let network = world.network("mesh").await;
    let mut addresses = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let association = join(&world, &configuration, &network).await.id();
        world.settle().await;
        let snapshot = world.snapshot();
        let joined = snapshot.resource_associations.values().next().unwrap();
        assert!(RESOURCE_BLOCK.contains(&joined.address));
        addresses.insert(joined.address);
        world.delete(&format!("{JOIN}/{association}")).await;
        world.settle().await;
    }
    // By chance two are the same once in five thousand times, and all of them never.
    assert!(addresses.len() > 1, "{addresses:?}");
}

#[tokio::test]
async fn a_change_that_does_not_reach_its_listeners_fails() {
    let world = world().await;
    let gate = active_gateway(&world, json!({})).await;
    let configuration = active(&world, single("database", &gate)).await;
    let network = world.network("mesh").await;
    join(&world, &configuration, &network).await.id();
    world.settle().await;
    let path = format!("/resourceconfigurations/{configuration}");
    world
        .patch(&path, json!({ "portRanges": ["81"] }))
        .await
        .is(200, "");
    let refused = || {
        let mut observed = obeyed(&world.snapshot());
        for condition in observed.resource_associations.values_mut() {
            *condition = Condition::Failed {
                reason: "port 81 cannot be opened".into(),
            };
        }
        world.node.send_replace(Arc::new(observed));
    };
    refused();
    world.pass().await;
    assert_eq!(status(&world, &path).await, "UPDATE_IN_PROGRESS");
    world.pass_after(Duration::from_secs(61)).await;
    let shown = world.get(&path).await;
    assert_eq!(shown.text("status"), "UPDATE_FAILED");
    assert_eq!(shown.text("failureReason"), "port 81 cannot be opened");
    // It can be changed to what works.
    world
        .patch(&path, json!({ "portRanges": ["80"] }))
        .await
        .is(200, "");
    world.settle().await;
    assert_eq!(status(&world, &path).await, "ACTIVE");
}

#[tokio::test]
async fn types_have_the_members_that_the_model_gives_them() {
    let world = world().await;
    let gate = active_gateway(&world, json!({})).await;
    let group = json!({ "name": "shop", "type": "GROUP", "resourceGatewayIdentifier": gate, "portRanges": ["80-90"] });
    let group = active(&world, group).await;
    let path = format!("/resourceconfigurations/{group}");
    assert_eq!(world.get(&path).await.body["portRanges"], json!(["80-90"]));
    let ip = json!({ "ipResource": { "ipAddress": "10.1.1.8" } });
    let arn = json!({ "arnResource": { "arn": "arn:aws:rds:us-east-1:123456789012:db:x" } });
    let own = format!(
        "/resourceconfigurations/{}",
        active(&world, single("database", &gate)).await
    );
    for (path, member, value, status) in [
        (&path, "portRanges", json!(["80"]), 200),
        (&path, "resourceConfigurationDefinition", ip.clone(), 400),
        (&own, "resourceConfigurationDefinition", arn, 400),
        (&own, "resourceConfigurationDefinition", ip, 200),
    ] {
        let answer = world.patch(path, json!({ member: value })).await;
        assert_eq!(answer.status.as_u16(), status, "{member} {answer:?}");
        world.settle().await;
    }
    assert!(
        world.snapshot().resources.len() == 1,
        "a group is nothing itself"
    );
}

#[tokio::test]
async fn nothing_of_a_configuration_is_left() {
    let world = world().await;
    let gate = active_gateway(&world, json!({})).await;
    let id = active(&world, single("database", &gate)).await;
    let arn = format!("arn:aws:vpc-lattice:us-east-1:123456789012:resourceconfiguration/{id}");
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": { "AWS": "111122223333" },
            "Action": ["vpc-lattice:GetResourceConfiguration"], "Resource": arn,
        }],
    });
    let path = format!("/resourcepolicy/{}", segment(&arn));
    world
        .call("PUT", &path, json!({ "policy": policy.to_string() }))
        .await
        .is(200, "");
    world
        .delete(&format!("/resourceconfigurations/{id}"))
        .await
        .is(204, "");
    world.settle().await;
    let view = world.cell.db.view();
    assert_eq!(view.count::<crate::record::ResourcePolicy>(), 0);
}
