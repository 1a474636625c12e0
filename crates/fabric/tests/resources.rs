//! Resource gateways, with packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use lab::lattice::service;
use lab::{Draft, Lab, PATIENCE, SILENCE, Site, id, is_root, read_line};
use lath_feed::{GatewayInterface, NetworkAcl, ResourceGateway, VpcEndpoint};
use socket2::{Domain, Socket, Type};

const ALL: &str = "all - 0.0.0.0/0";
const GATEWAY: &str = "10.1.1.60";

/// Instance 10, an endpoint at 10.1.1.50 with the groups' number 9, and a gateway at 10.1.1.60 in group 1.
fn draft(endpoint_lets_in: &[&str]) -> Draft {
    let mut draft = Draft::default();
    draft.vpc(1, "10.1.0.0/16", "10.1.1.0/24");
    draft.group(1, 1, &[ALL], &[ALL]);
    draft.group(1, 9, endpoint_lets_in, &[]);
    draft.instance(1, 1, 10, "10.1.1.10", &[1]);
    let (network, service) = service(1);
    let address = (id("eni", 50), "10.1.1.50".parse().unwrap());
    let endpoint = VpcEndpoint {
        id: id("vpce", 1),
        service_network: Some(network.id.clone()),
        addresses: [(id("subnet", 1), address)].into(),
        security_groups: [id("sg", 9)].into(),
        names: BTreeMap::new(),
        resources: BTreeMap::new(),
    };
    draft.edit(1, |vpc| {
        drop(vpc.endpoints.insert(endpoint.id.clone(), endpoint))
    });
    let interface = GatewayInterface {
        id: id("eni", 60),
        addresses: vec![GATEWAY.parse().unwrap()],
    };
    let gateway = ResourceGateway {
        id: id("rgw", 1),
        vpc: id("vpc", 1),
        interfaces: [(id("subnet", 1), interface)].into(),
        security_groups: [id("sg", 1)].into(),
    };
    let snapshot = &mut draft.snapshot;
    snapshot
        .services
        .insert(service.id.clone(), Arc::new(service));
    snapshot
        .service_networks
        .insert(network.id.clone(), Arc::new(network));
    snapshot
        .resource_gateways
        .insert(gateway.id.clone(), Arc::new(gateway));
    draft
}

/// `reached as ADDRESS`, `silence`, or the error's kind, from the gateway.
fn outcome(router: &Site, to: &str) -> String {
    let call = |to: SocketAddr| -> io::Result<String> {
        let from: SocketAddr = format!("{GATEWAY}:0").parse().unwrap();
        let socket = router.run(move || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&from.into())?;
            socket.connect_timeout(&to.into(), SILENCE)?;
            io::Result::Ok(socket)
        })?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        read_line(&mut stream)
    };
    match call(to.parse().unwrap()) {
        Ok(seen) => format!("reached as {seen}"),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => "silence".into(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// A gateway carries the connections of another VPC's clients: it leads to the VPC's interfaces, and not to what the router
/// is to the VPC's own clients.
#[test]
fn a_gateway_leads_to_interfaces_as_their_groups_allow() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let only_the_instance = ["tcp 1-65535 10.1.1.10/32"];
    lab.apply(&draft(&only_the_instance));
    let router = lab.router(1);
    lab.instance(10).serve("10.1.1.10:80");
    for at in [
        "10.1.1.50:80",
        "10.1.1.50:81",
        "10.1.0.2:53",
        "169.254.169.254:80",
        "10.1.1.60:80",
    ] {
        router.serve(at);
    }
    lab.instance(10).reach("10.1.1.50:80");
    for (name, to, want) in [
        ("an instance", "10.1.1.10:80", "reached as 10.1.1.60"),
        ("an endpoint, not let in", "10.1.1.50:80", "silence"),
        ("the resolver", "10.1.0.2:53", "silence"),
        ("the metadata service", "169.254.169.254:80", "silence"),
        ("the gateway itself", "10.1.1.60:80", "silence"),
    ] {
        assert_eq!(outcome(&router, to), want, "{name}");
    }
    lab.apply(&draft(&["tcp 1-65535 10.1.1.60/32"]));
    for (name, to, want) in [
        (
            "an endpoint that lets it in",
            "10.1.1.50:80",
            "reached as 10.1.1.60",
        ),
        ("no service's port", "10.1.1.50:81", "silence"),
        ("the resolver", "10.1.0.2:53", "silence"),
    ] {
        assert_eq!(outcome(&router, to), want, "{name}");
    }
    assert_eq!(
        lab.audit(&draft(&["tcp 1-65535 10.1.1.60/32"])),
        Vec::<String>::new()
    );
}

#[test]
fn a_network_acl_does_not_judge_a_gateways_way_to_an_endpoint_of_its_own_subnet() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft(&["tcp 1-65535 10.1.1.60/32"]);
    draft.edit(1, |vpc| {
        let acl = NetworkAcl {
            id: id("acl", 1),
            ingress: Vec::new(),
            egress: Vec::new(),
        };
        for subnet in vpc.subnets.values_mut() {
            subnet.network_acl = Some(acl.id.clone());
        }
        drop(vpc.network_acls.insert(acl.id.clone(), acl));
    });
    lab.apply(&draft);
    let router = lab.router(1);
    router.serve("10.1.1.50:80");
    assert_eq!(outcome(&router, "10.1.1.50:80"), "reached as 10.1.1.60");
}
