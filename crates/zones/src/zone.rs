//! A hosted zone compiled for answering: names and values in wire format.

use std::collections::HashMap;
use std::sync::Arc;

use lath_feed::{HostedZone, RecordAnswer, RecordSet, Routing};
use lath_model::id::{HealthCheckId, HostedZoneId};

use crate::name::suffixes;
use crate::regions::{Region, region};
use crate::{Kind, Name, Value};

/// A compiled zone.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) source: Arc<HostedZone>,
    pub(crate) name: Name,
    /// Every existing name, including empty non-terminals.
    nodes: HashMap<Name, Node>,
    /// Whether the zone has delegations: NS records at a name other than the apex.
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
    /// Compiles a zone. Skips invalid names and values: control refuses them, and a node must survive them.
    /// `None` when the zone's own name is invalid.
    pub(crate) fn new(source: &Arc<HostedZone>) -> Option<Self> {
        let name = Name::from_text(&source.name).ok()?;
        let mut zone = Self {
            source: Arc::clone(source),
            nodes: HashMap::from([(name.clone(), Node::default())]),
            name,
            has_cuts: false,
            negative_ttl: 0,
        };
        for (owner, groups) in &source.records {
            match Name::from_text(owner) {
                Ok(owner) if owner.is_within(&zone.name) => zone.add(&owner, groups),
                _ => {}
            }
        }
        zone.negative_ttl = zone.find_negative_ttl();
        Some(zone)
    }

    fn add(&mut self, owner: &Name, groups: &std::collections::BTreeMap<String, Vec<RecordSet>>) {
        for ancestor in
            suffixes(owner.as_wire()).take_while(|suffix| *suffix != self.name.as_wire())
        {
            if !self.nodes.contains_key(ancestor) {
                let name = Name::from_lower_wire(ancestor);
                self.nodes.insert(name, Node::default());
            }
        }
        let apex = *owner == self.name;
        let Some(node) = self.nodes.get_mut(owner.as_wire()) else {
            return;
        };
        for (kind, sets) in groups {
            if let Ok(kind) = kind.parse() {
                node.groups.push(Group::new(kind, sets));
                self.has_cuts |= kind == Kind::NS && !apex && self.source.vpcs.is_none();
            }
        }
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
        self.nodes.get(name)
    }

    /// The node that answers for a name: its own, or the wildcard of the closest existing ancestor (RFC 4592, 3.3.1).
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Node> {
        if let Some(node) = self.nodes.get(name) {
            return Some(node);
        }
        let encloser = suffixes(name)
            .skip(1)
            .find(|suffix| self.nodes.contains_key(*suffix))?;
        let wildcard = Name::wildcard_below(encloser)?;
        self.nodes.get(wildcard.as_wire())
    }
}

impl Node {
    /// Whether it is an empty non-terminal: it has names below it but no records.
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
