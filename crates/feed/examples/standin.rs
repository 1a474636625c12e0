//! Stands in for a node in `./x bench scale`: follows a control plane and says at once that everything works that a
//! snapshot changed, and makes nothing. Its arguments are the feed's socket and the region.

use std::sync::Arc;

use lath_feed::stream::{Address, Follower, Outbox, SnapshotFile, Source};
use lath_feed::{Condition, NoNode, NodeId, Observed, Snapshot};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What changed between two snapshots works; what did not change works as it did.
fn observe(observed: &mut Observed, old: &Snapshot, new: &Snapshot) {
    let ready = Condition::Ready {
        version: new.version,
    };
    observed.applied_version = new.version;
    observed.dns_version = new.version;
    for (id, vpc) in old.vpcs.changes(&new.vpcs) {
        match vpc {
            Some(vpc) => {
                observed.vpcs.insert(id.clone(), ready.clone());
                if let Some(lattice) = &vpc.lattice {
                    let id = lattice.id.clone();
                    observed.vpc_associations.insert(id, ready.clone());
                }
            }
            None => drop(observed.vpcs.remove(id)),
        }
    }
    for (id, service) in old.services.changes(&new.services) {
        match service {
            Some(_) => drop(observed.services.insert(id.clone(), ready.clone())),
            None => drop(observed.services.remove(id)),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(region)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: standin SOCKET REGION");
        std::process::exit(2);
    };
    let (snapshots_tx, mut snapshots) = watch::channel(Arc::<Snapshot>::default());
    let (source, _source) = watch::channel(Source::Nothing);
    let (observed_tx, observed) = watch::channel(Arc::<Observed>::default());
    let (_metrics, metrics) = watch::channel(None);
    let follower = Follower {
        control: Address::Socket(socket.into()),
        region,
        node: NodeId::default(),
        kept: SnapshotFile::at(std::path::Path::new("/nonexistent/snapshot")),
        snapshots: snapshots_tx,
        source,
        observed,
        outbox: Arc::new(Outbox::default()),
        queries: Arc::new(NoNode),
        metrics,
    };
    tokio::spawn(follower.run(CancellationToken::new()));
    let mut known = Arc::<Snapshot>::default();
    while snapshots.changed().await.is_ok() {
        let next = Arc::clone(&snapshots.borrow_and_update());
        observed_tx.send_modify(|observed| observe(Arc::make_mut(observed), &known, &next));
        known = next;
    }
}
