//! Entries of network ACLs: as requests give them, as they are kept, and as answers show them.

use ipnet::IpNet;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::messages::Nothing;
use lath_ec2_records::errors::{
    client, combination, invalid_parameter, invalid_value, missing, over,
};
use lath_ec2_records::ids;
use lath_ec2_records::{AclEntry, Direction, NetworkAcl};
use lath_feed::Traffic;
use lath_service::Quota;
use lath_store::Tx;
use lath_wire::ApiError;

use super::messages::*;

/// How many entries an ACL may have in a direction for IPv4, and for IPv6. "This quota includes the default deny rules"
/// (<https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>).
const MAX_ENTRIES: Quota<&str> =
    Quota::new("network acl entries", "NetworkAclEntryLimitExceeded", 20);
/// What no request passes, even where quotas do not hold: each entry is a rule that packets of all its subnets meet. AWS
/// raises the quota "up to a maximum of 40" (same page).
const MOST_ENTRIES: Quota<&str> = Quota {
    limit: 40,
    ..MAX_ENTRIES
};
/// The number of the entry that denies what no other matches: answers show it, and no request changes it.
pub(super) const LAST: i32 = 32_767;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

pub(super) fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateNetworkAclEntry,
) -> Result<Nothing, ApiError> {
    let acl = ids::find::<NetworkAcl>(tx.view(), &op.network_acl_id)?;
    let entry = read(&op)?;
    let mut others = acl.of(entry.direction);
    if others.any(|it| it.number == entry.number) {
        return Err(client(
            "NetworkAclEntryAlreadyExists",
            format!(
                "The network acl entry identified by {} already exists.",
                entry.number
            ),
        ));
    }
    check_room(app, &acl, &entry)?;
    tx.update::<NetworkAcl>(acl.id.as_str(), |acl| acl.put(entry));
    Ok(Nothing {})
}

pub(super) fn replace(
    app: &Ec2,
    tx: &mut Tx,
    op: ReplaceNetworkAclEntry,
) -> Result<Nothing, ApiError> {
    let acl = ids::find::<NetworkAcl>(tx.view(), &op.network_acl_id)?;
    let entry = read(&op.into())?;
    let mut entries = acl.of(entry.direction);
    let Some(old) = entries.find(|it| it.number == entry.number) else {
        return Err(absent(entry.number));
    };
    if is_v6(old) != is_v6(&entry) {
        check_room(app, &acl, &entry)?;
    }
    tx.update::<NetworkAcl>(acl.id.as_str(), |acl| acl.put(entry));
    Ok(Nothing {})
}

pub(super) fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteNetworkAclEntry,
) -> Result<Nothing, ApiError> {
    let acl = ids::find::<NetworkAcl>(tx.view(), &op.network_acl_id)?;
    let number = checked_number(op.rule_number)?;
    let direction = direction(op.egress);
    if !acl.of(direction).any(|it| it.number == number) {
        return Err(absent(number));
    }
    tx.update::<NetworkAcl>(acl.id.as_str(), |acl| {
        acl.remove(direction, number);
    });
    Ok(Nothing {})
}

fn is_v6(entry: &AclEntry) -> bool {
    matches!(entry.cidr, IpNet::V6(_))
}

/// Whether there may be one more entry of its direction and IP version.
fn check_room(app: &Ec2, acl: &NetworkAcl, entry: &AclEntry) -> Result<(), ApiError> {
    let alike = acl.of(entry.direction);
    let alike = alike.filter(|it| is_v6(it) == is_v6(entry)).count();
    // With the new one, and the one that denies the rest.
    let count = alike + 2;
    if count > MOST_ENTRIES.limit {
        return Err(over(&MOST_ENTRIES));
    }
    MAX_ENTRIES.check(&app.cell, count, over)
}

fn absent(number: i32) -> ApiError {
    client(
        "InvalidNetworkAclEntry.NotFound",
        format!("The network acl entry identified by {number} does not exist."),
    )
}

fn direction(egress: bool) -> Direction {
    if egress {
        Direction::Egress
    } else {
        Direction::Ingress
    }
}

fn checked_number(number: i32) -> Result<i32, ApiError> {
    if (1..LAST).contains(&number) {
        return Ok(number);
    }
    Err(invalid_parameter(
        "ruleNumber",
        number,
        "Must be between 1 and 32766.",
    ))
}

fn read(op: &CreateNetworkAclEntry) -> Result<AclEntry, ApiError> {
    let cidr = cidr(op)?;
    Ok(AclEntry {
        direction: direction(op.egress),
        number: checked_number(op.rule_number)?,
        allow: match op.rule_action.to_ascii_lowercase().as_str() {
            "allow" => true,
            "deny" => false,
            _ => {
                return Err(invalid_parameter(
                    "ruleAction",
                    &op.rule_action,
                    "Must be one of: allow, deny.",
                ));
            }
        },
        traffic: traffic(op, &cidr)?,
        cidr,
    })
}

/// A block with its host bits cleared, as AWS keeps it.
fn cidr(op: &CreateNetworkAclEntry) -> Result<IpNet, ApiError> {
    let (text, is_v6) = match (&op.cidr_block, &op.ipv6_cidr_block) {
        (Some(_), Some(_)) => {
            return Err(combination(
                "The parameters cidrBlock and ipv6CidrBlock cannot be used together.",
            ));
        }
        (Some(text), None) => (text, false),
        (None, Some(text)) => (text, true),
        (None, None) => return Err(missing("cidrBlock or ipv6CidrBlock")),
    };
    let net = text.parse::<IpNet>().ok();
    let net = net.filter(|net| matches!(net, IpNet::V6(_)) == is_v6);
    net.map(|net| net.trunc()).ok_or_else(|| {
        let parameter = if is_v6 { "ipv6CidrBlock" } else { "cidrBlock" };
        let why = "This is not a valid CIDR block.";
        invalid_parameter(parameter, text, why)
    })
}

