//! What a drill hits, by the words of its command line.

use anyhow::{Context as _, bail, ensure};
use lath_drill::{Pods, Scenario, Victim as Struck};
use lath_model::{ManagedId, ManagedKind, WorkloadId};
use lath_status::{Cluster, Instance, Status};

use crate::cli::Drill;

/// What a drill hits.
pub(super) struct Victim {
    /// The affected region, or the one of what is affected.
    pub(super) region: String,
    pub(super) workload: Option<WorkloadId>,
    pub(super) cluster: Option<ManagedId>,
    pub(super) pods: Option<Pods>,
}

impl Victim {
    pub(super) fn of(flags: &Drill, scenario: Scenario, status: &Status) -> anyhow::Result<Self> {
        let name = flags.victim.as_str();
        let struck = scenario.facts().victim;
        let has_pods = struck == Struck::Pods;
        ensure!(
            has_pods == flags.pod.is_some(),
            "--pod NAMESPACE/NAME says what kill-pod kills in the cluster that is the victim, and belongs to no other scenario"
        );
        let region_alone = |region: String| Self {
            region,
            workload: None,
            cluster: None,
            pods: None,
        };
        match struck {
            Struck::Node => {
                let (region, node) = node(status, name)?;
                Ok(Self {
                    workload: Some(node.parse()?),
                    ..region_alone(region)
                })
            }
            Struck::Workload => {
                let found = instance(status, name)?;
                Ok(Self {
                    workload: Some(found.id.parse()?),
                    ..region_alone(region_of(status, found))
                })
            }
            Struck::Cluster if is_region(status, name) => Ok(region_alone(name.to_owned())),
            Struck::Cluster | Struck::Pods => {
                let found = cluster(status, name)?;
                let pods = flags.pod.as_deref().map(str::parse).transpose()?;
                Ok(Self {
                    cluster: Some(ManagedId::new(ManagedKind::ControlPlane, &found.name)?),
                    pods,
                    ..region_alone(found.region.clone())
                })
            }
            Struck::Region => Ok(region_alone(region(scenario, name, status)?)),
        }
    }
}

fn region(scenario: Scenario, name: &str, status: &Status) -> anyhow::Result<String> {
    let known: Vec<&str> = status
        .regions
        .iter()
        .map(|region| region.name.as_str())
        .collect();
    if known.is_empty() {
        bail!("{scenario} needs several processes: start Lath with `lath serve --regions ...`");
    }
    ensure!(
        known.contains(&name),
        "--victim {name:?} is not a region of this Lath: {}",
        known.join(", ")
    );
    Ok(name.to_owned())
}

fn is_region(status: &Status, name: &str) -> bool {
    status.region == name || status.regions.iter().any(|it| it.name == name)
}

/// A cluster by its name, or by `REGION/NAME` where regions have clusters of the same name.
fn cluster<'a>(status: &'a Status, name: &str) -> anyhow::Result<&'a Cluster> {
    let is_it = |it: &&Cluster| it.name == name || format!("{}/{}", it.region, it.name) == name;
    let found: Vec<_> = status.clusters.iter().filter(is_it).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => bail!("no cluster is named {name:?}; `lath status` lists them"),
        several => bail!(
            "{} clusters are named {name:?}: use REGION/NAME",
            several.len()
        ),
    }
}

/// A node of a cluster, by its name there or as an instance: its region and instance.
fn node(status: &Status, name: &str) -> anyhow::Result<(String, String)> {
    let nodes = status.clusters.iter().flat_map(|cluster| {
        let nodes = cluster.nodes.iter();
        nodes.map(|node| (cluster.region.as_str(), node))
    });
    let nodes: Vec<_> = nodes.collect();
    let by_name = nodes.iter().filter(|(_, node)| node.name == name);
    let by_name: Vec<_> = by_name.collect();
    let (region, node) = match by_name.as_slice() {
        [one] => *one,
        [] => {
            let id = &instance(status, name)?.id;
            let found = nodes.iter().find(|(_, node)| node.instance == *id);
            found.with_context(|| format!("{id} is no node of a cluster"))?
        }
        several => bail!(
            "{} nodes are named {name:?}: use an instance's id",
            several.len()
        ),
    };
    Ok(((*region).to_owned(), node.instance.clone()))
}

fn region_of(status: &Status, instance: &Instance) -> String {
    if instance.region.is_empty() {
        status.region.clone()
    } else {
        instance.region.clone()
    }
}

pub(super) fn instance<'a>(status: &'a Status, name: &str) -> anyhow::Result<&'a Instance> {
    let by_id = status.instances.iter().find(|i| i.id == name);
    let named: Vec<_> = status
        .instances
        .iter()
        .filter(|i| i.name.as_deref() == Some(name))
        .collect();
    match (by_id, named.as_slice()) {
        (Some(one), _) => Ok(one),
        (None, [one]) => Ok(one),
        (None, []) => {
            bail!("no instance has the id or the Name tag {name:?}; `lath status` lists them")
        }
        (None, several) => bail!("{} instances are named {name:?}: use an id", several.len()),
    }
}
