//! What becomes of plans on a kernel in memory, as text.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use lab::transit::to_transit;
use lab::{Draft, expected, id, section};
use lath_fabric::kernel::FakeKernel;
use lath_fabric::{ApplyReport, HostFacts, Known, Uplink, apply, apply_changes, plan};
use lath_feed::{RouteTarget, VpcEndpoint};
use lath_model::id::{RouteTableId, SubnetId, TransitGatewayAttachmentId, TransitGatewayId};

const ALL: &str = "all - 0.0.0.0/0";

fn facts() -> HostFacts {
    HostFacts {
        owner: "me".into(),
        uplink: Uplink::Host {
            devices: vec!["eth0".into()],
        },
        addresses: Default::default(),
        forwards: false,
        masquerades: true,
        ends_idle: true,
        last_group: 1000,
    }
}

fn make(kernel: &mut FakeKernel, draft: &Draft) -> ApplyReport {
    kernel.log.clear();
    apply(kernel, &plan(&draft.snapshot, &facts()))
}

/// One instance with a public address, in a group that lets its members and a list in.
fn one() -> Draft {
    let mut draft = Draft::default();
    draft.vpc(1, "10.0.0.0/16", "10.0.1.0/24").gateway(1);
    draft.list(1, &["192.0.2.0/24", "192.0.3.0/24", "::/0"]);
    let ingress = [
        "tcp 80-90 10.0.0.0/8",
        "all - sg:1",
        "udp 53 pl:1",
        "tcp 22 ::/0",
    ];
    draft.group(1, 1, &ingress, &[ALL]);
    draft
        .instance(1, 1, 1, "10.0.1.10", &[1])
        .public(1, 1, "198.51.100.1");
    draft
}

#[test]
fn a_vpc_becomes_a_router_and_instances() {
    let mut kernel = FakeKernel::new();
    let report = make(&mut kernel, &one());
    assert!(report.is_complete(), "{report:#?}");
    for (name, file) in [
        ("host", "host.txt"),
        ("vpc-00000000000000001", "router.txt"),
        ("i-00000000000000001", "instance.txt"),
    ] {
        let got = section(&kernel, name);
        assert_eq!(got, expected(file, &got), "{name}");
    }
    make(&mut kernel, &one());
    assert_eq!(
        kernel.log,
        Vec::<String>::new(),
        "a second time there is nothing to do"
    );
}

/// A VPC with everything besides, in a gateway with a peering here and one elsewhere.
fn joined() -> Draft {
    let mut draft = one();
    draft.route(1, 1, "10.0.0.0/8", to_transit(1));
    draft.subnet(1, 2, "10.0.2.0/24", 1);
    draft.edit(1, |vpc| {
        let mut private = vpc.route_tables[&id::<RouteTableId>("rtb", 1)].clone();
        private.id = id("rtb", 2);
        private
            .routes
            .retain(|route| route.destination.prefix_len() > 0);
        vpc.route_tables.insert(private.id.clone(), private);
        let subnet = vpc.subnets.get_mut(&id::<SubnetId>("subnet", 2)).unwrap();
        subnet.route_table = id("rtb", 2);
        subnet.availability_zone = "us-east-1b".into();
        let address = (id("eni", 50), "10.0.2.50".parse().unwrap());
        let endpoint = VpcEndpoint {
            id: id("vpce", 1),
            service_network: Some(id("sn", 1)),
            addresses: [(id("subnet", 2), address)].into(),
            security_groups: [id("sg", 1)].into(),
            names: [].into(),
            resources: [].into(),
        };
        vpc.endpoints.insert(endpoint.id.clone(), endpoint);
    });
    draft.route(1, 2, "0.0.0.0/0", RouteTarget::NatGateway(id("nat", 5)));
    draft.nat(1, (1, 5), "10.0.1.5", Some("198.51.100.5"));
    draft.instance(1, 2, 2, "10.0.2.10", &[1]);
    draft.attach(1, 1, Some(1)).peer((1, 2), (2, 3));
    draft.transit_route(1, 1, "10.2.0.0/16", Some(101));
    draft.transit_route(1, 1, "10.2.9.0/24", None);
    draft.transit_route(1, 2, "10.0.0.0/16", Some(1));
    draft
}

