//! What should be in VPC Lattice for one object of Kubernetes: plain values, compared with what is there.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::kinds::{AWS_GROUP, HealthCheck, RouteKind};
use crate::settings::Settings;
use crate::traffic::Traffic;
use crate::world::Name;

/// Tags of a resource.
pub(crate) type Tags = BTreeMap<String, String>;

/// The tag that says which controller a resource belongs to.
pub(crate) const MANAGED_BY: &str = "ManagedBy";
/// The tag that says which route a resource was made for.
pub(crate) const ROUTE_NAME: &str = "RouteName";
pub(crate) const ROUTE_NAMESPACE: &str = "RouteNamespace";
pub(crate) const ROUTE_TYPE: &str = "RouteType";
pub(crate) const CLUSTER_NAME: &str = "ClusterName";
pub(crate) const SERVICE_NAME: &str = "ServiceName";
pub(crate) const SERVICE_NAMESPACE: &str = "ServiceNamespace";
pub(crate) const SOURCE_TYPE: &str = "SourceTypeKey";
pub(crate) const PROTOCOL_VERSION: &str = "ProtocolVersion";

/// The name of a key of AWS's controller: a tag's or an annotation's.
pub(crate) fn key(name: &str) -> String {
    format!("{AWS_GROUP}/{name}")
}

/// Tags with the keys of AWS's controller.
pub(crate) fn tags<const N: usize>(pairs: [(&str, &str); N]) -> Tags {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (key(name), value.to_owned()))
        .collect()
}

/// Whether a resource has all of these tags.
pub(crate) fn has_tags(resource: &Tags, wanted: &Tags) -> bool {
    wanted
        .iter()
        .all(|(key, value)| resource.get(key) == Some(value))
}

/// A service with all that belongs to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Service {
    /// The names that it is made under, the first that is free: that of AWS's controller, or the one that the route asks for; and
    /// another one where that belongs to another route, which two long names can bring about.
    pub(crate) names: Vec<String>,
    /// Names, or ARNs in their place, under which it may be there already.
    pub(crate) former: Vec<String>,
    /// The value of the tag `ManagedBy` of another controller, whose service for this route is taken over.
    pub(crate) takeover: Option<String>,
    pub(crate) tags: Tags,
    pub(crate) custom_domain: Option<String>,
    pub(crate) certificate: Option<String>,
    /// Whether only entrances of Gateways lead to it: then it has no name of its own, and what name it may have had stays.
    pub(crate) has_entrance: bool,
    /// The names of the service networks that it is in.
    pub(crate) networks: BTreeSet<String>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) groups: Vec<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Http,
    Https,
    Tls,
    /// At Gateways with an address.
    Tcp,
}

impl Protocol {
    /// As Lattice says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            // What is passed on is not read where a Gateway's listener says so.
            Self::Tls | Self::Tcp => "TLS_PASSTHROUGH",
        }
    }

    /// As AWS's controller writes it in names of listeners.
    pub(crate) fn in_names(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) port: i32,
    pub(crate) protocol: Protocol,
    pub(crate) default: Action,
    /// In the order in which they are tried.
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) condition: Condition,
    pub(crate) action: Action,
    /// What Lath is asked for besides, in extended mode.
    pub(crate) traffic: Option<Traffic>,
}

impl Rule {
    /// The text of its traffic policy.
    pub(crate) fn policy(&self) -> Option<String> {
        self.traffic.as_ref().map(Traffic::text)
    }
}

