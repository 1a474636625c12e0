//! The WAN of three regions and a witness, with packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use lab::world::World;
use lab::{Draft, Lab, Site, is_root};
use lath_fabric::kernel::FakeKernel;
use lath_fabric::{Fault, Faults, HostFacts, Netns, Uplink, apply, wan};
use lath_feed::{RegionPlace, Topology};

const REGIONS: [&str; 3] = ["eu-west-1", "us-east-1", "us-west-2"];
const ALL: &str = "all - 0.0.0.0/0";

fn place(index: u8) -> RegionPlace {
    let pool = format!("198.18.{}.0/19", 32 * u32::from(index));
    RegionPlace {
        underlay: Ipv4Addr::new(100, 64, index, 1),
        link: Ipv4Addr::new(100, 65, index, 1),
        public_key: [index; 32],
        public_pool: pool.parse().unwrap(),
    }
}

fn topology() -> Topology {
    let mut topology = Topology::single(REGIONS[0]);
    topology.regions = REGIONS
        .iter()
        .zip(0..)
        .map(|(region, index)| ((*region).to_owned(), place(index)))
        .collect();
    topology.witness = Some(place(7));
    topology
}

/// A supervisor's WAN and a fabric in each region's underlay, and the world beyond.
struct Setting {
    world: World,
    regions: BTreeMap<&'static str, Lab>,
    supervisor: Lab,
}

impl Setting {
    fn new() -> Self {
        let mut supervisor = Lab::new();
        supervisor.devices = vec!["out0".into()];
        let world = World::beyond(&supervisor);
        let report = supervisor.block_on(
            supervisor
                .fabric()
                .apply(&wan::plan(&topology(), &supervisor.facts())),
        );
        assert!(report.is_complete(), "{report:#?}");
        let regions = REGIONS
            .iter()
            .zip(0..)
            .map(|(region, index)| {
                let underlay = Netns::open(&wan::pin(supervisor.directory.path(), region)).unwrap();
                let lab = Lab::over(underlay);
                lab.apply(&draft(index));
                (*region, lab)
            })
            .collect();
        Self {
            world,
            regions,
            supervisor,
        }
    }

    fn audit(&self) -> Vec<String> {
        let plan = wan::plan(&topology(), &self.supervisor.facts());
        let report = self
            .supervisor
            .block_on(self.supervisor.fabric().audit(&plan));
        assert!(report.is_complete(), "{report:#?}");
        report.done
    }

    fn instance(&self, region: usize) -> Site {
        self.regions[REGIONS[region]].instance(10)
    }
}

/// The same VPC in every region, with a public address of the region's pool.
fn draft(index: u32) -> Draft {
    let mut draft = Draft::default();
    draft.vpc(1, "10.0.0.0/16", "10.0.1.0/24").gateway(1);
    draft.group(1, 1, &[ALL], &[ALL]);
    draft.instance(1, 1, 10, "10.0.1.10", &[1]);
    draft.public(1, 10, &format!("198.18.{}.10", 32 * index));
    draft
}

#[test]
fn regions_meet_by_public_addresses_and_each_can_be_cut_off() {
    if !is_root() {
        return;
    }
    let world = Setting::new();
    for region in 0..3 {
        world.instance(region).serve("10.0.1.10:80");
    }
    // Nobody's address is changed between regions.
    assert_eq!(world.instance(0).reach("198.18.32.10:80"), "198.18.0.10");
    assert_eq!(world.instance(2).reach("198.18.32.10:80"), "198.18.64.10");
    // The host reaches them; they reach the internet, and as the host.
    assert_eq!(
        world.supervisor.host_site().reach("198.18.0.10:80"),
        "100.64.255.1"
    );
    world.world.site().serve("192.0.2.2:80");
    assert_eq!(world.instance(1).reach("192.0.2.2:80"), "192.0.2.1");
    // Neither the machinery nor private networks, nor the host itself.
    for nowhere in [
        "100.64.0.1:1",
        "100.64.2.1:1",
        "192.0.2.1:80",
        "10.99.0.1:80",
    ] {
        assert_eq!(world.instance(1).outcome(nowhere), "silence", "{nowhere}");
    }
    // Each side leaves alone what the other made.
    assert_eq!(world.audit(), Vec::<String>::new());
    for (lab, index) in world.regions.values().zip(0..) {
        assert_eq!(lab.audit(&draft(index)), Vec::<String>::new());
    }
    // A fault cuts a region off, and only that one.
    let netns = Netns::open(
        &world
            .supervisor
            .directory
            .path()
            .join("netns")
            .join(wan::SPACE),
    );
    let faults = Faults::in_namespace(netns.unwrap());
    let fault = Fault::Link(wan::link(&place(1)));
    faults
        .for_duration(&fault, Duration::from_millis(1500))
        .unwrap();
    assert_eq!(world.instance(0).outcome("198.18.32.10:80"), "silence");
    assert_eq!(world.instance(0).reach("198.18.64.10:80"), "198.18.0.10");
    assert_eq!(world.instance(0).reach("198.18.32.10:80"), "198.18.0.10");
    // One link is down: that region is alone, the others are not.
    let router = Site::new(world.supervisor.fabric().netns(wan::SPACE).unwrap());
    router.run(|| lab::set_link("r1", false));
    let cut_off = world.instance(0).outcome("198.18.32.10:80");
    assert!(!cut_off.starts_with("reached"), "{cut_off}");
    assert_eq!(world.instance(0).reach("198.18.64.10:80"), "198.18.0.10");
    world.audit();
    assert_eq!(world.instance(0).reach("198.18.32.10:80"), "198.18.0.10");
    // A successor of the supervisor adopts all.
    let mut world = world;
    drop(world.supervisor.fabric.take());
    world.supervisor.open();
    assert_eq!(world.audit(), Vec::<String>::new());
}

#[test]
fn a_probe_of_an_underlay_finds_its_link() {
    if !is_root() {
        return;
    }
    let world = Setting::new();
    let pin = wan::pin(world.supervisor.directory.path(), "us-west-2");
    let facts = HostFacts::probe("us-west-2", Some(&Netns::open(&pin).unwrap()));
    let devices = vec![wan::LINK.to_owned()];
    assert_eq!(facts.uplink, Uplink::Host { devices });
    assert!(!facts.masquerades && !facts.forwards);
}

#[test]
fn the_wan_as_text() {
    let facts = HostFacts {
        owner: "me".into(),
        uplink: Uplink::Host {
            devices: vec!["eth0".into()],
        },
        addresses: Default::default(),
        forwards: false,
        masquerades: true,
        ends_idle: true,
        last_group: 0,
    };
    for (name, uplink) in [
        ("wan.txt", facts.uplink.clone()),
        ("wan-rootless.txt", Uplink::None("rootless".into())),
    ] {
        let mut kernel = FakeKernel::new();
        let facts = HostFacts {
            uplink,
            ..facts.clone()
        };
        let plan = wan::plan(&topology(), &facts);
        let report = apply(&mut kernel, &plan);
        assert!(report.is_complete(), "{name}: {report:#?}");
        let got: String = ["host", "u-us-east-1", "u-witness", "wan"]
            .iter()
            .map(|place| format!("[{place}]\n{}", lab::section(&kernel, place)))
            .collect();
        assert_eq!(got, lab::expected(name, &got), "{name}");
        assert!(apply(&mut kernel, &plan).done.is_empty(), "{name}");
    }
}
