//! Services across clusters as the Kubernetes project has them (KEP-1645, group `multicluster.x-k8s.io`): an export becomes target
//! groups, and what clusters of one ClusterSet export is read from there. There is no other control plane between them.
//!
//! What a cluster exports is said by tags of its groups ([`Exported`]). Each cluster reads those of all ([`read`]), makes a
//! ServiceImport of what it finds ([`import`]), and says of its own exports what became of them ([`export`]).

mod export;
mod import;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use crate::condition::ConditionState;
use crate::desired::{
    CLUSTER_NAME, Group, GroupRef, SERVICE_NAME, SERVICE_NAMESPACE, Source, Tags, key,
};
use crate::group_policies::Of;
use crate::kinds::{BackendRef, McsExport, RouteKind};
use crate::plan::group_of;
use crate::settings::Settings;
use crate::world::{Name, Service, ServicePort, World, backing};

pub(crate) use self::read::follow;

/// With what the tags begin that say what an exported port is.
pub(crate) const PREFIX: &str = "lath.dev/mcs-";
/// The ClusterSet of a group's cluster.
pub(crate) const SET: &str = "lath.dev/mcs-set";
const PORT_NAME: &str = "lath.dev/mcs-port-name";
const APP_PROTOCOL: &str = "lath.dev/mcs-app-protocol";
const TYPE: &str = "lath.dev/mcs-type";
const AFFINITY: &str = "lath.dev/mcs-session-affinity";
const SINCE: &str = "lath.dev/mcs-since";
/// The annotations of a ServiceImport that say how requests are shared between clusters.
const WEIGHTS: &str = "lath.dev/cluster-weights";
const LOCALITY: &str = "lath.dev/locality";
/// What a weight of a backend is multiplied by before it is divided between clusters.
pub(crate) const SHARES: i64 = 1000;

/// A port that a cluster exports: a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exported {
    /// The cluster's id in the set: its name and its region.
    pub(crate) cluster: String,
    region: String,
    /// Whether it is this cluster's.
    own: bool,
    /// The group's id, or its ARN in another region.
    group: String,
    port: i32,
    port_name: String,
    app_protocol: String,
    headless: bool,
    affinity: String,
    /// Since when it is exported: of several that contradict each other the oldest counts.
    since: String,
}

/// What clusters export, by name; of each region that has ever answered.
pub(crate) type ByRegion = BTreeMap<String, BTreeMap<Name, Vec<Exported>>>;

/// A cluster's id in its set: unlike its name alone, unique among regions.
pub(crate) fn cluster_id(cluster: &str, region: &str) -> String {
    let letters = cluster.chars().map(|it| match it {
        'A'..='Z' => it.to_ascii_lowercase(),
        'a'..='z' | '0'..='9' => it,
        _ => '-',
    });
    let name: String = letters.collect();
    format!("{}.{region}", name.trim_matches('-'))
}

impl Exported {
    /// Reads a group's tags.
    fn of(arn: &str, port: i32, tags: &Tags, settings: &Settings) -> Option<(Name, Self)> {
        let tag = |name: &str| tags.get(name).map(String::as_str);
        let region = arn.split(':').nth(3)?;
        let cluster = tag(&key(CLUSTER_NAME))?;
        let name = Name::new(tag(&key(SERVICE_NAMESPACE))?, tag(&key(SERVICE_NAME))?);
        let here = region == settings.region;
        let owned = |name: &str| tag(name).unwrap_or_default().to_owned();
        let exported = Self {
            cluster: cluster_id(cluster, region),
            region: region.to_owned(),
            own: here && tags.get(&key(crate::desired::MANAGED_BY)) == Some(&settings.managed_by()),
            group: match here {
                true => crate::lattice::id_of(arn),
                false => arn.to_owned(),
            },
            port,
            port_name: owned(PORT_NAME),
            app_protocol: owned(APP_PROTOCOL),
            headless: tag(TYPE) == Some("Headless"),
            affinity: owned(AFFINITY),
            since: owned(SINCE),
        };
        Some((name, exported))
    }

