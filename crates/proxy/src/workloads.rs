//! Who calls, by where a request comes from: service networks that take identified workloads only ask, and show targets under TLS.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use lath_clock::Clock;
use lath_model::id::VpcId;
use lath_svid::{LIFE, Svid};

/// The most that one thread remembers.
const MOST: usize = 4096;

/// Knows the workloads of the node's VPCs, and certifies them.
pub trait KnowsWorkloads: Send + Sync {
    /// The workload that has an address of a VPC.
    fn at(&self, vpc: &VpcId, address: IpAddr) -> Option<Arc<Svid>>;

    /// The workload of a name, if the name is one of this installation's workloads.
    fn named(&self, spiffe_id: &str) -> Option<Arc<Svid>>;
}

/// Who knows the workloads.
#[derive(Clone)]
pub struct Workloads(pub Arc<dyn KnowsWorkloads>);

impl fmt::Debug for Workloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Workloads(..)")
    }
}

/// What a thread found out, for as long as nothing changed.
#[derive(Default)]
pub(crate) struct Remembered(RefCell<HashMap<(VpcId, IpAddr), Found>>);

/// In the state of which generation, and whom.
type Found = (u64, Arc<Svid>);

impl Remembered {
    /// The workload that has an address of a VPC, in the state of this generation.
    pub(crate) fn at(
        &self,
        workloads: &Workloads,
        generation: u64,
        vpc: &VpcId,
        address: IpAddr,
        clock: &Clock,
    ) -> Option<Arc<Svid>> {
        let key = (vpc.clone(), address);
        let mut known = self.0.borrow_mut();
        let half = || clock.now().plus(LIFE / 2);
        if let Some((of, svid)) = known.get(&key)
            && *of == generation
            && svid.not_after > half()
        {
            return Some(Arc::clone(svid));
        }
        let Some(found) = workloads.0.at(vpc, address) else {
            known.remove(&key);
            return None;
        };
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, (generation, Arc::clone(&found)));
        Some(found)
    }
}
