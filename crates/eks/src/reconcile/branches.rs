//! Interfaces of pods with security groups of their own: made and deleted as nodes tell of pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_compute::managed::{self, NewBranch};
use lath_feed::Observed;
use lath_store::Tx;

use crate::record::{Cluster, control_plane};

/// Most that are made at a time: a step is one write of the state, which all others wait for.
const AT_ONCE: usize = 50;

/// Makes what is missing and deletes what no pod needs. While it is not known which pods there are, all stay.
pub(super) fn advance(cell: &Cell, tx: &mut Tx, observed: &Observed) {
    let clusters: Vec<Arc<Cluster>> = tx.list::<Cluster>().collect();
    for cluster in clusters {
        let id = control_plane(&cluster.name);
        let seen = observed.clusters.get(&id);
        let Some(wanted) = seen.and_then(|it| it.branches.as_ref()) else {
            continue;
        };
        let mut there = managed::branches_of(tx.view(), &cluster.vpc, &id);
        there.retain(|pod, branch| {
            let its = wanted.get(pod);
            let stays = its.is_some_and(|it| managed::is_behind(tx.view(), branch, &it.instance));
            if !stays {
                managed::release_branch(tx, branch);
            }
            stays
        });
        let missing = wanted.iter().filter(|(pod, _)| !there.contains_key(*pod));
        for (pod, it) in missing.take(AT_ONCE) {
            let new = NewBranch {
                cluster: id.clone(),
                pod: pod.clone(),
                instance: it.instance.clone(),
                groups: it.security_groups.iter().cloned().collect(),
                tags: BTreeMap::from([
                    ("eks:eni:owner".into(), "eks-vpc-resource-controller".into()),
                    (
                        format!("kubernetes.io/cluster/{}", cluster.name),
                        "owned".into(),
                    ),
                ]),
            };
            // Where it cannot be made, the node tells the pod that it waits, and this is tried again.
            drop(managed::make_branch(tx, cell, new));
        }
    }
}