    /// What goes before what, where two contradict each other.
    fn age(&self) -> (&str, &str) {
        (&self.since, &self.cluster)
    }
}

/// The kind of route that a port speaks.
fn kind_of(port: &ServicePort) -> RouteKind {
    match port.app_protocol.as_deref() {
        Some("grpc" | "kubernetes.io/grpc") => RouteKind::Grpc,
        Some("tls") => RouteKind::Tls,
        _ => RouteKind::Http,
    }
}

/// What is wrong with a Service that is to be exported.
fn invalid(service: Option<&Service>, name: &Name) -> Option<ConditionState> {
    let Some(service) = service else {
        return Some(ConditionState::bad(
            "NoService",
            format!("there is no Service {name}"),
        ));
    };
    if service.external_name {
        let message = "a Service of type ExternalName cannot be exported";
        return Some(ConditionState::bad("InvalidServiceType", message));
    }
    if service.ports.is_empty() {
        let message = "the Service has no TCP port";
        return Some(ConditionState::bad("InvalidServiceType", message));
    }
    service
        .ipv6_only
        .then(|| ConditionState::bad("InvalidServiceType", "VPC Lattice serves IPv4 targets here"))
}

/// The groups of an export of this kind: one for each TCP port.
fn groups(world: &World, settings: &Settings, name: &Name, export: &McsExport) -> Vec<Group> {
    let (Some(set), Some(service)) = (&settings.cluster_set, world.services.get(name)) else {
        return Vec::new();
    };
    if invalid(Some(service), name).is_some() {
        return Vec::new();
    }
    let since = export.metadata.creation_timestamp.as_ref();
    let since = since.map(|it| it.0.to_string()).unwrap_or_default();
    let policy = world
        .group_policy(Of::Export, name)
        .or_else(|| world.group_policy(Of::Service, name));
    let policy = policy.map(|(_, policy)| policy);
    let groups = service.ports.iter().map(|port| {
        let mut group = group_of(
            settings,
            Source::Export,
            kind_of(port),
            (name, port),
            (policy, None),
        );
        group.targets = world.targets(name, port);
        let kind = if service.headless {
            "Headless"
        } else {
            "ClusterSetIP"
        };
        let pairs = [
            (SET, set.as_str()),
            (PORT_NAME, &port.name),
            (
                APP_PROTOCOL,
                port.app_protocol.as_deref().unwrap_or_default(),
            ),
            (TYPE, kind),
            (
                AFFINITY,
                if service.client_ip {
                    "ClientIP"
                } else {
                    "None"
                },
            ),
            (SINCE, &since),
        ];
        let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        group.extra = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        group
    });
    groups.collect()
}

/// The groups of all exports of a name: those of AWS's kind, and those of the Kubernetes project's.
pub(crate) fn export_groups(world: &World, settings: &Settings, name: &Name) -> Vec<Group> {
    let mut all: BTreeMap<String, Group> = BTreeMap::new();
    let aws = world.exports.get(name);
    if let Some(export) = aws.filter(|it| it.metadata.deletion_timestamp.is_none()) {
        let groups = crate::plan::export(world, settings, name, export);
        all.extend(groups.into_iter().flatten().map(|it| (it.name.clone(), it)));
    }
    let mcs = world.mcs_exports.get(name);
    if let Some(export) = mcs.filter(|it| it.metadata.deletion_timestamp.is_none()) {
        let groups = groups(world, settings, name, export);
        all.extend(groups.into_iter().map(|it| (it.name.clone(), it)));
    }
    all.into_values().collect()
}

