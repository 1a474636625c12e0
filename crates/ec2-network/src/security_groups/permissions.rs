//! Rules as requests give them, and as answers show them.

use ipnet::IpNet;
use lath_control::Cell;
use lath_ec2_records::errors::{client, combination, invalid_value, missing};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::prefix_lists;
use lath_ec2_records::resources::{PREFIX_LIST, SECURITY_GROUP};
use lath_ec2_records::{Direction, RuleSource, SecurityGroup, SecurityGroupRule};
use lath_feed::Traffic;
use lath_store::View;
use lath_wire::ApiError;

use super::messages::{
    GroupPair, GroupPairInput, Ipv6Range, Permission, PermissionInput, PrefixListRef, Range,
    RangeInput,
};
use crate::{joined, vpc_peering};

/// A rule that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) traffic: Traffic,
    pub(super) source: RuleSource,
    pub(super) description: Option<String>,
}

impl Wanted {
    pub(super) fn is(&self, rule: &SecurityGroupRule) -> bool {
        self.traffic == rule.traffic && self.source == rule.source
    }

    fn same(&self, other: &Self) -> bool {
        self.traffic == other.traffic && self.source == other.source
    }
}

/// The older form of a request: one rule in members of its own.
#[derive(Debug, Default)]
pub(super) struct Flat {
    pub(super) ip_protocol: Option<String>,
    pub(super) from_port: Option<i32>,
    pub(super) to_port: Option<i32>,
    pub(super) cidr_ip: Option<String>,
    pub(super) source_group_name: Option<String>,
    pub(super) source_group_owner: Option<String>,
}

impl Flat {
    fn is_given(&self) -> bool {
        self.ip_protocol.is_some()
            || self.from_port.is_some()
            || self.to_port.is_some()
            || self.cidr_ip.is_some()
            || self.source_group_name.is_some()
            || self.source_group_owner.is_some()
    }

    /// The same in the newer form. A source group without a protocol means all of TCP, UDP and ICMP.
    fn permissions(self) -> Vec<PermissionInput> {
        let groups: Vec<_> = self
            .source_group_name
            .map(|group_name| GroupPairInput {
                group_name: Some(group_name),
                user_id: self.source_group_owner,
                ..GroupPairInput::default()
            })
            .into_iter()
            .collect();
        let ranges = self.cidr_ip.map(|cidr_ip| RangeInput {
            cidr_ip: Some(cidr_ip),
            description: None,
        });
        let one = |protocol: &str, from_port, to_port| PermissionInput {
            ip_protocol: Some(protocol.to_owned()),
            from_port,
            to_port,
            groups: groups.clone(),
            ip_ranges: ranges.iter().cloned().collect(),
            ..PermissionInput::default()
        };
        match &self.ip_protocol {
            None if !groups.is_empty() => vec![
                one("tcp", Some(0), Some(65_535)),
                one("udp", Some(0), Some(65_535)),
                one("icmp", Some(-1), Some(-1)),
            ],
            protocol => vec![PermissionInput {
                ip_protocol: protocol.clone(),
                ..one("", self.from_port, self.to_port)
            }],
        }
    }
}

/// Reads the rules of a request, in either form.
pub(super) fn wanted(
    cell: &Cell,
    view: &View,
    group: &SecurityGroup,
    (permissions, flat): (Vec<PermissionInput>, Flat),
) -> Result<Vec<Wanted>, ApiError> {
    let permissions = match (permissions.is_empty(), flat.is_given()) {
        (false, true) => {
            return Err(combination(
                "The parameter ipProtocol may not be used in combination with ipPermissions",
            ));
        }
        (true, true) => flat.permissions(),
        (_, false) => permissions,
    };
    let mut all: Vec<Wanted> = Vec::new();
    for permission in &permissions {
        for rule in rules_of(cell, view, group, permission)? {
            if all.iter().any(|other| other.same(&rule)) {
                return Err(invalid_value(
                    "The same permission must not appear multiple times",
                ));
            }
            all.push(rule);
        }
    }
    Ok(all)
}

fn rules_of(
    cell: &Cell,
    view: &View,
    group: &SecurityGroup,
    permission: &PermissionInput,
) -> Result<Vec<Wanted>, ApiError> {
    let protocol = permission.ip_protocol.as_deref();
    let traffic = traffic(protocol, permission.from_port, permission.to_port)?;
    let sources = sources(cell, view, group, permission)?;
    if sources.is_empty() {
        return Err(missing("IpRanges, Ipv6Ranges, Groups or PrefixListIds"));
    }
    sources
        .into_iter()
        .map(|(source, description)| {
            Ok(Wanted {
                traffic,
                source,
                description: description_of(description)?,
            })
        })
        .collect()
}

type Source<'a> = (RuleSource, Option<&'a String>);

