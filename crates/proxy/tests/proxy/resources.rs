//! Resources: TCP through a gateway. On loopback no router leads ports, so that each is reached at its first one.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lath_feed::*;
use lath_model::id::*;
use lath_proxy::{Looking, NameLookup, Names, ProxyConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::*;

/// A resource behind a gateway, and a socket that is the resource.
struct Reached {
    world: World,
    association: ServiceNetworkResourceAssociationId,
    resource: ResourceConfigurationId,
    /// Where clients reach it.
    at: SocketAddr,
    gateway: Ipv4Addr,
    server: TcpListener,
}

fn config() -> ProxyConfig {
    ProxyConfig {
        listener_drain: Duration::from_millis(50),
        ..crate::lab::config()
    }
}

impl Reached {
    /// A world with a resource of these addresses of a gateway; it is at its address, or at a name.
    async fn new(gateway: &[Ipv4Addr], named: bool) -> Self {
        let mut world = World::new();
        let (address, port) = place();
        let server = TcpListener::bind((place().0, port)).await.unwrap();
        let IpAddr::V4(target) = server.local_addr().unwrap().ip() else {
            unreachable!("it is at an IPv4 address");
        };
        let own = place().0;
        let interface = GatewayInterface {
            id: NetworkInterfaceId::random(),
            addresses: gateway.iter().copied().chain([own]).collect(),
        };
        let gate = ResourceGateway {
            id: ResourceGatewayId::random(),
            vpc: VpcId::random(),
            interfaces: [(SubnetId::random(), interface)].into(),
            security_groups: Default::default(),
        };
        let resource = Resource {
            id: ResourceConfigurationId::random(),
            arn: "arn:resource".to_owned(),
            gateway: gate.id.clone(),
            target: match named {
                false => ResourceTarget::Address(target),
                true => ResourceTarget::Name {
                    name: "db.test".to_owned(),
                    in_vpc: true,
                },
            },
            ports: vec![(port, port)],
            access_logs: vec![AccessLogDestination {
                id: AccessLogSubscriptionId::random(),
                destination_arn: "arn:aws:logs:us-east-1:111122223333:log-group:db".to_owned(),
            }],
        };
        let association = ResourceAssociation {
            id: ServiceNetworkResourceAssociationId::random(),
            network: world.network.clone(),
            network_arn: "arn:network".to_owned(),
            resource: resource.id.clone(),
            address,
            domain_name: "db.on.aws".to_owned(),
            private_name: None,
            access_logs: Vec::new(),
        };
        let reached = (association.id.clone(), resource.id.clone());
        let snapshot = &mut world.snapshot;
        let gates = &mut snapshot.resource_gateways;
        gates.insert(gate.id.clone(), Arc::new(gate));
        let resources = &mut snapshot.resources;
        resources.insert(resource.id.clone(), Arc::new(resource));
        let associations = &mut snapshot.resource_associations;
        associations.insert(association.id.clone(), Arc::new(association));
        Self {
            world,
            association: reached.0,
            resource: reached.1,
            at: SocketAddr::new(IpAddr::V4(address), port),
            gateway: own,
            server,
        }
    }

    async fn plain() -> Self {
        Self::new(&[], false).await
    }

    /// The proxy, once the resource is reached.
    async fn start(&self, config: ProxyConfig) -> Lab {
        let lab = Lab::start(config, &self.world).await;
        self.ready(&lab).await;
        lab
    }

    async fn ready(&self, lab: &Lab) {
        let mut observed = lab.handle.observed();
        let version = self.world.snapshot.version;
        let ready = observed.wait_for(|it| {
            let condition = it.resource_associations.get(&self.association);
            matches!(condition, Some(Condition::Ready { version: of }) if *of >= version)
        });
        let ready = tokio::time::timeout(PATIENCE, ready).await;
        ready.expect("ready in time").unwrap();
    }

    fn resource(&mut self) -> &mut Resource {
        let resources = &mut self.world.snapshot.resources;
        Arc::make_mut(resources.get_mut(&self.resource).unwrap())
    }

    /// A connection, and its other end at the resource.
    async fn joined(&self) -> (TcpStream, TcpStream, SocketAddr) {
        let client = TcpStream::connect(self.at).await.unwrap();
        let accepted = tokio::time::timeout(PATIENCE, self.server.accept()).await;
        let (server, from) = accepted.expect("the gateway connects").unwrap();
        (client, server, from)
    }
}

async fn heard(stream: &mut TcpStream, want: &str) {
    let mut bytes = vec![0; want.len()];
    let reading = stream.read_exact(&mut bytes);
    let read = tokio::time::timeout(PATIENCE, reading).await;
    read.expect("bytes in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), want);
}

/// How a stream ends: `None` by its end, else by the error.
async fn end_of(stream: &mut TcpStream) -> Option<io::ErrorKind> {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    ended.expect("an end in time").err().map(|it| it.kind())
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_way_ends_by_itself() {
    let reached = Reached::plain().await;
    let lab = reached.start(config()).await;
    let (mut client, mut server, from) = reached.joined().await;
    assert_eq!(from.ip(), IpAddr::V4(reached.gateway));
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    heard(&mut server, "question").await;
    assert_eq!(end_of(&mut server).await, None, "the client has said all");
    server.write_all(b"answer").await.unwrap();
    heard(&mut client, "answer").await;
    drop(server);
    assert_eq!(end_of(&mut client).await, None);
    // What broke on one side is no end on the other.
    let (mut client, server, _) = reached.joined().await;
    server.set_zero_linger().unwrap();
    drop(server);
    let reset = Some(io::ErrorKind::ConnectionReset);
    assert_eq!(end_of(&mut client).await, reset);
    let (client, mut server, _) = reached.joined().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(end_of(&mut server).await, reset);
    eventually("three connections are logged", || {
        lab.sink.lines.lock().unwrap().len() == 3
    })
    .await;
    let lines = lab.sink.lines.lock().unwrap().clone();
    assert_eq!(lines[0].group, "db");
    let record: serde_json::Value = serde_json::from_str(&lines[0].lines[0]).unwrap();
    let place = |at: SocketAddr| at.to_string();
    assert_eq!(record["destinationIpPort"], place(reached.at));
    assert_eq!(record["gatewayIpPort"], place(from));
    let server = reached.server.local_addr().unwrap();
    assert_eq!(record["resourceIpPort"], place(server));
    assert_eq!(record["protocol"], "tcp");
}

/// An endpoint in a VPC without a service network: a connection is logged as one through the endpoint, and ends when the
/// endpoint leads there no more.
#[tokio::test]
async fn a_resource_is_reached_at_an_endpoint_until_it_leads_elsewhere() {
    let mut reached = Reached::plain().await;
    let (address, port) = (place().0, reached.at.port());
    let (id, vpc) = (VpcEndpointId::random(), VpcId::random());
    let leads = EndpointResource {
        association: None,
        addresses: [(SubnetId::random(), address)].into(),
        private_name: None,
    };
    let mut endpoint = VpcEndpoint {
        id: id.clone(),
        service_network: None,
        addresses: Default::default(),
        security_groups: Default::default(),
        names: Default::default(),
        resources: [(reached.resource.clone(), leads)].into(),
    };
    let mut own = Vpc::clone(&reached.world.snapshot.vpcs[&reached.world.vpc]);
    (own.id, own.lattice) = (vpc.clone(), None);
    own.endpoints.insert(id.clone(), endpoint.clone());
    let vpcs = &mut reached.world.snapshot.vpcs;
    vpcs.insert(vpc.clone(), Arc::new(own.clone()));
    let lab = reached.start(config()).await;
    let mut observed = lab.handle.observed();
    let ready =
        observed.wait_for(|it| matches!(it.vpc_endpoints.get(&id), Some(Condition::Ready { .. })));
    let ready = tokio::time::timeout(PATIENCE, ready).await;
    drop(ready.expect("ready in time").unwrap());

    let at = SocketAddr::new(IpAddr::V4(address), port);
    let mut client = TcpStream::connect(at).await.unwrap();
    let accepted = tokio::time::timeout(PATIENCE, reached.server.accept()).await;
    let (mut server, _) = accepted.expect("the gateway connects").unwrap();
    client.write_all(b"question").await.unwrap();
    heard(&mut server, "question").await;
    // What was accepted has its time, new connections are refused.
    endpoint.resources.clear();
    own.endpoints.insert(id.clone(), endpoint);
    reached.world.snapshot.vpcs.insert(vpc, Arc::new(own));
    lab.apply(&mut reached.world).await;
    eventually("new connections are refused", || {
        std::net::TcpStream::connect(at).is_err()
    })
    .await;
    assert!(end_of(&mut client).await.is_some());
    eventually("the connection is logged", || {
        !lab.sink.lines.lock().unwrap().is_empty()
    })
    .await;
    let lines = lab.sink.lines.lock().unwrap().clone();
    let record: serde_json::Value = serde_json::from_str(&lines[0].lines[0]).unwrap();
    assert_eq!(record["vpcEndpointId"], id.as_str());
    assert_eq!(record["serviceNetworkArn"], "-");
    assert_eq!(record["serviceNetworkResourceAssociationId"], "-");
}

/// A gateway's address that has no port for a destination stands for the others.
#[tokio::test]
async fn another_address_of_the_gateway_takes_over() {
    // No host has these: no socket can be bound to them.
    let others = [Ipv4Addr::new(240, 0, 0, 1), Ipv4Addr::new(240, 0, 0, 2)];
    let reached = Reached::new(&others, false).await;
    let _lab = reached.start(config()).await;
    for _ in 0..6 {
        let (_client, _server, from) = reached.joined().await;
        assert_eq!(from.ip(), IpAddr::V4(reached.gateway));
    }
}

#[tokio::test]
async fn idle_connections_are_reset_and_others_are_not() {
    let reached = Reached::plain().await;
    let config = ProxyConfig {
        resource_idle: Duration::from_secs(3),
        // What ends others that are idle would end these sooner.
        lifetime_grace: Duration::from_secs(3600),
        ..config()
    };
    let _lab = reached.start(config).await;
    let (mut idle, mut its, _) = reached.joined().await;
    let (mut busy, mut server, _) = reached.joined().await;
    let over = Cell::new(false);
    let talking = async {
        while !over.get() {
            busy.write_all(b"x").await.unwrap();
            heard(&mut server, "x").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ending = async {
        let ended = (end_of(&mut idle).await, end_of(&mut its).await);
        over.set(true);
        ended
    };
    let reset = Some(io::ErrorKind::ConnectionReset);
    let ((), ended) = tokio::join!(talking, ending);
    assert_eq!(ended, (reset, reset));
    busy.write_all(b"still").await.unwrap();
    heard(&mut server, "still").await;
}

/// A change of ports moves the listening socket, and is no reason to end what it accepted.
#[tokio::test]
async fn connections_outlive_changes_of_ports_and_not_their_association() {
    let mut reached = Reached::plain().await;
    let lab = reached.start(config()).await;
    let (mut client, mut server, _) = reached.joined().await;
    let port = reached.at.port();
    let lower = (1024..port).rev().find(|port| {
        let at = (reached.at.ip(), *port);
        std::net::TcpListener::bind(at).is_ok()
    });
    let lower = lower.unwrap();
    reached.resource().ports = vec![(lower, lower), (port, port)];
    lab.apply(&mut reached.world).await;
    reached.ready(&lab).await;
    eventually("the old port is closed", || {
        std::net::TcpStream::connect(reached.at).is_err()
    })
    .await;
    // Longer than what a listener's connections get that is gone.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.write_all(b"ping").await.unwrap();
        heard(&mut server, "ping").await;
    }
    reached
        .world
        .snapshot
        .resource_associations
        .remove(&reached.association);
    lab.apply(&mut reached.world).await;
    let reset = Some(io::ErrorKind::ConnectionReset);
    assert_eq!(end_of(&mut client).await, reset);
    assert_eq!(end_of(&mut server).await, reset);
}

/// Knows one name.
struct Known(io::Result<Vec<Ipv4Addr>>);

impl NameLookup for Known {
    fn addresses<'a>(&'a self, vpc: Option<&'a VpcId>, name: &'a str) -> Looking<'a> {
        assert!(vpc.is_some() && name == "db.test", "{vpc:?} {name}");
        let known = match &self.0 {
            Ok(known) => Ok(known.clone()),
            Err(error) => Err(error.kind().into()),
        };
        Box::pin(std::future::ready(known))
    }
}

fn knowing(known: io::Result<Vec<Ipv4Addr>>) -> ProxyConfig {
    ProxyConfig {
        names: Some(Names(Arc::new(Known(known)))),
        ..config()
    }
}

/// A name must not lead to the router's own services; the rest of it is for the gateway's groups to judge. (All of loopback is
/// the router's own: that is why nothing else of it is reached here.)
#[tokio::test]
async fn names_that_lead_nowhere_reset_their_clients() {
    let reached = Reached::new(&[], true).await;
    let IpAddr::V4(own) = reached.server.local_addr().unwrap().ip() else {
        unreachable!("it is at an IPv4 address");
    };
    for known in [
        Ok(vec![own]),
        Ok(vec![Ipv4Addr::new(169, 254, 169, 254), reached.gateway]),
        Ok(Vec::new()),
        Err(io::ErrorKind::NotFound.into()),
        Err(io::ErrorKind::TimedOut.into()),
    ] {
        let lab = reached.start(knowing(known)).await;
        // The reset may come before the client looks whether it is connected.
        let ended = match TcpStream::connect(reached.at).await {
            Ok(mut client) => end_of(&mut client).await,
            Err(error) => Some(error.kind()),
        };
        assert_eq!(ended, Some(io::ErrorKind::ConnectionReset));
        let accepted = tokio::time::timeout(Duration::from_millis(50), reached.server.accept());
        assert!(accepted.await.is_err(), "nobody comes to the resource");
        lab.handle.shutdown(Duration::ZERO).await;
    }
}
