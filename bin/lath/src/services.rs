//! Every service of a region's control plane, in one list.

use std::sync::Arc;

use lath_control::{Cell, Contribute};
use lath_ec2::Ec2;
use lath_identity::Identity;
use lath_lattice::Lattice;
use lath_observe::Observe;
use lath_store::Kinds;
use lath_wire::Service;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What each part adds to the feed. Lattice fills what EC2 has laid.
pub(crate) const CONTRIBUTIONS: [Contribute; 2] = [lath_ec2::contribute, lath_lattice::contribute];

/// Every record kind of the database.
pub(crate) fn kinds() -> Kinds {
    let kinds = lath_control::kinds(Kinds::default());
    let kinds = lath_ec2::kinds(kinds);
    let kinds = lath_lattice::kinds(kinds);
    lath_observe::kinds(kinds)
}

/// The services of one region.
pub(crate) struct Apps {
    ec2: Arc<Ec2>,
    lattice: Arc<Lattice>,
    observe: Arc<Observe>,
    identity: Arc<Identity>,
}

impl Apps {
    pub(crate) fn new(cell: &Cell, observe: Arc<Observe>, identity: Arc<Identity>) -> Self {
        Self {
            ec2: Arc::new(Ec2 { cell: cell.clone() }),
            lattice: Arc::new(Lattice { cell: cell.clone() }),
            observe,
            identity,
        }
    }

    /// What the front door serves.
    pub(crate) fn services(&self) -> Vec<Service> {
        let mut services = vec![
            lath_ec2::service(&self.ec2),
            lath_lattice::service(&self.lattice),
            lath_identity::sts_service(&self.identity),
            lath_identity::secretsmanager_service(&self.identity),
        ];
        services.extend(lath_observe::services(&self.observe));
        services
    }

    /// Starts what turns observations into states.
    pub(crate) fn spawn_reconcilers(&self, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        lath_ec2::spawn_reconcilers(&self.ec2, stop, tasks);
        lath_lattice::reconcilers(&self.lattice, stop, tasks);
    }
}
