//! A laboratory: snapshots built in a few words, a fabric with a host namespace of its own, and small
//! servers and clients that speak from inside instances.

#![allow(dead_code, reason = "each test file uses its part of the laboratory")]

pub(crate) mod lattice;
pub(crate) mod transit;
pub(crate) mod world;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lath_fabric::{ApplyReport, Fabric, FabricConfig, HostFacts, Netns, Uplink, plan};
use lath_feed::*;
use lath_model::Timestamp;
use lath_model::id::*;

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

/// A network namespace to send from and to listen in.
#[derive(Clone)]
pub(crate) struct Site(Arc<OwnedFd>);

impl Site {
    /// The path MTU to `to`, learned by sending datagrams of this size that must not be cut.
    pub(crate) fn path_mtu(&self, to: &str, size: usize) -> i32 {
        let socket = self.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect(to).unwrap();
        never_fragment(&socket);
        let end = Instant::now() + PATIENCE;
        loop {
            let outcome = socket.send(&vec![0; size]);
            if outcome.is_err_and(|e| e.raw_os_error() == Some(libc::EMSGSIZE)) {
                return known_mtu(&socket);
            }
            assert!(Instant::now() < end, "no error came from the way to {to}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }

    /// Runs `work` on a thread in the namespace.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let fd = Arc::clone(&self.0);
        let thread = std::thread::spawn(move || {
            nix::sched::setns(&*fd, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    /// A TCP server that greets each client with the peer's address and then echoes.
    pub(crate) fn serve(&self, at: &str) -> SocketAddr {
        let at: SocketAddr = at.parse().unwrap();
        let listener = self.run(move || TcpListener::bind(at).unwrap());
        let bound = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || greet(stream));
            }
        });
        bound
    }

    /// A UDP server that answers with the peer's address.
    pub(crate) fn serve_udp(&self, at: &str) {
        let at: SocketAddr = at.parse().unwrap();
        let socket = self.run(move || UdpSocket::bind(at).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _the_client_may_be_gone =
                    socket.send_to(peer.ip().to_string().as_bytes(), peer);
            }
        });
    }

    /// Connects; what the server saw as our address.
    pub(crate) fn call(&self, to: &str, within: Duration) -> io::Result<String> {
        let mut stream = self.connect(to, within)?;
        read_line(&mut stream)
    }

    pub(crate) fn connect(&self, to: &str, within: Duration) -> io::Result<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        let stream = self.run(move || TcpStream::connect_timeout(&to, within))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// `reached as ADDRESS`, `silence`, or the error's kind.
    pub(crate) fn outcome(&self, to: &str) -> String {
        match self.call(to, SILENCE) {
            Ok(seen) => format!("reached as {seen}"),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => "silence".into(),
            Err(e) => format!("{:?}", e.kind()),
        }
    }

    /// Calls until it works or patience ends.
    pub(crate) fn reach(&self, to: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.call(to, Duration::from_secs(5)) {
                Ok(seen) => return seen,
                Err(e) if Instant::now() > end => panic!("{to} is not reached: {e}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Sends one datagram from `from` and returns the answer, if one comes.
    pub(crate) fn ask_udp(&self, from: &str, to: &str) -> Option<String> {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let socket = self.run(move || UdpSocket::bind(from)).ok()?;
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket.send_to(b"?", to).ok()?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

fn greet(mut stream: TcpStream) -> io::Result<()> {
    let peer = stream.peer_addr()?.ip();
    writeln!(stream, "{peer}")?;
    let mut buffer = [0; 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}

pub(crate) fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Whether a connection still carries bytes both ways.
pub(crate) fn echoes(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4];
    stream.write_all(b"ping").is_ok()
        && stream.read_exact(&mut buffer).is_ok()
        && buffer == *b"ping"
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse::<Ipv4Addr>().unwrap().into()
}

/// Sends a datagram from an address that is not the instance's.
pub(crate) fn spoof(from: &str, to: &str) {
    use nix::sys::socket::{setsockopt, sockopt::IpTransparent};
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    setsockopt(&socket, IpTransparent, &true).unwrap();
    let from: std::net::SocketAddr = format!("{from}:1234").parse().unwrap();
    let to: std::net::SocketAddr = to.parse().unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.send_to(b"?", &to.into()).unwrap();
}

impl Site {
    /// Whether an ICMP echo request is answered.
    pub(crate) fn ping(&self, to: &str) -> bool {
        use socket2::{Domain, Protocol, Socket, Type};
        const ECHO: [u8; 8] = [8, 0, 0, 0, 0, 1, 0, 1];
        let to: SocketAddr = format!("{to}:0").parse().unwrap();
        let socket =
            self.run(|| Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).unwrap());
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket.send_to(&ECHO, to).is_ok() && socket.recv(&mut [0; 64]).is_ok()
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

#[expect(unsafe_code, reason = "no safe wrapper for these options")]
fn never_fragment(socket: &UdpSocket) {
    let value = libc::IP_PMTUDISC_DO;
    // SAFETY: the value outlives the call and its size is given.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            4,
        )
    };
    assert_eq!(outcome, 0);
}

#[expect(unsafe_code, reason = "no safe wrapper for these options")]
fn known_mtu(socket: &UdpSocket) -> i32 {
    let (mut value, mut length) = (0_i32, 4);
    // SAFETY: both outlive the call and the length is the value's.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(outcome, 0);
    value
}
