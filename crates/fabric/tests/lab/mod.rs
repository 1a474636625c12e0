//! A laboratory: snapshots built in a few words, a fabric with a host namespace of its own, and small
//! servers and clients that speak from inside instances.

#![allow(dead_code, reason = "each test file uses its part of the laboratory")]

pub(crate) mod lattice;
pub(crate) mod site;
pub(crate) mod transit;
pub(crate) mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lath_fabric::{ApplyReport, Fabric, FabricConfig, HostFacts, Netns, Uplink, plan};
use lath_feed::*;
use lath_model::Timestamp;
use lath_model::id::*;

#[allow(
    unused_imports,
    reason = "each test file uses its part of the laboratory"
)]
pub(crate) use site::*;

/// Generous: a loaded machine is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// How long a packet that must not arrive is waited for.
pub(crate) const SILENCE: Duration = Duration::from_millis(700);

/// Whether the test can run; says so loudly when not.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED: needs root");
    }
    root
}

/// An id whose tail is the number.
pub(crate) fn id<T: std::str::FromStr>(prefix: &str, number: u32) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("{prefix}-{number:017x}").parse().unwrap()
}

/// A snapshot under construction.
#[derive(Clone, Default)]
pub(crate) struct Draft {
    pub(crate) snapshot: Snapshot,
}

/// Rules in a line: `tcp 80 10.0.0.0/8`, `all - sg:1`, `icmp - pl:1`.
pub(crate) fn rule(text: &str) -> SecurityRule {
    let words: Vec<&str> = text.split(' ').collect();
    let (low, high) = match words[1].split_once('-') {
        Some(("", "")) => (0, 65535),
        Some((low, high)) => (low.parse().unwrap(), high.parse().unwrap()),
        None => (words[1].parse().unwrap(), words[1].parse().unwrap()),
    };
    let traffic = match words[0] {
        "all" => Traffic::All,
        "tcp" => Traffic::Tcp(low, high),
        "udp" => Traffic::Udp(low, high),
        "icmp" => Traffic::Icmp(None, None),
        other => panic!("{other}"),
    };
    let peer = match words[2].split_once(':') {
        Some(("sg", number)) => Peer::Group(id("sg", number.parse().unwrap())),
        Some(("pl", number)) => Peer::PrefixList(id("pl", number.parse().unwrap())),
        _ => Peer::Cidr(words[2].parse().unwrap()),
    };
    SecurityRule { traffic, peer }
}

impl Draft {
    /// A VPC with one subnet of the same number and a route table with only the local route.
    pub(crate) fn vpc(&mut self, number: u32, cidr: &str, subnet: &str) -> &mut Self {
        let cidr = cidr.parse().unwrap();
        let local = Route {
            destination: cidr,
            target: RouteTarget::Local,
        };
        let table = RouteTable {
            id: id("rtb", number),
            routes: vec![local],
        };
        let vpc = Vpc {
            id: id("vpc", number),
            owner: "123456789012".into(),
            cidrs: vec![cidr],
            dns_support: true,
            dns_hostnames: true,
            dhcp_options: None,
            subnets: [].into(),
            route_tables: [(table.id.clone(), table)].into(),
            internet_gateway: None,
            interfaces: [].into(),
            lattice: None,
            nat_gateways: Default::default(),
            endpoints: Default::default(),
            network_acls: Default::default(),
            peerings: Default::default(),
        };
        self.snapshot.vpcs.insert(vpc.id.clone(), Arc::new(vpc));
        self.subnet(number, number, subnet, number)
    }

    pub(crate) fn subnet(&mut self, vpc: u32, number: u32, cidr: &str, table: u32) -> &mut Self {
        let subnet = Subnet {
            id: id("subnet", number),
            cidr: cidr.parse().unwrap(),
            route_table: id("rtb", table),
            availability_zone: "us-east-1a".into(),
            network_acl: None,
        };
        self.edit(vpc, |vpc| {
            drop(vpc.subnets.insert(subnet.id.clone(), subnet))
        })
    }

    pub(crate) fn edit(&mut self, vpc: u32, change: impl FnOnce(&mut Vpc)) -> &mut Self {
        change(Arc::make_mut(
            self.snapshot
                .vpcs
                .get_mut(&id::<VpcId>("vpc", vpc))
                .unwrap(),
        ));
        self
    }