/// Which requests a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Condition {
    pub(crate) path: Path,
    pub(crate) method: Option<String>,
    /// Names in lower case, and the exact values.
    pub(crate) headers: BTreeMap<String, String>,
    /// What Lath is asked to look at besides, in extended mode: the text of the tag `lath:match`.
    pub(crate) more: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    Exact(String),
    Prefix(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// An answer of Lattice itself.
    Fixed(i32),
    /// Groups with weights.
    Forward(BTreeMap<GroupRef, i32>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GroupRef {
    /// One of the service's own groups, by its name.
    Own(String),
    /// A group that is there already, by its id.
    Existing(String),
}

/// A target group with its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) tags: Tags,
    pub(crate) port: i32,
    pub(crate) protocol: String,
    /// Empty for TCP, which has none.
    pub(crate) version: String,
    pub(crate) health_check: Option<HealthCheck>,
    pub(crate) targets: BTreeSet<(String, i32)>,
    /// How its targets prove who they are: the text of a tag, in extended mode.
    pub(crate) verified: Option<String>,
    /// Tags that say more of it than whose and what it is, all with the prefix of `mcs`.
    pub(crate) extra: Tags,
}

impl Group {
    /// Whether it has the pods of a Service.
    pub(crate) fn is_of(&self, service: &Name) -> bool {
        let tag = |name: &str| self.tags.get(&key(name));
        tag(SERVICE_NAME) == Some(&service.name)
            && tag(SERVICE_NAMESPACE) == Some(&service.namespace)
    }
}

/// What the names of Lattice's services and listeners do not begin with: their ids do.
const RESERVED_FOR_SERVICES: &str = "svc-";
const RESERVED_FOR_LISTENERS: &str = "listener-";
/// What stands before a name that would.
const PREFIX: &str = "k8s-";

/// A text as names in Lattice allow it: lower-case letters, digits, single hyphens between them.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            'a'..='z' | '0'..='9' => out.push(letter),
            'A'..='Z' => out.push(letter.to_ascii_lowercase()),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    out.trim_end_matches('-').to_owned()
}

fn cut(text: &str, most: usize) -> String {
    let text: String = text.chars().take(most).collect();
    clean(&text)
}

/// Ten letters that stand for these texts.
fn letters(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    let bytes = hash.finalize();
    bytes
        .iter()
        .take(10)
        .map(|byte| char::from(b'a' + byte % 26))
        .collect()
}

/// What the cookie of a rule's sessions is called, by the rule's place in its route.
pub(crate) fn session_name(route: &Name, at: usize) -> String {
    let at = at.to_string();
    format!("lath-{}", letters(&[&route.namespace, &route.name, &at]))
}

/// The names that a route's service may have: that of AWS's controller, and another one where that is cut short, so that
/// two routes cannot share a service.
pub(crate) fn service_names(route: &Name) -> (String, Option<String>) {
    let name = format!("{}-{}", cut(&route.name, 20), cut(&route.namespace, 18));
    let whole = format!("{}-{}", route.name, route.namespace);
    if name == whole && !name.starts_with(RESERVED_FOR_SERVICES) {
        return (name, None);
    }
    let letters = letters(&[&route.namespace, &route.name]);
    let other = name_of_service(route, &letters);
    if name.starts_with(RESERVED_FOR_SERVICES) {
        return (other, None);
    }
    (name, Some(other))
}

/// A service's name that ends in these letters.
fn name_of_service(of: &Name, letters: &str) -> String {
    let (name, namespace) = (cut(&of.name, 17), cut(&of.namespace, 11));
    if name.starts_with(RESERVED_FOR_SERVICES) || name == "svc" {
        return format!("{PREFIX}{}-{namespace}-{letters}", cut(&name, 13));
    }
    format!("{name}-{namespace}-{letters}")
}

/// The name of a Gateway's service.
pub(crate) fn entrance_name(managed_by: &str, gateway: &Name) -> String {
    let letters = letters(&[managed_by, &gateway.namespace, &gateway.name]);
    let (name, namespace) = (cut(&gateway.name, 13), cut(&gateway.namespace, 9));
    format!("gw-{name}-{namespace}-{letters}")
}

/// A name with a hash, for what is no route.
pub(crate) fn hashed_name(of: &Name, kind: &str) -> String {
    let letters = letters(&[kind, &of.namespace, &of.name]);
    name_of_service(of, &letters)
}

/// A listener's name, as AWS's controller gives it, where Lattice takes that.
pub(crate) fn listener_name(route: &Name, port: i32, protocol: Protocol) -> String {
    let (mut name, namespace) = (cut(&route.name, 20), cut(&route.namespace, 18));
    if name.starts_with(RESERVED_FOR_LISTENERS) || name == "listener" {
        name = format!("{PREFIX}{}", cut(&name, 16));
    }
    format!("{name}-{namespace}-{port}-{}", protocol.in_names())
}

