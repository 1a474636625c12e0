//! The backends of a route's rules as groups, with their weights.

use std::collections::BTreeMap;

use super::Imports;
use crate::attach::Parent;
use crate::backend_tls::{self, UNTRUSTED};
use crate::condition::ConditionState;
use crate::desired::{Action, Group, GroupRef, Source, group, session_name};
use crate::group_policies::Of;
use crate::kinds::{BackendRef, Policy, RouteKind, Rule};
use crate::matching;
use crate::mcs;
use crate::settings::Settings;
use crate::shown;
use crate::traffic::{self, Beside, Traffic};
use crate::world::{BackendKind, Name, ServicePort, World, backend_of};

/// How many groups a rule may forward to.
const MOST_GROUPS: usize = 10;
/// The largest weight in Lattice; the Gateway API's goes to a million.
const LARGEST_WEIGHT: i64 = 999;

/// Protocol and version of a group, whose targets are verified or not.
fn spoken(
    kind: RouteKind,
    port: &ServicePort,
    policy: Option<&Policy>,
    verified: bool,
) -> (String, String) {
    let version = match (kind, port.app_protocol.as_deref()) {
        (RouteKind::Tls | RouteKind::Tcp, _) => return ("TCP".to_owned(), String::new()),
        (RouteKind::Grpc, _) => "GRPC",
        (RouteKind::Http, Some("kubernetes.io/h2c")) => "HTTP2",
        (RouteKind::Http, _) => "HTTP1",
    };
    let asked = policy.and_then(|it| it.spec.protocol.clone());
    let protocol = match verified {
        true => "HTTPS".to_owned(),
        false => asked.unwrap_or_else(|| "HTTP".to_owned()),
    };
    if protocol == "TCP" {
        return (protocol, String::new());
    }
    let wanted = policy.and_then(|it| it.spec.protocol_version.clone());
    (protocol, wanted.unwrap_or_else(|| version.to_owned()))
}

/// A Service's port as a group, without its targets; `verified` says how these prove who they are.
pub(crate) fn group_of(
    settings: &Settings,
    source: Source<'_>,
    kind: RouteKind,
    (service, port): (&Name, &ServicePort),
    (policy, verified): (Option<&Policy>, Option<String>),
) -> Group {
    let (protocol, version) = spoken(kind, port, policy, verified.is_some());
    let mut group = group(settings, source, service, (port.port, &protocol, &version));
    group.health_check = policy.and_then(|it| it.spec.health_check.clone());
    group.verified = verified;
    group
}

/// Makes groups of backends, and what rules do of groups.
pub(super) struct Builder<'a> {
    world: &'a World,
    settings: &'a Settings,
    imports: &'a Imports,
    kind: RouteKind,
    name: &'a Name,
    /// Whether BackendTLSPolicies count: a Gateway of the route has an address.
    verifies: bool,
    /// Whether the share of a backend that is not there is lost with it: at a Gateway with an address, connections are closed then.
    closes: bool,
    /// The ARN of what health checks show targets that ask.
    shown: Option<&'a String>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) unresolved: Vec<ConditionState>,
    /// Whether a rule has more backends than there can be: their number may be another's doing, so that nothing is withdrawn for it.
    pub(super) crowded: bool,
    /// What is worth saying of rules that are served.
    pub(super) remarks: Vec<String>,
}

/// How many groups each of some backends gets, of so many in all: the largest give way.
fn rationed(mut sizes: Vec<usize>, room: usize) -> Vec<usize> {
    while sizes.iter().sum::<usize>() > room {
        match sizes.iter_mut().max() {
            Some(largest) if *largest > 1 => *largest -= 1,
            _ => break,
        }
    }
    sizes
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        world: &'a World,
        settings: &'a Settings,
        imports: &'a Imports,
        (kind, name): (RouteKind, &'a Name),
        parents: &[Parent],
    ) -> Self {
        let accepting = parents.iter().filter(|it| it.accepted.good);
        let entrances = accepting.filter(|it| settings.has_entrances(&it.controller));
        let mut entrances = entrances.peekable();
        let has_entrance = entrances.peek().is_some();
        Self {
            verifies: !kind.is_of_connections() && has_entrance,
            closes: kind.is_of_connections() && has_entrance,
            shown: entrances.find_map(|it| shown::arn(world, &it.name, &it.gateway)),
            world,
            settings,
            imports,
            kind,
            name,
            groups: BTreeMap::new(),
            unresolved: Vec::new(),
            crowded: false,
            remarks: Vec::new(),
        }
    }
}

