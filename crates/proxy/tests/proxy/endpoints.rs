//! Service networks at addresses of a VPC.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lath_feed::{Auth, Condition, VpcEndpoint};
use lath_model::id::*;

use crate::lab::world::HOST;
use crate::lab::*;

#[tokio::test]
async fn an_endpoints_address_is_for_every_service_and_host_chooses() {
    let shop = Target::named("shop").await;
    let pay = Target::named("pay").await;
    let (mut world, _) = World::forwarding(&[shop.at]);
    // A second service, at another address but the same port.
    let other = ServiceId::random();
    let group = world.group(&[pay.at]);
    let mut service = world.snapshot.services[&world.service].as_ref().clone();
    service.id = other.clone();
    service.custom_domain_name = None;
    service.domain_name = "pay.lattice.test".to_owned();
    service.address = place().0;
    let listener = service.listeners.values_mut().next().unwrap();
    listener.default_action =
        lath_model::lattice::Action::Forward(vec![lath_model::lattice::WeightedTargetGroup {
            target_group: group,
            weight: 1,
        }]);
    world
        .snapshot
        .services
        .insert(other.clone(), Arc::new(service));
    world.service_network().services.insert(other.clone());

    // A VPC that is not associated with the network has the endpoint.
    let (address, id, vpc) = (place().0, VpcEndpointId::random(), VpcId::random());
    let mut own = world.snapshot.vpcs[&world.vpc].as_ref().clone();
    own.id = vpc.clone();
    own.lattice = None;
    let endpoint = VpcEndpoint {
        id: id.clone(),
        service_network: Some(world.network.clone()),
        addresses: BTreeMap::from([(SubnetId::random(), (NetworkInterfaceId::random(), address))]),
        security_groups: BTreeSet::new(),
        names: BTreeMap::from([(other.clone(), "vpce-1-snsa-1.lattice.test".to_owned())]),
        resources: BTreeMap::new(),
    };
    own.endpoints.insert(id.clone(), endpoint);
    world.snapshot.vpcs.insert(vpc.clone(), Arc::new(own));
    let lab = Lab::start(config(), &world).await;
    let mut observed = lab.handle.observed();
    let ready =
        observed.wait_for(|it| matches!(it.vpc_endpoints.get(&id), Some(Condition::Ready { .. })));
    tokio::time::timeout(PATIENCE, ready)
        .await
        .unwrap()
        .unwrap();

    let at = SocketAddr::new(IpAddr::V4(address), world.at.port());
    for (host, want) in [
        (HOST, (200, "shop")),
        ("pay.lattice.test", (200, "pay")),
        ("VPCE-1-snsa-1.lattice.test:80", (200, "pay")),
        ("vpce-1-snsa-2.lattice.test", (404, "Not Found\n")),
        ("unknown.test", (404, "Not Found\n")),
    ] {
        let got = get(at, host, "/").await;
        assert_eq!((got.status, got.body.as_str()), want, "{host}");
    }
    let head = pay.last().head;
    assert_eq!(header(&head, "x-amzn-source-vpc"), Some(vpc.as_str()));
    // Elsewhere the endpoint's names mean nothing.
    assert_eq!(
        get(world.at, "vpce-1-snsa-1.lattice.test", "/")
            .await
            .status,
        404
    );

    // The endpoint's VPC is where such requests come from.
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{{"StringEquals":{{"vpc-lattice-svcs:SourceVpc":"{vpc}"}}}}}}}}"#
    );
    world.service_network().auth = Auth::AwsIam { policy: Some(text) };
    lab.apply(&mut world).await;
    assert_eq!(get(at, HOST, "/").await.status, 200);
    assert_eq!(get(world.at, HOST, "/").await.status, 403);

    // It goes with its VPC.
    world.snapshot.vpcs.remove(&vpc);
    lab.apply(&mut world).await;
    eventually("the endpoint is closed", || {
        std::net::TcpStream::connect(at).is_err()
    })
    .await;
}
