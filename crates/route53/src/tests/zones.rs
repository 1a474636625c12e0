//! Hosted zones, their VPCs and tags.

use super::*;

use lath_ec2_records::{CidrBlock, Vpc};
use lath_model::Timestamp;
use lath_model::id::{DhcpOptionsId, NetworkAclId};
use lath_store::StoreError;

const VPC_A: &str = "vpc-0aaaaaaaaaaaaaaaa";
const VPC_B: &str = "vpc-0bbbbbbbbbbbbbbbb";

impl World {
    async fn vpc(&self, id: &str) {
        let vpc = Vpc {
            id: id.parse().unwrap(),
            owner: "123456789012".into(),
            cidrs: Vec::<CidrBlock>::new(),
            is_default: false,
            dhcp_options: Some(DhcpOptionsId::random()),
            network_acl: NetworkAclId::random(),
            dns_support: true,
            dns_hostnames: true,
            available: true,
            created_at: Timestamp::default(),
        };
        let write = self.cell.db.write(|tx| {
            tx.put(vpc);
            Ok::<_, StoreError>(())
        });
        write.await.unwrap();
    }
}

fn vpc(region: &str, id: &str) -> String {
    format!("<VPC><VPCRegion>{region}</VPCRegion><VPCId>{id}</VPCId></VPC>")
}

#[tokio::test]
async fn a_new_zone_has_servers_a_location_and_two_record_sets() {
    let world = World::new();
    let made = world
        .create_zone(
            "Example.COM",
            "<HostedZoneConfig><Comment>c</Comment></HostedZoneConfig>",
        )
        .await;
    let id = made.text("HostedZone/Id");
    assert_eq!(made.status, 201);
    assert_eq!(
        made.location,
        format!("https://route53.amazonaws.com/2013-04-01{id}")
    );
    assert!(
        made.raw
            .contains(&format!("<CreateHostedZoneResponse xmlns=\"{NS}\">"))
    );
    assert_eq!(made.text("HostedZone/Name"), "example.com.");
    assert_eq!(made.text("HostedZone/ResourceRecordSetCount"), "2");
    assert_eq!(made.text("HostedZone/Config/PrivateZone"), "false");
    assert_eq!(made.text("ChangeInfo/Status"), "PENDING");
    assert_eq!(made.raw.matches("<NameServer>ns-").count(), 4);
    let bare = id.trim_start_matches("/hostedzone/");
    assert_eq!(
        world.listed(bare).await,
        ["example.com. NS", "example.com. SOA"]
    );
    // Ids are taken with their prefix too.
    let got = world
        .get(&format!("hostedzone/{}", id.replace('/', "%2F")))
        .await;
    assert_eq!(got.text("HostedZone/Config/Comment"), "c");
    assert_eq!(world.snapshot().hosted_zones.len(), 1);
    world
        .call("DELETE", &format!("hostedzone/{bare}"), "")
        .await
        .succeeds();
    world
        .get(&format!("hostedzone/{bare}"))
        .await
        .fails(404, "NoSuchHostedZone", bare);
    assert!(world.snapshot().hosted_zones.is_empty());
}

#[tokio::test]
async fn zones_are_refused_for_their_name_or_reference() {
    let world = World::new();
    for name in ["a..b", "", "*.example.com", "a b.com"] {
        let made = world.create_zone(name, "").await;
        made.fails(400, "InvalidDomainName", "not a valid domain name");
    }
    let body = "<Name>a.com</Name><CallerReference>one</CallerReference>";
    world
        .post("hostedzone", "CreateHostedZone", body)
        .await
        .succeeds();
    let twice = world.post("hostedzone", "CreateHostedZone", body).await;
    twice.fails(409, "HostedZoneAlreadyExists", "one");
    let none = world
        .post("hostedzone", "CreateHostedZone", "<Name>a.com</Name>")
        .await;
    none.fails(400, "InvalidInput", "callerReference");
    let private = "<HostedZoneConfig><PrivateZone>true</PrivateZone></HostedZoneConfig>";
    world
        .create_zone("a.com", private)
        .await
        .fails(400, "InvalidInput", "VPCId");
    // The same name again is another zone.
    world.create_zone("a.com", "").await.succeeds();
}

#[tokio::test]
async fn a_zone_with_records_is_not_deleted() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    let www = |action| values(action, "www.example.com", "A", "", &["192.0.2.1"]);
    world.change(&zone, &[www("CREATE")]).await.succeeds();
    let path = format!("hostedzone/{zone}");
    world
        .call("DELETE", &path, "")
        .await
        .fails(400, "HostedZoneNotEmpty", "non-required");
    world.change(&zone, &[www("DELETE")]).await.succeeds();
    world.call("DELETE", &path, "").await.succeeds();
}