#[test]
fn gateways_become_kernel_tables() {
    let mut kernel = FakeKernel::new();
    let report = make(&mut kernel, &joined());
    assert!(report.is_complete(), "{report:#?}");
    let gateway: TransitGatewayId = id("tgw", 1);
    for (name, file) in [
        ("vpc-00000000000000001", "router-joined.txt"),
        (gateway.as_str(), "transit-gateway.txt"),
        ("host", "host-joined.txt"),
    ] {
        let got = section(&kernel, name);
        assert_eq!(got, expected(file, &got), "{name}");
    }
    make(&mut kernel, &joined());
    assert_eq!(kernel.log, Vec::<String>::new());
}

/// What is done in a gateway when something about it changes.
#[test]
fn a_change_of_a_gateway_is_no_more_than_it_must_be() {
    type Case = (&'static str, fn(&mut Draft), &'static str);
    let cases: &[Case] = &[
        (
            "another table is associated",
            |draft| {
                draft.attach(1, 1, Some(2));
            },
            "tgw: firewall lath: delete from associations { a00000000000001 : TABLE }; \
             add to associations { a00000000000001 : TABLE }\n",
        ),
        (
            "no table is associated",
            |draft| {
                draft.attach(1, 1, None);
            },
            "tgw: firewall lath: delete from associations { a00000000000001 : TABLE }\n",
        ),
        (
            "a route",
            |draft| {
                draft.transit_route(1, 1, "10.3.0.0/16", None);
            },
            "tgw: set route 10.3.0.0/16 table TABLE blackhole\n\
             tgw: set route 10.3.0.0/16 table TABLE metric 1000 blackhole\n",
        ),
        (
            "a black hole becomes a route",
            |draft| {
                draft.transit_route(1, 1, "10.2.9.0/24", Some(101));
            },
            "tgw: set route 10.2.9.0/24 table TABLE via 169.254.102.4 dev a00000000000065\n",
        ),
        (
            "a tunnel that is not there: its link is asked for, in vain",
            |draft| {
                let tunnel = lath_feed::PeeringTunnel {
                    region: "us-west-2".into(),
                    gateway: id("tgw", 9),
                    private_key: lath_feed::PrivateKey([1; 32]),
                    port: 52000,
                    peer_public_key: [2; 32],
                    peer: "100.64.1.1:52000".parse().unwrap(),
                };
                let to = lath_feed::TransitPeer::Tunnel(tunnel);
                draft.attach_to(1, 9, to, Some(1));
                draft.transit_route(1, 1, "10.9.0.0/16", Some(9));
            },
            "tgw: firewall lath: add to associations { p00000000000009 : TABLE }\n\
             tgw: add link p00000000000009 guest mtu 8500 up\n\
             tgw: set route 10.9.0.0/16 table TABLE metric 1000 blackhole\n",
        ),
    ];
    for (name, change, want) in cases {
        let mut kernel = FakeKernel::new();
        let mut draft = joined();
        make(&mut kernel, &draft);
        change(&mut draft);
        make(&mut kernel, &draft);
        let tables: Vec<u32> = [1, 2]
            .map(|n| table_number(&kernel, n))
            .into_iter()
            .collect();
        let log: String = kernel
            .log
            .iter()
            .map(|line| format!("{}\n", without(&tables, line)))
            .collect();
        assert_eq!(log, *want, "{name}");
    }
}

/// The number of a gateway's table, by the route that only it has.
fn table_number(kernel: &FakeKernel, table: u32) -> u32 {
    let to: ipnet::Ipv4Net = ["10.2.0.0/16", "10.0.0.0/16"][table as usize - 1]
        .parse()
        .unwrap();
    let gateway: TransitGatewayId = id("tgw", 1);
    let routes = &kernel.places[gateway.as_str()].routes;
    routes.keys().find(|key| key.to == to).unwrap().table
}