impl World {
    /// What all clusters export under a name, the oldest first.
    pub(crate) fn exported(&self, name: &Name) -> Vec<&Exported> {
        let regions = self.exported.values();
        let all = regions.filter_map(|it| it.get(name)).flatten();
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|it| it.age());
        all
    }

    /// The targets of all ports of the Services that exports of a name are of.
    fn backing_targets(&self, name: &Name) -> BTreeSet<(String, i32)> {
        let aws = self.exports.get(name).map(|it| backing(name, it));
        let services = [Some(name.clone()), aws].into_iter().flatten();
        let found = services.filter_map(|it| Some((self.services.get(&it)?, it)));
        let targets = found.flat_map(|(service, name)| {
            let ports = service.ports.iter();
            ports
                .flat_map(|port| self.targets(&name, port))
                .collect::<Vec<_>>()
        });
        targets.collect()
    }

    /// A region of the ClusterSet that has not said yet what it exports.
    pub(crate) fn silent_region<'a>(&self, settings: &'a Settings) -> Option<&'a str> {
        settings.cluster_set.as_ref()?;
        let regions = std::iter::once(&settings.region).chain(&settings.cluster_set_regions);
        let mut silent = regions.filter(|it| !self.exported.contains_key(*it));
        silent.next().map(String::as_str)
    }
}

/// The weights of clusters: `ID=WEIGHT,...`, where an id may leave out the region.
fn weights(text: &str) -> Result<BTreeMap<&str, i64>, String> {
    let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    let parts = parts.map(|part| {
        let wrong =
            || format!("{WEIGHTS}: {part:?} is not CLUSTER=WEIGHT with a weight of 0 to 1000");
        let (cluster, weight) = part.split_once('=').ok_or_else(wrong)?;
        let weight = weight
            .trim()
            .parse()
            .ok()
            .filter(|it| (0..=1000).contains(it));
        Ok((cluster.trim(), weight.ok_or_else(wrong)?))
    });
    parts.collect()
}

/// The ports that an import has, with the export that says what each one is: where several contradict each other, the oldest.
fn ports<'a>(exported: &[&'a Exported]) -> BTreeMap<i32, &'a Exported> {
    let mut ports: BTreeMap<i32, &Exported> = BTreeMap::new();
    for it in exported {
        let taken = ports.values().any(|known| known.port_name == it.port_name);
        if !taken {
            ports.entry(it.port).or_insert(it);
        }
    }
    ports
}

/// What a backend that is a ServiceImport forwards to.
pub(crate) struct Spread {
    /// Groups with their shares of its weight; those without one are the reserve.
    pub(crate) groups: Vec<(GroupRef, i64)>,
    /// The clusters that there was no place for.
    pub(crate) left_out: Vec<String>,
}