/// "If you specify -1 or a protocol number other than 6, 17 or 1, traffic on all ports is allowed, regardless of any ports
/// or ICMP types or codes that you specify; with 58 and an IPv4 block, traffic of all ICMP types and codes"
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html>).
fn traffic(op: &CreateNetworkAclEntry, cidr: &IpNet) -> Result<Traffic, ApiError> {
    if op.protocol == "-1" {
        return Ok(Traffic::All);
    }
    let number: u8 = op.protocol.parse().map_err(|_| {
        invalid_value(format!(
            "Invalid value '{}' for IP protocol. Unknown protocol.",
            op.protocol
        ))
    })?;
    match (number, cidr) {
        (TCP, _) => ports(op).map(|(from, to)| Traffic::Tcp(from, to)),
        (UDP, _) => ports(op).map(|(from, to)| Traffic::Udp(from, to)),
        (ICMP, _) => icmp(op).map(|(kind, code)| Traffic::Icmp(kind, code)),
        (ICMPV6, IpNet::V6(_)) => icmp(op).map(|(kind, code)| Traffic::Icmpv6(kind, code)),
        (ICMPV6, IpNet::V4(_)) => Ok(Traffic::Icmpv6(None, None)),
        _ => Ok(Traffic::Protocol(number)),
    }
}

fn ports(op: &CreateNetworkAclEntry) -> Result<(u16, u16), ApiError> {
    let given = op.port_range.unwrap_or_default();
    let port = |name: &str, value: Option<i32>| {
        let value = value.ok_or_else(|| missing(&format!("portRange.{name}")))?;
        u16::try_from(value)
            .map_err(|_| invalid_value(format!("TCP/UDP port ({value}) out of range")))
    };
    let (from, to) = (port("from", given.from)?, port("to", given.to)?);
    if from > to {
        return Err(invalid_value(format!(
            "Invalid TCP/UDP port range ({from}:{to})"
        )));
    }
    Ok((from, to))
}

/// Type and code; -1 is any.
fn icmp(op: &CreateNetworkAclEntry) -> Result<(Option<u8>, Option<u8>), ApiError> {
    let given = op.icmp_type_code.unwrap_or_default();
    let part = |name: &str, value: Option<i32>| {
        let value = value.ok_or_else(|| missing(&format!("icmpTypeCode.{name}")))?;
        if value == -1 {
            return Ok(None);
        }
        u8::try_from(value)
            .map(Some)
            .map_err(|_| invalid_value(format!("ICMP {name} ({value}) out of range")))
    };
    let (kind, code) = (part("type", given.kind)?, part("code", given.code)?);
    if kind.is_none() && code.is_some() {
        return Err(invalid_value(
            "ICMP code (-1) must be used with ICMP type (-1)",
        ));
    }
    Ok((kind, code))
}

/// The entries of an ACL, and what denies the rest in each direction: those of outbound packets first.
pub(super) fn shown(acl: &NetworkAcl) -> Vec<EntryItem> {
    let last = |direction| EntryItem {
        cidr_block: Some("0.0.0.0/0".into()),
        ipv6_cidr_block: None,
        egress: direction == Direction::Egress,
        icmp_type_code: None,
        port_range: None,
        protocol: "-1".into(),
        rule_action: "deny".into(),
        rule_number: LAST,
    };
    let directions = [Direction::Egress, Direction::Ingress].into_iter();
    let all = directions.flat_map(|it| acl.of(it).map(item).chain([last(it)]));
    all.collect()
}

fn item(entry: &AclEntry) -> EntryItem {
    let (v4, v6) = match entry.cidr {
        IpNet::V4(net) => (Some(net.to_string()), None),
        IpNet::V6(net) => (None, Some(net.to_string())),
    };
    let (protocol, icmp_type_code, port_range) = shown_traffic(entry);
    EntryItem {
        cidr_block: v4,
        ipv6_cidr_block: v6,
        egress: entry.direction == Direction::Egress,
        icmp_type_code,
        port_range,
        protocol,
        rule_action: if entry.allow { "allow" } else { "deny" }.into(),
        rule_number: entry.number,
    }
}

/// The name of a protocol's number, where filters take one.
pub(super) fn protocol_name(number: &str) -> Option<&'static str> {
    match number.parse().ok()? {
        TCP => Some("tcp"),
        UDP => Some("udp"),
        ICMP => Some("icmp"),
        _ => None,
    }
}

fn shown_traffic(entry: &AclEntry) -> (String, Option<IcmpItem>, Option<PortsItem>) {
    let ports = |from: u16, to: u16| {
        let (from, to) = (i32::from(from), i32::from(to));
        Some(PortsItem { from, to })
    };
    let icmp = |kind: Option<u8>, code: Option<u8>| {
        let number = |it: Option<u8>| it.map_or(-1, i32::from);
        Some(IcmpItem {
            kind: number(kind),
            code: number(code),
        })
    };
    match entry.traffic {
        Traffic::All => ("-1".into(), None, None),
        Traffic::Tcp(from, to) => (TCP.to_string(), None, ports(from, to)),
        Traffic::Udp(from, to) => (UDP.to_string(), None, ports(from, to)),
        Traffic::Icmp(kind, code) => (ICMP.to_string(), icmp(kind, code), None),
        Traffic::Icmpv6(kind, code) => {
            let shown = icmp(kind, code).filter(|_| matches!(entry.cidr, IpNet::V6(_)));
            (ICMPV6.to_string(), shown, None)
        }
        Traffic::Protocol(number) => (number.to_string(), None, None),
    }
}
