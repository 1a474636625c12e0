use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lath_feed::{InstanceMetadata, Interface, InterfaceAddress, Power, RootSource, SecurityGroup};
use lath_feed::{Subnet, Vpc};
use lath_model::id::*;

use super::*;

struct World {
    snapshot: Snapshot,
    vpc: VpcId,
    instance: InstanceId,
    tokens: Tokens,
}

/// Two instances in one VPC: 10.0.1.10 with everything, 10.0.1.11 with nothing.
fn world() -> World {
    let vpc = VpcId::random();
    let (full, bare) = (InstanceId::random(), InstanceId::random());
    let group = SecurityGroupId::random();
    let subnet = SubnetId::random();
    let interface = |n: u8, owner: &InstanceId, public: Option<&str>| Interface {
        id: NetworkInterfaceId::random(),
        subnet: subnet.clone(),
        mac: format!("02:00:0a:00:01:{n:02x}"),
        addresses: vec![InterfaceAddress {
            private: Ipv4Addr::new(10, 0, 1, n),
            public: public.map(|it| it.parse().unwrap()),
        }],
        security_groups: BTreeSet::from([group.clone()]),
        source_dest_check: true,
        attachment: Some((owner.clone().into(), 0).into()),
        prefixes: public
            .map(|_| "10.0.1.32/28".parse().unwrap())
            .into_iter()
            .collect(),
        branches: Vec::new(),
    };
    let interfaces = [
        interface(10, &full, Some("203.0.113.9")),
        interface(11, &bare, None),
    ];
    let networks = Vpc {
        id: vpc.clone(),
        owner: "123456789012".into(),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        dns_support: true,
        dns_hostnames: true,
        dhcp_options: None,
        subnets: BTreeMap::from([(subnet.clone(), a_subnet(&subnet))]),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: interfaces.map(|it| (it.id.clone(), it)).into(),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
        network_acls: Default::default(),
        peerings: Default::default(),
    };
    let security_group = SecurityGroup {
        id: group.clone(),
        name: "web".into(),
        vpc: vpc.clone(),
        ingress: vec![],
        egress: vec![],
    };
    let mut one = an_instance(&full, &vpc);
    one.user_data = b"#!/bin/sh\n\xff".to_vec();
    one.metadata.key = Some(("my key".into(), "ssh-ed25519 AAAA my".into()));
    one.metadata.tags = Some(BTreeMap::from([
        ("Name".into(), "n".into()),
        ("a/b".into(), "x".into()),
    ]));
    let snapshot = Snapshot {
        region: "us-east-1".into(),
        account: "123456789012".into(),
        vpcs: lath_feed::Items::from([(vpc.clone(), Arc::new(networks))]),
        security_groups: lath_feed::Items::from([(group, Arc::new(security_group))]),
        instances: lath_feed::Items::from([
            (full.clone(), Arc::new(one)),
            (bare.clone(), Arc::new(an_instance(&bare, &vpc))),
        ]),
        ..Snapshot::default()
    };
    World {
        snapshot,
        vpc,
        instance: full,
        tokens: Tokens::new(),
    }
}

use std::net::Ipv4Addr;

fn a_subnet(id: &SubnetId) -> Subnet {
    Subnet {
        id: id.clone(),
        cidr: "10.0.1.0/24".parse().unwrap(),
        route_table: RouteTableId::random(),
        availability_zone: "us-east-1a".into(),
        network_acl: None,
    }
}

fn an_instance(id: &InstanceId, vpc: &VpcId) -> Instance {
    Instance {
        id: id.clone(),
        vpc: vpc.clone(),
        power: Power::On,
        boot: 1,
        root: RootSource::Host,
        capacity: Default::default(),
        hostname: "ip-10-0-1-10.ec2.internal".into(),
        resource_name: None,
        user_data: vec![],
        kind: Default::default(),
        cluster: None,
        metadata: InstanceMetadata {
            image: ImageId::random(),
            instance_type: "t3.medium".into(),
            reservation: ReservationId::random(),
            launch_index: 0,
            launched_at: Timestamp::from_millis(0),
            key: None,
            availability_zone: "us-east-1a".into(),
            tags: None,
            tokens_required: false,
            hop_limit: 1,
            enabled: true,
            profile: None,
        },
    }
}

