//! Checks the features of this kernel by creating each object in a temporary namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ipnet::Ipv4Net;

use crate::facts::{HostFacts, Uplink};
use crate::netlink::Netlink;
use crate::netns::Netns;
use crate::nft::{
    self, Chain, ChainKind, CtState, Hook, Key, KeyType, Part, Rule, Set, Table, Timeout, Value,
    ValueType, Verdict,
};
use crate::plan::{self, RouteKey, RouteTo, RuleAction, RuleMatch};
use crate::rootless;
use crate::rtnetlink;
use crate::translate::METADATA;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The checked feature.
    pub what: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// Whether VPCs need it; otherwise only the feature named in `how_to_fix` is missing.
    pub needed: bool,
    /// How to get the feature; empty when it works.
    pub how_to_fix: String,
}

struct Probe {
    what: &'static str,
    needed: bool,
    run: fn() -> io::Result<()>,
    fix: &'static str,
}

const NF_TABLES: &str = "load nf_tables (`modprobe nf_tables`; kernel option CONFIG_NF_TABLES)";
const NAT: &str = "load nft_chain_nat and nft_masq (`modprobe -a nft_chain_nat nft_masq`)";

const PROBES: &[Probe] = &[
    Probe {
        what: "network namespaces",
        needed: true,
        run: rootless::try_network,
        fix: "run as root, or allow user namespaces (CONFIG_NET_NS, user.max_net_namespaces)",
    },
    Probe {
        what: "veth pairs across namespaces",
        needed: true,
        run: veth,
        fix: "load veth (`modprobe veth`; kernel option CONFIG_VETH)",
    },
    Probe {
        what: "nf_tables sets of addresses and links",
        needed: true,
        run: || table_with("s", Set::new(KeyType::LinkAddress)),
        fix: NF_TABLES,
    },
    Probe {
        what: "nf_tables sets of ranges",
        needed: true,
        run: || {
            table_with(
                "s",
                Set::of_blocks([Ipv4Net::new_assert([10, 0, 0, 0].into(), 8)]),
            )
        },
        fix: NF_TABLES,
    },
    Probe {
        what: "nf_tables verdict maps",
        needed: true,
        run: verdict_map,
        fix: NF_TABLES,
    },
    Probe {
        what: "connection tracking",
        needed: true,
        run: tracking,
        fix: "load nf_conntrack and nft_ct (`modprobe -a nf_conntrack nft_ct`)",
    },
    Probe {
        what: "address translation by map",
        needed: true,
        run: translation,
        fix: NAT,
    },
    Probe {
        what: "segment size clamping",
        needed: true,
        run: clamping,
        fix: "load nft_exthdr (kernel option CONFIG_NFT_EXTHDR or CONFIG_NF_TABLES)",
    },
    Probe {
        what: "marks of connections",
        needed: true,
        run: marks,
        fix: "use a kernel with CONFIG_NF_CONNTRACK_MARK",
    },
    Probe {
        what: "ends of idle connections by rule",
        needed: false,
        run: idle_ends,
        fix: "use a kernel with CONFIG_NF_CONNTRACK_TIMEOUT: without it, idle connections through NAT \
              gateways end by the kernel's own times",
    },
    Probe {
        what: "set elements that end by themselves",
        needed: false,
        run: timed_elements,
        fix: "load nf_tables (`modprobe nf_tables`): only drills need it",
    },
    Probe {
        what: "nf_tables tables that no other process can remove",
        needed: false,
        run: owned_tables,
        fix: "use Linux 6.9 or newer: on an older one `nft flush ruleset` removes firewalls of VPCs, which \
              Lath makes anew at once; until then nothing is forwarded",
    },
    Probe {
        what: "policy routing by mark",
        needed: true,
        run: routing,
        fix: "use a kernel with CONFIG_IP_MULTIPLE_TABLES",
    },
    Probe {
        what: "addresses with an origin",
        needed: true,
        run: origins,
        fix: "use Linux 5.18 or newer: an older one cannot tell Lath's addresses from others",
    },
    Probe {
        what: "TUN devices",
        needed: false,
        run: tun,
        fix: "load tun (`modprobe tun`) and give access to /dev/net/tun; only tunnels between regions \
              need it",
    },
    Probe {
        what: "user namespaces for ordinary users",
        needed: false,
        run: user_namespaces,
        fix: "`sysctl -w user.max_user_namespaces=15000`, on Debian also \
              `kernel.unprivileged_userns_clone=1`, on Ubuntu an AppArmor profile with `userns,`; only \
              rootless mode needs it",
    },
    Probe {
        what: "internet gateways",
        needed: false,
        run: gateway,
        fix: "run as root: without privilege over the host's network, VPCs have no way out of it",
    },
];