fn without(tables: &[u32], line: &str) -> String {
    let gateway: TransitGatewayId = id("tgw", 1);
    let line = line.replace(gateway.as_str(), "tgw");
    tables
        .iter()
        .fold(line, |line, n| line.replace(&n.to_string(), "TABLE"))
}

/// What is done when a draft that is applied changes.
#[test]
fn a_change_is_no_more_than_it_must_be() {
    type Case = (&'static str, fn(&mut Draft), &'static str);
    let cases: &[Case] = &[
        ("nothing", |_| {}, ""),
        (
            "a second address",
            |draft| {
                draft.edit_interface(1, 1, |i| {
                    let private = "10.0.1.11".parse().unwrap();
                    i.addresses.push(lath_feed::InterfaceAddress {
                        private,
                        public: None,
                    });
                });
            },
            "vpc: firewall lath: add to own_sources { e00000000000001 . 10.0.1.11 }; add to sg_00000000000000001 { 10.0.1.11 }\n\
             vpc: set route 10.0.1.11/32 dev e00000000000001\n\
             i: add address 10.0.1.11/24 dev eth0\n",
        ),
        (
            "a rule",
            |draft| {
                draft.group(1, 1, &["icmp - 0.0.0.0/0"], &[ALL]);
            },
            "vpc: firewall lath: flush chain i_fdfa7e4539f82c45; flush set pl_00000000000000001; \
             flush set sg_00000000000000001; add rule i_fdfa7e4539f82c45 meta l4proto 1 accept; \
             add rule i_fdfa7e4539f82c45 drop; delete set pl_00000000000000001; delete set sg_00000000000000001\n",
        ),
        (
            "a route",
            |draft| {
                draft.route(1, 1, "172.16.0.0/12", lath_feed::RouteTarget::Blackhole);
            },
            "vpc: set route 172.16.0.0/12 table 243213281 blackhole\n",
        ),
        (
            "a public address goes",
            |draft| {
                draft.edit_interface(1, 1, |i| i.addresses[0].public = None);
            },
            "vpc: firewall lath: delete from mapped { 10.0.1.10 }; \
             delete from to_private { 198.51.100.1 : 10.0.1.10 }; delete from to_public { 10.0.1.10 : 198.51.100.1 }\n\
             host: firewall lath_me: delete from public { 198.51.100.1 }\n\
             host: delete route 198.51.100.1/32\n",
        ),
        (
            "the instance goes",
            |draft| {
                draft.snapshot.instances.clear();
                draft.edit(1, |vpc| vpc.interfaces.clear());
            },
            "@instance-goes.txt",
        ),
        (
            "the VPC goes",
            |draft| *draft = Draft::default(),
            "delete i\n\
             delete vpc\n\
             host: firewall lath_me: delete table\n",
        ),
    ];
    for (name, change, want) in cases {
        let mut kernel = FakeKernel::new();
        let mut draft = one();
        make(&mut kernel, &draft);
        change(&mut draft);
        let report = make(&mut kernel, &draft);
        assert!(report.is_complete(), "{name}: {report:#?}");
        let log: String = kernel
            .log
            .iter()
            .map(|line| format!("{}\n", brief(line)))
            .collect();
        let file = want.strip_prefix('@');
        let want = file.map_or_else(|| (*want).to_owned(), |file| expected(file, &log));
        assert_eq!(log, want, "{name}");
        assert!(
            make(&mut kernel, &draft).done.is_empty(),
            "{name}: and then nothing"
        );
    }
}

fn brief(line: &str) -> String {
    line.replace("vpc-00000000000000001", "vpc")
        .replace("i-00000000000000001", "i")
}

