//! Public names that are not in a zone: those of Lattice services and VPC endpoints.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_feed::{Service, Snapshot};
use lath_model::id::TargetGroupId;
use lath_model::lattice::Action;

use crate::{Name, Value};

/// The target of such a name.
#[derive(Debug)]
pub(crate) struct External {
    pub(crate) addresses: Vec<Arc<Value>>,
    /// The service is healthy while each of these groups has a healthy target or no targets at all.
    pub(crate) target_groups: Vec<TargetGroupId>,
}

/// All such names in a snapshot.
pub(crate) fn externals(snapshot: &Snapshot) -> HashMap<Name, External> {
    let mut all = HashMap::new();
    let mut add = |name: &str, addresses: Vec<Ipv4Addr>, target_groups: Vec<TargetGroupId>| {
        if let Ok(name) = Name::from_text(name) {
            let addresses = addresses
                .into_iter()
                .map(|address| Arc::new(Value::address(address)))
                .collect();
            let external = External {
                addresses,
                target_groups,
            };
            all.insert(name, external);
        }
    };
    for (name, addresses) in &snapshot.names {
        add(name, addresses.iter().copied().collect(), Vec::new());
    }
    for endpoint in snapshot
        .vpcs
        .values()
        .flat_map(|vpc| vpc.endpoints.values())
    {
        for (service, name) in &endpoint.names {
            let addresses = endpoint.addresses.values().map(|(_, address)| *address);
            let service = snapshot.services.get(service);
            let groups = service.map_or_else(Vec::new, |service| groups_of(service));
            add(name, addresses.collect(), groups);
        }
    }
    for service in snapshot.services.values() {
        add(
            &service.domain_name,
            vec![service.address],
            groups_of(service),
        );
    }
    all
}

fn groups_of(service: &Service) -> Vec<TargetGroupId> {
    let mut groups: Vec<TargetGroupId> = service
        .listeners
        .values()
        .flat_map(|listener| {
            let rules = listener.all_rules().map(|rule| &rule.action);
            rules.chain([&listener.default_action])
        })
        .flat_map(|action| match action {
            Action::Forward(groups) => groups.as_slice(),
            Action::FixedResponse(_) => &[],
        })
        .map(|share| share.target_group.clone())
        .collect();
    groups.sort();
    groups.dedup();
    groups
}
