//! The routes of a table that count: a pure function
//! (<https://docs.aws.amazon.com/vpc/latest/tgw/how-transit-gateways-work.html#tgw-route-evaluation-overview>).

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net};
use lath_control::Cell;
use lath_ec2_records::prefix_lists;
use lath_ec2_records::{StaticTarget, TableLink, TransitAttachment, TransitRouteTable, Vpc};
use lath_model::id::{PrefixListId, TransitGatewayAttachmentId};
use lath_store::View;

/// All that a table's routes follow from.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableSources {
    /// Static routes.
    pub(crate) statics: BTreeMap<Ipv4Net, StaticTarget>,
    /// Prefix lists with their blocks.
    pub(crate) references: Vec<(PrefixListId, Vec<Ipv4Net>, StaticTarget)>,
    /// The blocks of the VPCs that propagate to the table, the oldest attachment first.
    pub(crate) propagated: Vec<(TransitGatewayAttachmentId, Vec<Ipv4Net>)>,
    /// The attachments that take packets.
    pub(crate) up: BTreeSet<TransitGatewayAttachmentId>,
}

/// The route that won a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EffectiveRoute {
    /// Where it leads; `None` for one that drops on purpose.
    pub(crate) attachment: Option<TransitGatewayAttachmentId>,
    /// Whether it drops: on purpose, or because its attachment is gone.
    pub(crate) blackhole: bool,
    /// Whether a propagation made it, not a call.
    pub(crate) propagated: bool,
    /// The list that it comes from.
    pub(crate) prefix_list: Option<PrefixListId>,
}

/// For each destination the route that won: a static one before one of a prefix list before a propagated
/// one; of two equal propagated ones, the older attachment's.
pub(crate) fn effective_routes(sources: &TableSources) -> BTreeMap<Ipv4Net, EffectiveRoute> {
    let mut routes = BTreeMap::new();
    for (cidr, target) in &sources.statics {
        routes.insert(*cidr, made(sources, target, None));
    }
    for (list, cidrs, target) in &sources.references {
        for cidr in cidrs {
            let route = || made(sources, target, Some(list.clone()));
            routes.entry(*cidr).or_insert_with(route);
        }
    }
    for (attachment, cidrs) in &sources.propagated {
        for cidr in cidrs {
            routes.entry(*cidr).or_insert_with(|| EffectiveRoute {
                attachment: Some(attachment.clone()),
                blackhole: !sources.up.contains(attachment),
                propagated: true,
                prefix_list: None,
            });
        }
    }
    routes
}

fn made(
    sources: &TableSources,
    target: &StaticTarget,
    prefix_list: Option<PrefixListId>,
) -> EffectiveRoute {
    let attachment = match target {
        StaticTarget::Attachment(id) => Some(id.clone()),
        StaticTarget::Blackhole => None,
    };
    EffectiveRoute {
        blackhole: attachment
            .as_ref()
            .is_none_or(|id| !sources.up.contains(id)),
        attachment,
        propagated: false,
        prefix_list,
    }
}

/// What a table's routes follow from, in this state.
pub(crate) fn sources(cell: &Cell, view: &View, table: &TransitRouteTable) -> TableSources {
    let attachments: Vec<_> = view
        .by::<TransitAttachment>("gateway", table.gateway.as_str())
        .filter(|it| it.state.is_up())
        .collect();
    let propagates = |it: &TransitAttachment| {
        let mut links = it.propagations.iter();
        links.any(|link: &TableLink| link.table == table.id && link.holds())
    };
    let mut propagating: Vec<_> = attachments.iter().filter(|it| propagates(it)).collect();
    propagating.sort_by_key(|it| (it.created_at, it.id.clone()));
    TableSources {
        statics: table.routes.clone(),
        references: table
            .references
            .iter()
            .map(|(id, target)| (id.clone(), list_blocks(cell, view, id), target.clone()))
            .collect(),
        propagated: propagating
            .into_iter()
            .map(|it| (it.id.clone(), vpc_blocks(view, it)))
            .collect(),
        up: attachments.iter().map(|it| it.id.clone()).collect(),
    }
}

fn list_blocks(cell: &Cell, view: &View, id: &PrefixListId) -> Vec<Ipv4Net> {
    let list = prefix_lists::find(cell, view, id.as_str());
    let cidrs = list.iter().flat_map(|it| it.entries());
    cidrs
        .filter_map(|entry| match entry.cidr {
            IpNet::V4(cidr) => Some(cidr),
            IpNet::V6(_) => None,
        })
        .collect()
}