/// The groups of a backend that is a ServiceImport: of more than so many, those that get requests, the nearest and the oldest.
pub(crate) fn spread(
    world: &World,
    settings: &Settings,
    backend: &BackendRef,
    name: &Name,
    most: usize,
) -> Result<Spread, ConditionState> {
    let missing = |why: String| ConditionState::bad("BackendNotFound", why);
    if settings.cluster_set.is_none() {
        let why = "the controller is in no ClusterSet: --cluster-set names one";
        return Err(ConditionState::bad("InvalidKind", why));
    }
    let Some(import) = world.mcs_imports.get(name) else {
        return Err(missing(format!("there is no ServiceImport {name}")));
    };
    let none = BTreeMap::new();
    let annotations = import.metadata.annotations.as_ref().unwrap_or(&none);
    let mut exported = world.exported(name);
    if exported.is_empty() {
        return Err(missing(format!("no cluster exports {name}")));
    }
    // One that speaks otherwise than the import says is not what a client expects there.
    let wanted = ports(&exported).into_iter();
    let wanted = wanted
        .map(|(_, it)| it)
        .find(|it| Some(it.port) == backend.port);
    exported.retain(|it| {
        wanted.is_some_and(|wanted| {
            (it.port, &it.port_name, &it.app_protocol)
                == (wanted.port, &wanted.port_name, &wanted.app_protocol)
        })
    });
    if exported.is_empty() {
        let port = backend.port.unwrap_or_default();
        return Err(missing(format!("no cluster exports port {port} of {name}")));
    }
    let unsupported = |why: String| ConditionState::bad("UnsupportedValue", why);
    let asked = annotations.get(WEIGHTS).map_or("", String::as_str);
    let asked = weights(asked).map_err(unsupported)?;
    let weight = |it: &Exported| {
        let short = it.cluster.strip_suffix(&format!(".{}", it.region));
        let named = asked.get(it.cluster.as_str()).or_else(|| asked.get(short?));
        named.copied().unwrap_or(1)
    };
    let near: Box<dyn Fn(&Exported) -> bool> = match annotations.get(LOCALITY).map(String::as_str) {
        None | Some("None") => Box::new(|_| true),
        // Without the extension a group of weight 0 would get nothing, whatever becomes of the others.
        Some(_) if !settings.extended => {
            return Err(unsupported(format!(
                "{LOCALITY} needs a Lath in extended mode, and --extended"
            )));
        }
        Some("PreferSameCluster") => Box::new(|it| it.own),
        Some("PreferSameRegion") => Box::new(|it| it.region == settings.region),
        Some(other) => {
            return Err(unsupported(format!(
                "{LOCALITY}: {other:?} is not PreferSameCluster, PreferSameRegion or None"
            )));
        }
    };
    // Without anybody near, everybody is.
    let any = exported.iter().any(|it| near(it) && weight(it) > 0);
    let counts = |it: &Exported| match !any || near(it) {
        true => weight(it),
        false => 0,
    };
    exported.sort_by_key(|it| {
        let far = (counts(it) == 0, !it.own, it.region != settings.region);
        (far, it.age())
    });
    let left_out = exported.split_off(most.min(exported.len()));
    let left_out = left_out.into_iter().map(|it| it.cluster.clone());
    let left_out: Vec<_> = left_out.collect();
    let sum: i64 = exported.iter().map(|it| counts(it)).sum();
    let whole = i64::from(backend.weight.unwrap_or(1).max(0)) * SHARES;
    let shares = exported.into_iter().map(|it| {
        let counts = counts(it);
        let share = match counts {
            0 => 0,
            _ => (whole * counts / sum).max(i64::from(whole > 0)),
        };
        (GroupRef::Existing(it.group.clone()), share)
    });
    Ok(Spread {
        groups: shares.collect(),
        left_out,
    })
}

/// What two exports of one name say differently, for the condition `Conflict`: what the oldest says counts.
fn conflict(exported: &[&Exported]) -> Option<ConditionState> {
    let oldest = exported.first()?;
    let mut ports: BTreeMap<i32, &Exported> = BTreeMap::new();
    let mut names: BTreeMap<&str, &Exported> = BTreeMap::new();
    for it in exported {
        let (reason, what) = if it.headless != oldest.headless {
            ("TypeConflict", "is headless, or is not, otherwise than")
        } else if it.affinity != oldest.affinity {
            (
                "SessionAffinityConflict",
                "has another session affinity than",
            )
        } else {
            let first = *ports.entry(it.port).or_insert(it);
            let named = *names.entry(&it.port_name).or_insert(it);
            let same = (&first.port_name, &first.app_protocol) == (&it.port_name, &it.app_protocol);
            if same && named.port == it.port {
                continue;
            }
            let other = if same { named } else { first };
            let (port, by) = (it.port, &other.cluster);
            let message = format!(
                "port {port} of cluster {} is not as cluster {by} exports it, which counts",
                it.cluster
            );
            return Some(ConditionState::good("PortConflict").with_message(message));
        };
        let message = format!(
            "cluster {} {what} cluster {}, which counts",
            it.cluster, oldest.cluster
        );
        return Some(ConditionState::good(reason).with_message(message));
    }
    None
}

/// The clusters of exports, each once.
fn clusters(exported: &[&Exported]) -> BTreeSet<String> {
    exported.iter().map(|it| it.cluster.clone()).collect()
}
