use ipnet::IpNet;
use lath_feed::Traffic;
use lath_model::id::{NetworkAclId, VpcId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::{Direction, Vpc};

/// A network ACL. What no entry matches is denied, which answers show as an entry of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// Its id.
    pub id: NetworkAclId,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// The account.
    pub owner: String,
    /// Its entries, by direction and ascending number.
    pub entries: Vec<AclEntry>,
}

/// An entry of a network ACL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// Which packets it is about: those that enter a subnet, or those that leave it.
    pub direction: Direction,
    /// 1 to 32766: lower ones are asked first. No two of a direction have the same.
    pub number: i32,
    /// Whether packets that it matches pass.
    pub allow: bool,
    /// What it covers.
    pub traffic: Traffic,
    /// Where packets that enter come from, and packets that leave are bound.
    pub cidr: IpNet,
}

impl NetworkAcl {
    /// An ACL that denies everything.
    pub fn new(vpc: &Vpc) -> Self {
        Self {
            id: NetworkAclId::random(),
            vpc: vpc.id.clone(),
            owner: vpc.owner.clone(),
            entries: Vec::new(),
        }
    }

    /// The ACL that comes with a VPC, which allows everything
    /// (<https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html>).
    pub fn default_of(vpc: &Vpc) -> Self {
        let entry = |direction| AclEntry {
            direction,
            number: 100,
            allow: true,
            traffic: Traffic::All,
            cidr: IpNet::V4(ipnet::Ipv4Net::default()),
        };
        Self {
            id: vpc.network_acl.clone(),
            entries: vec![entry(Direction::Ingress), entry(Direction::Egress)],
            ..Self::new(vpc)
        }
    }

    /// The entries of a direction, in the order in which they are asked.
    pub fn of(&self, direction: Direction) -> impl Iterator<Item = &AclEntry> {
        let all = self.entries.iter();
        all.filter(move |it| it.direction == direction)
    }

    /// Puts an entry in the place of that of its direction and number, if there is one.
    pub fn put(&mut self, entry: AclEntry) {
        self.remove(entry.direction, entry.number);
        let order = |it: &AclEntry| (it.direction == Direction::Egress, it.number);
        let place = self.entries.partition_point(|it| order(it) < order(&entry));
        self.entries.insert(place, entry);
    }

    /// Removes an entry; whether there was one.
    pub fn remove(&mut self, direction: Direction, number: i32) -> bool {
        let before = self.entries.len();
        self.entries
            .retain(|it| (it.direction, it.number) != (direction, number));
        self.entries.len() < before
    }
}

impl Record for NetworkAcl {
    const KIND: &'static str = "ec2.network-acl";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("vpc", self.vpc.to_string())]
    }
}