fn vpc_blocks(view: &View, attachment: &TransitAttachment) -> Vec<Ipv4Net> {
    let vpc = attachment.vpc();
    let vpc = vpc.and_then(|end| view.get::<Vpc>(end.vpc.as_str()));
    vpc.iter()
        .flat_map(|vpc| vpc.cidrs.iter().map(|block| block.cidr))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn id(digit: char) -> TransitGatewayAttachmentId {
        let tail: String = std::iter::repeat_n(digit, 17).collect();
        format!("tgw-attach-{tail}").parse().unwrap()
    }

    /// A static route, a reference, propagations and what is up, in short.
    struct Case {
        name: &'static str,
        statics: &'static [(&'static str, char)],
        references: &'static [(&'static str, char)],
        propagated: &'static [(char, &'static [&'static str])],
        up: &'static str,
        /// Destination, attachment (`-` for none), blackhole, propagated.
        want: &'static [(&'static str, char, bool, bool)],
    }

    const CASES: &[Case] = &[
        Case {
            name: "a propagated route leads to its attachment",
            statics: &[],
            references: &[],
            propagated: &[('a', &["10.1.0.0/16", "10.9.0.0/24"])],
            up: "a",
            want: &[
                ("10.1.0.0/16", 'a', false, true),
                ("10.9.0.0/24", 'a', false, true),
            ],
        },
        Case {
            name: "a static route hides the equal propagated one",
            statics: &[("10.1.0.0/16", 'b')],
            references: &[],
            propagated: &[('a', &["10.1.0.0/16"])],
            up: "ab",
            want: &[("10.1.0.0/16", 'b', false, false)],
        },
        Case {
            name: "a more specific propagated route stands beside a static one",
            statics: &[("10.0.0.0/8", 'b')],
            references: &[],
            propagated: &[('a', &["10.1.0.0/16"])],
            up: "ab",
            want: &[
                ("10.0.0.0/8", 'b', false, false),
                ("10.1.0.0/16", 'a', false, true),
            ],
        },
        Case {
            name: "of two VPCs with one block the older counts",
            statics: &[],
            references: &[],
            propagated: &[('a', &["10.1.0.0/16"]), ('b', &["10.1.0.0/16"])],
            up: "ab",
            want: &[("10.1.0.0/16", 'a', false, true)],
        },
        Case {
            name: "a static route to an attachment that is gone drops, and still hides",
            statics: &[("10.1.0.0/16", 'b')],
            references: &[],
            propagated: &[('a', &["10.1.0.0/16"])],
            up: "a",
            want: &[("10.1.0.0/16", 'b', true, false)],
        },
        Case {
            name: "a route that drops on purpose",
            statics: &[("0.0.0.0/0", '-')],
            references: &[],
            propagated: &[],
            up: "",
            want: &[("0.0.0.0/0", '-', true, false)],
        },
        Case {
            name: "a prefix list is between static and propagated",
            statics: &[("10.1.0.0/16", 'a')],
            references: &[("10.1.0.0/16", 'b'), ("10.2.0.0/16", 'b')],
            propagated: &[('c', &["10.2.0.0/16", "10.3.0.0/16"])],
            up: "abc",
            want: &[
                ("10.1.0.0/16", 'a', false, false),
                ("10.2.0.0/16", 'b', false, false),
                ("10.3.0.0/16", 'c', false, true),
            ],
        },
    ];

    fn target(letter: char) -> StaticTarget {
        match letter {
            '-' => StaticTarget::Blackhole,
            letter => StaticTarget::Attachment(id(letter)),
        }
    }

    #[test]
    fn each_destination_has_the_route_that_awss_order_says() {
        for case in CASES {
            let list: PrefixListId = "pl-0123456789abcdef0".parse().unwrap();
            let sources = TableSources {
                statics: case
                    .statics
                    .iter()
                    .map(|(to, by)| (net(to), target(*by)))
                    .collect(),
                references: case
                    .references
                    .iter()
                    .map(|(to, by)| (list.clone(), vec![net(to)], target(*by)))
                    .collect(),
                propagated: case
                    .propagated
                    .iter()
                    .map(|(by, to)| (id(*by), to.iter().map(|to| net(to)).collect()))
                    .collect(),
                up: case.up.chars().map(id).collect(),
            };
            let got: Vec<_> = effective_routes(&sources)
                .into_iter()
                .map(|(to, it)| (to, it.attachment, it.blackhole, it.propagated))
                .collect();
            let want: Vec<_> = case
                .want
                .iter()
                .map(|(to, by, blackhole, propagated)| {
                    (
                        net(to),
                        (*by != '-').then(|| id(*by)),
                        *blackhole,
                        *propagated,
                    )
                })
                .collect();
            assert_eq!(got, want, "{}", case.name);
        }
    }
}
