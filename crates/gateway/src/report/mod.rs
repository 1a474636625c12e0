//! What became of Gateways and routes, and why not: read from their status in the cluster and from VPC Lattice, for people and
//! programs. Nothing is changed.

mod read;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize as _, Serialize};

use crate::kinds::{Condition, Gateway, ParentRef, ParentStatus, Route, RouteKind};
use crate::lattice::id_of;
use crate::routes::service_of;
use crate::world::{Name, World};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The kubeconfig's context; its default where there is none.
    pub context: Option<String>,
    /// Objects of this namespace alone. For one object, that of the context where there is none.
    pub namespace: Option<String>,
    /// One object, as `httproute/NAME`; else all Gateways and routes.
    pub object: Option<String>,
    /// The region; that of the SDK when it is empty.
    pub region: String,
    /// Where AWS's API is; `None` for AWS itself, or what `AWS_ENDPOINT_URL` says.
    pub endpoint_url: Option<String>,
    /// The controller names whose Gateways and routes are meant.
    pub controller_names: Vec<String>,
}

/// What became of one object. New versions add members and never change existing ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// `Gateway`, `HTTPRoute` and the like.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `programmed`, `pending`, `not programmed`, or `unseen` when no controller has said anything yet.
    pub state: String,
    /// The service that a route became.
    pub service: Option<Service>,
    /// The ARN of the service network that a Gateway stands for.
    pub service_network: Option<String>,
    /// How many routes a Gateway's listeners have.
    pub attached_routes: Option<i32>,
    /// Under which name it can be reached.
    pub domain_name: Option<String>,
    /// The target groups that a route's service forwards to.
    pub target_groups: Vec<Group>,
    /// What the controller has said.
    pub conditions: Vec<Said>,
    /// What is not as it should be, in words.
    pub problems: Vec<String>,
}

/// A service of VPC Lattice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its state in VPC Lattice; `None` when that is not known.
    pub status: Option<String>,
}

/// A target group of VPC Lattice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How many targets are healthy.
    pub healthy: usize,
    /// How many targets there are, without those that drain.
    pub total: usize,
    /// Each target.
    pub targets: Vec<Target>,
}

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its address, or id.
    pub id: String,
    /// Its port.
    pub port: i32,
    /// What VPC Lattice says of it.
    pub status: String,
}

/// A condition of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Of which parent or listener; empty for the object itself.
    pub of: String,
    /// Its type.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// Whether it is of an earlier generation of the object.
    pub stale: bool,
}

/// What VPC Lattice has of all this.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// States of services by ARN.
    services: BTreeMap<String, String>,
    /// Groups with the ARNs of the services that use them.
    groups: Vec<(Group, Vec<String>)>,
    /// Why it does not say.
    fault: Option<String>,
}

/// Reads what is asked for.
///
/// # Errors
/// When there is no cluster to ask, it does not answer, or the object that is asked for is not there.
pub async fn report(question: &Question) -> anyhow::Result<Vec<Entry>> {
    read::report(question).await
}

fn said(of: &str, conditions: &[Condition], generation: i64) -> Vec<Said> {
    let all = conditions.iter().map(|it| Said {
        of: of.to_owned(),
        r#type: it.kind.clone(),
        status: it.status.clone(),
        reason: it.reason.clone(),
        message: it.message.clone(),
        stale: it.observed_generation != generation,
    });
    all.collect()
}

