//! A VPC's side of transit gateways: its router's links to them, and what may come from there.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lath_feed::{Subnet, TransitAttachment, TransitPeer};
use lath_model::id::{SubnetId, TransitGatewayId};

use super::router::RULE_PRIORITY;
use super::tables::{KernelTables, back};
use super::transit::{GATEWAY_END, VPC_END, gateway_link, link, vpc_link};
use super::{VpcView, host_net, nth};
use crate::plan::{
    LinkKind, Namespace, NamespaceRef, RouteTo, Rule as PolicyRule, RuleAction, RuleMatch,
};

/// An attachment of a VPC, from its side.
pub(super) struct VpcJoint<'a> {
    pub(super) gateway: &'a TransitGatewayId,
    pub(super) attachment: &'a TransitAttachment,
    /// The zones it takes packets from.
    pub(super) zones: BTreeSet<&'a str>,
    /// The subnet whose route table packets from the gateway use: that of the first zone.
    pub(super) subnet: &'a Subnet,
    /// Those that it is in, one of each zone.
    pub(super) subnets: Vec<&'a Subnet>,
    pub(super) link: String,
}

impl<'a> VpcView<'a> {
    /// The VPC's attachments.
    pub(super) fn transit(&self) -> impl Iterator<Item = VpcJoint<'a>> + use<'a> {
        let vpc = self.vpc;
        let gateways = self.snapshot.transit_gateways.values();
        gateways.flat_map(move |gateway| {
            let joints = gateway.attachments.values();
            joints.filter_map(move |attachment| {
                let subnets = subnets_in(vpc, attachment)?;
                let zones = subnets.iter().map(|s| &*s.availability_zone).collect();
                let subnet = subnets
                    .iter()
                    .copied()
                    .min_by_key(|s| (&s.availability_zone, &s.id))?;
                Some(VpcJoint {
                    gateway: &gateway.id,
                    attachment,
                    zones,
                    subnet,
                    subnets,
                    link: vpc_link(&attachment.id),
                })
            })
        })
    }

    pub(super) fn through_transit(&self, gateway: &TransitGatewayId) -> RouteTo {
        let joint = self.transit().find(|joint| joint.gateway == gateway);
        joint.map_or(RouteTo::Blackhole, |joint| joint.way())
    }

    /// The router's ends of its attachments.
    pub(super) fn transit_links(&self, router: &mut Namespace, tables: &KernelTables<'_>) {
        for joint in self.transit() {
            let id = joint.attachment.id.as_str();
            let kind = LinkKind::Veth {
                peer_place: NamespaceRef::Named(joint.gateway.as_str().to_owned()),
                peer: gateway_link(&joint.attachment.id),
            };
            router
                .links
                .insert(joint.link.clone(), link(kind, self.facts, id));
            router.address(&joint.link, host_net(VPC_END));
            router.address(&joint.link, host_net(joint.source()));
            let (Some(table), Some(back)) = (tables.get(id), tables.get(&back(id))) else {
                continue;
            };
            // Errors about packets from the gateway go back to it, whatever the tables say.
            router.rules.insert(PolicyRule {
                priority: RULE_PRIORITY - 1,
                when: RuleMatch::Own(table.number),
                action: RuleAction::Table(back.number),
            });
            router.route(back.number, Ipv4Net::default(), joint.way());
        }
    }
}

impl VpcJoint<'_> {
    /// What the router's own packets to the gateway come from: link-local addresses cross no gateway.
    fn source(&self) -> Ipv4Addr {
        nth(self.subnet.cidr, 1)
    }

    fn way(&self) -> RouteTo {
        RouteTo::Dev {
            dev: self.link.clone(),
            via: Some(GATEWAY_END),
            source: Some(self.source()),
        }
    }
}

/// The subnets of an attachment to this VPC; `None` when it is to something else.
pub(super) fn subnets_in<'a>(
    vpc: &'a lath_feed::Vpc,
    attachment: &TransitAttachment,
) -> Option<Vec<&'a Subnet>> {
    match &attachment.to {
        TransitPeer::Vpc { vpc: id, subnets } if *id == vpc.id => {
            let known = |id: &SubnetId| vpc.subnets.get(id);
            Some(subnets.iter().filter_map(known).collect())
        }
        _ => None,
    }
}
