//! A router's kernel tables: which there are and what they are called.
//!
//! A packet is looked up in one table, chosen by where it came from: the route table of its subnet, of the
//! subnet that a transit gateway's attachment is in, or of the subnet of the NAT gateway that it goes
//! through. The table's number is also the packet's mark.

use std::collections::{BTreeMap, BTreeSet};

use lath_feed::{RouteTable, RouteTarget, Subnet};
use lath_model::id::{RouteTableId, TransitGatewayId};

use super::VpcView;
use crate::name;

/// Kernel tables below this number have other uses.
const FIRST_TABLE: u32 = 0x1_0000;

/// A kernel table.
#[derive(Debug, Default)]
pub(super) struct KernelTable<'a> {
    /// Its number, and the mark of the packets that use it.
    pub(super) number: u32,
    /// Its routes; `None` where they are made by other means.
    pub(super) routes: Option<&'a RouteTable>,
    /// The transit gateways that take nothing from the zones of these subnets.
    pub(super) unserved: BTreeSet<&'a TransitGatewayId>,
    /// Whether it is a NAT gateway's.
    pub(super) of_nat: bool,
}

/// Kernel tables by what they are for.
pub(super) type KernelTables<'a> = BTreeMap<String, KernelTable<'a>>;

/// The table for what the router itself sends back through an attachment.
pub(super) fn back(attachment: &str) -> String {
    format!("{attachment},back")
}

impl<'a> VpcView<'a> {
    /// Every table of this router. Numbers come from ids, so that a new table does not renumber the others.
    pub(super) fn kernel_tables(&self) -> KernelTables<'a> {
        let mut tables = KernelTables::new();
        for subnet in self.vpc.subnets.values() {
            let unserved = self.unserved(subnet);
            let key = self.subnet_key(subnet);
            tables.insert(key, self.seen(&subnet.route_table, unserved));
        }
        for joint in self.transit() {
            let id = joint.attachment.id.as_str();
            let table = self.seen(&joint.subnet.route_table, BTreeSet::new());
            tables.insert(id.to_owned(), table);
            tables.insert(back(id), KernelTable::default());
        }
        for (peer, _) in self.peerings() {
            let id = peer.id.as_str();
            // The VPC alone is reached from there: the main table knows it.
            tables.insert(id.to_owned(), KernelTable::default());
            tables.insert(back(id), KernelTable::default());
        }
        for (nat, subnet) in self.nat_gateways() {
            let mut table = self.seen(&subnet.route_table, self.unserved(subnet));
            table.of_nat = true;
            tables.insert(nat.id.as_str().to_owned(), table);
        }
        number(&mut tables);
        tables
    }

    /// A subnet's table among [`Self::kernel_tables`]: subnets share one when all that they see is equal.
    pub(super) fn subnet_key(&self, subnet: &Subnet) -> String {
        let mut key = subnet.route_table.as_str().to_owned();
        for gateway in self.unserved(subnet) {
            key.push(',');
            key.push_str(gateway.as_str());
        }
        key
    }

    fn seen(&self, id: &RouteTableId, unserved: BTreeSet<&'a TransitGatewayId>) -> KernelTable<'a> {
        let routes = self.vpc.route_tables.get(id);
        KernelTable {
            routes,
            unserved,
            ..KernelTable::default()
        }
    }

    /// Those gateways of a subnet's routes that have no subnet in its availability zone: "resources in a
    /// zone without an attachment cannot reach the transit gateway"
    /// (<https://docs.aws.amazon.com/vpc/latest/tgw/tgw-vpc-attachments.html>).
    fn unserved(&self, subnet: &Subnet) -> BTreeSet<&'a TransitGatewayId> {
        let table = self.vpc.route_tables.get(&subnet.route_table);
        let routes = table.into_iter().flat_map(|table| &table.routes);
        let gateways = routes.filter_map(|route| match &route.target {
            RouteTarget::TransitGateway(id) => Some(id),
            _ => None,
        });
        let serves = |id: &&TransitGatewayId| {
            self.transit().any(|joint| {
                joint.gateway == *id && joint.zones.contains(&*subnet.availability_zone)
            })
        };
        gateways.filter(|id| !serves(id)).collect()
    }
}

fn number(tables: &mut KernelTables<'_>) {
    let mut taken = BTreeSet::new();
    for (key, table) in tables {
        let mut number = FIRST_TABLE + (name::digest(key) as u32 & 0x0fff_ffff);
        while !taken.insert(number) {
            number += 1;
        }
        table.number = number;
    }
}
