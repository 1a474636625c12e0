//! What changed between two observations, so that a node with thousands of things that work says little when one of them
//! changes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use lath_model::ManagedId;
use lath_model::id::*;
use serde::{Deserialize, Serialize};

use crate::*;

/// The most bytes of changes that follow a whole observation before the next one: what a node has control keep is limited,
/// and what went wrong is mended.
pub(crate) const MOST_CHANGED: usize = 64 << 20;

/// What is observed of one thing.
pub(crate) trait Item: Clone + PartialEq {
    /// The version as of which it works.
    fn version(&self) -> Option<u64> {
        None
    }

    /// Works as of a later version too.
    fn raise(&mut self, _version: u64) {}
}

impl Item for Condition {
    fn version(&self) -> Option<u64> {
        match self {
            Self::Ready { version } => Some(*version),
            Self::Failed { .. } => None,
        }
    }

    fn raise(&mut self, to: u64) {
        if let Self::Ready { version } = self {
            *version = to;
        }
    }
}

impl Item for InstanceObserved {}
impl Item for CheckObserved {}
impl Item for RegionObserved {}
impl Item for ClusterObserved {}
impl Item for FunctionObserved {}
impl Item for BTreeMap<TargetKey, TargetObserved> {}

/// What changed of one map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changes<K: Ord, V> {
    put: BTreeMap<K, V>,
    gone: BTreeSet<K>,
    /// What worked before and is not among `put` works as of this version: each snapshot that a node obeys is a new version
    /// for all that it has.
    raised: Option<u64>,
}

impl<K: Ord, V> Default for Changes<K, V> {
    /// Nothing changed: what another version's end says of a map that it does not know.
    fn default() -> Self {
        Self {
            put: BTreeMap::new(),
            gone: BTreeSet::new(),
            raised: None,
        }
    }
}

impl<K: Ord + Clone, V: Item> Changes<K, V> {
    fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let mut changes = Self {
            raised: raised(old, new),
            ..Self::default()
        };
        for (key, before, now) in pairs(old, new) {
            match now {
                None => drop(changes.gone.insert(key.clone())),
                Some(now) if changes.follows(before, now) => {}
                Some(now) => drop(changes.put.insert(key.clone(), now.clone())),
            }
        }
        changes
    }

    /// Whether it is known at the other end without being said.
    fn follows(&self, before: Option<&V>, now: &V) -> bool {
        match (before.and_then(V::version), now.version(), self.raised) {
            (Some(_), Some(version), Some(raised)) => version == raised,
            _ => before == Some(now),
        }
    }

    fn apply(self, items: &mut BTreeMap<K, V>) {
        if let Some(version) = self.raised {
            items.values_mut().for_each(|item| item.raise(version));
        }
        for key in &self.gone {
            items.remove(key);
        }
        items.extend(self.put);
    }
}

/// The version to which more things rise than stay behind.
fn raised<K: Ord, V: Item>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Option<u64> {
    let newest = new.values().filter_map(V::version).max()?;
    let (mut rise, mut stay) = (0, 0);
    for (_, before, now) in pairs(old, new) {
        let before = before.and_then(V::version);
        match (before, now.and_then(V::version)) {
            (Some(before), Some(now)) if now == newest => rise += usize::from(before != newest),
            (Some(_), Some(_)) => stay += 1,
            _ => {}
        }
    }
    (rise > stay).then_some(newest)
}

/// The items of two maps, key by key.
fn pairs<'a, K: Ord, V>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let before = if order.is_le() { old.next() } else { None };
        let now = if order.is_ge() { new.next() } else { None };
        let (key, _) = before.or(now)?;
        Some((key, before.map(|(_, it)| it), now.map(|(_, it)| it)))
    })
}

/// A list of the members of [`Observed`]. A new one does not compile until it stands here.
macro_rules! report {
    ($($map:ident: $key:ty => $item:ty),* $(,)?) => {
        /// The way from one observation to the next.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Report {
            applied_version: u64,
            dns_version: u64,
            $(#[serde(default)] $map: Changes<$key, $item>,)*
        }

        impl Report {
            pub(crate) fn between(old: &Observed, new: &Observed) -> Self {
                let Observed { applied_version, dns_version, $($map,)* } = new;
                Self {
                    applied_version: *applied_version,
                    dns_version: *dns_version,
                    $($map: Changes::between(&old.$map, $map),)*
                }
            }

            pub(crate) fn apply(self, observed: &mut Observed) {
                observed.applied_version = self.applied_version;
                observed.dns_version = self.dns_version;
                $(self.$map.apply(&mut observed.$map);)*
            }
        }
    };
}

report! {
    vpcs: VpcId => Condition,
    instances: InstanceId => InstanceObserved,
    vpc_associations: ServiceNetworkVpcAssociationId => Condition,
    services: ServiceId => Condition,
    transit_gateways: TransitGatewayId => Condition,
    transit_attachments: TransitGatewayAttachmentId => Condition,
    nat_gateways: NatGatewayId => Condition,
    vpc_endpoints: VpcEndpointId => Condition,
    resource_gateways: ResourceGatewayId => Condition,
    resource_associations: ServiceNetworkResourceAssociationId => Condition,
    health_checks: HealthCheckId => CheckObserved,
    regions: String => RegionObserved,
    clusters: ManagedId => ClusterObserved,
    functions: String => FunctionObserved,
    targets: TargetGroupId => BTreeMap<TargetKey, TargetObserved>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::frame;

    fn id(number: u32) -> VpcId {
        format!("vpc-{number:017x}").parse().unwrap()
    }

    fn ready(version: u64) -> Condition {
        Condition::Ready { version }
    }

    fn observed(version: u64, vpcs: impl IntoIterator<Item = (u32, Condition)>) -> Observed {
        let vpcs = vpcs.into_iter().map(|(number, it)| (id(number), it));
        Observed {
            applied_version: version,
            dns_version: version,
            vpcs: vpcs.collect(),
            ..Observed::default()
        }
    }

    #[test]
    fn a_report_says_what_changed_and_leads_to_what_is_so() {
        let failed = || Condition::Failed {
            reason: "no link".into(),
        };
        let all = |version| (0..1000).map(move |number| (number, ready(version)));
        let many = observed(1, all(1));
        let states = [
            Observed::default(),
            many.clone(),
            // All rise, one is new, one fails, one goes.
            observed(
                2,
                all(2)
                    .chain([(1000, ready(2)), (7, failed())])
                    .filter(|(it, _)| *it != 9),
            ),
            // All but two rise.
            observed(
                3,
                all(3).chain([(7, failed()), (8, ready(2)), (1, ready(2))]),
            ),
            // One rises.
            observed(4, all(3).chain([(5, ready(4))])),
            observed(4, []),
        ];
        for (number, pair) in states.windows(2).enumerate() {
            let report = Report::between(&pair[0], &pair[1]);
            let bytes = frame::encode(&report).unwrap();
            assert!(
                number == 0 || bytes.len() < 30_000,
                "{number}: {}",
                bytes.len()
            );
            let read: Report = frame::decode(&bytes[4..]).unwrap();
            assert_eq!(read, report);
            let mut known = pair[0].clone();
            read.apply(&mut known);
            assert_eq!(known, pair[1], "{number}");
        }
        let one = Report::between(&many, &observed(2, all(2).chain([(1000, ready(2))])));
        let size = frame::encode(&one).unwrap().len();
        assert!(size < 1000, "one of a thousand is new: {size} bytes");
    }
}
