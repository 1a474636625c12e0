//! Lattice resources. Where they are reached: addresses that are the router's own, at which the proxy listens on the
//! first of a resource's ports; connections to its other ports are led there. Where they are reached from: a gateway's
//! addresses are the router's own too, and its groups judge what it connects.
//!
//! A port must be judged before it is translated, so who may reach resources is asked in `resources`, before the
//! destination's translation, and not in `input`.

use lath_feed::{RESOURCE_BLOCK, Resource, ResourceGateway};

use super::endpoint::{ENDPOINTS, RESOURCE_GUARDS, RESOURCE_POINTS};
use super::firewall::{LATTICE, RECEIVERS, SENDERS, TRANSIT};
use super::router::RULE_PRIORITY;
use super::security::Way;
use super::tables::KernelTables;
use super::{VpcView, host_net};
use crate::nft::{Chain, CtState, Key, KeyType, Part, Rule, Set, Table, Value, ValueType, Verdict};
use crate::plan::{Namespace, Rule as PolicyRule, RuleAction, RuleMatch};

/// From a resource's address to the chain that leads its ports to the first one.
pub(super) const RESOURCES: &str = "resources";
/// From a gateway's address to its chain.
pub(super) const GATEWAYS: &str = "gateways";
const TCP: u8 = 6;

/// What a gateway may reach besides the VPC's interfaces, where the VPC has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beyond {
    pub(super) transit: bool,
    pub(super) endpoints: bool,
}

impl VpcView<'_> {
    /// The addresses of resources and gateways, and the table of each gateway's subnet.
    pub(super) fn resource_addresses(&self, router: &mut Namespace, tables: &KernelTables<'_>) {
        for (association, _) in self.snapshot.resources_from(self.vpc) {
            router.address("lo", host_net(association.address));
        }
        for gateway in self.snapshot.gateways_in(&self.vpc.id) {
            for (subnet, interface) in &gateway.interfaces {
                let subnet = self.vpc.subnets.get(subnet);
                let table = subnet.and_then(|s| tables.get(&self.subnet_key(s)));
                for address in &interface.addresses {
                    router.address("lo", host_net(*address));
                    let Some(table) = table else { continue };
                    router.rules.insert(PolicyRule {
                        priority: RULE_PRIORITY,
                        when: RuleMatch::From(host_net(*address)),
                        action: RuleAction::Table(table.number),
                    });
                }
            }
        }
    }

    /// Adds what leads a resource's ports to its first one; whether any resource is reached from here.
    pub(super) fn resource_ports(&self, table: &mut Table) -> bool {
        let mut ports = Set::map(KeyType::Address, ValueType::Jump);
        let mut some = false;
        let associated = self.snapshot.resources_from(self.vpc);
        let associated = associated.map(|(it, resource)| (vec![it.address], resource));
        let at_endpoints = self.endpoint_resources();
        let at_endpoints = at_endpoints
            .map(|(_, at, resource)| (at.addresses.values().copied().collect(), resource));
        for (addresses, resource) in associated.chain(at_endpoints) {
            some = true;
            let Some(chain) = led(resource) else { continue };
            let tail = resource.id.as_str().rsplit('-').next();
            let name = format!("rs_{}", tail.unwrap_or_default());
            for address in addresses {
                let jump = Value::Jump(name.clone());
                ports.elements.insert(Key::Address(address), jump);
            }
            table.chains.insert(name, chain);
        }
        if some {
            table.sets.insert(RESOURCES.into(), ports);
        }
        some
    }

    /// Adds the gateways' chains; whether there are any.
    pub(super) fn gateway_guards(&self, table: &mut Table, ways: Beyond) -> bool {
        let mut guards = Set::map(KeyType::Address, ValueType::Jump);
        for gateway in self.snapshot.gateways_in(&self.vpc.id) {
            let name = self.gateway_chain(table, gateway, ways);
            for address in gateway.addresses() {
                let jump = Value::Jump(name.clone());
                guards.elements.insert(Key::Address(address), jump);
            }
        }
        let some = !guards.elements.is_empty();
        if some {
            table.sets.insert(GATEWAYS.into(), guards);
        }
        some
    }

    /// What the gateway's groups let out, to those whose own groups let it in, and to networks behind Transit Gateways. Of
    /// what the router itself has, VPC endpoints alone are interfaces of the VPC: its resolver, its metadata service and the
    /// addresses of services and resources are there for the VPC's own clients, and a gateway carries those of others.
    fn gateway_chain(&self, table: &mut Table, gateway: &ResourceGateway, ways: Beyond) -> String {
        let groups = self.guard(table, Way::Out, &gateway.security_groups);
        let tail = gateway.id.as_str().rsplit('-').next();
        let name = format!("rg_{}", tail.unwrap_or_default());
        let accept = || Part::Verdict(Verdict::Accept);
        let mut rules = vec![Rule::new([Part::Verdict(Verdict::Jump(groups))])];
        if ways.endpoints {
            let endpoint = Part::DestinationVerdict(ENDPOINTS.into());
            rules.push(Rule::new([Part::Oif("lo".into()), endpoint]));
        }
        rules.push(Rule::new([Part::OifVerdict(RECEIVERS.into())]));
        if ways.transit {
            rules.push(Rule::new([Part::OifIn(TRANSIT.into()), accept()]));
        }
        rules.push(Rule::new([Part::Verdict(Verdict::Drop)]));
        table.chains.insert(name.clone(), Chain::new(rules));
        name
    }

    /// The interfaces of resource gateways: members of their groups, though no workload has them.
    pub(super) fn gateway_interfaces(&self) -> impl Iterator<Item = &lath_feed::Interface> {
        let gateways = self.snapshot.gateways_in(&self.vpc.id);
        let interfaces = gateways.flat_map(|gateway| gateway.interfaces.values());
        interfaces.filter_map(|it| self.vpc.interfaces.get(&it.id))
    }
}

/// What leads a resource's ports to the first of them; nothing where it is the only one.
fn led(resource: &Resource) -> Option<Chain> {
    let (first, _) = *resource.ports.first()?;
    let more = resource
        .ports
        .iter()
        .filter(|ports| **ports != (first, first));
    let rules: Vec<Rule> = more
        .map(|(from, to)| {
            Rule::new([
                Part::Protocol(TCP),
                Part::Ports(*from, *to),
                Part::DestinationPort(first),
            ])
        })
        .collect();
    (!rules.is_empty()).then(|| Chain::new(rules))
}

/// Who may reach resources: whom the sender's groups let out, and the association's or the endpoint's groups in. Other
/// networks, which have no groups here, reach those at endpoints.
pub(super) fn entry(at_endpoints: bool) -> Vec<Rule> {
    let resources = || Part::Destination(RESOURCE_BLOCK);
    let mut rules = vec![
        Rule::new([
            Part::Ct(CtState::EstablishedRelated),
            Part::Verdict(Verdict::Accept),
        ]),
        Rule::new([resources(), Part::IifVerdict(SENDERS.into())]),
        Rule::new([resources(), Part::Verdict(Verdict::Jump(LATTICE.into()))]),
    ];
    if at_endpoints {
        let points = Part::DestinationIn(RESOURCE_POINTS.into());
        let guards = Part::DestinationVerdict(RESOURCE_GUARDS.into());
        rules.push(Rule::new([points, Part::IifVerdict(SENDERS.into())]));
        rules.push(Rule::new([guards]));
    }
    rules
}