fn sources<'a>(
    cell: &Cell,
    view: &View,
    group: &SecurityGroup,
    permission: &'a PermissionInput,
) -> Result<Vec<Source<'a>>, ApiError> {
    let mut sources = Vec::new();
    for range in &permission.ip_ranges {
        let cidr = cidr(range.cidr_ip.as_deref(), "CidrIp", false)?;
        sources.push((RuleSource::Cidr(cidr), range.description.as_ref()));
    }
    for range in &permission.ipv6_ranges {
        let cidr = cidr(range.cidr_ipv6.as_deref(), "CidrIpv6", true)?;
        sources.push((RuleSource::Cidr(cidr), range.description.as_ref()));
    }
    for list in &permission.prefix_list_ids {
        let id = list.prefix_list_id.as_deref();
        let source = prefix_list(cell, view, id.ok_or_else(|| missing("PrefixListId"))?)?;
        sources.push((source, list.description.as_ref()));
    }
    for pair in &permission.groups {
        sources.push((group_source(view, group, pair)?, pair.description.as_ref()));
    }
    Ok(sources)
}

/// A block with its host bits cleared, as AWS keeps it.
pub(super) fn cidr(text: Option<&str>, member: &str, ipv6: bool) -> Result<IpNet, ApiError> {
    let text = text.ok_or_else(|| missing(member))?;
    text.parse::<IpNet>()
        .ok()
        .filter(|cidr| matches!(cidr, IpNet::V6(_)) == ipv6)
        .map(|cidr| cidr.trunc())
        .ok_or_else(|| invalid_value(format!("CIDR block {text} is malformed")))
}

pub(super) fn prefix_list(cell: &Cell, view: &View, id: &str) -> Result<RuleSource, ApiError> {
    PREFIX_LIST.id.check(id)?;
    prefix_lists::find(cell, view, id)
        .map(|list| RuleSource::PrefixList(list.id.clone()))
        .ok_or_else(|| PREFIX_LIST.id.not_found(id))
}

fn group_source(
    view: &View,
    group: &SecurityGroup,
    pair: &GroupPairInput,
) -> Result<RuleSource, ApiError> {
    if let Some(id) = &pair.vpc_peering_connection_id {
        vpc_peering::target(view, &group.vpc, id)?;
    }
    let named = match (&pair.group_id, &pair.group_name) {
        (Some(id), _) => id.clone(),
        (None, Some(name)) => group_by_name(view, group, name)?,
        (None, None) => return Err(missing("GroupId")),
    };
    if pair.user_id.as_ref().is_some_and(|it| *it != group.owner) {
        return Err(SECURITY_GROUP.id.not_found(&named));
    }
    let source = source_group(view, group, &named)?;
    let vpc_of_source = view
        .get::<SecurityGroup>(&named)
        .map(|it| it.vpc.to_string());
    if pair.vpc_id.is_some() && pair.vpc_id != vpc_of_source {
        return Err(different_networks());
    }
    Ok(source)
}

/// A group of the same VPC, or of one that is joined to it.
pub(super) fn source_group(
    view: &View,
    group: &SecurityGroup,
    id: &str,
) -> Result<RuleSource, ApiError> {
    let other = ids::find::<SecurityGroup>(view, id)?;
    // What names a group that nothing joins any more can still be revoked.
    let is_named = |rule: &SecurityGroupRule| match &rule.source {
        RuleSource::Group(id) => *id == other.id,
        _ => false,
    };
    let known = other.vpc == group.vpc || group.rules.iter().any(is_named);
    if !known && !joined(view, &group.vpc, &other.vpc) {
        return Err(different_networks());
    }
    Ok(RuleSource::Group(other.id.clone()))
}

fn different_networks() -> ApiError {
    client(
        "InvalidGroup.NotFound",
        "You have specified two resources that belong to different networks.",
    )
}

fn group_by_name(view: &View, group: &SecurityGroup, name: &str) -> Result<String, ApiError> {
    SecurityGroup::named(view, &group.vpc, name)
        .map(|other| other.id.to_string())
        .ok_or_else(|| SECURITY_GROUP.id.not_found(name))
}

/// Protocol and ports (or ICMP type and code). Ports of other protocols are ignored, as AWS does.
pub(super) fn traffic(
    protocol: Option<&str>,
    from: Option<i32>,
    to: Option<i32>,
) -> Result<Traffic, ApiError> {
    let protocol = protocol.ok_or_else(|| {
        invalid_value(
            "Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.",
        )
    })?;
    match protocol.to_ascii_lowercase().as_str() {
        "-1" | "all" => Ok(Traffic::All),
        "tcp" | "6" => ports(from, to).map(|(from, to)| Traffic::Tcp(from, to)),
        "udp" | "17" => ports(from, to).map(|(from, to)| Traffic::Udp(from, to)),
        "icmp" | "1" => icmp(from, to).map(|(kind, code)| Traffic::Icmp(kind, code)),
        "icmpv6" | "58" => icmp(from, to).map(|(kind, code)| Traffic::Icmpv6(kind, code)),
        other => other.parse().map(Traffic::Protocol).map_err(|_| {
            invalid_value(format!(
                "Invalid value '{protocol}' for IP protocol. Unknown protocol."
            ))
        }),
    }
}

