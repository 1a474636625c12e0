//! Listeners as entrances to other services.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::lab::{Lab, Target, World, config, eventually, get, place};
use lath_feed::*;
use lath_model::id::*;
use lath_model::lattice::*;
use lath_model::matching::{MoreMatch, PathCondition};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A gateway at the address of the world's service, and a route with a rule for `/a` at an address of its own. They have a
/// port in common.
fn gateway(target: SocketAddr) -> (World, ServiceId) {
    let mut world = World::new();
    let group = world.group(&[target]);
    let listener = world.listener().id.clone();
    world.listener().gateway = Some(Gateway {
        client_certificate: None,
        listeners: vec![GatewayListener {
            name: "web".to_owned(),
            hostname: Some("*.example.test".to_owned()),
            certificates: Vec::new(),
        }],
        opaque: false,
    });
    let gateway = world.snapshot.services[&world.service].as_ref().clone();
    let (address, _) = place();
    let id = ServiceId::random();
    let own = Listener {
        id: ListenerId::random(),
        gateway: None,
        matched: vec![MatchedRule {
            rule: Rule {
                id: RuleId::random(),
                priority: 1,
                conditions: Match::default(),
                action: Action::Forward(vec![WeightedTargetGroup {
                    target_group: group,
                    weight: 1,
                }]),
            },
            more: MoreMatch {
                path: Some(PathCondition::Prefix("/a".to_owned())),
                ..MoreMatch::default()
            },
        }],
        ..gateway.listeners[&listener].clone()
    };
    let route = Service {
        arn: format!("arn:aws:vpc-lattice:us-east-1:111122223333:service/{id}"),
        custom_domain_name: Some("route.example.com".to_owned()),
        domain_name: "route.lattice.test".to_owned(),
        address,
        listeners: [(own.id.clone(), own)].into(),
        routes: vec![GatewayRoute {
            listener,
            name: "web".to_owned(),
            hosts: vec!["a.example.test".to_owned()],
            order: String::new(),
        }],
        access_logs: vec![AccessLogDestination {
            id: AccessLogSubscriptionId::random(),
            destination_arn: "arn:route".to_owned(),
        }],
        id: id.clone(),
        ..gateway
    };
    world.snapshot.services.insert(id.clone(), Arc::new(route));
    world.service_network().services.insert(id.clone());
    (world, id)
}

#[tokio::test]
async fn a_request_is_the_routes_from_there_on() {
    let target = Target::named("route").await;
    let (mut world, id) = gateway(target.at);
    let lab = Lab::start(config(), &world).await;
    for (host, path, want) in [
        ("a.example.test", "/a/b", 200),
        ("A.Example.Test", "/a", 200),
        ("a.example.test", "/ab", 404),
        ("b.example.test", "/a", 404),
        ("a.other.test", "/a", 404),
        // What names a service at another address is nothing here.
        ("route.example.com", "/a", 404),
    ] {
        assert_eq!(
            get(world.at, host, path).await.status,
            want,
            "{host} {path}"
        );
    }
    let route = world.snapshot.services[&id].clone();
    let own = SocketAddr::new(IpAddr::V4(route.address), world.at.port());
    assert_eq!(get(own, "route.example.com", "/a").await.status, 200);
    assert_eq!(get(own, "a.example.test", "/a").await.status, 404);
    eventually("three records", || lab.sink.logs.lock().unwrap().len() == 3).await;
    let logs = lab.sink.logs.lock().unwrap().clone();
    let is_its = |it: &lath_feed::telemetry::AccessLog| it.service_arn.as_ref() == Some(&route.arn);
    assert!(logs.iter().all(is_its));
    assert_eq!(logs[0].listener.as_ref(), route.listeners.keys().next());

    // Its auth policy counts, and the gateway's does not.
    let closed = Auth::AwsIam { policy: None };
    world.service().auth = closed.clone();
    lab.apply(&mut world).await;
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 200);
    assert_eq!(get(world.at, "b.example.test", "/a").await.status, 403);
    world.service().auth = Auth::None;
    let changed = world.snapshot.services.get_mut(&id).unwrap();
    Arc::make_mut(changed).auth = closed;
    lab.apply(&mut world).await;
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 403);
    assert_eq!(get(world.at, "b.example.test", "/a").await.status, 404);

    // A service outside the network is not reached through a gateway in it.
    let changed = world.snapshot.services.get_mut(&id).unwrap();
    Arc::make_mut(changed).auth = Auth::None;
    lab.apply(&mut world).await;
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 200);
    world.service_network().services.remove(&id);
    lab.apply(&mut world).await;
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 404);
}

#[tokio::test]
async fn services_that_share_the_address_keep_what_names_them() {
    let target = Target::named("route").await;
    let (mut world, id) = gateway(target.at);
    let at = world.snapshot.services[&world.service].address;
    let shared = world.snapshot.services.get_mut(&id).unwrap();
    Arc::make_mut(shared).address = at;
    let _lab = Lab::start(config(), &world).await;
    assert_eq!(get(world.at, "route.example.com", "/a").await.status, 200);
    assert_eq!(get(world.at, "a.example.test", "/a").await.status, 200);
    assert_eq!(get(world.at, "a.other.test", "/a").await.status, 404);
}

