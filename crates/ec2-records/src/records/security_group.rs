use std::sync::Arc;

use ipnet::IpNet;
use lath_feed::Traffic;
use lath_model::id::{PrefixListId, SecurityGroupId, SecurityGroupRuleId, VpcId};
use lath_store::{Record, View};
use serde::{Deserialize, Serialize};

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its id.
    pub id: SecurityGroupId,
    /// The VPC it is in.
    pub vpc: VpcId,
    /// The account.
    pub owner: String,
    /// Its name, unique in the VPC. `default` is the VPC's own.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its rules, in the order they were made.
    pub rules: Vec<SecurityGroupRule>,
}

impl SecurityGroup {
    /// Whether it is the one that came with its VPC.
    pub fn is_default(&self) -> bool {
        self.name == "default"
    }

    /// The group of this name in a VPC.
    pub fn named(view: &View, vpc: &VpcId, name: &str) -> Option<Arc<Self>> {
        view.by::<Self>("name", &Self::name_key(vpc, name)).next()
    }

    fn name_key(vpc: &VpcId, name: &str) -> String {
        format!("{vpc}/{name}")
    }
}

/// One rule: one direction, protocol, port range and source (or destination).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    /// Its id.
    pub id: SecurityGroupRuleId,
    /// Inbound or outbound.
    pub direction: Direction,
    /// Protocol and ports.
    pub traffic: Traffic,
    /// The other side.
    pub source: RuleSource,
    /// What it is for.
    pub description: Option<String>,
}

/// Which way a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Towards the members.
    Ingress,
    /// From the members.
    Egress,
}

/// The other side of a rule: the source of an inbound one, the destination of an outbound one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleSource {
    /// A block.
    Cidr(IpNet),
    /// The members of a group.
    Group(SecurityGroupId),
    /// The blocks of a managed prefix list.
    PrefixList(PrefixListId),
}

impl Record for SecurityGroup {
    const KIND: &'static str = "ec2.security-group";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = vec![
            ("vpc", self.vpc.to_string()),
            ("name", Self::name_key(&self.vpc, &self.name)),
        ];
        for rule in &self.rules {
            keys.push(("rule", rule.id.to_string()));
            match &rule.source {
                RuleSource::Cidr(_) => {}
                RuleSource::Group(id) => keys.push(("names", id.to_string())),
                RuleSource::PrefixList(id) => keys.push(("names", id.to_string())),
            }
        }
        keys
    }
}