impl Said {
    /// Whether it says that something is not as it should be.
    fn is_bad(&self) -> bool {
        match self.r#type.as_str() {
            "PartiallyInvalid" | "Conflicted" => self.status == "True",
            "Accepted" | "Programmed" | "ResolvedRefs" => self.status != "True",
            // Those of others, or of a future version: what they mean is not known.
            _ => false,
        }
    }

    fn words(&self) -> String {
        match self.message.as_str() {
            "" => format!("{} {}", self.r#type, self.reason),
            message => format!("{} {}: {message}", self.r#type, self.reason),
        }
    }
}

/// What an object's conditions come to.
fn state(conditions: &[Said]) -> &'static str {
    let programmed = conditions.iter().filter(|it| it.r#type == "Programmed");
    let all: Vec<_> = programmed
        .filter(|it| !it.of.starts_with("listener "))
        .collect();
    match &all[..] {
        [] => "unseen",
        all if all.iter().any(|it| it.stale || it.reason == "Pending") => "pending",
        all if all.iter().any(|it| it.status == "True") => "programmed",
        _ => "not programmed",
    }
}

fn problems(conditions: &[Said]) -> Vec<String> {
    let mut problems = Vec::new();
    for it in conditions.iter().filter(|it| it.is_bad()) {
        let words = it.words();
        let has_more = |other: &String| other.contains(&it.message) && !it.message.is_empty();
        // Programmed repeats what Accepted says, and parents repeat each other.
        if !problems.contains(&words) && !problems.iter().any(has_more) {
            problems.push(words);
        }
    }
    if conditions.iter().any(|it| it.stale) {
        problems.push("the controller has not looked at its newest change yet".to_owned());
    }
    problems
}

fn parent_words(parent: &ParentRef) -> String {
    let mut words = format!("{} ", parent.kind.as_deref().unwrap_or("Gateway"));
    if let Some(namespace) = &parent.namespace {
        words += namespace;
        words.push('/');
    }
    words += &parent.name;
    if let Some(section) = &parent.section_name {
        words += " listener ";
        words += section;
    }
    words
}

/// The controller of a Gateway's class, or what is missing.
fn controller_of<'a>(world: &'a World, gateway: &Name) -> Result<&'a str, String> {
    let Some(found) = world.gateways.get(gateway) else {
        return Err(format!(
            "there is no Gateway {gateway}, or it may not be read"
        ));
    };
    let class = &found.spec.gateway_class_name;
    match world.classes.get(&Name::new("", class)) {
        Some(class) => Ok(&class.spec.controller_name),
        None => Err(format!(
            "there is no GatewayClass {class} of Gateway {gateway}"
        )),
    }
}

/// The entries of these controllers in a route's status.
fn entries(route: &Route, names: &[String]) -> Vec<ParentStatus> {
    let all = route.status.iter().flat_map(|it| &it.parents);
    let all = all.filter_map(|it| ParentStatus::deserialize(it).ok());
    all.filter(|it| names.contains(&it.controller_name))
        .collect()
}

/// Whether a route is meant: one of its parents is a Gateway of these controllers, or they have said something of it.
fn is_meant(world: &World, names: &[String], name: &Name, route: &Route) -> bool {
    let parents = route.spec.parent_refs.iter();
    !entries(route, names).is_empty()
        || parents
            .filter_map(|it| world.gateway_of(it, name))
            .any(|it| controller_of(world, &it).is_ok_and(|it| names.iter().any(|name| name == it)))
}

fn of_route(
    (world, names, seen): (&World, &[String], &Seen),
    (kind, name, route): (RouteKind, &Name, &Route),
) -> Entry {
    let generation = route.metadata.generation.unwrap_or_default();
    let entries = entries(route, names);
    let conditions: Vec<_> = entries
        .iter()
        .flat_map(|it| said(&parent_words(&it.parent_ref), &it.conditions, generation))
        .collect();
    let mut problems = problems(&conditions);
    for parent in &route.spec.parent_refs {
        let Some(gateway) = world.gateway_of(parent, name) else {
            continue;
        };
        match controller_of(world, &gateway) {
            Err(missing) => problems.push(missing),
            Ok(controller) if !names.iter().any(|it| it == controller) => {
                problems.push(format!("Gateway {gateway} is of controller {controller}"));
            }
            Ok(_) if entries.iter().all(|it| it.parent_ref != *parent) => problems.push(format!(
                "no controller has said anything of {}: does one run?",
                parent_words(parent)
            )),
            Ok(_) => {}
        }
    }
    let (domain_name, arn) = service_of(route);
    let service = arn.as_ref().map(|arn| Service {
        id: id_of(arn),
        status: seen.services.get(arn).cloned(),
    });
    let mut groups = Vec::new();
    if let Some(arn) = &arn {
        let all = seen
            .groups
            .iter()
            .filter(|(_, services)| services.contains(arn));
        groups.extend(all.map(|(group, _)| group.clone()));
        match &seen.fault {
            Some(fault) => problems.push(format!("VPC Lattice does not say more: {fault}")),
            None if !seen.services.contains_key(arn) => {
                problems.push(format!("VPC Lattice has no service {}", id_of(arn)));
            }
            None => {}
        }
    }
    for group in groups.iter().filter(|it| it.healthy == 0) {
        let unchecked = group.targets.iter().any(|it| it.status == "UNAVAILABLE");
        match group.total {
            0 => problems.push(format!("target group {} has no targets", group.name)),
            _ if unchecked => {}
            _ => problems.push(format!("target group {} has no healthy target", group.name)),
        }
    }
    Entry {
        kind: kind.kind().to_owned(),
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        state: state(&conditions).to_owned(),
        service,
        domain_name,
        target_groups: groups,
        conditions,
        problems,
        ..Entry::default()
    }
}