    pub(crate) fn gateway(&mut self, vpc: u32) -> &mut Self {
        self.edit(vpc, |v| v.internet_gateway = Some(id("igw", vpc)));
        self.route(
            vpc,
            vpc,
            "0.0.0.0/0",
            RouteTarget::InternetGateway(id("igw", vpc)),
        )
    }

    pub(crate) fn route(
        &mut self,
        vpc: u32,
        table: u32,
        to: &str,
        target: RouteTarget,
    ) -> &mut Self {
        let route = Route {
            destination: to.parse().unwrap(),
            target,
        };
        self.edit(vpc, |v| {
            v.route_tables
                .get_mut(&id::<RouteTableId>("rtb", table))
                .unwrap()
                .routes
                .push(route);
        })
    }

    pub(crate) fn group(
        &mut self,
        vpc: u32,
        number: u32,
        ingress: &[&str],
        egress: &[&str],
    ) -> &mut Self {
        let group = SecurityGroup {
            id: id("sg", number),
            name: format!("group-{number}"),
            vpc: id("vpc", vpc),
            ingress: ingress.iter().map(|text| rule(text)).collect(),
            egress: egress.iter().map(|text| rule(text)).collect(),
        };
        self.snapshot
            .security_groups
            .insert(group.id.clone(), Arc::new(group));
        self
    }

    pub(crate) fn list(&mut self, number: u32, blocks: &[&str]) -> &mut Self {
        let list = PrefixList {
            id: id("pl", number),
            name: format!("list-{number}"),
            cidrs: blocks.iter().map(|b| b.parse().unwrap()).collect(),
        };
        self.snapshot
            .prefix_lists
            .insert(list.id.clone(), Arc::new(list));
        self
    }

    /// An instance with one interface of the same number, in the subnet of that number.
    pub(crate) fn instance(
        &mut self,
        vpc: u32,
        subnet: u32,
        number: u32,
        address: &str,
        groups: &[u32],
    ) -> &mut Self {
        self.bare_instance(vpc, number);
        self.interface(vpc, subnet, number, (number, 0), address, groups)
    }

    pub(crate) fn interface(
        &mut self,
        vpc: u32,
        subnet: u32,
        number: u32,
        (instance, device): (u32, u32),
        address: &str,
        groups: &[u32],
    ) -> &mut Self {
        let interface = Interface {
            id: id("eni", number),
            subnet: id("subnet", subnet),
            mac: format!("02:00:00:00:{:02x}:{:02x}", number >> 8, number & 255),
            addresses: vec![InterfaceAddress {
                private: address.parse().unwrap(),
                public: None,
            }],
            security_groups: groups.iter().map(|g| id("sg", *g)).collect(),
            source_dest_check: true,
            attachment: Some((id::<InstanceId>("i", instance).into(), device).into()),
            prefixes: Vec::new(),
            branches: Vec::new(),
        };
        self.edit(vpc, |v| {
            drop(v.interfaces.insert(interface.id.clone(), interface))
        })
    }

    pub(crate) fn edit_interface(
        &mut self,
        vpc: u32,
        number: u32,
        change: impl FnOnce(&mut Interface),
    ) -> &mut Self {
        self.edit(vpc, |v| {
            change(
                v.interfaces
                    .get_mut(&id::<NetworkInterfaceId>("eni", number))
                    .unwrap(),
            )
        })
    }

    pub(crate) fn public(&mut self, vpc: u32, number: u32, address: &str) -> &mut Self {
        let public = Some(address.parse().unwrap());
        self.edit_interface(vpc, number, |i| i.addresses[0].public = public)
    }

    pub(crate) fn bare_instance(&mut self, vpc: u32, number: u32) -> &mut Self {
        let instance = Instance {
            id: id("i", number),
            vpc: id("vpc", vpc),
            power: Power::On,
            boot: 1,
            root: RootSource::Host,
            capacity: Default::default(),
            hostname: format!("ip-{number}"),
            resource_name: None,
            user_data: Vec::new(),
            kind: Default::default(),
            cluster: None,
            metadata: InstanceMetadata {
                image: id("ami", 1),
                instance_type: "t3.micro".into(),
                reservation: id("r", 1),
                launch_index: 0,
                launched_at: Timestamp::default(),
                key: None,
                availability_zone: "us-east-1a".into(),
                tags: None,
                tokens_required: false,
                hop_limit: 1,
                enabled: true,
                profile: None,
            },
        };
        self.snapshot
            .instances
            .insert(instance.id.clone(), Arc::new(instance));
        self
    }
}

