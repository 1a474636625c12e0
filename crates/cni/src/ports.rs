//! Ports of the node that lead to pods (`hostPort`): destination NAT by nf_tables.
//!
//! The table is made anew from all leases, in one transaction, whenever one that has ports comes or goes. So it is right
//! after each change, whatever a killed call left.

use std::io;
use std::net::Ipv4Addr;

use crate::answer::{Code, Failure};
use crate::leases::{Lease, Owner};
use crate::nftables::{Chain, Match, Rule, replace_table};
use crate::request::PortMapping;

const TABLE: &str = "lath-cni";
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// The mapped ports of those that a runtime lists, in order: it also lists ports that are only exposed.
pub(crate) fn wanted(listed: &[PortMapping]) -> Result<Vec<PortMapping>, Failure> {
    let mut wanted: Vec<_> = listed
        .iter()
        .filter(|it| it.host_port != 0)
        .cloned()
        .collect();
    wanted.sort();
    wanted.dedup();
    for port in &wanted {
        target(port)?;
    }
    Ok(wanted)
}

/// Fails when another pod has one of the ports. Kubernetes' scheduler sees to that, but not for static pods.
pub(crate) fn check_free(
    all: &[(Ipv4Addr, Option<Lease>)],
    owner: &Owner,
    wanted: &[PortMapping],
) -> Result<(), Failure> {
    let others = all
        .iter()
        .filter_map(|(_, lease)| lease.as_ref())
        .filter(|lease| lease.owner != *owner);
    for lease in others {
        for (one, other) in wanted
            .iter()
            .flat_map(|one| lease.ports.iter().map(move |it| (one, it)))
        {
            if overlap(one, other)? {
                let pod = lease.pod.as_deref().unwrap_or(&lease.owner.container);
                let message = format!("port {} of the node leads to {pod} already", one.host_port);
                return Err(Failure::new(Code::InvalidConfiguration, message));
            }
        }
    }
    Ok(())
}

fn overlap(one: &PortMapping, other: &PortMapping) -> Result<bool, Failure> {
    let ((protocol, address), (other_protocol, other_address)) = (target(one)?, target(other)?);
    let same_address = address.is_none() || other_address.is_none() || address == other_address;
    Ok(one.host_port == other.host_port && protocol == other_protocol && same_address)
}

/// Makes the node's table what the leases say.
pub(crate) fn apply(all: &[(Ipv4Addr, Option<Lease>)]) -> Result<(), Failure> {
    let mut rules = Vec::new();
    for (address, lease) in all {
        for port in lease.iter().flat_map(|lease| &lease.ports) {
            let (protocol, host) = target(port)?;
            let mut matches = vec![Match::LocalDestination];
            matches.extend(host.map(Match::Destination));
            matches.push(Match::Port(protocol, port.host_port));
            rules.push(Rule {
                matches,
                to: (*address, port.container_port),
            });
        }
    }
    let chains = if rules.is_empty() {
        Vec::new()
    } else {
        // What the node itself sends from 127.0.0.1 cannot leave it. What it sends to 127.0.0.1 has that source unless it
        // chose another of the node's addresses, as upstream's tests of `hostIP: 127.0.0.1` do.
        let own = rules.iter().cloned().map(|mut rule| {
            rule.matches.insert(0, Match::NotFromLoopback);
            rule
        });
        vec![
            Chain {
                name: "prerouting",
                hook: 0,
                rules: rules.clone(),
            },
            Chain {
                name: "output",
                hook: 3,
                rules: own.collect(),
            },
        ]
    };
    replace_table(TABLE, &chains).map_err(|error| Failure::io(describe(&error), error))
}

fn describe(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "the node's ports cannot be mapped: the plugin may not change nf_tables here"
    } else {
        "the node's ports cannot be mapped"
    }
}

/// The protocol's number, and the node's address if only one is meant.
fn target(port: &PortMapping) -> Result<(u8, Option<Ipv4Addr>), Failure> {
    let invalid = |what: String| Failure::new(Code::InvalidConfiguration, what);
    let protocol = match port.protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => TCP,
        "udp" => UDP,
        "sctp" => SCTP,
        other => {
            return Err(invalid(format!(
                "hostPort {}: protocol {other:?}",
                port.host_port
            )));
        }
    };
    let address = match port.host_ip.as_str() {
        "" | "0.0.0.0" | "::" => None,
        text => Some(
            text.parse()
                .map_err(|_| invalid(format!("hostIP {text:?} is no IPv4 address")))?,
        ),
    };
    Ok((protocol, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host: u16, protocol: &str, address: &str) -> PortMapping {
        PortMapping {
            host_port: host,
            container_port: 80,
            protocol: protocol.to_owned(),
            host_ip: address.to_owned(),
        }
    }

    #[test]
    fn only_mapped_ports_are_wanted() {
        let listed = [port(0, "tcp", ""), port(9, "udp", ""), port(9, "udp", "")];
        assert_eq!(wanted(&listed).unwrap(), [port(9, "udp", "")]);
        assert!(wanted(&[port(9, "icmp", "")]).is_err());
        assert!(wanted(&[port(9, "tcp", "fe80::1")]).is_err());
    }

    #[test]
    fn ports_that_overlap() {
        for (one, other, overlaps) in [
            (port(80, "", ""), port(80, "TCP", ""), true),
            (port(80, "tcp", ""), port(80, "udp", ""), false),
            (port(80, "tcp", ""), port(81, "tcp", ""), false),
            (
                port(80, "tcp", "0.0.0.0"),
                port(80, "tcp", "10.0.0.1"),
                true,
            ),
            (
                port(80, "tcp", "10.0.0.2"),
                port(80, "tcp", "10.0.0.1"),
                false,
            ),
        ] {
            assert_eq!(
                overlap(&one, &other).unwrap(),
                overlaps,
                "{one:?} {other:?}"
            );
        }
    }
}
