//! Answers a question: names, wildcards, delegations, CNAMEs, aliases, health.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::choose::{Random, SetMask};
use crate::name::suffixes;
use crate::zone::{Alias, Group, Node, Set, SetAnswer, Zone};
use crate::zones::Zones;
use crate::{Client, HealthView, Kind, Name, Scope, Value};

/// The longest chain of CNAMEs in one zone, and of aliases.
const MAX_DEPTH: usize = 16;

/// The record sets that one question may examine, which bounds trees of aliases.
const MAX_SETS: u32 = 4096;

/// The records of one answer at most.
const MAX_RECORDS: usize = 1000;

/// The TTL of aliases to services, in seconds.
const SERVICE_TTL: u32 = 60;

/// A DNS question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type. [`Kind::ANY`] is answered as RFC 8482 describes.
    pub kind: Kind,
}

/// The response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    /// The name exists.
    NoError,
    /// The name does not exist.
    NxDomain,
    /// CNAMEs or aliases form a loop.
    ServFail,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The owner name.
    pub name: Name,
    /// The type.
    pub kind: Kind,
    /// The time to live, in seconds.
    pub ttl: u32,
    /// The value.
    pub value: Arc<Value>,
}

/// A zone's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The code.
    pub rcode: Rcode,
    /// AA: false for a referral to a delegated zone.
    pub authoritative: bool,
    /// CNAMEs first, in the order in which they are followed.
    pub records: Vec<Record>,
    /// The zone's NS; its SOA if the name or type does not exist; or a delegation's NS.
    pub authority: Vec<Record>,
    /// Addresses, from the same zone, of names in the other sections.
    pub additional: Vec<Record>,
    /// The target of a CNAME that leads out of the zone; the caller resolves it elsewhere.
    pub next: Option<Name>,
    /// The number of bits of the client's prefix that the answer depends on (RFC 7871, SCOPE PREFIX-LENGTH).
    pub scope_prefix: u8,
    /// The steps that led to the answer; empty unless an explanation was requested.
    pub explanation: Vec<String>,
}

impl Zones {
    /// Answers a question from the zones of `scope`; `None` when no zone contains the name.
    pub fn answer(
        &self,
        question: &Question,
        scope: Scope<'_>,
        health: &dyn HealthView,
        client: &Client,
        random: &mut Random,
    ) -> Option<Answer> {
        Lookup::new(self, scope, health, client, random, false).answer(question)
    }

    /// Like [`Zones::answer`], with an explanation.
    pub fn explain(
        &self,
        question: &Question,
        scope: Scope<'_>,
        health: &dyn HealthView,
        client: &Client,
        random: &mut Random,
    ) -> Option<Answer> {
        Lookup::new(self, scope, health, client, random, true).answer(question)
    }
}

/// The lookup of one question.
struct Lookup<'a> {
    zones: &'a Zones,
    scope: Scope<'a>,
    health: &'a dyn HealthView,
    client: &'a Client,
    random: &'a mut Random,
    effort: Cell<u32>,
    steps: Option<RefCell<Vec<String>>>,
    scope_prefix: u8,
    /// The chain of aliases exceeded [`MAX_DEPTH`].
    too_deep: bool,
}

impl<'a> Lookup<'a> {
    fn new(
        zones: &'a Zones,
        scope: Scope<'a>,
        health: &'a dyn HealthView,
        client: &'a Client,
        random: &'a mut Random,
        explain: bool,
    ) -> Self {
        Self {
            zones,
            scope,
            health,
            client,
            random,
            effort: Cell::new(MAX_SETS),
            steps: explain.then(RefCell::default),
            scope_prefix: 0,
            too_deep: false,
        }
    }

    fn note(&self, step: impl FnOnce() -> String) {
        if let Some(steps) = &self.steps {
            steps.borrow_mut().push(step());
        }
    }

