//! Transit gateways, NAT gateways and endpoints in a few words.

use std::sync::Arc;

use lath_feed::*;
use lath_model::id::*;

use super::{Draft, id};

impl Draft {
    fn edit_gateway(
        &mut self,
        gateway: u32,
        change: impl FnOnce(&mut TransitGateway),
    ) -> &mut Self {
        let key: TransitGatewayId = id("tgw", gateway);
        let made = || {
            Arc::new(TransitGateway {
                id: key.clone(),
                attachments: [].into(),
                route_tables: [].into(),
            })
        };
        let gateways = &mut self.snapshot.transit_gateways;
        change(Arc::make_mut(
            gateways.entry(key.clone()).or_insert_with(made),
        ));
        self
    }

    pub(crate) fn attach_to(
        &mut self,
        gateway: u32,
        attachment: u32,
        to: TransitPeer,
        table: Option<u32>,
    ) -> &mut Self {
        let made = TransitAttachment {
            id: id("tgw-attach", attachment),
            to,
            route_table: table.map(|number| id("tgw-rtb", number)),
        };
        self.edit_gateway(gateway, |gateway| {
            gateway.attachments.insert(made.id.clone(), made);
        });
        match table {
            Some(table) => self.transit_table(gateway, table),
            None => self,
        }
    }

    pub(crate) fn transit_table(&mut self, gateway: u32, table: u32) -> &mut Self {
        let empty = TransitRouteTable {
            id: id("tgw-rtb", table),
            routes: [].into(),
        };
        self.edit_gateway(gateway, |gateway| {
            let tables = &mut gateway.route_tables;
            tables.entry(empty.id.clone()).or_insert(empty);
        })
    }

    /// An attachment of the VPC, of the same number, with the subnet of the same number.
    pub(crate) fn attach(&mut self, gateway: u32, vpc: u32, table: Option<u32>) -> &mut Self {
        let to = TransitPeer::Vpc {
            vpc: id("vpc", vpc),
            subnets: [id("subnet", vpc)].into(),
        };
        self.attach_to(gateway, vpc, to, table)
    }

    /// A peering of two gateways here: attachments 100 + the number of each.
    pub(crate) fn peer(&mut self, one: (u32, u32), other: (u32, u32)) -> &mut Self {
        for ((near, table), (far, _)) in [(one, other), (other, one)] {
            let to = TransitPeer::Local {
                gateway: id("tgw", far),
                attachment: id("tgw-attach", 100 + far),
            };
            self.attach_to(near, 100 + near, to, Some(table));
        }
        self
    }

    /// `None` is a black hole.
    pub(crate) fn transit_route(
        &mut self,
        gateway: u32,
        table: u32,
        to: &str,
        attachment: Option<u32>,
    ) -> &mut Self {
        let target = attachment.map_or(TransitTarget::Blackhole, |number| {
            TransitTarget::Attachment(id("tgw-attach", number))
        });
        let to = to.parse().unwrap();
        self.transit_table(gateway, table);
        self.edit_gateway(gateway, |gateway| {
            let table: TransitGatewayRouteTableId = id("tgw-rtb", table);
            let table = gateway.route_tables.get_mut(&table).unwrap();
            table.routes.insert(to, target);
        })
    }

    pub(crate) fn detach(&mut self, gateway: u32, attachment: u32) -> &mut Self {
        let attachment: TransitGatewayAttachmentId = id("tgw-attach", attachment);
        self.edit_gateway(gateway, |gateway| {
            gateway.attachments.remove(&attachment);
        })
    }

    /// A NAT gateway of the subnet's VPC.
    pub(crate) fn nat(
        &mut self,
        vpc: u32,
        (subnet, number): (u32, u32),
        private: &str,
        public: Option<&str>,
    ) -> &mut Self {
        let nat = NatGateway {
            id: id("nat", number),
            subnet: id("subnet", subnet),
            interface: id("eni", number),
            private: private.parse().unwrap(),
            public: public.map(|address| address.parse().unwrap()),
        };
        self.edit(vpc, |v| drop(v.nat_gateways.insert(nat.id.clone(), nat)))
    }
}

/// To a transit gateway.
pub(crate) fn to_transit(gateway: u32) -> RouteTarget {
    RouteTarget::TransitGateway(id("tgw", gateway))
}