/// A fabric in a directory and a host namespace of its own; everything goes when it is dropped.
pub(crate) struct Lab {
    pub(crate) fabric: Option<Fabric>,
    pub(crate) host: Netns,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) owner: String,
    pub(crate) devices: Vec<String>,
    underlay: bool,
    runtime: tokio::runtime::Runtime,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Lab {
    pub(crate) fn new() -> Self {
        Self::of(Netns::new().unwrap(), false)
    }

    /// A laboratory in a region's underlay.
    pub(crate) fn over(underlay: Netns) -> Self {
        let mut lab = Self::of(underlay, true);
        lab.devices = vec![lath_fabric::wan::LINK.into()];
        lab
    }

    fn of(host: Netns, underlay: bool) -> Self {
        let owner = format!(
            "t{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut lab = Self {
            fabric: None,
            host,
            directory: tempfile::tempdir().unwrap(),
            owner,
            devices: Vec::new(),
            underlay,
            runtime,
        };
        lab.open();
        lab
    }

    /// Opens the fabric; what was open before is forgotten, as after a kill.
    pub(crate) fn open(&mut self) {
        self.adopt(&Default::default());
    }

    pub(crate) fn adopt(&mut self, inhabited: &std::collections::BTreeMap<String, Netns>) {
        let config = FabricConfig {
            run_dir: self.directory.path().to_owned(),
            owner: self.owner.clone(),
            host: Some(self.host.clone()),
        };
        self.fabric = Some(Fabric::adopt(config, inhabited).unwrap());
    }

    pub(crate) fn facts(&self) -> HostFacts {
        HostFacts {
            owner: self.owner.clone(),
            uplink: Uplink::Host {
                devices: self.devices.clone(),
            },
            addresses: Default::default(),
            forwards: false,
            masquerades: !self.underlay,
            ends_idle: true,
            last_group: 0,
        }
    }

    pub(crate) fn fabric(&self) -> &Fabric {
        self.fabric.as_ref().unwrap()
    }

    pub(crate) fn apply(&self, draft: &Draft) -> ApplyReport {
        let plan = plan(&draft.snapshot, &self.facts());
        let report = self.runtime.block_on(self.fabric().apply(&plan));
        assert!(report.is_complete(), "{report:#?}");
        report
    }

    /// Applies and compares everything with the kernel; what had to be done.
    pub(crate) fn audit(&self, draft: &Draft) -> Vec<String> {
        let plan = plan(&draft.snapshot, &self.facts());
        let report = self.runtime.block_on(self.fabric().audit(&plan));
        assert!(report.is_complete(), "{report:#?}");
        report.done
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn instance(&self, number: u32) -> Site {
        Site::new(
            self.fabric()
                .workload_netns(&id::<InstanceId>("i", number).into())
                .unwrap(),
        )
    }

    pub(crate) fn router(&self, number: u32) -> Site {
        Site::new(self.fabric().router_netns(&id("vpc", number)).unwrap())
    }

    pub(crate) fn host_site(&self) -> Site {
        Site::new(self.host.to_fd().unwrap())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(fabric) = self.fabric.take()
            && let Err(e) = self.runtime.block_on(fabric.remove_all())
            && !std::thread::panicking()
        {
            panic!("not all was removed: {e}");
        }
    }
}

/// What a file in `tests/expected` says. `LATH_BLESS=1` writes it anew, to be reviewed as a diff.
pub(crate) fn expected(file: &str, got: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/expected")
        .join(file);
    if std::env::var_os("LATH_BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    std::fs::read_to_string(&path).unwrap()
}

/// The lines of one namespace, without sysctls.
pub(crate) fn section(kernel: &lath_fabric::kernel::FakeKernel, name: &str) -> String {
    let lines = kernel.places[name].to_string();
    lines
        .lines()
        .filter(|line| !line.starts_with("sysctl"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Sets a link of the calling thread's namespace up or down.
pub(crate) fn set_link(name: &str, up: bool) {
    let state = if up { "up" } else { "down" };
    let status = std::process::Command::new("ip")
        .args(["link", "set", name, state])
        .status();
    assert!(status.unwrap().success());
}
