//! Service addresses that the snapshot no longer has, kept while requests to them may be in flight.
//!
//! The proxy finishes what is in flight when a service leaves a VPC; without the address the connection
//! would be cut off at once, in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lath_fabric::HostPlan;
use lath_fabric::plan::{Address, Namespace};
use lath_model::id::VpcId;

/// The device that has service addresses.
const LOOPBACK: &str = "lo";

/// What was there, and until when what is gone stays.
#[derive(Debug)]
pub(crate) struct Leaving {
    grace: Duration,
    wanted: BTreeMap<VpcId, BTreeSet<Address>>,
    until: BTreeMap<VpcId, BTreeMap<Address, Instant>>,
}

impl Leaving {
    /// Addresses stay for `grace` after they are no longer wanted.
    pub(crate) fn new(grace: Duration) -> Self {
        let (wanted, until) = (BTreeMap::new(), BTreeMap::new());
        Self {
            grace,
            wanted,
            until,
        }
    }

    /// Adds to a new plan what has to stay; the answer is when the next of it may go. What a VPC that is gone
    /// had is gone with it.
    pub(crate) fn keep(&mut self, plan: &mut HostPlan, now: Instant) -> Option<Instant> {
        let wanted = service_addresses(plan);
        self.until.retain(|vpc, _| wanted.contains_key(vpc));
        for (vpc, addresses) in &wanted {
            let before = self.wanted.get(vpc).into_iter().flatten();
            let until = self.until.entry(vpc.clone()).or_default();
            for gone in before.filter(|it| !addresses.contains(it)) {
                until.insert(gone.clone(), now + self.grace);
            }
            until.retain(|address, end| *end > now && !addresses.contains(address));
            if let Some(vpc) = plan.vpcs.get_mut(vpc) {
                // An interface's address may be another's by now, which must be reached.
                until.retain(|address, _| !is_led(&vpc.router, address));
                vpc.router.addresses.extend(until.keys().cloned());
            }
        }
        self.wanted = wanted;
        self.until
            .values()
            .flat_map(BTreeMap::values)
            .min()
            .copied()
    }
}

/// Whether packets to an address are bound for a link.
fn is_led(router: &Namespace, address: &Address) -> bool {
    router.routes.keys().any(|route| route.to == address.net)
}

fn service_addresses(plan: &HostPlan) -> BTreeMap<VpcId, BTreeSet<Address>> {
    let of = |addresses: &BTreeSet<Address>| {
        let on_loopback = addresses.iter().filter(|it| it.dev == LOOPBACK);
        on_loopback.cloned().collect()
    };
    plan.vpcs
        .iter()
        .map(|(id, vpc)| (id.clone(), of(&vpc.router.addresses)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use lath_fabric::plan::VpcPlan;

    fn plan(vpc: &VpcId, addresses: &[&str]) -> HostPlan {
        let mut plan = VpcPlan::default();
        for address in addresses {
            plan.router.address(LOOPBACK, address.parse().unwrap());
        }
        let vpcs = BTreeMap::from([(vpc.clone(), plan)]);
        HostPlan {
            vpcs,
            ..HostPlan::default()
        }
    }

    #[test]
    fn an_address_stays_for_a_while_and_goes_for_good() {
        let vpc: VpcId = "vpc-0123456789abcdef0".parse().unwrap();
        let grace = Duration::from_secs(60);
        let start = Instant::now();
        let (one, both) = (
            ["169.254.171.1/32"],
            ["169.254.171.1/32", "169.254.171.2/32"],
        );
        let mut leaving = Leaving::new(grace);
        for (name, seconds, given, want, next) in [
            ("both are there", 0, &both[..], &both[..], None),
            ("one has left", 10, &one, &both, Some(70)),
            ("it is still leaving", 40, &one, &both, Some(70)),
            ("it has come back", 50, &both, &both, None),
            ("it has left again", 55, &one, &both, Some(115)),
            ("it is gone", 115, &one, &one, None),
            ("it stays gone", 200, &one, &one, None),
        ] {
            let mut planned = plan(&vpc, given);
            let next_end = leaving.keep(&mut planned, start + Duration::from_secs(seconds));
            assert_eq!(planned, plan(&vpc, want), "{name}");
            let next = next.map(|seconds| start + Duration::from_secs(seconds));
            assert_eq!(next_end, next, "{name}");
        }
    }

    #[test]
    fn a_vpc_takes_its_addresses_with_it() {
        let vpc: VpcId = "vpc-0123456789abcdef0".parse().unwrap();
        let mut leaving = Leaving::new(Duration::from_secs(60));
        let now = Instant::now();
        leaving.keep(&mut plan(&vpc, &["169.254.171.1/32"]), now);
        leaving.keep(&mut plan(&vpc, &[]), now);
        let mut none = HostPlan::default();
        assert_eq!(leaving.keep(&mut none, now), None);
        assert_eq!(none, HostPlan::default());
        let mut again = plan(&vpc, &[]);
        assert_eq!(leaving.keep(&mut again, now), None);
        assert_eq!(again, plan(&vpc, &[]));
    }
}