#[tokio::test]
async fn private_zones_belong_to_vpcs() {
    let world = World::new();
    world.vpc(VPC_A).await;
    world.vpc(VPC_B).await;
    let gone = vpc("us-east-1", "vpc-0cccccccccccccccc");
    world
        .create_zone("corp", &gone)
        .await
        .fails(400, "InvalidVPCId", "vpc-0c");
    let other = vpc("mars-1", VPC_A);
    world
        .create_zone("corp", &other)
        .await
        .fails(400, "InvalidVPCId", "mars-1");
    let made = world.create_zone("corp", &vpc("us-east-1", VPC_A)).await;
    let id = made.succeeds().text("HostedZone/Id");
    let zone = id.trim_start_matches("/hostedzone/");
    assert_eq!(made.text("HostedZone/Config/PrivateZone"), "true");
    assert_eq!(made.text("VPC/VPCId"), VPC_A);
    assert!(!made.raw.contains("DelegationSet"), "{made:?}");
    let sets = world.get(&format!("hostedzone/{zone}/rrset")).await;
    assert!(sets.raw.contains("<Value>ns-1536.awsdns-00.co.uk.<"));
    let bad = world.create_zone("corp", &vpc("us-east-1", "x")).await;
    bad.fails(400, "InvalidVPCId", "The VPC ID is invalid.");
    let twin = world.create_zone("corp", &vpc("us-east-1", VPC_A)).await;
    twin.fails(400, "ConflictingDomainExists", zone);

    let associate = |vpc: String| {
        let path = format!("hostedzone/{zone}/associatevpc");
        let world = &world;
        async move { world.post(&path, "AssociateVPCWithHostedZone", &vpc).await }
    };
    let leave = |vpc: String| {
        let path = format!("hostedzone/{zone}/disassociatevpc");
        let world = &world;
        async move {
            world
                .post(&path, "DisassociateVPCFromHostedZone", &vpc)
                .await
        }
    };
    leave(vpc("us-east-1", VPC_A))
        .await
        .fails(400, "LastVPCAssociation", VPC_A);
    leave(vpc("us-east-1", VPC_B))
        .await
        .fails(404, "VPCAssociationNotFound", VPC_B);
    associate(vpc("us-east-1", VPC_B)).await.succeeds();
    associate(vpc("us-east-1", VPC_B))
        .await
        .fails(400, "ConflictingDomainExists", VPC_B);
    let fed = &world.snapshot().hosted_zones[&zone.parse().unwrap()];
    assert_eq!(fed.vpcs.as_ref().unwrap().len(), 2);
    let by_vpc = world
        .get(&format!(
            "hostedzonesbyvpc?vpcid={VPC_B}&vpcregion=us-east-1"
        ))
        .await;
    assert_eq!(
        by_vpc.all("HostedZoneSummaries/HostedZoneSummary", "HostedZoneId"),
        [zone]
    );
    leave(vpc("us-east-1", VPC_A)).await.succeeds();

    let public = world.zone("example.com").await;
    let path = format!("hostedzone/{public}/associatevpc");
    let refused = world
        .post(
            &path,
            "AssociateVPCWithHostedZone",
            &vpc("us-east-1", VPC_A),
        )
        .await;
    refused.fails(400, "PublicZoneVPCAssociation", "public");
}

#[tokio::test]
async fn authorizations_are_kept_until_they_are_taken_back() {
    let world = World::new();
    world.vpc(VPC_A).await;
    let made = world.create_zone("corp", &vpc("us-east-1", VPC_A)).await;
    let id = made.text("HostedZone/Id");
    let zone = id.trim_start_matches("/hostedzone/");
    let path = format!("hostedzone/{zone}/authorizevpcassociation");
    let body = vpc("us-west-2", VPC_B);
    world
        .post(&path, "CreateVPCAssociationAuthorization", &body)
        .await
        .succeeds();
    let listed = world.get(&path).await;
    assert_eq!(listed.all("VPCs/VPC", "VPCId"), [VPC_B]);
    let path = format!("hostedzone/{zone}/deauthorizevpcassociation");
    world
        .post(&path, "DeleteVPCAssociationAuthorization", &body)
        .await
        .succeeds();
    let again = world
        .post(&path, "DeleteVPCAssociationAuthorization", &body)
        .await;
    again.fails(404, "VPCAssociationAuthorizationNotFound", VPC_B);
}