/// Checks all features that the fabric uses. Takes a fraction of a second and leaves nothing behind.
pub fn probe() -> Vec<Finding> {
    PROBES.iter().map(examine).collect()
}

fn examine(probe: &Probe) -> Finding {
    let outcome = (probe.run)();
    let how_to_fix = match &outcome {
        Ok(()) => String::new(),
        Err(e) => format!("{e}: {}", probe.fix),
    };
    Finding {
        what: probe.what,
        ok: outcome.is_ok(),
        needed: probe.needed,
        how_to_fix,
    }
}

fn veth() -> io::Result<()> {
    let far = Netns::new()?;
    Netns::new()?.run(|| rtnetlink::add_veth(&mut Netlink::route()?, "v0", "eth0", far.as_fd()))
}

/// As a table that anybody may change: kernels that know no others support the rest, and [`owned_tables`] checks for those.
fn install(table: &Table) -> io::Result<()> {
    let table = Table {
        owned: false,
        ..table.clone()
    };
    Netns::new()?.run(|| {
        let changes = nft::changes(None, Some(&table));
        let mut netlink = Netlink::netfilter()?;
        netlink.transact(nft::batch(&table.name, &changes))?;
        // Write, read and compare: only then the kernel supports what was written.
        let found = nft::read(&mut netlink, &table.name)?;
        if found == Some(table) {
            Ok(())
        } else {
            Err(io::Error::other(
                "the kernel reads back another table than was written",
            ))
        }
    })
}

fn table_with(name: &str, set: Set) -> io::Result<()> {
    let mut table = Table::new("lath_probe");
    table.sets.insert(name.to_owned(), set);
    install(&table)
}

fn table_of(kind: ChainKind, hook: Hook, parts: Vec<Part>, map: Option<Set>) -> io::Result<()> {
    let mut table = Table::new("lath_probe");
    table.sets.extend(map.map(|map| ("m".to_owned(), map)));
    let chain = Chain::base(kind, hook, 0, true, vec![Rule::new(parts)]);
    table.chains.insert("c".into(), chain);
    install(&table)
}

fn verdict_map() -> io::Result<()> {
    let mut table = Table::new("lath_probe");
    let mut map = Set::map(KeyType::Link, ValueType::Jump);
    map.elements
        .insert(Key::Link("e0".into()), Value::Jump("c".into()));
    table.sets.insert("m".into(), map);
    table.chains.insert(
        "c".into(),
        Chain::new(vec![Rule::new([Part::Verdict(Verdict::Drop)])]),
    );
    let rules = vec![Rule::new([Part::IifVerdict("m".into())])];
    let base = Chain::base(ChainKind::Filter, Hook::Forward, 0, false, rules);
    table.chains.insert("f".into(), base);
    install(&table)
}

fn tracking() -> io::Result<()> {
    let parts = vec![
        Part::Ct(CtState::EstablishedRelated),
        Part::Verdict(Verdict::Accept),
    ];
    table_of(ChainKind::Filter, Hook::Input, parts, None)
}

fn translation() -> io::Result<()> {
    let map = || Some(Set::map(KeyType::Address, ValueType::Address));
    let nat = ChainKind::Nat;
    table_of(
        nat,
        Hook::Prerouting,
        vec![Part::DestinationNat("m".into())],
        map(),
    )?;
    table_of(
        nat,
        Hook::Postrouting,
        vec![Part::SourceNat("m".into())],
        map(),
    )?;
    table_of(nat, Hook::Postrouting, vec![Part::Masquerade], None)
}

fn marks() -> io::Result<()> {
    let parts = vec![Part::AnswerMark, Part::ConnectionMark(1)];
    table_of(ChainKind::Filter, Hook::Prerouting, parts, None)
}

/// Checks that rules can set the timeouts of idle connections.
pub(crate) fn idle_ends() -> io::Result<()> {
    let mut table = Table::new("lath_probe");
    let mut rules = Vec::new();
    for protocol in [6, 17] {
        let timeout = Timeout {
            protocol,
            seconds: 350,
        };
        table.timeouts.insert(timeout);
        rules.push(Rule::new([Part::Idle(timeout)]));
    }
    let chain = Chain::base(ChainKind::Filter, Hook::Prerouting, 0, true, rules);
    table.chains.insert("c".into(), chain);
    install(&table)
}

