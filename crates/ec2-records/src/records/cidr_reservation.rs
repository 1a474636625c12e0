use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use lath_model::id::SubnetId;
use lath_store::{Record, View};
use serde::{Deserialize, Serialize};

lath_model::ids! {
    /// A CIDR reservation of a subnet.
    pub SubnetCidrReservationId = "scr";
}

/// A CIDR reservation of a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetCidrReservation {
    /// Its id.
    pub id: SubnetCidrReservationId,
    /// The subnet it is in.
    pub subnet: SubnetId,
    /// Its block, inside that of the subnet. No two reservations of a VPC overlap.
    pub cidr: Ipv4Net,
    /// What its addresses are for.
    pub reservation_type: ReservationType,
    /// What its maker said of it.
    pub description: Option<String>,
    /// The account.
    pub owner: String,
}

/// What the addresses of a reservation are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReservationType {
    /// Prefixes of interfaces, which the service picks.
    Prefix,
    /// Addresses that callers name.
    Explicit,
}

impl Record for SubnetCidrReservation {
    const KIND: &'static str = "ec2.subnet-cidr-reservation";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("subnet", self.subnet.to_string())]
    }
}

impl ReservationType {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Explicit => "explicit",
        }
    }
}

impl SubnetCidrReservation {
    /// Those of a subnet.
    pub fn of_subnet<'a>(
        view: &'a View,
        subnet: &'a SubnetId,
    ) -> impl Iterator<Item = Arc<Self>> + 'a {
        view.by::<Self>("subnet", subnet.as_str())
    }
}

/// The blocks of a subnet from which no address is given to what does not ask for it by name.
pub fn reserved_addresses(view: &View, subnet: &SubnetId) -> ReservedAddresses {
    let blocks =
        SubnetCidrReservation::of_subnet(view, subnet).map(|it| (it.cidr, it.reservation_type));
    ReservedAddresses(blocks.collect())
}

/// See [`reserved_addresses`].
#[derive(Debug, Default)]
pub struct ReservedAddresses(Vec<(Ipv4Net, ReservationType)>);

impl ReservedAddresses {
    /// The blocks, none of which overlaps another.
    pub fn blocks(&self) -> impl Iterator<Item = Ipv4Net> + '_ {
        self.0.iter().map(|(cidr, _)| *cidr)
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        self.0.iter().any(|(cidr, _)| cidr.contains(&ip))
    }

    /// Whether a block has addresses in common with one of them.
    pub fn overlaps(&self, block: Ipv4Net) -> bool {
        let overlaps = |cidr: &Ipv4Net| cidr.contains(&block) || block.contains(cidr);
        self.0.iter().any(|(cidr, _)| overlaps(cidr))
    }

    /// Whether a block is in one of them that is for prefixes.
    pub fn for_prefixes(&self, block: Ipv4Net) -> bool {
        let mut all = self.0.iter();
        all.any(|(cidr, of)| *of == ReservationType::Prefix && cidr.contains(&block))
    }
}