impl World {
    fn change(&mut self, change: impl FnOnce(&mut Instance)) {
        let mut instance = (*self.snapshot.instances[&self.instance]).clone();
        change(&mut instance);
        let changed = Arc::new(instance);
        self.snapshot
            .instances
            .insert(self.instance.clone(), changed);
    }

    fn ask(&self, from: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let response = self.response(from, method, path, headers);
        let status = response.status().as_u16();
        (
            status,
            String::from_utf8_lossy(response.body()).into_owned(),
        )
    }

    fn response(
        &self,
        from: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Vec<u8>> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let asked = Asked {
            vpc: &self.vpc,
            peer: from.parse().unwrap(),
            now: Timestamp::from_millis(1_000),
            method: &method.parse().unwrap(),
            path,
            headers: &map,
        };
        answer(&self.snapshot, (&self.tokens, &Issuer::default()), &asked)
    }
}

#[test]
fn the_key_of_a_clusters_node_goes_no_further_than_the_node() {
    let mut world = world();
    let (method, headers) = (Method::GET, HeaderMap::new());
    let hops = |world: &World, path: &str| {
        let asked = Asked {
            vpc: &world.vpc,
            peer: FULL.parse().unwrap(),
            now: Timestamp::from_millis(1_000),
            method: &method,
            path,
            headers: &headers,
        };
        hop_limit(&world.snapshot, &asked)
    };
    let key = "/latest/meta-data/%6cath/identity/private-key";
    assert_eq!(hops(&world, key), None);
    world.change(|it| it.kind = InstanceKind::Node);
    assert_eq!(hops(&world, key), Some(1));
    assert_eq!(hops(&world, "/latest/meta-data/instance-id"), None);
}

const FULL: &str = "10.0.1.10";
const TTL: (&str, &str) = ("X-aws-ec2-metadata-token-ttl-seconds", "60");

#[test]
fn the_tree_reads_as_on_aws() {
    let world = world();
    let mac = "/latest/meta-data/network/interfaces/macs/02:00:0a:00:01:0a";
    let in_mac = |name: &str| format!("{mac}/{name}");
    for (path, want) in [
        ("/latest".to_owned(), "dynamic/\nmeta-data/\nuser-data"),
        (
            "/latest/meta-data/instance-id/".into(),
            world.instance.as_str(),
        ),
        ("/2021-07-15/meta-data/local-ipv4".into(), FULL),
        ("/latest/meta-data/public-ipv4".into(), "203.0.113.9"),
        (
            "/latest/meta-data/public-hostname".into(),
            "ec2-203-0-113-9.compute-1.amazonaws.com",
        ),
        ("/latest//meta-data/placement/region".into(), "us-east-1"),
        (
            "/latest/meta-data/placement".into(),
            "availability-zone\navailability-zone-id\nregion",
        ),
        (
            "/latest/meta-data/placement/availability-zone-id".into(),
            "use1-az1",
        ),
        ("/latest/meta-data/public-keys/".into(), "0=my key"),
        ("/latest/meta-data/public-keys/0".into(), "openssh-key"),
        (
            "/latest/meta-data/public-keys/0/openssh-key".into(),
            "ssh-ed25519 AAAA my",
        ),
        ("/latest/meta-data/security-groups".into(), "web"),
        ("/latest/meta-data/tags/instance/a%2Fb".into(), ""),
        ("/latest/meta-data/tags/instance/Name".into(), "n"),
        (
            "/latest/meta-data/network/interfaces/macs".into(),
            "02:00:0a:00:01:0a/",
        ),
        (in_mac("subnet-ipv4-cidr-block"), "10.0.1.0/24"),
        (in_mac("vpc-ipv4-cidr-blocks"), "10.0.0.0/16"),
        (in_mac("ipv4-associations/203.0.113.9"), FULL),
        (in_mac("device-number"), "0"),
        (in_mac("ipv4-prefix"), "10.0.1.32/28"),
    ] {
        let (status, body) = world.ask(FULL, "GET", &path, &[]);
        if want.is_empty() {
            assert_eq!(
                status, 404,
                "{path}: keys with slashes are not served, as on AWS"
            );
        } else {
            assert_eq!((status, body.as_str()), (200, want), "{path}");
        }
    }
}