    fn answer(mut self, question: &Question) -> Option<Answer> {
        let zones = self.zones;
        let zone = zones.zone_of(question.name.as_wire(), self.scope)?;
        self.note(|| format!("zone {} ({})", zone.name, zone.source.id));
        let mut answer = Answer {
            rcode: Rcode::NoError,
            authoritative: true,
            records: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            next: None,
            scope_prefix: 0,
            explanation: Vec::new(),
        };
        self.follow_cnames(zone, question, &mut answer);
        if self.too_deep {
            answer.rcode = Rcode::ServFail;
            answer.records.clear();
        }
        answer.scope_prefix = self.scope_prefix;
        answer.explanation = self.steps.map(RefCell::into_inner).unwrap_or_default();
        Some(answer)
    }

    /// Follows CNAMEs within the zone to the final answer.
    fn follow_cnames(&mut self, zone: &'a Zone, question: &Question, answer: &mut Answer) {
        let mut name = question.name.clone();
        for _ in 0..MAX_DEPTH {
            if let Some(cut) = cut_above(zone, &name, question.kind) {
                return self.refer(zone, cut, answer);
            }
            let Some(node) = zone.find(name.as_wire()) else {
                self.note(|| format!("{name}: there is no such name"));
                answer.rcode = Rcode::NxDomain;
                return negative(zone, answer);
            };
            let Some(target) = self.at(zone, node, &name, question.kind, answer) else {
                return self.finish(zone, question.kind, answer);
            };
            let home = self.zones.zone_of(target.as_wire(), self.scope);
            if !home.is_some_and(|home| std::ptr::eq(home, zone)) {
                self.note(|| format!("{target} is not in the zone"));
                answer.next = Some(target);
                return self.finish(zone, question.kind, answer);
            }
            name = target;
        }
        self.too_deep = true;
    }

    /// Adds a node's records. Returns the name at which the lookup continues, if it does.
    fn at(
        &mut self,
        zone: &'a Zone,
        node: &'a Node,
        name: &Name,
        kind: Kind,
        answer: &mut Answer,
    ) -> Option<Name> {
        // An empty non-terminal has no records, so that no minimal answer is needed (RFC 8482).
        if kind == Kind::ANY && node.is_empty() {
            return None;
        }
        if kind == Kind::ANY {
            answer.records.push(Record {
                name: name.clone(),
                kind: Kind::HINFO,
                ttl: 3600,
                value: Arc::new(Value::hinfo_of_any()),
            });
            return None;
        }
        if let Some(group) = node.group(kind) {
            self.gather(zone, group, name, 0, &mut answer.records);
            return None;
        }
        let before = answer.records.len();
        let group = node.group(Kind::CNAME)?;
        self.gather(zone, group, name, 0, &mut answer.records);
        answer.records.get(before)?.value.target.clone()
    }

    fn finish(&self, zone: &'a Zone, kind: Kind, answer: &mut Answer) {
        let complete = answer
            .records
            .iter()
            .any(|record| record.kind == kind || kind == Kind::ANY);
        if !complete && answer.next.is_none() {
            self.note(|| format!("no record of type {kind}"));
            return negative(zone, answer);
        }
        if zone.source.vpcs.is_some() {
            return; // the name servers of a private zone do not exist
        }
        let apex = zone.node(zone.name.as_wire());
        if let Some(group) = apex.and_then(|node| node.group(Kind::NS))
            && !(kind == Kind::NS && answer.records.iter().any(|r| r.name == zone.name))
        {
            push_values(group, &zone.name, &mut answer.authority);
        }
        let known = answer.records.iter().chain(&answer.authority);
        answer.additional = glue(zone, known);
    }

