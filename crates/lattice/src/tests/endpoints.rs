//! What EC2 learns of networks for its VPC endpoints, and what Lattice shows of those.

use lath_control::{Claim, NetworkService, services_of};
use lath_ec2_records::{EndpointDnsOptions, EndpointOf, Life, LifeState, VpcEndpoint};

use super::resources::{self, SUBNET, active, active_gateway, single};
use super::*;

fn endpoint(network: &str) -> VpcEndpoint {
    VpcEndpoint {
        id: "vpce-0aaaaaaaaaaaaaaaa".parse().unwrap(),
        owner: "123456789012".into(),
        vpc: VPC_A.parse().unwrap(),
        to: EndpointOf::ServiceNetwork {
            network: network.parse().unwrap(),
            network_arn: format!("{ARN}servicenetwork/{network}"),
        },
        subnets: Default::default(),
        groups: Vec::new(),
        private_dns: false,
        dns_options: Default::default(),
        resources: None,
        life: Life::begin(0),
        failure: None,
        created_at: Timestamp::default(),
    }
}

#[tokio::test]
async fn ec2_is_told_which_services_a_network_has() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let service = world.active_service("web").await;
    let offered = || -> Vec<NetworkService> {
        let view = world.cell.db.view();
        let known = services_of(&view, &network.parse().unwrap());
        known.iter().map(|it| NetworkService::clone(it)).collect()
    };
    assert_eq!(offered(), []);
    let body = json!({ "serviceNetworkIdentifier": network, "serviceIdentifier": service });
    let made = world.post("/servicenetworkserviceassociations", body).await;
    let id = made.id();
    let want = NetworkService {
        network: network.parse().unwrap(),
        network_name: "mesh".into(),
        association: id.parse().unwrap(),
        service: service.parse().unwrap(),
        service_arn: format!("{ARN}service/{service}"),
    };
    assert_eq!(offered(), [want]);
    world.settle().await;
    let path = format!("/servicenetworkserviceassociations/{id}");
    world.delete(&path).await.is(200, "");
    assert_eq!(offered(), []);
}

#[tokio::test]
async fn endpoints_are_listed_and_keep_their_network() {
    let world = World::new().await;
    let (network, other) = (world.network("mesh").await, world.network("other").await);
    world
        .write(|tx| {
            let endpoint = tx.put(endpoint(&network));
            tx.put(Claim {
                resource: network.clone(),
                holder: endpoint.id.to_string(),
            });
        })
        .await;
    let list = |network: &str| {
        let query = format!("serviceNetworkIdentifier={network}");
        format!("/servicenetworkvpcendpointassociations?{query}")
    };
    let got = world.get(&list(&network)).await;
    let items = got.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["vpcEndpointId"], "vpce-0aaaaaaaaaaaaaaaa");
    assert_eq!(
        (&items[0]["vpcId"], &items[0]["state"]),
        (&json!(VPC_A), &json!("pending"))
    );
    let got = world.get(&list(&other)).await;
    assert_eq!(got.body["items"], json!([]));
    let path = format!("/servicenetworks/{network}");
    world.delete(&path).await.is(409, "ConflictException");
    world
        .write(|tx| {
            tx.delete::<VpcEndpoint>("vpce-0aaaaaaaaaaaaaaaa");
            tx.delete::<Claim>(&format!("{network}/vpce-0aaaaaaaaaaaaaaaa"));
        })
        .await;
    world.delete(&path).await.is(204, "");
}

const ENDPOINT: &str = "vpce-0bbbbbbbbbbbbbbbb";
const INTERFACE: &str = "eni-0bbbbbbbbbbbbbbbb";

/// An endpoint with an interface at 10.1.1.9, as EC2 makes it.
async fn make(world: &World, to: EndpointOf, private_dns: bool) {
    world
        .write(|tx| {
            tx.put(NetworkInterface {
                id: INTERFACE.parse().unwrap(),
                vpc: VPC_B.parse().unwrap(),
                subnet: SUBNET.parse().unwrap(),
                addresses: vec![PrivateAddress {
                    private: "10.1.1.9".parse().unwrap(),
                    public: None,
                }],
                ..interface()
            });
            tx.put(Claim {
                resource: to.id().to_owned(),
                holder: ENDPOINT.into(),
            });
            tx.put(VpcEndpoint {
                id: ENDPOINT.parse().unwrap(),
                vpc: VPC_B.parse().unwrap(),
                to,
                subnets: [(SUBNET.parse().unwrap(), INTERFACE.parse().unwrap())].into(),
                private_dns,
                ..endpoint("sn-0aaaaaaaaaaaaaaaa")
            });
        })
        .await;
    world.pass().await;
}