#[test]
fn the_identity_document_is_json() {
    let world = world();
    let (_, body) = world.ask(
        FULL,
        "GET",
        "/latest/dynamic/instance-identity/document",
        &[],
    );
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["instanceId"], world.instance.as_str());
    assert_eq!(document["pendingTime"], "1970-01-01T00:00:00Z");
    assert_eq!(document["privateIp"], FULL);
}

#[test]
fn user_data_is_bytes_as_given() {
    let response = world().response(FULL, "GET", "/latest/user-data", &[]);
    assert_eq!(response.body(), b"#!/bin/sh\n\xff");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/octet-stream");
}

#[test]
fn who_asks_decides_and_what_is_not_there_is_not_found() {
    let world = world();
    for (name, from, path, want) in [
        ("stranger", "10.0.1.99", "/latest/meta-data/", 404),
        ("no user data", "10.0.1.11", "/latest/user-data", 404),
        ("no key", "10.0.1.11", "/latest/meta-data/public-keys/", 404),
        (
            "no role",
            FULL,
            "/latest/meta-data/iam/security-credentials/",
            404,
        ),
        (
            "no signature",
            FULL,
            "/latest/dynamic/instance-identity/pkcs7",
            404,
        ),
        ("below a leaf", FULL, "/latest/meta-data/instance-id/x", 404),
        ("unknown version", FULL, "/1999-01-01/meta-data", 404),
        ("half an escape", FULL, "/latest/%", 404),
        ("roots", FULL, "/", 200),
    ] {
        let (status, body) = world.ask(from, "GET", path, &[]);
        assert_eq!(status, want, "{name}");
        assert!(
            status == 200 || body.contains("<h1>404 - Not Found</h1>"),
            "{name}"
        );
    }
}

#[test]
fn tokens_are_given_and_demanded() {
    let mut world = world();
    world.change(|instance| instance.metadata.tokens_required = true);
    let path = "/latest/api/token";
    let (status, token) = world.ask(FULL, "PUT", path, &[TTL]);
    assert_eq!(status, 200);
    let (_, others) = world.ask("10.0.1.11", "PUT", path, &[TTL]);
    let key = "X-aws-ec2-metadata-token";
    let forwarded = ("X-Forwarded-For", "1.2.3.4");
    let too_long = (TTL.0, "21601");
    for (name, method, path, headers, want) in [
        (
            "with it",
            "GET",
            "/latest/meta-data/",
            vec![(key, token.as_str())],
            200,
        ),
        (
            "head",
            "HEAD",
            "/latest/meta-data/",
            vec![(key, token.as_str())],
            200,
        ),
        ("without", "GET", "/latest/meta-data/", vec![], 401),
        (
            "wrong",
            "GET",
            "/latest/meta-data/",
            vec![(key, "AAAA")],
            401,
        ),
        (
            "another's",
            "GET",
            "/latest/meta-data/",
            vec![(key, others.as_str())],
            401,
        ),
        (
            "post",
            "POST",
            "/latest/meta-data/",
            vec![(key, token.as_str())],
            405,
        ),
        ("token by get", "GET", path, vec![TTL], 405),
        ("forwarded", "PUT", path, vec![TTL, forwarded], 403),
        ("no time", "PUT", path, vec![], 400),
        ("too long", "PUT", path, vec![too_long], 400),
        ("zero", "PUT", path, vec![(TTL.0, "0")], 400),
        ("no number", "PUT", path, vec![(TTL.0, "abc")], 400),
        ("nothing", "PUT", path, vec![(TTL.0, "")], 400),
        ("signed", "PUT", path, vec![(TTL.0, "+60")], 400),
        ("negative", "PUT", path, vec![(TTL.0, "-1")], 400),
        ("fraction", "PUT", path, vec![(TTL.0, "60.5")], 400),
        ("space", "PUT", path, vec![(TTL.0, " 60")], 400),
        ("list", "PUT", path, vec![(TTL.0, "60, 60")], 400),
        ("twice", "PUT", path, vec![TTL, TTL], 400),
        ("huge", "PUT", path, vec![(TTL.0, "4294967297")], 400),
        ("longest", "PUT", path, vec![(TTL.0, "21600")], 200),
        (
            "two tokens",
            "GET",
            "/latest/meta-data/",
            vec![(key, token.as_str()), (key, token.as_str())],
            401,
        ),
    ] {
        assert_eq!(world.ask(FULL, method, path, &headers).0, want, "{name}");
    }
    let given = world.response(FULL, "PUT", path, &[TTL]);
    assert_eq!(given.headers()[TOKEN_TTL], "60");
}

