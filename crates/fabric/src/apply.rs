//! Applies a plan to the host: read, diff, change; VPC by VPC, so that a failure in one does not affect others.

mod known;
mod space;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

pub use known::Known;
use lath_model::WorkloadId;
use lath_model::id::{
    NatGatewayId, NetworkInterfaceId, TransitGatewayAttachmentId, TransitGatewayId, VpcId,
};

use crate::kernel::Kernel;
use crate::nft;
use crate::operation::{Operation, diff};
use crate::plan::{HostPlan, Link, LinkKind, Namespace, NamespaceRef, RouteTo, VpcPlan};

/// The result of an apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplyReport {
    /// Why the host's own part (uplinks and their firewall) does not work, if so.
    pub host: Option<String>,
    /// For each VPC of the plan: why it does not work, if so.
    pub vpcs: BTreeMap<VpcId, Result<(), String>>,
    /// For each attached interface of the plan: why it does not work, if so.
    pub interfaces: BTreeMap<NetworkInterfaceId, Result<(), String>>,
    /// Attached interfaces that do not work because the namespace of this workload was not handed over yet. No apply can
    /// change that: [`Self::is_complete`] does not count them.
    pub awaited: BTreeMap<NetworkInterfaceId, WorkloadId>,
    /// For each transit gateway: why its router does not work, if so.
    pub transit_gateways: BTreeMap<TransitGatewayId, Result<(), String>>,
    /// For each attachment of a transit gateway: why its link does not work, if so. A tunnel's link works when
    /// it exists, whether or not its peer answers.
    pub transit_attachments: BTreeMap<TransitGatewayAttachmentId, Result<(), String>>,
    /// For each NAT gateway: why it does not work, if so.
    pub nat_gateways: BTreeMap<NatGatewayId, Result<(), String>>,
    /// For each other namespace of the plan: why it does not work, if so.
    pub spaces: BTreeMap<String, Result<(), String>>,
    /// Requested features that this host does not support, such as an internet gateway without privilege.
    pub refused: BTreeMap<VpcId, Vec<String>>,
    /// Namespaces that could not be removed, with the reason.
    pub leftovers: BTreeMap<String, String>,
    /// The performed operations, as `PLACE: OPERATION`. Empty when nothing had to change.
    pub done: Vec<String>,
}

impl ApplyReport {
    /// Whether the host matches the whole plan, except where a namespace is [awaited](Self::awaited).
    pub fn is_complete(&self) -> bool {
        let works = |(id, outcome): (&NetworkInterfaceId, &Result<(), String>)| {
            outcome.is_ok() || self.awaited.contains_key(id)
        };
        self.host.is_none()
            && self.leftovers.is_empty()
            && self.vpcs.values().all(Result::is_ok)
            && self.interfaces.iter().all(works)
            && self.spaces.values().all(Result::is_ok)
            && self.transit_attachments.values().all(Result::is_ok)
    }
}

/// Applies the plan as far as possible and reports the result. Compares everything with the kernel.
pub fn apply(kernel: &mut dyn Kernel, plan: &HostPlan) -> ApplyReport {
    apply_changes(kernel, plan, &Known::default())
}

/// Like [`apply`], but trusts that VPCs and workloads that equal `known` have not changed.
pub fn apply_changes(kernel: &mut dyn Kernel, plan: &HostPlan, known: &Known) -> ApplyReport {
    let there = kernel.namespaces().unwrap_or_default();
    let mut run = Run {
        kernel,
        known,
        awaited: plan
            .handed_over()
            .filter(|id| !there.contains(id.as_str()))
            .collect(),
        handed_over: plan
            .handed_over()
            .map(|id| NamespaceRef::Named(id.as_str().to_owned()))
            .collect(),
        report: ApplyReport::default(),
        unguarded: None,
        broken: BTreeMap::new(),
        joints: plan
            .transit
            .values()
            .flat_map(|joints| joints.values().flatten().flatten())
            .collect(),
    };
    let changed = |id: &VpcId, vpc: &VpcPlan| !known.has(id, vpc, &run.awaited);
    // A veth of a space may have its other end in a changed part.
    let joined = known.spaces != plan.spaces || plan.vpcs.iter().any(|(i, v)| changed(i, v));
    let host = joined || known.host.as_ref() != Some(&plan.host);
    if host {
        run.guard_host(plan);
    }
    run.remove_strangers(plan);
    run.create_spaces(plan);
    for (id, vpc) in &plan.vpcs {
        run.vpc(id, vpc);
    }
    for (name, space) in &plan.spaces {
        run.space(name, space, joined);
    }
    run.report_joints(plan);
    run.report_peerings(plan);
    if host {
        run.settle_host(plan);
    }
    run.report
}

