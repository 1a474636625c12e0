//! A hosted zone compiled for answering: names and values in wire format.

use std::collections::HashMap;
use std::sync::Arc;

use lath_feed::{HostedZone, NamedRecords, RecordAnswer, RecordSet, Routing};
use lath_model::id::{HealthCheckId, HostedZoneId};

use crate::name::suffixes;
use crate::regions::{Region, region};
use crate::{Kind, Name, Value};

/// A compiled zone.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) source: Arc<HostedZone>,
    pub(crate) name: Name,
    /// Every name that exists, those with only names below them included.
    nodes: HashMap<Name, Arc<Node>>,
    /// Whether any name but the apex has NS records (delegations).
    pub(crate) has_cuts: bool,
    /// The TTL of negative answers, in seconds (RFC 2308, 5).
    pub(crate) negative_ttl: u32,
}

/// A name's record groups by type.
#[derive(Debug, Default)]
pub(crate) struct Node {
    groups: Vec<Group>,
}

/// The record sets of one name and type, which share one routing policy.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) kind: Kind,
    pub(crate) sets: Vec<Set>,
    /// Whether the choice does not depend on health.
    pub(crate) unconditional: bool,
}

/// One record set.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) label: Option<String>,
    pub(crate) routing: Routing,
    /// The location of a latency or geoproximity set (latitude, longitude).
    pub(crate) point: Option<(f64, f64)>,
    pub(crate) health_check: Option<HealthCheckId>,
    pub(crate) answer: SetAnswer,
}

/// The content of a set.
#[derive(Debug)]
pub(crate) enum SetAnswer {
    Values { ttl: u32, values: Vec<Arc<Value>> },
    Alias(Alias),
}

/// The target of an alias.
#[derive(Debug)]
pub(crate) struct Alias {
    /// The target's hosted zone; `None` if the alias names the zone of a service.
    pub(crate) zone: Option<HostedZoneId>,
    pub(crate) name: Name,
    pub(crate) evaluate: bool,
}

impl Zone {
    /// Compiles a zone. Names and values that are none are left out: control refuses them, and a node must
    /// not fall over one. `None` when the zone's own name is none.
    ///
    /// Of `before`, an earlier state of the zone, are the names that `kept` holds of.
    pub(crate) fn new<'a>(
        source: &Arc<HostedZone>,
        records: impl Iterator<Item = (&'a str, &'a Arc<NamedRecords>)>,
        before: Option<&Self>,
        kept: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let name = Name::from_text(&source.name).ok()?;
        let mut zone = Self {
            source: Arc::clone(source),
            nodes: HashMap::from([(name.clone(), Arc::default())]),
            name,
            has_cuts: false,
            negative_ttl: 0,
        };
        for (text, groups) in records {
            let owner = Name::from_text(text).ok();
            let Some(owner) = owner.filter(|owner| owner.is_within(&zone.name)) else {
                continue;
            };
            let known = before.filter(|_| kept(text));
            let known = known.and_then(|before| before.nodes.get(owner.as_wire()));
            let node = known.map_or_else(|| Arc::new(Node::new(groups)), Arc::clone);
            zone.add(owner, node);
        }
        zone.negative_ttl = zone.find_negative_ttl();
        Some(zone)
    }

    fn add(&mut self, owner: Name, node: Arc<Node>) {
        for ancestor in
            suffixes(owner.as_wire()).take_while(|suffix| *suffix != self.name.as_wire())
        {
            if !self.nodes.contains_key(ancestor) {
                let name = Name::from_lower_wire(ancestor);
                self.nodes.insert(name, Arc::default());
            }
        }
        let delegates = owner != self.name && node.group(Kind::NS).is_some();
        self.has_cuts |= delegates && self.source.vpcs.is_none();
        self.nodes.insert(owner, node);
    }

    fn find_negative_ttl(&self) -> u32 {
        let group = self
            .node(self.name.as_wire())
            .and_then(|n| n.group(Kind::SOA));
        let Some(SetAnswer::Values { ttl, values }) = group
            .and_then(|group| group.sets.first())
            .map(|set| &set.answer)
        else {
            return 0;
        };
        let minimum = values
            .first()
            .and_then(|value| value.wire.last_chunk::<4>())
            .map_or(0, |bytes| u32::from_be_bytes(*bytes));
        minimum.min(*ttl)
    }

    pub(crate) fn node(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.get(name).map(|node| &**node)
    }

    /// The node that answers for a name: its own, or the wildcard of the closest existing ancestor (RFC 4592, 3.3.1).
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Node> {
        if let Some(node) = self.node(name) {
            return Some(node);
        }
        let encloser = suffixes(name)
            .skip(1)
            .find(|suffix| self.nodes.contains_key(*suffix))?;
        let wildcard = Name::wildcard_below(encloser)?;
        self.node(wildcard.as_wire())
    }
}

impl Node {
    fn new(groups: &NamedRecords) -> Self {
        let groups = groups.iter().filter_map(|(kind, sets)| {
            let kind = kind.parse().ok()?;
            Some(Group::new(kind, sets))
        });
        Self {
            groups: groups.collect(),
        }
    }

    /// Whether it only has names below it (an empty non-terminal).
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.iter().all(|group| group.sets.is_empty())
    }

    pub(crate) fn group(&self, kind: Kind) -> Option<&Group> {
        self.groups.iter().find(|group| group.kind == kind)
    }
}

impl Group {
    fn new(kind: Kind, sets: &[RecordSet]) -> Self {
        let sets: Vec<Set> = sets.iter().filter_map(|set| Set::new(kind, set)).collect();
        let depends = |set: &Set| {
            set.health_check.is_some()
                || matches!(&set.answer, SetAnswer::Alias(alias) if alias.evaluate)
        };
        Self {
            kind,
            unconditional: !sets.iter().any(depends),
            sets,
        }
    }
}

impl Set {
    fn new(kind: Kind, source: &RecordSet) -> Option<Self> {
        let answer = match &source.answer {
            RecordAnswer::Values { ttl, values } => SetAnswer::Values {
                ttl: *ttl,
                values: values
                    .iter()
                    .filter_map(|text| Value::parse(kind, text).ok().map(Arc::new))
                    .collect(),
            },
            RecordAnswer::Alias {
                zone,
                name,
                evaluate_target_health,
            } => SetAnswer::Alias(Alias {
                zone: zone.parse().ok(),
                name: Name::from_text(name).ok()?,
                evaluate: *evaluate_target_health,
            }),
        };
        Some(Self {
            label: source.set_identifier.clone(),
            point: point(&source.routing),
            routing: source.routing.clone(),
            health_check: source.health_check.clone(),
            answer,
        })
    }
}

fn point(routing: &Routing) -> Option<(f64, f64)> {
    match routing {
        Routing::Latency(name) => region(name).as_ref().map(Region::point),
        Routing::Geoproximity {
            coordinates: Some((latitude, longitude)),
            ..
        } => Some((f64::from(*latitude) / 100.0, f64::from(*longitude) / 100.0)),
        Routing::Geoproximity {
            region: Some(name), ..
        } => region(name).as_ref().map(Region::point),
        _ => None,
    }
}
