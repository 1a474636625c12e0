//! What an earlier apply made true.

use std::collections::{BTreeMap, BTreeSet};

use lath_model::WorkloadId;
use lath_model::id::VpcId;

use super::ApplyReport;
use crate::plan::{HostPlan, Namespace, NamespaceRef, VpcPlan};

/// The complete parts of an earlier apply's plan.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The host's own part.
    pub host: Option<Namespace>,
    /// VPCs.
    pub vpcs: BTreeMap<VpcId, VpcPlan>,
    /// Other namespaces.
    pub spaces: BTreeMap<String, Namespace>,
}

impl Known {
    /// Forgets a place that may have changed: of a VPC only its router or the workload.
    pub fn doubt(&mut self, place: &NamespaceRef) {
        let NamespaceRef::Named(name) = place else {
            self.host = None;
            return;
        };
        self.spaces.remove(name);
        for (id, vpc) in &mut self.vpcs {
            if id.as_str() == name {
                vpc.router = Namespace::default();
            }
            vpc.workloads.retain(|id, _| id.as_str() != name);
        }
    }

    /// The parts that are complete after an apply of `plan` with this report.
    pub fn after(plan: HostPlan, report: &ApplyReport) -> Self {
        let host = report.host.is_none().then_some(plan.host);
        let lame = |id| {
            report
                .transit_attachments
                .get(id)
                .is_some_and(Result::is_err)
        };
        let joints = plan.transit.values().flatten();
        let suspect: BTreeSet<&String> = joints
            .filter(|(id, _)| lame(*id))
            .flat_map(|(_, joint)| joint.iter().flatten().map(|(place, _)| place))
            .collect();
        let complete = |id: &VpcId, vpc: &VpcPlan| {
            let works = |i| report.interfaces.get(i).is_some_and(Result::is_ok);
            let links = |i| works(i) || report.awaited.contains_key(i);
            let whole = !suspect.iter().any(|place| *place == id.as_str());
            let made = report.vpcs.get(id).is_some_and(Result::is_ok);
            whole && made && vpc.interfaces.keys().all(links)
        };
        let mut vpcs = plan.vpcs;
        vpcs.retain(|id, vpc| complete(id, vpc));
        let awaited: BTreeSet<&WorkloadId> = report.awaited.values().collect();
        for vpc in vpcs.values_mut() {
            vpc.workloads.retain(|id, _| !awaited.contains(id));
        }
        let made = |name: &String| report.spaces.get(name).is_some_and(Result::is_ok);
        let mut spaces = plan.spaces;
        // Links to a host without its firewall were left out.
        spaces.retain(|name, _| host.is_some() && made(name) && !suspect.contains(name));
        Self { host, vpcs, spaces }
    }

    /// Whether this VPC was complete, apart from workloads that are awaited.
    pub(super) fn has(&self, id: &VpcId, vpc: &VpcPlan, awaited: &BTreeSet<&WorkloadId>) -> bool {
        let Some(known) = self.vpcs.get(id) else {
            return false;
        };
        let VpcPlan {
            router,
            workloads,
            interfaces,
            nat_gateways,
            refused,
        } = vpc;
        let mut others = workloads.iter().filter(|(id, _)| !awaited.contains(id));
        known.router == *router
            && known.interfaces == *interfaces
            && known.nat_gateways == *nat_gateways
            && known.refused == *refused
            && known.workloads.keys().all(|id| workloads.contains_key(id))
            && others.all(|(id, wanted)| known.workloads.get(id) == Some(wanted))
    }
}