struct Run<'a> {
    kernel: &'a mut dyn Kernel,
    known: &'a Known,
    /// Workloads whose namespaces were not handed over yet.
    awaited: BTreeSet<&'a WorkloadId>,
    /// The namespaces of all workloads that are handed over.
    handed_over: BTreeSet<NamespaceRef>,
    report: ApplyReport,
    /// Why the host's firewall is missing. Then no VPC may have an uplink to the host.
    unguarded: Option<String>,
    /// Broken links of transit gateways' attachments, by namespace and link, with the reason.
    broken: BTreeMap<(String, String), String>,
    /// The links of transit gateways' attachments.
    joints: BTreeSet<&'a (String, String)>,
}

impl Run<'_> {
    /// Installs the host's firewall before the first uplink, and keeps it as long as there is one.
    fn guard_host(&mut self, plan: &HostPlan) {
        if !self.kernel.reaches_host() {
            return;
        }
        let outcome = self
            .kernel
            .observe(&NamespaceRef::Host, &plan.host)
            .map(|actual| {
                let table = nft::widened(actual.table.as_ref(), plan.host.table.as_ref());
                let guarded = Namespace {
                    table,
                    ..actual.clone()
                };
                self.perform(&NamespaceRef::Host, diff(&actual, &guarded))
            });
        self.unguarded = reason(outcome);
        self.report.host.clone_from(&self.unguarded);
    }

    fn settle_host(&mut self, plan: &HostPlan) {
        if !self.kernel.reaches_host() || self.unguarded.is_some() {
            return;
        }
        let outcome = self
            .kernel
            .observe(&NamespaceRef::Host, &plan.host)
            .map(|actual| {
                let operations = diff(&actual, &plan.host).into_iter();
                let (links, rest): (Vec<_>, Vec<_>) =
                    operations.partition(|operation| matches!(operation, Operation::DeleteLink(_)));
                self.perform(&NamespaceRef::Host, links.into_iter().chain(rest).collect())
            });
        self.report.host = reason(outcome);
    }

    /// Removes namespaces that are not in the plan. This comes first, because others may need their addresses.
    fn remove_strangers(&mut self, plan: &HostPlan) {
        let wanted: BTreeSet<&str> = plan
            .vpcs
            .iter()
            .flat_map(|(id, vpc)| {
                vpc.workloads
                    .keys()
                    .map(WorkloadId::as_str)
                    .chain(std::iter::once(id.as_str()))
            })
            .chain(plan.spaces.keys().map(String::as_str))
            .collect();
        let there = match self.kernel.namespaces() {
            Ok(there) => there,
            Err(e) => {
                return drop(
                    self.report
                        .leftovers
                        .insert("namespaces".into(), e.to_string()),
                );
            }
        };
        for name in there.iter().filter(|name| !wanted.contains(name.as_str())) {
            if let Err(e) = self.remove(name) {
                self.report.leftovers.insert(name.clone(), e.to_string());
            }
        }
    }

    /// Removes a namespace. A process may keep a workload's namespace alive for a while; removing the router's
    /// end removes its link.
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.kernel.delete_namespace(name)?;
        self.report.done.push(format!("delete {name}"));
        Ok(())
    }

    fn vpc(&mut self, id: &VpcId, vpc: &VpcPlan) {
        if !vpc.refused.is_empty() {
            self.report.refused.insert(id.clone(), vpc.refused.clone());
        }
        let mut broken = BTreeMap::new();
        let outcome = match self.unguarded.clone() {
            Some(reason) if vpc.router != without_uplink(&vpc.router) => {
                let router = without_uplink(&vpc.router);
                let vpc = VpcPlan {
                    router,
                    ..vpc.clone()
                };
                let outcome = self.try_vpc(id, &vpc, &mut broken);
                outcome.and_then(|()| {
                    let words = format!("no internet gateway: {reason}");
                    Err(io::Error::other(words))
                })
            }
            _ => self.try_vpc(id, vpc, &mut broken),
        };
        let outcome = outcome.map_err(|e| e.to_string());
        self.await_handed_over(vpc, &mut broken);
        for (interface, link) in &vpc.interfaces {
            let of_link = broken.remove(link).map_or(Ok(()), Err);
            self.report
                .interfaces
                .insert(interface.clone(), outcome.clone().and(of_link));
        }
        self.set_joints_aside(id.as_str(), &mut broken);
        for (nat, planned) in &vpc.nat_gateways {
            let made = outcome.clone().and_then(|()| planned.clone());
            self.report.nat_gateways.insert(nat.clone(), made);
        }
        // The remaining errors concern the router's own links.
        let own = broken.into_values().next().map_or(Ok(()), Err);
        self.report.vpcs.insert(id.clone(), outcome.and(own));
    }

    fn try_vpc(
        &mut self,
        id: &VpcId,
        vpc: &VpcPlan,
        broken: &mut BTreeMap<String, String>,
    ) -> io::Result<()> {
        if self.known.has(id, vpc, &self.awaited) {
            return Ok(());
        }
        let known = self.known.vpcs.get(id);
        let as_known = |i: &WorkloadId, wanted: &Namespace| {
            known.is_some_and(|known| known.workloads.get(i) == Some(wanted))
        };
        let fresh: BTreeMap<&WorkloadId, &Namespace> = vpc
            .workloads
            .iter()
            .filter(|(i, wanted)| !as_known(i, wanted) && !self.awaited.contains(i))
            .collect();
        let there = self.kernel.namespaces()?;
        let made_here = vpc
            .workloads
            .iter()
            .filter(|(_, wanted)| !wanted.handed_over);
        let names = std::iter::once(id.as_str()).chain(made_here.map(|(id, _)| id.as_str()));
        for name in names.filter(|name| !there.contains(*name)) {
            self.kernel.create_namespace(name)?;
            self.report.done.push(format!("create {name}"));
        }
        let suspect = |place: &NamespaceRef| match place {
            NamespaceRef::Host => true,
            NamespaceRef::Named(name) => {
                fresh.keys().any(|id| id.as_str() == name)
                    || !vpc.workloads.keys().any(|id| id.as_str() == name)
            }
        };
        self.cut_halves(id.as_str(), &vpc.router, &suspect)?;
        let router = NamespaceRef::Named(id.as_str().to_owned());
        let actual = self.kernel.observe(&router, &vpc.router)?;
        let failed = self.perform(&router, diff(&actual, &vpc.router));
        if let Some(reason) = failed.whole {
            return Err(io::Error::other(reason));
        }
        broken.extend(failed.links);
        self.workloads(vpc, &fresh, broken);
        Ok(())
    }

    /// Removes a veth whose far end is not in the planned namespace, so that it is made again.
    fn cut_halves(
        &mut self,
        id: &str,
        wanted: &Namespace,
        suspect: &dyn Fn(&NamespaceRef) -> bool,
    ) -> io::Result<()> {
        let router = NamespaceRef::Named(id.to_owned());
        let actual = self.kernel.observe(&router, &links_of(wanted))?;
        for (name, link) in wanted
            .links
            .iter()
            .filter(|(name, _)| actual.links.contains_key(*name))
        {
            let LinkKind::Veth { peer_place, peer } = &link.kind else {
                continue;
            };
            if !suspect(peer_place) {
                continue;
            }
            let far = Namespace {
                links: [(peer.clone(), link.clone())].into(),
                ..Namespace::default()
            };
            let there = match self.kernel.observe(peer_place, &far) {
                Ok(there) => there.links.contains_key(peer),
                // The namespace at its far end could not be made: that breaks only this link.
                Err(e) if e.kind() == io::ErrorKind::NotFound => false,
                // What its root made of it breaks only this link: that is reported when the workload is looked at.
                Err(_) if self.handed_over.contains(peer_place) => continue,
                Err(e) => return Err(e),
            };
            if !there {
                self.kernel
                    .perform(&router, &Operation::DeleteLink(name.clone()))?;
                self.report.done.push(format!("{id}: delete link {name}"));
            }
        }
        Ok(())
    }

    /// Says of the links to awaited namespaces that they wait.
    fn await_handed_over(&mut self, vpc: &VpcPlan, broken: &mut BTreeMap<String, String>) {
        for (interface, link) in &vpc.interfaces {
            let kind = vpc.router.links.get(link).map(|link| &link.kind);
            let Some(LinkKind::Veth {
                peer_place: NamespaceRef::Named(name),
                ..
            }) = kind
            else {
                continue;
            };
            let mut awaited = self.awaited.iter();
            if let Some(&id) = awaited.find(|id| id.as_str() == name) {
                let words = format!("the network of {id} was not handed over yet");
                broken.insert(link.clone(), words);
                self.report.awaited.insert(interface.clone(), id.clone());
            }
        }
    }

    fn workloads(
        &mut self,
        vpc: &VpcPlan,
        fresh: &BTreeMap<&WorkloadId, &Namespace>,
        broken: &mut BTreeMap<String, String>,
    ) {
        for (id, wanted) in fresh {
            let place = NamespaceRef::Named(id.as_str().to_owned());
            let failed = self.kernel.observe(&place, wanted).map(|actual| {
                let operations = diff(&actual, wanted);
                self.perform(&place, operations)
            });
            let Some(reason) = reason(failed) else {
                continue;
            };
            for (name, link) in &vpc.router.links {
                if matches!(&link.kind, LinkKind::Veth { peer_place, .. } if *peer_place == place) {
                    broken.entry(name.clone()).or_insert_with(|| reason.clone());
                }
            }
        }
    }

    /// Performs operations. After a failure of one link the others continue; any other failure ends the rest.
    fn perform(&mut self, place: &NamespaceRef, operations: Vec<Operation>) -> Failed {
        let mut failed = Failed::default();
        for operation in operations {
            if operation
                .link()
                .is_some_and(|link| failed.links.contains_key(link))
            {
                continue;
            }
            match self.kernel.perform(place, &operation) {
                Ok(()) => self.report.done.push(format!("{place}: {operation}")),
                Err(e) => {
                    let reason = format!("{}: {e}", summary(&operation));
                    match operation.link().filter(|link| *link != "lo") {
                        Some(link) => drop(failed.links.insert(link.to_owned(), reason)),
                        None => {
                            failed.whole = Some(reason);
                            return failed;
                        }
                    }
                }
            }
        }
        failed
    }
}