#[test]
fn a_wrong_token_is_refused_where_none_is_demanded() {
    let world = world();
    let wrong = [("X-aws-ec2-metadata-token", "AAAA")];
    assert_eq!(world.ask(FULL, "GET", "/latest/meta-data/", &wrong).0, 401);
    assert_eq!(world.ask(FULL, "GET", "/latest/meta-data/", &[]).0, 200);
}

#[test]
fn a_disabled_service_refuses() {
    let mut world = world();
    world.change(|instance| instance.metadata.enabled = false);
    assert_eq!(world.ask(FULL, "GET", "/latest/meta-data/", &[]).0, 403);
    assert_eq!(world.ask(FULL, "PUT", "/latest/api/token", &[TTL]).0, 403);
}

#[test]
fn a_profile_shows_its_role_and_the_keys_for_it() {
    let mut world = world();
    let keys = lath_feed::TemporaryKeys {
        id: "ASIAKEY".into(),
        secret: lath_feed::Hidden("its secret".into()),
        token: lath_feed::Hidden("its token".into()),
        expires: Timestamp::from_millis(3_600_000),
    };
    let profile = lath_feed::InstanceProfile {
        arn: "arn:aws:iam::123456789012:instance-profile/web".into(),
        id: "AIPAWEB".into(),
        updated: Timestamp::from_millis(0),
        role: Some("web".into()),
        keys: Some(keys),
    };
    let read = |world: &World, path: &str| {
        let path = format!("/latest/meta-data/iam/{path}");
        let (status, body) = world.ask(FULL, "GET", &path, &[]);
        (
            status,
            serde_json::from_str(&body).unwrap_or_else(|_| body.into()),
        )
    };
    let set = |world: &mut World, profile: &lath_feed::InstanceProfile| {
        let profile = Some(profile.clone());
        world.change(|instance| instance.metadata.profile = profile);
    };
    set(&mut world, &profile);
    assert_eq!(
        read(&world, ""),
        (200, "info\nsecurity-credentials/".into())
    );
    assert_eq!(read(&world, "security-credentials/"), (200, "web".into()));
    let (_, info): (u16, serde_json::Value) = read(&world, "info");
    assert_eq!(info["Code"], "Success");
    assert_eq!(info["InstanceProfileArn"], profile.arn);
    assert_eq!(info["InstanceProfileId"], "AIPAWEB");
    let (status, found) = read(&world, "security-credentials/web");
    assert_eq!(status, 200);
    for (member, want) in [
        ("Code", "Success"),
        ("Type", "AWS-HMAC"),
        ("AccessKeyId", "ASIAKEY"),
        ("SecretAccessKey", "its secret"),
        ("Token", "its token"),
        ("Expiration", "1970-01-01T01:00:00Z"),
    ] {
        assert_eq!(found[member], want, "{member}");
    }
    assert_eq!(read(&world, "security-credentials/other").0, 404);

    let distrusting = lath_feed::InstanceProfile {
        keys: None,
        ..profile.clone()
    };
    set(&mut world, &distrusting);
    let (_, refused) = read(&world, "security-credentials/web");
    assert_eq!(refused["Code"], "AssumeRoleUnauthorizedAccess");

    let bare = lath_feed::InstanceProfile {
        role: None,
        ..distrusting
    };
    set(&mut world, &bare);
    assert_eq!(read(&world, "security-credentials/").0, 404);
    assert_eq!(read(&world, "info").1["Code"], "InstanceProfileNotFound");
}