    fn refer(&self, zone: &'a Zone, cut: (Name, &'a Group), answer: &mut Answer) {
        self.note(|| format!("{} is delegated", cut.0));
        answer.authoritative = !answer.records.is_empty();
        push_values(cut.1, &cut.0, &mut answer.authority);
        answer.additional = glue(zone, answer.authority.iter());
    }

    /// Adds a group's records under the name `owner`.
    fn gather(
        &mut self,
        zone: &'a Zone,
        group: &'a Group,
        owner: &Name,
        depth: usize,
        records: &mut Vec<Record>,
    ) {
        if depth > MAX_DEPTH || !self.spend(group) {
            self.too_deep = true;
            return;
        }
        let chosen = self.choose(zone, group, depth);
        let before = records.len();
        for (at, set) in group.sets.iter().enumerate() {
            if chosen.contains(at) {
                self.gather_set(zone, group.kind, set, owner, depth, records);
            }
        }
        if let Some(new) = records.get_mut(before..) {
            self.random.shuffle(new);
        }
    }

    fn gather_set(
        &mut self,
        zone: &'a Zone,
        kind: Kind,
        set: &'a Set,
        owner: &Name,
        depth: usize,
        records: &mut Vec<Record>,
    ) {
        match &set.answer {
            SetAnswer::Values { ttl, values } => {
                let room = MAX_RECORDS.saturating_sub(records.len());
                records.extend(values.iter().take(room).map(|value| Record {
                    name: owner.clone(),
                    kind,
                    ttl: *ttl,
                    value: Arc::clone(value),
                }));
            }
            SetAnswer::Alias(alias) => {
                self.note(|| format!("alias to {}", alias.name));
                match self.target(zone, alias, kind) {
                    Target::Group(zone, group) => {
                        self.gather(zone, group, owner, depth + 1, records);
                    }
                    Target::External => self.gather_external(alias, kind, owner, records),
                    Target::Nothing => self.note(|| format!("{}: nothing there", alias.name)),
                }
            }
        }
    }

    fn gather_external(&self, alias: &Alias, kind: Kind, owner: &Name, records: &mut Vec<Record>) {
        let external = self.zones.external(&alias.name).filter(|_| kind == Kind::A);
        let addresses = external.map_or(&[][..], |external| &external.addresses);
        records.extend(addresses.iter().map(|value| Record {
            name: owner.clone(),
            kind,
            ttl: SERVICE_TTL,
            value: Arc::clone(value),
        }));
    }

    /// The target of an alias of this type. A target in `zone` itself is found even if `zone` is not indexed, as when
    /// control tests an answer.
    fn target(&self, zone: &'a Zone, alias: &Alias, kind: Kind) -> Target<'a> {
        let zones = self.zones;
        let hosted = alias.zone.as_ref().and_then(|id| match id {
            id if *id == zone.source.id => Some(zone),
            id => zones.by_id(id),
        });
        match hosted {
            Some(hosted) if alias.name.is_within(&hosted.name) => hosted
                .find(alias.name.as_wire())
                .and_then(|node| node.group(kind))
                .map_or(Target::Nothing, |group| Target::Group(hosted, group)),
            _ if zones.external(&alias.name).is_some() => Target::External,
            _ => Target::Nothing,
        }
    }

    /// Applies the routing policy and health, and fails open when nothing is healthy.
    fn choose(&mut self, zone: &'a Zone, group: &'a Group, depth: usize) -> SetMask {
        if group.depends_on_client() {
            self.scope_prefix = self.client.prefix.prefix_len();
        }
        let candidates = group.candidates(self.client);
        let healthy = match group.unconditional {
            true => candidates,
            false => self.healthy(zone, group, candidates, depth),
        };
        let among = if healthy.is_empty() {
            self.note(|| "nothing is healthy: all count as healthy".into());
            candidates
        } else {
            healthy
        };
        let chosen = group.pick(among, self.client, self.random);
        for (at, set) in group.sets.iter().enumerate() {
            if chosen.contains(at) {
                let label = set.label.as_deref().unwrap_or("-");
                self.note(|| format!("{} set {label} by {:?}", group.kind, set.routing));
            }
        }
        chosen
    }

    fn healthy(&self, zone: &'a Zone, group: &'a Group, among: SetMask, depth: usize) -> SetMask {
        let mut mask = SetMask::none();
        for (at, set) in group.sets.iter().enumerate() {
            if among.contains(at) && self.is_healthy(zone, group.kind, set, depth) {
                mask.insert(at);
            } else if among.contains(at) {
                let label = set.label.as_deref().unwrap_or("-");
                self.note(|| format!("{} set {label} is not healthy", group.kind));
            }
        }
        mask
    }

    /// The health of a set: its own check, and for an alias that evaluates its target the target's health. A
    /// chain that exceeds the limits counts as healthy, like a set without a check.
    fn is_healthy(&self, zone: &'a Zone, kind: Kind, set: &Set, depth: usize) -> bool {
        let own = set
            .health_check
            .as_ref()
            .is_none_or(|id| self.health.check(id));
        let SetAnswer::Alias(alias) = &set.answer else {
            return own;
        };
        if !own || !alias.evaluate || depth > MAX_DEPTH {
            return own;
        }
        match self.target(zone, alias, kind) {
            Target::Group(zone, group) => {
                !self.spend(group) || self.group_is_healthy(zone, group, depth + 1)
            }
            Target::External => self.external_is_healthy(&alias.name),
            Target::Nothing => true,
        }
    }

    fn group_is_healthy(&self, zone: &'a Zone, group: &'a Group, depth: usize) -> bool {
        group.unconditional
            || !self
                .healthy(zone, group, group.candidates(self.client), depth)
                .is_empty()
    }

    fn external_is_healthy(&self, name: &Name) -> bool {
        self.zones.external(name).is_none_or(|external| {
            external
                .target_groups
                .iter()
                .all(|group| self.health.target_group(group))
        })
    }

    fn spend(&self, group: &Group) -> bool {
        let cost = u32::try_from(group.sets.len()).unwrap_or(MAX_SETS).max(1);
        let left = self.effort.get().checked_sub(cost);
        self.effort.set(left.unwrap_or(0));
        left.is_some()
    }
}

