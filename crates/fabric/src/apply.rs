//! Making a host what its plan says: read, diff, do; VPC by VPC, so that a broken one breaks no other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use lath_model::id::{NetworkInterfaceId, VpcId};

use crate::kernel::Kernel;
use crate::operation::{Operation, diff, is_made_here};
use crate::plan::{HostPlan, LinkKind, Namespace, Place, VpcPlan};

/// What came of an apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplyReport {
    /// The host's own part: uplinks and their guard.
    pub host: Option<String>,
    /// For each VPC of the plan: why it does not work, if so.
    pub vpcs: BTreeMap<VpcId, Result<(), String>>,
    /// For each attached interface of the plan: why it does not work, if so.
    pub interfaces: BTreeMap<NetworkInterfaceId, Result<(), String>>,
    /// What was asked for and this host cannot give, such as an internet gateway without privilege.
    pub refused: BTreeMap<VpcId, Vec<String>>,
    /// Namespaces that should be gone and are not, with the reason.
    pub leftovers: BTreeMap<String, String>,
    /// What was done, as `PLACE: OPERATION`. Empty when everything was as wanted.
    pub done: Vec<String>,
}

impl ApplyReport {
    /// Whether everything that was planned is so.
    pub fn is_complete(&self) -> bool {
        self.host.is_none()
            && self.leftovers.is_empty()
            && self.vpcs.values().all(Result::is_ok)
            && self.interfaces.values().all(Result::is_ok)
    }
}

/// Makes the host what the plan says, as far as it goes, and says how far it went.
pub fn apply(kernel: &mut dyn Kernel, plan: &HostPlan) -> ApplyReport {
    let mut run = Run {
        kernel,
        report: ApplyReport::default(),
    };
    // The host's guard stands before there is a link to guard against.
    run.host(plan, |operation| {
        matches!(operation, Operation::Firewall(..))
    });
    run.remove_strangers(plan);
    for (id, vpc) in &plan.vpcs {
        run.vpc(id, vpc);
    }
    run.host(plan, |_| true);
    run.report
}

struct Run<'a> {
    kernel: &'a mut dyn Kernel,
    report: ApplyReport,
}