fn leading_to(configuration: &str) -> EndpointOf {
    EndpointOf::Resource {
        configuration: configuration.parse().unwrap(),
        configuration_arn: format!("{ARN}resourceconfiguration/{configuration}"),
    }
}

fn known(world: &World) -> VpcEndpoint {
    let view = world.cell.db.view();
    VpcEndpoint::clone(&view.get::<VpcEndpoint>(ENDPOINT).unwrap())
}

/// Which resources are at the endpoint, with their addresses, and all addresses of its interface.
fn at_it(world: &World) -> (Vec<(String, Vec<String>)>, usize) {
    let resources = known(world).resources.unwrap_or_default();
    let resources = resources.iter().map(|(id, it)| {
        let addresses = it.addresses.values().map(ToString::to_string);
        (id.to_string(), addresses.collect())
    });
    let interface = world.cell.db.view().get::<NetworkInterface>(INTERFACE);
    (resources.collect(), interface.unwrap().addresses.len())
}

#[tokio::test]
async fn an_endpoint_leads_to_a_resource_until_they_are_parted() {
    let world = resources::world().await;
    let gate = active_gateway(&world, json!({})).await;
    let configuration = active(&world, single("database", &gate)).await;
    make(&world, leading_to(&configuration), false).await;
    let own = vec![(configuration.clone(), vec!["10.1.1.9".to_owned()])];
    assert_eq!(at_it(&world), (own, 1));
    // Nothing is to be done twice.
    let revision = world.cell.db.view().revision();
    world.pass().await;
    assert_eq!(world.cell.db.view().revision(), revision);
    let list =
        format!("/resourceendpointassociations?resourceConfigurationIdentifier={configuration}");
    let listed = world.get(&list).await;
    let item = &listed.body["items"][0];
    assert_eq!(item["vpcEndpointId"], ENDPOINT);
    let path = format!("/resourceconfigurations/{configuration}");
    world.delete(&path).await.is(409, "ConflictException");
    let id = item["id"].as_str().unwrap();
    assert_eq!(id, "rea-0bbbbbbbbbbbbbbbb");
    let deleted = world
        .delete(&format!("/resourceendpointassociations/{id}"))
        .await;
    deleted.is(200, "");
    assert_eq!(deleted.body["vpcEndpointId"], ENDPOINT);
    world.pass().await;
    let left = known(&world);
    assert_eq!(left.life.state, LifeState::Failed);
    assert_eq!(
        left.failure.unwrap().code,
        "ResourceEndpointAssociationDeleted"
    );
    assert_eq!(world.get(&list).await.body["items"], json!([]));
    world.delete(&path).await.is(204, "");
}

#[tokio::test]
async fn an_endpoint_that_cannot_lead_anywhere_fails() {
    let world = resources::world().await;
    let gate = active_gateway(&world, json!({})).await;
    let group = json!({ "name": "all", "type": "GROUP", "resourceGatewayIdentifier": gate });
    let group = active(&world, group).await;
    let child = json!({
        "name": "one", "type": "CHILD", "resourceConfigurationGroupIdentifier": group, "portRanges": ["80"],
        "resourceConfigurationDefinition": { "ipResource": { "ipAddress": "10.1.1.9" } },
    });
    let child = active(&world, child).await;
    make(&world, leading_to(&child), false).await;
    let failure = known(&world).failure.unwrap();
    assert_eq!(failure.code, "InvalidResourceConfiguration");
    make(&world, leading_to(&group), false).await;
    // The endpoint's own address is no resource's then.
    let (resources, addresses) = at_it(&world);
    assert_eq!((resources.len(), addresses), (1, 2));
    assert_eq!(resources[0].0, child);
    assert_ne!(resources[0].1, ["10.1.1.9"]);
    let kept = resources[0].1.clone();
    world.pass().await;
    assert_eq!(at_it(&world).0[0].1, kept);
}