#[test]
fn a_failure_stays_where_it_is() {
    for (name, refused, vpcs, interfaces) in [
        (
            "a link",
            "add link e00000000000001",
            [true, true],
            [false, true],
        ),
        (
            "an address of it",
            "10.0.1.1/32 dev e00000000000001",
            [true, true],
            [false, true],
        ),
        (
            "an instance's device",
            "mac 02:00:00:00:00:01",
            [true, true],
            [false, true],
        ),
        ("the uplink", "peer lt", [false, false], [true, true]),
        (
            "a firewall",
            "e00000000000002",
            [true, false],
            [true, false],
        ),
    ] {
        let mut draft = one();
        draft
            .vpc(2, "10.0.0.0/16", "10.0.1.0/24")
            .gateway(2)
            .group(2, 2, &[ALL], &[ALL]);
        draft.instance(2, 2, 2, "10.0.1.10", &[2]);
        let mut kernel = FakeKernel::new();
        kernel.refuses.push(refused.into());
        let report = make(&mut kernel, &draft);
        for index in [0, 1] {
            let vpc = &report.vpcs[&id::<lath_model::id::VpcId>("vpc", index + 1)];
            assert_eq!(
                vpc.is_ok(),
                vpcs[index as usize],
                "{name}: VPC {}: {vpc:?}",
                index + 1
            );
            let interface: lath_model::id::NetworkInterfaceId = id("eni", index + 1);
            let interface = &report.interfaces[&interface];
            assert_eq!(
                interface.is_ok(),
                interfaces[index as usize],
                "{name}: {}: {interface:?}",
                index + 1
            );
        }
        kernel.refuses.clear();
        let report = make(&mut kernel, &draft);
        assert!(report.is_complete(), "{name}: {report:#?}");
    }
}

#[test]
fn a_broken_attachment_breaks_nothing_else() {
    let attachment: TransitGatewayAttachmentId = id("tgw-attach", 1);
    let peering: TransitGatewayAttachmentId = id("tgw-attach", 101);
    for (name, refused, attached, peered) in [
        ("the VPC's end", "add link t00000000000001", false, true),
        ("its address", "169.254.102.2/32", false, true),
        ("the gateway's end", "169.254.102.1/32 dev a", false, true),
        ("a peering", "add link a00000000000065", true, false),
        ("a route", "via 169.254.102.4", true, false),
    ] {
        let mut kernel = FakeKernel::new();
        kernel.refuses.push(refused.into());
        let report = make(&mut kernel, &joined());
        assert!(!report.is_complete(), "{name}");
        let works = |id| report.transit_attachments[id].is_ok();
        assert_eq!(works(&attachment), attached, "{name}: {report:#?}");
        assert_eq!(works(&peering), peered, "{name}: {report:#?}");
        assert!(report.vpcs.values().all(Result::is_ok), "{name}");
        assert!(report.interfaces.values().all(Result::is_ok), "{name}");
        let mut gateways = report.transit_gateways.values();
        assert!(gateways.all(Result::is_ok), "{name}");
        kernel.refuses.clear();
        let plan = plan(&joined().snapshot, &facts());
        let known = Known::after(plan.clone(), &report);
        let report = apply_changes(&mut kernel, &plan, &known);
        assert!(report.is_complete(), "{name}: {report:#?}");
        let mut whole = FakeKernel::new();
        make(&mut whole, &joined());
        assert_eq!(kernel.to_string(), whole.to_string(), "{name}");
    }
}

/// An apply that ends after any number of changes, as by a kill, is completed by the next one; and one that
/// removes everything leaves nothing.
#[test]
fn wherever_it_was_interrupted_the_next_apply_completes_it() {
    for draft in [one(), joined()] {
        interrupt(&draft);
    }
}

fn interrupt(draft: &Draft) {
    let mut whole = FakeKernel::new();
    make(&mut whole, draft);
    let steps = whole.log.len();
    for done in 0..steps {
        let mut kernel = FakeKernel {
            budget: Some(done),
            ..FakeKernel::new()
        };
        make(&mut kernel, draft);
        kernel.budget = None;
        let report = make(&mut kernel, draft);
        assert!(report.is_complete(), "after {done}: {report:#?}");
        assert_eq!(kernel.to_string(), whole.to_string(), "after {done}");
    }
    for done in 0..20 {
        let mut kernel = whole.clone();
        kernel.budget = Some(done);
        make(&mut kernel, &Draft::default());
        kernel.budget = None;
        assert!(
            make(&mut kernel, &Draft::default()).is_complete(),
            "removal after {done}"
        );
        assert_eq!(section(&kernel, "host"), "", "removal after {done}");
        assert_eq!(kernel.places.len(), 1, "removal after {done}");
    }
}