impl Run<'_> {
    fn host(&mut self, plan: &HostPlan, which: fn(&Operation) -> bool) {
        if !self.kernel.reaches_host() {
            return;
        }
        let outcome = self.observe(&Place::Host, &plan.host).map(|actual| {
            let operations = diff(&actual, &plan.host)
                .into_iter()
                .filter(which)
                .collect();
            self.perform(&Place::Host, operations)
        });
        self.report.host = match outcome {
            Err(e) => Some(e.to_string()),
            Ok(failed) => failed.first(),
        };
    }

    /// Namespaces that the plan does not know go first: their addresses may be wanted elsewhere.
    fn remove_strangers(&mut self, plan: &HostPlan) {
        let wanted: BTreeSet<&str> = plan
            .vpcs
            .iter()
            .flat_map(|(id, vpc)| {
                vpc.instances
                    .keys()
                    .map(|i| i.as_str())
                    .chain(std::iter::once(id.as_str()))
            })
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

    /// Links go by name first: a process may keep the namespace alive for a while yet, and it must be
    /// alone there.
    fn remove(&mut self, name: &str) -> io::Result<()> {
        let place = Place::Named(name.to_owned());
        if let Ok(actual) = self.kernel.observe(&place, &Namespace::default()) {
            let links = actual.links.keys().filter(|link| *link != "lo");
            for link in links {
                self.kernel
                    .perform(&place, &Operation::DeleteLink(link.clone()))?;
            }
        }
        self.kernel.delete_namespace(name)?;
        self.report.done.push(format!("delete {name}"));
        Ok(())
    }

    fn vpc(&mut self, id: &VpcId, vpc: &VpcPlan) {
        if !vpc.refused.is_empty() {
            self.report.refused.insert(id.clone(), vpc.refused.clone());
        }
        let mut broken = BTreeMap::new();
        let outcome = self.try_vpc(id, vpc, &mut broken);
        let outcome = outcome.map_err(|e| e.to_string());
        for (interface, link) in &vpc.interfaces {
            let of_link = broken.remove(link).map_or(Ok(()), Err);
            self.report
                .interfaces
                .insert(interface.clone(), outcome.clone().and(of_link));
        }
        // What is left is about the router's own links.
        let own = broken.into_values().next().map_or(Ok(()), Err);
        self.report.vpcs.insert(id.clone(), outcome.and(own));
    }

    fn try_vpc(
        &mut self,
        id: &VpcId,
        vpc: &VpcPlan,
        broken: &mut BTreeMap<String, String>,
    ) -> io::Result<()> {
        let there = self.kernel.namespaces()?;
        let names = std::iter::once(id.as_str()).chain(vpc.instances.keys().map(|i| i.as_str()));
        for name in names.filter(|name| !there.contains(*name)) {
            self.kernel.create_namespace(name)?;
            self.report.done.push(format!("create {name}"));
        }
        self.cut_halves(id, vpc)?;
        let router = Place::Named(id.as_str().to_owned());
        let actual = self.observe(&router, &vpc.router)?;
        let failed = self.perform(&router, diff(&actual, &vpc.router));
        if let Some(reason) = failed.whole {
            return Err(io::Error::other(reason));
        }
        broken.extend(failed.links);
        self.instances(vpc, broken);
        Ok(())
    }

    /// A veth whose far end is not where the plan wants it is removed, to be made again.
    fn cut_halves(&mut self, id: &VpcId, vpc: &VpcPlan) -> io::Result<()> {
        let router = Place::Named(id.as_str().to_owned());
        let actual = self.kernel.observe(&router, &vpc.router)?;
        for (name, link) in vpc
            .router
            .links
            .iter()
            .filter(|(_, link)| is_made_here(link))
        {
            let LinkKind::Veth { peer_place, peer } = &link.kind else {
                continue;
            };
            let far = Namespace {
                links: [(peer.clone(), link.clone())].into(),
                ..Namespace::default()
            };
            let whole = self
                .kernel
                .observe(peer_place, &far)?
                .links
                .contains_key(peer);
            if actual.links.contains_key(name) && !whole {
                self.kernel
                    .perform(&router, &Operation::DeleteLink(name.clone()))?;
                self.report.done.push(format!("{id}: delete link {name}"));
            }
        }
        Ok(())
    }

    fn instances(&mut self, vpc: &VpcPlan, broken: &mut BTreeMap<String, String>) {
        for (id, wanted) in &vpc.instances {
            let place = Place::Named(id.as_str().to_owned());
            let failed = self.observe(&place, wanted).map(|actual| {
                let operations = diff(&actual, wanted);
                self.perform(&place, operations)
            });
            let reason = match failed {
                Err(e) => Some(e.to_string()),
                Ok(failed) => failed.first(),
            };
            let Some(reason) = reason else { continue };
            for (name, link) in &vpc.router.links {
                if matches!(&link.kind, LinkKind::Veth { peer_place, .. } if *peer_place == place) {
                    broken.entry(name.clone()).or_insert_with(|| reason.clone());
                }
            }
        }
    }

    fn observe(&mut self, place: &Place, wanted: &Namespace) -> io::Result<Namespace> {
        self.kernel.observe(place, wanted)
    }

    /// After a failure about one link the others go on; after any other the rest is left undone.
    fn perform(&mut self, place: &Place, operations: Vec<Operation>) -> Failed {
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

/// A firewall transaction may be thousands of changes long.
fn summary(operation: &Operation) -> String {
    match operation {
        Operation::Firewall(table, changes) => {
            format!("{} changes of table {table}", changes.len())
        }
        other => other.to_string(),
    }
}