/// Reads until the bytes end so.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        read.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_websocket_is_joined_to_the_target_at_a_gateway_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut world, id) = gateway(listener.local_addr().unwrap());
    let target = tokio::spawn(async move {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = until(&mut stream, "\r\n\r\n").await;
            let asks = head.to_lowercase().contains("\r\nupgrade: websocket\r\n");
            heads.push(head);
            if !asks {
                let answer = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                continue;
            }
            // The first bytes come with the head.
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: x\r\n\r\nhello\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            to.shutdown().await.unwrap();
        }
        heads
    });
    let lab = Lab::start(config(), &world).await;
    let ask = |host: &str| {
        format!(
            "GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let mut client = TcpStream::connect(world.at).await.unwrap();
    client
        .write_all(ask("a.example.test").as_bytes())
        .await
        .unwrap();
    let head = until(&mut client, "\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: x",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    assert_eq!(until(&mut client, "\n").await, "hello\n");
    // What looks like a request is none any more.
    for said in ["GET / HTTP/1.1\r\n\r\n\n", "\0\r\n"] {
        client.write_all(said.as_bytes()).await.unwrap();
        assert_eq!(until(&mut client, said).await, said);
    }
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    eventually("a record", || lab.sink.logs.lock().unwrap().len() == 1).await;
    let log = lab.sink.logs.lock().unwrap()[0].clone();
    assert_eq!((log.response_code, log.failure_reason), (101, None));
    assert!(log.bytes_sent > 30, "{}", log.bytes_sent);

    // By the route's own name, as at AWS, the target is not asked to switch.
    let route = world.snapshot.services[&id].clone();
    let own = SocketAddr::new(IpAddr::V4(route.address), world.at.port());
    let mut client = TcpStream::connect(own).await.unwrap();
    client
        .write_all(ask("route.example.com").as_bytes())
        .await
        .unwrap();
    let head = until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    let heads = target.await.unwrap();
    assert!(!heads[1].to_lowercase().contains("upgrade"), "{}", heads[1]);
    lab.apply(&mut world).await;
}

#[tokio::test]
async fn tcp_is_joined_to_the_oldest_route_before_a_byte_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut world, id) = gateway(listener.local_addr().unwrap());
    let group = world.snapshot.target_groups.keys().next().cloned().unwrap();
    let tcp = world.target_group(&group);
    (tcp.protocol, tcp.protocol_version) = (TargetProtocol::Tcp, None);
    let front = world.listener();
    front.protocol = ListenerProtocol::TlsPassthrough;
    let opened = front.gateway.as_mut().unwrap();
    opened.opaque = true;
    opened.listeners[0].hostname = None;
    let route = Arc::make_mut(world.snapshot.services.get_mut(&id).unwrap());
    (route.custom_domain_name, route.routes[0].hosts) = (None, Vec::new());
    route.routes[0].order = "2".to_owned();
    let own = route.listeners.values_mut().next().unwrap();
    own.protocol = ListenerProtocol::TlsPassthrough;
    let rules = std::mem::take(&mut own.matched);
    own.default_action = rules[0].rule.action.clone();
    // A newer one gets nothing.
    let mut newer = route.clone();
    newer.id = ServiceId::random();
    newer.arn = "arn:newer".to_owned();
    newer.domain_name = "newer.lattice.test".to_owned();
    newer.routes[0].order = "3".to_owned();
    let its = newer.listeners.values_mut().next().unwrap();
    its.default_action = Action::FixedResponse(404);
    let added = newer.id.clone();
    world
        .snapshot
        .services
        .insert(added.clone(), Arc::new(newer));
    world.service_network().services.insert(added);
    // The target speaks first, as servers of mail and databases do; then it says what it hears.
    let target = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"ready\n").await.unwrap();
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            to.shutdown().await.unwrap();
        }
    });
    let lab = Lab::start(config(), &world).await;
    let mut client = TcpStream::connect(world.at).await.unwrap();
    assert_eq!(until(&mut client, "\n").await, "ready\n");
    for said in ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\0\0\n"] {
        client.write_all(said.as_bytes()).await.unwrap();
        assert_eq!(until(&mut client, said).await, said);
    }
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    eventually("a record", || lab.sink.logs.lock().unwrap().len() == 1).await;
    let log = lab.sink.logs.lock().unwrap()[0].clone();
    assert_eq!((log.protocol, log.server_name), ("TCP", None));
    assert_eq!(
        log.service_arn,
        Some(world.snapshot.services[&id].arn.clone())
    );
    assert_eq!((log.bytes_received, log.bytes_sent > 6), (24, true));

    // Without a route there is nothing behind it.
    let owner = world.service.clone();
    world.service_network().services = [owner].into();
    lab.apply(&mut world).await;
    let mut client = TcpStream::connect(world.at).await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
    target.abort();
}
