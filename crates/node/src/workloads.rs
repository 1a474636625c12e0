//! The workloads of the node's VPCs, found in the newest snapshot, for service networks that ask who calls.

use std::net::IpAddr;
use std::sync::Arc;

use lath_clock::Clock;
use lath_feed::SnapshotReceiver;
use lath_model::id::VpcId;
use lath_proxy::KnowsWorkloads;
use lath_svid::{Issuer, Svid};

/// The workloads of the newest snapshot.
pub(crate) struct KnownWorkloads {
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) clock: Clock,
}

impl KnowsWorkloads for KnownWorkloads {
    fn at(&self, vpc: &VpcId, address: IpAddr) -> Option<Arc<Svid>> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let authority = snapshot.workload_authority.as_ref()?;
        let id = lath_svid::at(&snapshot, vpc, address)?;
        self.issuer.issue(authority, &id, self.clock.now())
    }

    fn named(&self, spiffe_id: &str) -> Option<Arc<Svid>> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let authority = snapshot.workload_authority.as_ref()?;
        let is_ours = lath_svid::names::is_of(&authority.trust_domain, spiffe_id);
        is_ours.then(|| self.issuer.issue(authority, spiffe_id, self.clock.now()))?
    }
}