/// What a group is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Route(RouteKind, &'a Name),
    Export,
    /// A Service that is exposed itself.
    Exposed(&'a Name),
}

/// A group for a port of a Service. Its name follows from what it is, so that a controller that was killed after making
/// it finds it again.
pub(crate) fn group(
    settings: &Settings,
    source: Source<'_>,
    service: &Name,
    (port, protocol, version): (i32, &str, &str),
) -> Group {
    let managed_by = settings.managed_by();
    let (source_type, route) = match source {
        Source::Route(kind, route) => (kind.kind(), Some(route)),
        Source::Export => ("ServiceExport", None),
        Source::Exposed(name) => ("Service", Some(name)),
    };
    let mut tags = tags([
        (MANAGED_BY, &managed_by),
        (CLUSTER_NAME, &settings.cluster_name),
        (SERVICE_NAME, &service.name),
        (SERVICE_NAMESPACE, &service.namespace),
        (SOURCE_TYPE, source_type),
        (PROTOCOL_VERSION, version),
    ]);
    if let Some(route) = route {
        tags.insert(key(ROUTE_NAME), route.name.clone());
        tags.insert(key(ROUTE_NAMESPACE), route.namespace.clone());
    }
    let none = Name::default();
    let route = route.unwrap_or(&none);
    let letters = letters(&[
        &managed_by,
        source_type,
        &route.namespace,
        &route.name,
        &service.namespace,
        &service.name,
        &port.to_string(),
        protocol,
        version,
    ]);
    let (namespace, name) = (cut(&service.namespace, 55), cut(&service.name, 55));
    Group {
        name: format!("k8s-{namespace}-{name}-{letters}"),
        tags,
        port,
        protocol: protocol.to_owned(),
        version: version.to_owned(),
        ..Group::default()
    }
}

/// Priorities for rules in their order, from 1 to `most`. `known` has for each rule the priority that it has, if it is
/// there; as few as possible of those change. `taken` are priorities of rules that will go, but are still there.
///
/// `None` when there is no room at all.
pub(crate) fn priorities(
    known: &[Option<i32>],
    taken: &BTreeSet<i32>,
    most: i32,
) -> Option<Vec<i32>> {
    let count = i32::try_from(known.len()).ok()?;
    if count > most {
        return None;
    }
    let kept = longest_rising(known);
    if let Some(all) = fill(known, &kept, taken, most) {
        return Some(all);
    }
    // No gap is wide enough: all are spread evenly, also over what goes.
    let step = (most / (count + 1)).max(1);
    Some((1..=count).map(|at| at * step).collect())
}

/// The places of the longest sequence of rising priorities.
fn longest_rising(known: &[Option<i32>]) -> BTreeSet<usize> {
    let mut best: Vec<(usize, Option<usize>)> = vec![(0, None); known.len()];
    let mut last = None;
    for at in 0..known.len() {
        let Some(here) = known[at] else { continue };
        let before = (0..at)
            .filter(|&it| known[it].is_some_and(|it| it < here))
            .max_by_key(|&it| best[it].0);
        best[at] = (before.map_or(1, |it| best[it].0 + 1), before);
        if last.is_none_or(|last: usize| best[at].0 > best[last].0) {
            last = Some(at);
        }
    }
    let mut kept = BTreeSet::new();
    while let Some(at) = last {
        kept.insert(at);
        last = best[at].1;
    }
    kept
}