fn timed_elements() -> io::Result<()> {
    let faults = crate::Faults::in_namespace(Netns::new()?);
    let fault = crate::Fault::Link("lo".into());
    faults.for_duration(&fault, std::time::Duration::from_secs(1))
}

fn clamping() -> io::Result<()> {
    let parts = vec![Part::Protocol(6), Part::Syn, Part::ClampSegment(1460)];
    table_of(ChainKind::Filter, Hook::Forward, parts, None)
}

fn origins() -> io::Result<()> {
    Netns::new()?.run(|| {
        let mut netlink = Netlink::route()?;
        let names = rtnetlink::links(&mut netlink)?;
        rtnetlink::add_address(&mut netlink, 1, Ipv4Net::new_assert(METADATA, 32))?;
        match rtnetlink::addresses(&mut netlink, &names)?.is_empty() {
            false => Ok(()),
            true => Err(io::Error::other(
                "the address is read back without its origin",
            )),
        }
    })
}

/// Checks for tables that belong to their owner while it lives and stay when it ends.
pub(crate) fn owned_tables() -> io::Result<()> {
    Netns::new()?.run(|| {
        let mut netlink = Netlink::netfilter()?;
        let made = nft::Change::AddTable { owned: true };
        netlink.transact(nft::batch("probe", &[made]))?;
        match nft::holder(&mut Netlink::netfilter()?, "probe")? {
            Some(nft::Holder::Port(_)) => Ok(()),
            _ => Err(io::Error::other("the table has no owner")),
        }
    })
}

fn routing() -> io::Result<()> {
    const TABLE: u32 = 0x1_0000;
    Netns::new()?.run(|| {
        let mut netlink = Netlink::route()?;
        let key = RouteKey {
            metric: 0,
            table: TABLE,
            to: Ipv4Net::default(),
        };
        rtnetlink::set_route(&mut netlink, &key, &RouteTo::Blackhole, None)?;
        let rule = plan::Rule {
            priority: 1000,
            when: RuleMatch::Mark(TABLE),
            action: RuleAction::Table(TABLE),
        };
        rtnetlink::add_rule(&mut netlink, &rule)?;
        match rtnetlink::rules(&mut netlink)?.contains(&rule) {
            true => Ok(()),
            false => Err(io::Error::other(
                "the rule is not read back with its origin",
            )),
        }
    })
}

#[expect(unsafe_code, reason = "no safe wrapper makes TUN devices")]
fn tun() -> io::Result<()> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    Netns::new()?.run(|| {
        let mut request = [0_u8; 40];
        request[..5].copy_from_slice(b"probe");
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
        request[16..18].copy_from_slice(&flags.to_ne_bytes());
        // SAFETY: the kernel reads and writes an `ifreq`, 40 bytes, which `request` is.
        match unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

/// Reads the settings that forbid user namespaces. Creating one would need a process with one thread.
fn user_namespaces() -> io::Result<()> {
    for (file, forbidden) in [
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
        ),
    ] {
        if std::fs::read_to_string(file).is_ok_and(|value| value.trim() == forbidden) {
            return Err(io::Error::other(format!("{file} is {forbidden}")));
        }
    }
    Ok(())
}

fn gateway() -> io::Result<()> {
    match HostFacts::probe("doctor", None).uplink {
        Uplink::Host { .. } => Ok(()),
        Uplink::None(reason) => Err(io::Error::other(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_how_to_fix_what_does_not_work() {
        let broken = Probe {
            what: "x",
            needed: true,
            run: || Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
            fix: "load x",
        };
        let finding = examine(&broken);
        assert!(
            !finding.ok && finding.how_to_fix.ends_with(": load x"),
            "{finding:?}"
        );
        assert_eq!(
            examine(&Probe {
                run: || Ok(()),
                ..broken
            })
            .how_to_fix,
            ""
        );
    }

    #[test]
    fn root_on_a_usual_kernel_has_all_that_is_needed() {
        if !nix::unistd::geteuid().is_root() {
            println!("SKIPPED: needs root");
            return;
        }
        let missing: Vec<Finding> = probe().into_iter().filter(|f| f.needed && !f.ok).collect();
        assert_eq!(missing, []);
    }
}
