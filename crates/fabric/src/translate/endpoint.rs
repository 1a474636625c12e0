//! VPC endpoints: addresses of subnets that are the router's own, where the proxy listens. Their groups
//! guard them; clients in other networks reach them by any route to the VPC.
//!
//! Services are at the endpoint's own addresses, and each resource at addresses of its own. The port of a resource must be
//! judged before it is translated (`resource`), so who may reach one is asked in `resource_in`, and not in `input`.

use std::collections::BTreeSet;

use std::net::Ipv4Addr;

use lath_feed::{EndpointResource, Resource, VpcEndpoint};
use lath_model::id::SubnetId;

use super::router::RULE_PRIORITY;
use super::security::Way;
use super::tables::KernelTables;
use super::{VpcView, host_net};
use crate::nft::{Chain, Key, KeyType, Part, Rule, Set, Table, Value, ValueType, Verdict};
use crate::plan::{Namespace, Rule as PolicyRule, RuleAction, RuleMatch};

/// From an endpoint's address to its chain.
pub(super) const ENDPOINTS: &str = "endpoints";
/// The addresses of resources at endpoints.
pub(super) const RESOURCE_POINTS: &str = "resource_points";
/// From such an address to its chain.
pub(super) const RESOURCE_GUARDS: &str = "resource_guards";
const TCP: u8 = 6;

impl VpcView<'_> {
    /// The addresses, and the table of each one's subnet for its answers to other networks.
    pub(super) fn endpoint_addresses(&self, router: &mut Namespace, tables: &KernelTables<'_>) {
        for endpoint in self.vpc.endpoints.values() {
            for (subnet, address) in addresses_of(endpoint) {
                router.address("lo", host_net(address));
                let subnet = self.vpc.subnets.get(subnet);
                let Some(table) = subnet.and_then(|s| tables.get(&self.subnet_key(s))) else {
                    continue;
                };
                router.rules.insert(PolicyRule {
                    priority: RULE_PRIORITY,
                    when: RuleMatch::From(host_net(address)),
                    action: RuleAction::Table(table.number),
                });
            }
        }
    }

    /// The resources of all endpoints.
    pub(super) fn endpoint_resources(
        &self,
    ) -> impl Iterator<Item = (&VpcEndpoint, &EndpointResource, &Resource)> {
        self.vpc.endpoints.values().flat_map(move |endpoint| {
            let known = endpoint.resources.iter();
            known.filter_map(move |(id, at)| {
                Some((endpoint, at, &**self.snapshot.resources.get(id)?))
            })
        })
    }

    /// Adds the chains of resources at endpoints: the resource's ports, for those whom the endpoint's groups let in. Whether
    /// there are any.
    pub(super) fn resource_guards(&self, table: &mut Table) -> bool {
        let mut points = Set::new(KeyType::Address);
        let mut guards = Set::map(KeyType::Address, ValueType::Jump);
        for (endpoint, at, resource) in self.endpoint_resources() {
            let name = format!(
                "er_{}_{}",
                tail(endpoint.id.as_str()),
                tail(resource.id.as_str())
            );
            for address in at.addresses.values() {
                points.insert(Key::Address(*address));
                let jump = Value::Jump(name.clone());
                guards.elements.insert(Key::Address(*address), jump);
            }
            let groups = self.guard(table, Way::In, &endpoint.security_groups);
            let chain = ports_for(&groups, resource.ports.iter().copied());
            table.chains.insert(name, chain);
        }
        let some = !guards.elements.is_empty();
        if some {
            let sets = [(RESOURCE_POINTS, points), (RESOURCE_GUARDS, guards)];
            let sets = sets.map(|(name, set)| (name.to_owned(), set));
            table.sets.extend(sets);
        }
        some
    }

    /// Adds the endpoints' chains; whether there are any.
    pub(super) fn endpoint_guards(&self, table: &mut Table) -> bool {
        let mut guards = Set::map(KeyType::Address, ValueType::Jump);
        let with_services = |it: &&VpcEndpoint| it.service_network.is_some();
        for endpoint in self.vpc.endpoints.values().filter(with_services) {
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
        let name = format!("ep_{}", tail(endpoint.id.as_str()));
        let ports = self.endpoint_ports(endpoint).into_iter();
        let chain = ports_for(&groups, ports.map(|port| (port, port)));
        table.chains.insert(name.clone(), chain);
        name
    }

    fn endpoint_ports(&self, endpoint: &VpcEndpoint) -> BTreeSet<u16> {
        let network = endpoint.service_network.as_ref();
        let network = network.and_then(|id| self.snapshot.service_networks.get(id));
        let services = network.into_iter().flat_map(|network| &network.services);
        let known = services.filter_map(|id| self.snapshot.services.get(id));
        known
            .flat_map(|service| service.listeners.values().map(|listener| listener.port))
            .collect()
    }
}

/// All addresses of an endpoint, its resources' included.
pub(super) fn addresses_of(endpoint: &VpcEndpoint) -> impl Iterator<Item = (&SubnetId, Ipv4Addr)> {
    let own = endpoint.addresses.iter();
    let own = own.map(|(subnet, (_, address))| (subnet, *address));
    let resources = endpoint.resources.values().flat_map(|it| &it.addresses);
    own.chain(resources.map(|(subnet, address)| (subnet, *address)))
}

/// These ports, for those whom the groups let in.
fn ports_for(groups: &str, ports: impl Iterator<Item = (u16, u16)>) -> Chain {
    let rules = ports.map(|(first, last)| {
        let jump = Part::Verdict(Verdict::Jump(groups.to_owned()));
        Rule::new([Part::Protocol(TCP), Part::Ports(first, last), jump])
    });
    let drop_rest = Rule::new([Part::Verdict(Verdict::Drop)]);
    Chain::new(rules.chain([drop_rest]).collect())
}

/// What tells ids of a kind apart.
fn tail(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or_default()
}