fn of_gateway(world: &World, names: &[String], name: &Name, gateway: &Gateway) -> Entry {
    let generation = gateway.metadata.generation.unwrap_or_default();
    let status = gateway.status.clone().unwrap_or_default();
    let mut conditions = said("", &status.conditions, generation);
    for listener in &status.listeners {
        let of = format!("listener {}", listener.name);
        conditions.extend(said(&of, &listener.conditions, generation));
    }
    let mut problems = problems(&conditions);
    match controller_of(world, name) {
        Err(missing) => problems.push(missing),
        Ok(controller) if !names.iter().any(|it| it == controller) => {
            problems.push(format!("it is of controller {controller}"));
        }
        Ok(_) => {}
    }
    let programmed = status.conditions.iter().find(|it| it.kind == "Programmed");
    let words = programmed.map(|it| it.message.split_whitespace());
    let network = words.and_then(|mut it| it.find(|word| word.starts_with("arn:")));
    Entry {
        kind: "Gateway".to_owned(),
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        state: state(&conditions).to_owned(),
        service_network: network.map(str::to_owned),
        attached_routes: Some(
            status
                .listeners
                .iter()
                .map(|it| it.attached_routes)
                .max()
                .unwrap_or(0),
        ),
        domain_name: status.addresses.first().map(|it| it.value.clone()),
        conditions,
        problems,
        ..Entry::default()
    }
}

/// A text of others, without what a terminal would take for commands.
fn plain(text: &str) -> String {
    let shown = text.chars();
    shown
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect()
}

impl Group {
    fn words(&self) -> String {
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for it in self.targets.iter().filter(|it| it.status != "HEALTHY") {
            *others.entry(it.status.to_ascii_lowercase()).or_default() += 1;
        }
        let others: Vec<_> = others
            .iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        let healthy = format!("{} {}/{} healthy", self.name, self.healthy, self.total);
        match others.is_empty() {
            true => healthy,
            false => format!("{healthy} ({})", others.join(", ")),
        }
    }
}

impl Entry {
    fn head(&self) -> String {
        format!(
            "{} {}/{}: {}",
            self.kind, self.namespace, self.name, self.state
        )
    }

    fn made(&self) -> Vec<String> {
        let mut made = Vec::new();
        made.extend(
            self.service_network
                .as_ref()
                .map(|it| format!("service network {}", id_of(it))),
        );
        made.extend(self.service.as_ref().map(|it| match it.status.as_deref() {
            None | Some("ACTIVE") => format!("service {}", it.id),
            Some(status) => format!("service {} {status}", it.id),
        }));
        made.extend(self.domain_name.clone());
        made.extend(self.attached_routes.map(|it| match it {
            1 => "1 route".to_owned(),
            count => format!("{count} routes"),
        }));
        made
    }

    /// One line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = self.made();
        parts.extend(self.target_groups.iter().map(Group::words));
        let mut line = self.head();
        for (at, part) in parts.iter().enumerate() {
            line += if at == 0 { "; " } else { ", " };
            line += part;
        }
        for problem in &self.problems {
            line += "; ";
            line += problem;
        }
        plain(&line)
    }

    /// All that is known, in several lines.
    #[must_use]
    pub fn explanation(&self) -> String {
        let mut text = String::new();
        let mut line = |words: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}", plain(words));
        };
        line(&self.head());
        for part in self.made() {
            line(&format!("  {part}"));
        }
        for group in &self.target_groups {
            line(&format!("  target group {}: {}", group.id, group.words()));
            for it in &group.targets {
                line(&format!("    {}:{} {}", it.id, it.port, it.status));
            }
        }
        for it in &self.conditions {
            let of = if it.of.is_empty() {
                String::new()
            } else {
                format!("{}: ", it.of)
            };
            let stale = if it.stale {
                " (of an earlier generation)"
            } else {
                ""
            };
            let message = if it.message.is_empty() {
                String::new()
            } else {
                format!(": {}", it.message)
            };
            line(&format!(
                "  {of}{} {} {}{stale}{message}",
                it.r#type, it.status, it.reason
            ));
        }
        for problem in &self.problems {
            line(&format!("  problem: {problem}"));
        }
        text
    }
}