fn ports(from: Option<i32>, to: Option<i32>) -> Result<(u16, u16), ApiError> {
    let (Some(from), Some(to)) = (from, to) else {
        return Err(invalid_value(
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
        ));
    };
    let port = |port: i32| {
        u16::try_from(port)
            .map_err(|_| invalid_value(format!("TCP/UDP port ({port}) out of range")))
    };
    let range = (port(from)?, port(to)?);
    if range.0 > range.1 {
        return Err(invalid_value(format!(
            "Invalid TCP/UDP port range ({from}:{to})"
        )));
    }
    Ok(range)
}

fn icmp(kind: Option<i32>, code: Option<i32>) -> Result<(Option<u8>, Option<u8>), ApiError> {
    let field = |name: &str, value: Option<i32>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u8::try_from(value)
            .map(Some)
            .map_err(|_| invalid_value(format!("ICMP {name} ({value}) out of range"))),
    };
    let (kind, code) = (field("type", kind)?, field("code", code)?);
    if kind.is_none() && code.is_some() {
        return Err(invalid_value(
            "ICMP code (-1) must be used with ICMP type (-1)",
        ));
    }
    Ok((kind, code))
}

/// A description, or nothing for an empty one.
pub(super) fn description_of(text: Option<&String>) -> Result<Option<String>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.len() > 255 || !text.chars().all(super::is_name_char) {
        return Err(invalid_value(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(Some(text.clone()))
}

/// The protocol's name and the ports, where the protocol has some.
pub(super) fn shown_traffic(traffic: Traffic) -> (String, Option<(i32, i32)>) {
    let ports = |from: u16, to: u16| Some((i32::from(from), i32::from(to)));
    let icmp = |kind: Option<u8>, code: Option<u8>| {
        Some((kind.map_or(-1, i32::from), code.map_or(-1, i32::from)))
    };
    match traffic {
        Traffic::All => ("-1".into(), None),
        Traffic::Tcp(from, to) => ("tcp".into(), ports(from, to)),
        Traffic::Udp(from, to) => ("udp".into(), ports(from, to)),
        Traffic::Icmp(kind, code) => ("icmp".into(), icmp(kind, code)),
        Traffic::Icmpv6(kind, code) => ("icmpv6".into(), icmp(kind, code)),
        Traffic::Protocol(number) => (number.to_string(), None),
    }
}

/// A group's rules of one direction, joined by protocol and ports.
pub(super) fn shown(group: &SecurityGroup, direction: Direction) -> Vec<Permission> {
    let mut all: Vec<Permission> = Vec::new();
    for rule in group.rules.iter().filter(|it| it.direction == direction) {
        join(
            &mut all,
            &group.owner,
            rule.traffic,
            &rule.source,
            rule.description.as_ref(),
        );
    }
    all
}

/// Rules that a request named, in the form of answers.
pub(super) fn shown_wanted(owner: &str, rules: &[Wanted]) -> Vec<Permission> {
    let mut all = Vec::new();
    for rule in rules {
        join(
            &mut all,
            owner,
            rule.traffic,
            &rule.source,
            rule.description.as_ref(),
        );
    }
    all
}

fn join(
    all: &mut Vec<Permission>,
    owner: &str,
    traffic: Traffic,
    source: &RuleSource,
    description: Option<&String>,
) {
    let (ip_protocol, ports) = shown_traffic(traffic);
    let (from_port, to_port) = (ports.map(|it| it.0), ports.map(|it| it.1));
    let same = |it: &Permission| {
        it.ip_protocol == ip_protocol && it.from_port == from_port && it.to_port == to_port
    };
    let index = all.iter().position(same).unwrap_or_else(|| {
        all.push(Permission {
            ip_protocol: ip_protocol.clone(),
            from_port,
            to_port,
            ..Permission::default()
        });
        all.len() - 1
    });
    add_source(&mut all[index], owner, source, description.cloned());
}

fn add_source(
    permission: &mut Permission,
    owner: &str,
    source: &RuleSource,
    description: Option<String>,
) {
    match source {
        RuleSource::Cidr(IpNet::V4(cidr)) => permission.ip_ranges.push(Range {
            description,
            cidr_ip: cidr.to_string(),
        }),
        RuleSource::Cidr(IpNet::V6(cidr)) => permission.ipv6_ranges.push(Ipv6Range {
            description,
            cidr_ipv6: cidr.to_string(),
        }),
        RuleSource::Group(id) => permission.groups.push(GroupPair {
            description,
            user_id: owner.to_owned(),
            group_id: id.to_string(),
            group_name: None,
        }),
        RuleSource::PrefixList(id) => permission.prefix_list_ids.push(PrefixListRef {
            description,
            prefix_list_id: id.to_string(),
        }),
    }
}