#[tokio::test]
async fn tags_are_kept_and_extensions_need_the_flag() {
    let world = World::new();
    let zone = world.zone("example.com").await;
    let check = world
        .check("<Type>HTTP</Type><FullyQualifiedDomainName>a.b</FullyQualifiedDomainName>")
        .await;
    let tag = |key: &str, value: &str| {
        format!("<AddTags><Tag><Key>{key}</Key><Value>{value}</Value></Tag></AddTags>")
    };
    let path = format!("tags/hostedzone/{zone}");
    world
        .post(&path, "ChangeTagsForResource", &tag("a", "1"))
        .await
        .succeeds();
    world
        .post(&path, "ChangeTagsForResource", &tag("b", "2"))
        .await
        .succeeds();
    let remove = "<RemoveTagKeys><Key>a</Key></RemoveTagKeys>";
    world
        .post(&path, "ChangeTagsForResource", remove)
        .await
        .succeeds();
    let listed = world.get(&path).await;
    assert_eq!(listed.all("ResourceTagSet/Tags/Tag", "Key"), ["b"]);
    let body = format!("<ResourceIds><ResourceId>{zone}</ResourceId></ResourceIds>");
    let many = world
        .post("tags/hostedzone", "ListTagsForResources", &body)
        .await;
    assert_eq!(
        many.all("ResourceTagSets/ResourceTagSet", "ResourceId"),
        [zone.as_str()]
    );
    world
        .post(&path, "ChangeTagsForResource", &tag("aws:x", "1"))
        .await
        .fails(400, "InvalidInput", "aws:");
    let path = format!("tags/healthcheck/{check}");
    let fast = tag("lath:request-interval-ms", "500");
    world
        .post(&path, "ChangeTagsForResource", &fast)
        .await
        .fails(400, "InvalidInput", "--extended");
}

#[tokio::test]
async fn an_extended_cell_probes_as_often_as_a_tag_says() {
    let world = World::extended();
    let check = world
        .check("<Type>TCP</Type><IPAddress>10.0.0.1</IPAddress><Port>1</Port>")
        .await;
    let path = format!("tags/healthcheck/{check}");
    let tag = |value: &str| {
        format!(
            "<AddTags><Tag><Key>lath:request-interval-ms</Key><Value>{value}</Value></Tag></AddTags>"
        )
    };
    for value in ["99", "30001", "fast"] {
        let refused = world
            .post(&path, "ChangeTagsForResource", &tag(value))
            .await;
        refused.fails(400, "InvalidInput", "milliseconds");
    }
    world
        .post(&path, "ChangeTagsForResource", &tag("500"))
        .await
        .succeeds();
    let fed = world.snapshot().health_checks[&check.parse().unwrap()].clone();
    let lath_feed::Judge::Endpoint(endpoint) = &fed.judge else {
        panic!("{fed:?}");
    };
    assert_eq!((endpoint.interval.as_millis(), fed.version), (500, 2));
}

#[tokio::test]
async fn delegation_sets_are_shared() {
    let world = World::new();
    let body = "<CallerReference>r</CallerReference>";
    let made = world
        .post("delegationset", "CreateReusableDelegationSet", body)
        .await;
    assert_eq!(made.status, 201);
    let id = made.text("DelegationSet/Id");
    assert!(made.location.ends_with(&id), "{made:?}");
    let bare = id.trim_start_matches("/delegationset/");
    let more = format!("<DelegationSetId>{bare}</DelegationSetId>");
    let zone = world.create_zone("example.com", &more).await;
    assert_eq!(zone.succeeds().text("DelegationSet/Id"), id);
    let child = world.create_zone("a.example.com", &more).await;
    child.fails(400, "ConflictingDomainExists", "name servers");
    world.create_zone("example.org", &more).await.succeeds();
    let path = format!("delegationset/{bare}");
    world
        .call("DELETE", &path, "")
        .await
        .fails(400, "DelegationSetInUse", bare);
    let limit = world
        .get(&format!(
            "reusabledelegationsetlimit/{bare}/MAX_ZONES_BY_REUSABLE_DELEGATION_SET"
        ))
        .await;
    assert_eq!(
        (limit.text("Count"), limit.text("Limit/Value")),
        ("2".into(), "100".into())
    );
    world
        .get("delegationset/N1")
        .await
        .fails(400, "NoSuchDelegationSet", "N1");
}

#[tokio::test]
async fn ids_have_at_most_32_characters() {
    let world = World::new();
    let (most, more) = (
        format!("Z{}", "A".repeat(31)),
        format!("Z{}", "A".repeat(32)),
    );
    let rule = "Member must have length less than or equal to 32";
    for (path, code) in [
        ("hostedzone", "NoSuchHostedZone"),
        ("delegationset", "NoSuchDelegationSet"),
    ] {
        let status = if path == "hostedzone" { 404 } else { 400 };
        let known = world.get(&format!("{path}/{most}")).await;
        known.fails(status, code, &most);
        let long = world.get(&format!("{path}/{more}")).await;
        long.fails(400, "InvalidInput", rule);
    }
    let zone = world.zone("example.com").await;
    let aliased = alias("CREATE", "a.example.com", "A", &more, "b.example.com");
    world
        .change(&zone, &[aliased])
        .await
        .fails(400, "InvalidInput", rule);
    let change = world.get(&format!("change/{more}")).await;
    change.fails(404, "NoSuchChange", &more);
}
