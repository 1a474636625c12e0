//! VPC endpoints: addresses of subnets that are the router's own, where the proxy listens. Their groups
//! guard them, and whoever has a route to the VPC may come, from other networks too.

use std::collections::BTreeSet;

use lath_feed::VpcEndpoint;

use super::router::RULE_PRIORITY;
use super::security::Way;
use super::tables::KernelTables;
use super::{VpcView, host_net};
use crate::nft::{Chain, Key, KeyType, Part, Rule, Set, Table, Value, ValueType, Verdict};
use crate::plan::{Namespace, Rule as PolicyRule, RuleAction, RuleMatch};

/// From an endpoint's address to its chain.
pub(super) const ENDPOINTS: &str = "endpoints";
const TCP: u8 = 6;

impl VpcView<'_> {
    /// The addresses, and the table of each one's subnet for its answers to other networks.
    pub(super) fn endpoint_addresses(&self, router: &mut Namespace, tables: &KernelTables<'_>) {
        for endpoint in self.vpc.endpoints.values() {
            for (subnet, (_, address)) in &endpoint.addresses {
                router.address("lo", host_net(*address));
                let subnet = self.vpc.subnets.get(subnet);
                let Some(table) = subnet.and_then(|s| tables.get(&self.subnet_key(s))) else {
                    continue;
                };
                router.rules.insert(PolicyRule {
                    priority: RULE_PRIORITY,
                    when: RuleMatch::From(host_net(*address)),
                    action: RuleAction::Table(table.number),
                });
            }
        }
    }

    /// Adds the endpoints' chains; whether there are any.
    pub(super) fn endpoint_guards(&self, table: &mut Table) -> bool {
        let mut guards = Set::map(KeyType::Address, ValueType::Jump);
        for endpoint in self.vpc.endpoints.values() {
            let name = self.endpoint_chain(table, endpoint);
            for (_, address) in endpoint.addresses.values() {
                let jump = Value::Jump(name.clone());
                guards.elements.insert(Key::Address(*address), jump);
            }
        }
        let some = !guards.elements.is_empty();
        if some {
            table.sets.insert(ENDPOINTS.into(), guards);
        }
        some
    }

    /// The ports of the services, for those whom the groups let in.
    fn endpoint_chain(&self, table: &mut Table, endpoint: &VpcEndpoint) -> String {
        let groups = self.guard(table, Way::In, &endpoint.security_groups);
        let tail = endpoint.id.as_str().rsplit('-').next().unwrap_or_default();
        let name = format!("ep_{tail}");
        let ports = self.endpoint_ports(endpoint).into_iter();
        let mut rules: Vec<Rule> = ports
            .map(|port| {
                let jump = Part::Verdict(Verdict::Jump(groups.clone()));
                Rule::new([Part::Protocol(TCP), Part::Ports(port, port), jump])
            })
            .collect();
        rules.push(Rule::new([Part::Verdict(Verdict::Drop)]));
        table.chains.insert(name.clone(), Chain::new(rules));
        name
    }

    fn endpoint_ports(&self, endpoint: &VpcEndpoint) -> BTreeSet<u16> {
        let network = self
            .snapshot
            .service_networks
            .get(&endpoint.service_network);
        let services = network.into_iter().flat_map(|network| &network.services);
        let known = services.filter_map(|id| self.snapshot.services.get(id));
        known
            .flat_map(|service| service.listeners.values().map(|listener| listener.port))
            .collect()
    }
}