/// Gives every rule that is not kept a free priority between its neighbours.
fn fill(
    known: &[Option<i32>],
    kept: &BTreeSet<usize>,
    taken: &BTreeSet<i32>,
    most: i32,
) -> Option<Vec<i32>> {
    let mut all = vec![0; known.len()];
    let mut from = 0;
    let mut below = 0;
    for end in kept.iter().copied().chain([known.len()]) {
        let above = known.get(end).copied().flatten().unwrap_or(most + 1);
        let free: Vec<i32> = (below + 1..above)
            .filter(|it| !taken.contains(it))
            .collect();
        let wanted = end - from;
        if free.len() < wanted {
            return None;
        }
        for (at, place) in (from..end).enumerate() {
            all[place] = free[(at + 1) * free.len() / (wanted + 1)];
        }
        if end < known.len() {
            all[end] = above;
        }
        (from, below) = (end + 1, above);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_awss_controller_until_they_are_cut() {
        let short = Name::new("default", "nginx-primary-route");
        assert_eq!(
            service_names(&short),
            ("nginx-primary-route-default".into(), None)
        );
        let long = Name::new("default", "a-name-that-is-long-and-longer");
        let (name, other) = service_names(&long);
        assert_eq!(name, "a-name-that-is-long-default");
        let other = other.unwrap();
        assert!(
            other.len() <= 40 && other.starts_with("a-name-that-is-lo-default-"),
            "{other}"
        );
        let twin = Name::new("default", "a-name-that-is-long-and-other");
        assert_eq!(service_names(&twin).0, name);
        assert_ne!(service_names(&twin).1, Some(other));
    }

    #[test]
    fn no_name_begins_as_an_id() {
        for name in ["svc", "svc-a", "svc-that-is-long-and-longer"] {
            let name = Name::new("default", name);
            let (first, other) = service_names(&name);
            let hashed = hashed_name(&name, "Service");
            for made in [Some(first), other, Some(hashed)].into_iter().flatten() {
                assert!(made.starts_with("k8s-svc-") && made.len() <= 40, "{made}");
            }
        }
        for name in ["listener", "listener-a", "listener-set-http-routing"] {
            let name = Name::new("a-namespace-that-is-long", name);
            let made = listener_name(&name, 65535, Protocol::Tls);
            assert!(
                made.starts_with("k8s-listener-") && made.len() <= 63,
                "{made}"
            );
        }
        let name = Name::new("default", "listeners");
        let made = listener_name(&name, 80, Protocol::Http);
        assert_eq!(made, "listeners-default-80-http");
    }

    #[test]
    fn names_hold_what_lattice_allows() {
        assert_eq!(clean("--a.b--C-"), "a-b-c");
        assert_eq!(
            listener_name(&Name::new("ns", "r"), 443, Protocol::Https),
            "r-ns-443-https"
        );
    }

    #[test]
    fn priorities_leave_gaps_and_move_as_few_rules_as_they_can() {
        let none = BTreeSet::new();
        let first = priorities(&[None, None, None], &none, 100).unwrap();
        assert!(
            first.is_sorted_by(|a, b| a < b) && first[0] > 1,
            "{first:?}"
        );
        // One comes between two others: these stay.
        let known = [Some(first[0]), None, Some(first[1]), Some(first[2])];
        let next = priorities(&known, &none, 100).unwrap();
        assert_eq!([next[0], next[2], next[3]], [first[0], first[1], first[2]]);
        assert!(next[0] < next[1] && next[1] < next[2]);
        // Two change places: one of them moves.
        let known = [Some(20), Some(10), Some(30)];
        let next = priorities(&known, &none, 100).unwrap();
        assert!(next.is_sorted_by(|a, b| a < b), "{next:?}");
        assert_eq!(
            next.iter()
                .zip(known)
                .filter(|(a, b)| Some(**a) != *b)
                .count(),
            1
        );
        // What goes is not stood upon, while there is room.
        let taken = BTreeSet::from([50]);
        assert_ne!(priorities(&[None], &taken, 100).unwrap(), [50]);
        // No room between neighbours: all are spread.
        let known = [Some(1), None, Some(2)];
        let next = priorities(&known, &none, 100).unwrap();
        assert!(next.is_sorted_by(|a, b| a < b), "{next:?}");
        assert_eq!(priorities(&[None; 101], &none, 100), None);
        let full = priorities(&[None; 100], &none, 100).unwrap();
        assert_eq!(full, (1..=100).collect::<Vec<_>>());
    }
}
