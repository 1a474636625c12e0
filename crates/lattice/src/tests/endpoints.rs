//! What EC2 learns of networks for its VPC endpoints, and what Lattice shows of those.

use lath_control::{Claim, NetworkService, services_of};
use lath_ec2::records::{Life, VpcEndpoint};

use super::*;

fn endpoint(network: &str) -> VpcEndpoint {
    VpcEndpoint {
        id: "vpce-0aaaaaaaaaaaaaaaa".parse().unwrap(),
        owner: "123456789012".into(),
        vpc: VPC_A.parse().unwrap(),
        network: network.parse().unwrap(),
        network_arn: format!("{ARN}servicenetwork/{network}"),
        subnets: Default::default(),
        groups: Vec::new(),
        private_dns: false,
        life: Life::begin(0),
        created_at: Timestamp::now(),
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