enum Target<'a> {
    Group(&'a Zone, &'a Group),
    External,
    Nothing,
}

/// The highest delegation at or above a name. A delegation's DS record belongs to the parent zone.
fn cut_above<'a>(zone: &'a Zone, name: &Name, kind: Kind) -> Option<(Name, &'a Group)> {
    if !zone.has_cuts {
        return None;
    }
    let below_apex = suffixes(name.as_wire()).take_while(|suffix| *suffix != zone.name.as_wire());
    let cut = below_apex
        .filter(|suffix| kind != Kind::DS || *suffix != name.as_wire())
        .filter_map(|suffix| Some((suffix, zone.node(suffix)?.group(Kind::NS)?)))
        .last();
    cut.map(|(suffix, group)| (Name::from_lower_wire(suffix), group))
}

fn negative(zone: &Zone, answer: &mut Answer) {
    let apex = zone.node(zone.name.as_wire());
    if let Some(group) = apex.and_then(|node| node.group(Kind::SOA)) {
        push_values(group, &zone.name, &mut answer.authority);
        for record in &mut answer.authority {
            record.ttl = zone.negative_ttl;
        }
    }
}

/// Adds all plain values of a group, without a routing policy.
fn push_values(group: &Group, owner: &Name, records: &mut Vec<Record>) {
    for set in &group.sets {
        if let SetAnswer::Values { ttl, values } = &set.answer {
            records.extend(values.iter().take(MAX_RECORDS).map(|value| Record {
                name: owner.clone(),
                kind: group.kind,
                ttl: *ttl,
                value: Arc::clone(value),
            }));
        }
    }
}

/// The addresses, from the zone, of the targets of NS, MX and SRV records.
fn glue<'r>(zone: &Zone, records: impl Iterator<Item = &'r Record>) -> Vec<Record> {
    let mut glue = Vec::new();
    let mut seen: Vec<&Name> = Vec::new();
    for record in records.filter(|record| matches!(record.kind, Kind::NS | Kind::MX | Kind::SRV)) {
        let Some(target) = record.value.target.as_ref() else {
            continue;
        };
        let Some(node) = zone.node(target.as_wire()) else {
            continue;
        };
        if seen.contains(&target) {
            continue;
        }
        seen.push(target);
        for group in [Kind::A, Kind::AAAA]
            .into_iter()
            .filter_map(|kind| node.group(kind))
        {
            let room = MAX_RECORDS.saturating_sub(glue.len());
            let before = glue.len();
            push_values(group, target, &mut glue);
            glue.truncate(before + room);
        }
    }
    glue
}