#[tokio::test]
async fn resources_of_a_network_come_and_go_at_its_endpoints() {
    let world = resources::world().await;
    let gate = active_gateway(&world, json!({})).await;
    let network = world.network("mesh").await;
    let to = EndpointOf::ServiceNetwork {
        network: network.parse().unwrap(),
        network_arn: format!("{ARN}servicenetwork/{network}"),
    };
    make(&world, to, false).await;
    assert_eq!(at_it(&world), (Vec::new(), 1));
    let mut associations = Vec::new();
    for name in ["one", "two"] {
        let configuration = active(&world, single(name, &gate)).await;
        let body = json!({ "resourceConfigurationIdentifier": configuration, "serviceNetworkIdentifier": network });
        let made = world
            .post("/servicenetworkresourceassociations", body)
            .await;
        associations.push(made.id());
    }
    world.settle().await;
    let (resources, addresses) = at_it(&world);
    assert_eq!((resources.len(), addresses), (2, 3));
    let of = known(&world).resources.unwrap();
    for it in of.values() {
        let (association, name) = it.resource.association.as_ref().unwrap();
        assert!(associations.contains(&association.to_string()) && name == "mesh");
    }
    for id in &associations {
        let path = format!("/servicenetworkresourceassociations/{id}");
        world.delete(&path).await.is(200, "");
    }
    world.settle().await;
    assert_eq!(at_it(&world), (Vec::new(), 1));
}

#[tokio::test]
async fn a_subnet_without_a_free_address_is_left_out_until_it_has_one() {
    let world = resources::world().await;
    let gate = active_gateway(&world, json!({})).await;
    let network = world.network("mesh").await;
    let to = EndpointOf::ServiceNetwork {
        network: network.parse().unwrap(),
        network_arn: format!("{ARN}servicenetwork/{network}"),
    };
    make(&world, to, false).await;
    // A /28 has eleven addresses: two are the gateway's, and one the endpoint's.
    let taken = |count: u8| NetworkInterface {
        id: "eni-0ccccccccccccccc1".parse().unwrap(),
        vpc: VPC_B.parse().unwrap(),
        subnet: SUBNET.parse().unwrap(),
        addresses: (0..16)
            .map(|last| std::net::Ipv4Addr::new(10, 1, 1, last))
            .filter(|it| *it != std::net::Ipv4Addr::new(10, 1, 1, 9))
            .take(count.into())
            .map(|private| PrivateAddress {
                private,
                public: None,
            })
            .collect(),
        ..interface()
    };
    world.write(|tx| drop(tx.put(taken(15)))).await;
    let configuration = active(&world, single("one", &gate)).await;
    let body = json!({ "resourceConfigurationIdentifier": configuration, "serviceNetworkIdentifier": network });
    world
        .post("/servicenetworkresourceassociations", body)
        .await
        .is(201, "");
    world.settle().await;
    assert_eq!(
        at_it(&world),
        (vec![(configuration.clone(), Vec::new())], 1)
    );
    world.write(|tx| drop(tx.put(taken(8)))).await;
    world.pass().await;
    let (resources, addresses) = at_it(&world);
    assert_eq!((resources[0].1.len(), addresses), (1, 2));
}

#[tokio::test]
async fn private_names_at_endpoints_are_as_the_endpoint_chooses() {
    let world = resources::world().await;
    let gate = active_gateway(&world, json!({})).await;
    let mut body = single("database", &gate);
    body["customDomainName"] = json!("db.example.com");
    let configuration = active(&world, body).await;
    for (enabled, preference, domains, want) in [
        (false, Some("ALL_DOMAINS"), &[][..], None),
        // Its domain is not verified.
        (true, None, &[], None),
        (true, Some("ALL_DOMAINS"), &[], Some("db.example.com")),
        (
            true,
            Some("SPECIFIED_DOMAINS_ONLY"),
            &["*.example.com"],
            Some("db.example.com"),
        ),
        (true, Some("SPECIFIED_DOMAINS_ONLY"), &["example.org"], None),
    ] {
        make(&world, leading_to(&configuration), enabled).await;
        world
            .write(|tx| {
                tx.update::<VpcEndpoint>(ENDPOINT, |it| {
                    it.dns_options = EndpointDnsOptions {
                        private_dns_preference: preference.map(str::to_owned),
                        private_dns_specified_domains: domains
                            .iter()
                            .map(ToString::to_string)
                            .collect(),
                    };
                });
            })
            .await;
        world.pass().await;
        let resources = known(&world).resources.unwrap();
        let name = resources
            .values()
            .next()
            .unwrap()
            .resource
            .private_name
            .clone();
        assert_eq!(name.as_deref(), want, "{preference:?} {domains:?}");
    }
}
