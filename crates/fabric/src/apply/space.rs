//! Namespaces other than VPCs and instances: transit gateways, and the parts of a WAN.

use std::collections::BTreeMap;
use std::io;

use super::{Failed, Run, reason, without_uplink};
use crate::operation::diff;
use crate::plan::{HostPlan, LinkKind, Namespace, NamespaceRef};

impl Run<'_> {
    /// Creates all namespaces, so that they exist before the first veth leads to one of them.
    pub(super) fn create_spaces(&mut self, plan: &HostPlan) {
        let there = self.kernel.namespaces().unwrap_or_default();
        for name in plan.spaces.keys().filter(|name| !there.contains(*name)) {
            // A failure is reported when the namespace is filled.
            if self.kernel.create_namespace(name).is_ok() {
                self.report.done.push(format!("create {name}"));
            }
        }
    }

    pub(super) fn space(&mut self, name: &str, wanted: &Namespace, joined: bool) {
        // Guests belong to other processes and may disappear at any time.
        let guests = wanted.links.values().any(|l| l.kind == LinkKind::Guest);
        let mut outcome = match self.known.spaces.get(name) {
            Some(known) if !joined && !guests && known == wanted => Ok(Failed::default()),
            _ => self.try_space(name, wanted),
        };
        if let Ok(failed) = &mut outcome {
            self.set_joints_aside(name, &mut failed.links);
        }
        let outcome = reason(outcome).map_or(Ok(()), Err);
        self.report.spaces.insert(name.to_owned(), outcome);
    }

    /// Reports a broken link of an attachment for that attachment only.
    pub(super) fn set_joints_aside(&mut self, place: &str, broken: &mut BTreeMap<String, String>) {
        let joints = &self.joints;
        let aside = broken.extract_if(.., |link, _| {
            joints.contains(&(place.to_owned(), link.clone()))
        });
        for (link, reason) in aside {
            self.broken.insert((place.to_owned(), link), reason);
        }
    }

    pub(super) fn report_joints(&mut self, plan: &HostPlan) {
        for (id, joints) in &plan.transit {
            let made = self.report.spaces.get(id.as_str()).cloned();
            let made = made.unwrap_or(Ok(()));
            for (attachment, joint) in joints {
                let outcome = joint.clone().and_then(|ends| self.whole(&ends));
                let outcome = made.clone().and(outcome);
                self.report
                    .transit_attachments
                    .insert(attachment.clone(), outcome);
            }
            self.report.transit_gateways.insert(id.clone(), made);
        }
    }

    /// A VPC is not as it should be while one of its peering connections is not.
    pub(super) fn report_peerings(&mut self, plan: &HostPlan) {
        for (id, vpcs) in &plan.peerings {
            let Some(Err(reason)) = self.report.spaces.get(id.as_str()) else {
                continue;
            };
            let reason = format!("{id}: {reason}");
            for vpc in vpcs {
                let outcome = self.report.vpcs.get_mut(vpc).filter(|it| it.is_ok());
                outcome
                    .into_iter()
                    .for_each(|outcome| *outcome = Err(reason.clone()));
            }
        }
    }

    /// Checks that a link works at every end.
    fn whole(&self, ends: &[(String, String)]) -> Result<(), String> {
        let mut reasons = ends.iter().filter_map(|end| self.broken.get(end));
        reasons.next().map_or(Ok(()), |reason| Err(reason.clone()))
    }

    fn try_space(&mut self, name: &str, wanted: &Namespace) -> io::Result<Failed> {
        let reduced = self.unguarded.as_ref().map(|_| without_uplink(wanted));
        let wanted = reduced.as_ref().unwrap_or(wanted);
        self.cut_halves(name, wanted, &|_| true)?;
        let place = NamespaceRef::Named(name.to_owned());
        let actual = self.kernel.observe(&place, wanted)?;
        Ok(self.perform(&place, diff(&actual, wanted)))
    }
}