impl Builder<'_> {
    /// The group that a backend stands for.
    fn backend(&mut self, backend: &BackendRef) -> Result<GroupRef, ConditionState> {
        let Some((kind, name)) = backend_of(backend, self.name) else {
            let kind = backend.kind.as_deref().unwrap_or("Service");
            return Err(ConditionState::bad(
                "InvalidKind",
                format!("{kind} cannot be a backend"),
            ));
        };
        if !self
            .world
            .granted(self.kind, &self.name.namespace, kind, &name)
        {
            let message = format!("no ReferenceGrant lets this route refer to {name}");
            return Err(ConditionState::bad("RefNotPermitted", message));
        }
        if kind == BackendKind::Mcs {
            // Copies go to one cluster's.
            let spread = mcs::spread(self.world, self.settings, backend, &name, 1)?;
            let none =
                || ConditionState::bad("BackendNotFound", format!("no cluster exports {name}"));
            return spread
                .groups
                .into_iter()
                .next()
                .map(|(group, _)| group)
                .ok_or_else(none);
        }
        if kind == BackendKind::Import {
            return self
                .imports
                .get(&name)
                .map(|id| GroupRef::Existing(id.clone()))
                .ok_or_else(|| {
                    let message = format!("there is no target group for ServiceImport {name}");
                    ConditionState::bad("BackendNotFound", message)
                });
        }
        let Some(service) = self.world.services.get(&name) else {
            return Err(ConditionState::bad(
                "BackendNotFound",
                format!("there is no Service {name}"),
            ));
        };
        if service.external_name || service.ipv6_only {
            let message = format!("Service {name} has no IPv4 addresses in the VPC");
            return Err(ConditionState::bad("UnsupportedValue", message));
        }
        let mut ports = service.ports.iter();
        let Some(port) = ports.find(|it| Some(it.port) == backend.port) else {
            let message = format!(
                "Service {name} has no port {}",
                backend.port.unwrap_or_default()
            );
            return Err(ConditionState::bad("BackendNotFound", message));
        };
        let source = Source::Route(self.kind, self.name);
        let policy = self.world.group_policy(Of::Service, &name);
        let policy = policy.map(|(_, policy)| policy);
        let verified = match self.verifies {
            true => backend_tls::group_tls(self.world, &name, port, self.shown)?,
            false => None,
        };
        let policies = (policy, verified);
        let mut group = group_of(self.settings, source, self.kind, (&name, port), policies);
        group.targets = self.world.targets(&name, port);
        let reference = GroupRef::Own(group.name.clone());
        self.groups.insert(group.name.clone(), group);
        Ok(reference)
    }

    /// A group without targets: what goes there is closed.
    fn nothing(&mut self) -> GroupRef {
        let source = Source::Route(self.kind, self.name);
        // No Service has such a name.
        let none = Name::new(&self.name.namespace, "-nothing");
        let group = group(self.settings, source, &none, (1, "TCP", ""));
        let reference = GroupRef::Own(group.name.clone());
        self.groups.insert(group.name.clone(), group);
        reference
    }

    /// Notes why a backend is lost.
    fn lose(&mut self, verdict: ConditionState) {
        if verdict.reason != UNTRUSTED {
            self.unresolved.push(verdict);
        } else if !self.remarks.contains(&verdict.message) {
            self.remarks.push(verdict.message);
        }
    }

    /// How many groups each backend of a rule may stand for: those of other clusters give way, so that none is lost whole.
    fn room(&mut self, rule: &Rule) -> Vec<usize> {
        let remarks = self.remarks.clone();
        let sizes = rule.backend_refs.iter().map(|backend| {
            let (of, most) = (backend_of(backend, self.name), usize::MAX);
            match of.filter(|(kind, _)| *kind == BackendKind::Mcs) {
                Some(_) => self.shares(backend, most).map_or(1, |it| it.len()),
                None => 1,
            }
        });
        let sizes = rationed(sizes.collect(), MOST_GROUPS);
        self.remarks = remarks;
        sizes
    }

    /// The groups that a backend stands for, at most so many where they are other clusters', with its weight, in the same unit for all
    /// backends of a rule.
    fn shares(
        &mut self,
        backend: &BackendRef,
        most: usize,
    ) -> Result<Vec<(GroupRef, i64)>, ConditionState> {
        let of = backend_of(backend, self.name);
        let across = of.as_ref().filter(|(kind, name)| {
            *kind == BackendKind::Mcs
                && self
                    .world
                    .granted(self.kind, &self.name.namespace, *kind, name)
        });
        if let Some((_, name)) = across {
            let spread = mcs::spread(self.world, self.settings, backend, name, most)?;
            if !spread.left_out.is_empty() {
                let clusters = spread.left_out.join(", ");
                let what = format!(
                    "Dropped clusters of ServiceImport {name}: a rule has at most {MOST_GROUPS} groups, and none for {clusters}"
                );
                if !self.remarks.contains(&what) {
                    self.remarks.push(what);
                }
            }
            return Ok(spread.groups);
        }
        let weight = i64::from(backend.weight.unwrap_or(1).max(0)) * mcs::SHARES;
        Ok(vec![(self.backend(backend)?, weight)])
    }

    /// What a rule does, and what it does besides in extended mode; `at` is its place in the route. The error says what
    /// Lattice has no means for.
    pub(super) fn deed(
        &mut self,
        at: usize,
        rule: &Rule,
    ) -> Result<(Action, Option<Traffic>), String> {
        if !self.settings.extended || self.kind.is_of_connections() {
            let action = matching::lacking(rule).map_or_else(|| self.action(rule), Err)?;
            return Ok((action.0, None));
        }
        let mut filters = rule.filters.iter();
        if !self.settings.has_addresses() && filters.any(|it| it.kind == "CORS") {
            return Err("filter CORS".to_owned());
        }
        let session = session_name(self.name, at);
        let asked = traffic::asked(rule, &session)?;
        let (action, beside) = self.action(rule)?;
        let mut mirrors = Vec::new();
        for (backend, percent) in &asked.mirrors {
            match self.backend(backend) {
                Ok(group) => mirrors.push((group, *percent)),
                Err(verdict) => self.lose(verdict),
            }
        }
        let forwards = matches!(action, Action::Forward(_));
        let traffic = asked.traffic(forwards, mirrors, beside)?;
        Ok((action, traffic))
    }

    /// The groups of a rule, and what else its backends ask for. The error says what Lattice has no means for.
    fn action(&mut self, rule: &Rule) -> Result<(Action, Beside), String> {
        let mut weights: BTreeMap<GroupRef, i64> = BTreeMap::new();
        let mut beside = Beside::default();
        let room = self.room(rule);
        for (backend, most) in rule.backend_refs.iter().zip(room) {
            let filters = match backend.filters.first() {
                Some(filter) if !self.settings.has_addresses() => {
                    return Err(format!("the filter {} of a backend", filter.kind));
                }
                _ => traffic::of_backend(rule, backend)?,
            };
            let weight = i64::from(backend.weight.unwrap_or(1).max(0)) * mcs::SHARES;
            match self.shares(backend, most) {
                Ok(shares) => {
                    for (group, share) in shares {
                        let twice = weights.contains_key(&group);
                        let mut known = beside.groups.iter();
                        let before = known.find(|(it, _)| *it == group);
                        let before = before.map(|(_, filters)| filters.clone());
                        if twice && before.unwrap_or_default() != filters {
                            return Err("one backend twice, with different filters".to_owned());
                        }
                        if !twice && !filters.is_empty() {
                            beside.groups.push((group.clone(), filters.clone()));
                        }
                        *weights.entry(group).or_default() += share;
                    }
                }
                Err(verdict) => {
                    if self.closes && weight > 0 {
                        *weights.entry(self.nothing()).or_default() += weight;
                    } else {
                        beside.failing += weight;
                    }
                    self.lose(verdict);
                }
            }
        }
        if weights.len() == MOST_GROUPS + 1 && self.closes {
            // Backends that are there come first.
            let nothing = self.nothing();
            weights.remove(&nothing);
        }
        if weights.len() > MOST_GROUPS {
            self.crowded = true;
            return Err(format!("more than {MOST_GROUPS} backends in a rule"));
        }
        if weights.values().all(|it| *it == 0) {
            let action = match self.closes {
                true => Action::Forward(BTreeMap::from([(self.nothing(), 1)])),
                false => Action::Fixed(500),
            };
            return Ok((action, beside));
        }
        if !self.settings.has_addresses() {
            // Lattice has no such share: the others get it.
            beside.failing = 0;
        }
        // Weights that need no division between clusters stay as they are.
        let plain = weights.values().all(|it| it % mcs::SHARES == 0);
        let unit = if plain { mcs::SHARES } else { 1 };
        let most = weights.values().copied().max().unwrap_or_default();
        let most = most.max(beside.failing) / unit;
        let scaled = |weight: i64| match weight / unit {
            0 => 0,
            weight if most <= LARGEST_WEIGHT => weight,
            weight => (weight * LARGEST_WEIGHT / most).max(1),
        };
        beside.failing = scaled(beside.failing);
        let weights = weights.into_iter();
        let weights =
            weights.map(|(group, weight)| (group, i32::try_from(scaled(weight)).unwrap_or(1)));
        Ok((Action::Forward(weights.collect()), beside))
    }
}