fn reason(outcome: io::Result<Failed>) -> Option<String> {
    match outcome {
        Err(e) => Some(e.to_string()),
        Ok(failed) => failed.first(),
    }
}

/// A router without its uplink to the host and everything that depends on it.
fn without_uplink(router: &Namespace) -> Namespace {
    let mut router = router.clone();
    let to_host = |link: &Link| {
        matches!(
            &link.kind,
            LinkKind::Veth {
                peer_place: NamespaceRef::Host,
                ..
            }
        )
    };
    let gone: BTreeSet<String> = router
        .links
        .iter()
        .filter(|(_, l)| to_host(l))
        .map(|(name, _)| name.clone())
        .collect();
    router.links.retain(|name, _| !gone.contains(name));
    router
        .addresses
        .retain(|address| !gone.contains(&address.dev));
    router
        .routes
        .retain(|_, to| !matches!(to, RouteTo::Dev { dev, .. } if gone.contains(dev)));
    router
}

#[derive(Debug, Default)]
struct Failed {
    whole: Option<String>,
    links: BTreeMap<String, String>,
}

impl Failed {
    fn first(self) -> Option<String> {
        self.whole.or_else(|| self.links.into_values().next())
    }
}

/// Only the links, which are cheap to read.
fn links_of(namespace: &Namespace) -> Namespace {
    Namespace {
        links: namespace.links.clone(),
        ..Namespace::default()
    }
}

/// A short description of an operation: a firewall transaction may have thousands of changes.
fn summary(operation: &Operation) -> String {
    match operation {
        Operation::Firewall(table, changes) => {
            format!("{} changes of table {table}", changes.len())
        }
        other => other.to_string(),
    }
}
