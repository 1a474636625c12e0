//! Networks that are made anew under the same VPC id: after a repair, say.
//!
//! Sockets keep the network that they were made in alive, with no workload in it. So now and then a new socket is
//! asked which network the VPC has, and what is in another one is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_model::id::VpcId;
use lath_net::{Kind, Network, Place};
use socket2::Domain;

/// How often networks are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// The network of each VPC, as seen last.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    known: BTreeMap<VpcId, u64>,
    looked: Option<Instant>,
}

impl Namespaces {
    /// The VPCs whose networks are others than when they were looked at last. A VPC without a network is one
    /// whose network is not known; what is in it can be left until it has one.
    pub(crate) async fn changed(
        &mut self,
        network: &Arc<dyn Network>,
        vpcs: &BTreeSet<&VpcId>,
    ) -> Vec<VpcId> {
        let due = self.looked.is_none_or(|then| then.elapsed() >= EVERY);
        if due {
            self.looked = Some(Instant::now());
        }
        self.known.retain(|vpc, _| vpcs.contains(vpc));
        let mut changed = Vec::new();
        for vpc in vpcs {
            if !due && self.known.contains_key(*vpc) {
                continue;
            }
            let Some(now) = now(network, vpc).await else {
                continue;
            };
            let before = self.known.insert((*vpc).clone(), now);
            if before.is_some_and(|before| before != now) {
                changed.push((*vpc).clone());
            }
        }
        changed
    }

    /// A socket was made in the VPC: its network is the one to compare with, if none is known yet.
    pub(crate) fn note(&mut self, vpc: &VpcId, socket: &impl AsFd) {
        if let Ok(now) = lath_net::namespace(socket) {
            self.known.entry(vpc.clone()).or_insert(now);
        }
    }
}

async fn now(network: &Arc<dyn Network>, vpc: &VpcId) -> Option<u64> {
    let place = Place::Vpc(vpc.clone());
    let socket = network.socket(&place, Domain::IPV4, Kind::Tcp).await.ok()?;
    lath_net::namespace(&socket).ok()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Every socket is in a network of its own, as if the VPC were made anew each time.
    struct Anew;

    #[async_trait::async_trait]
    impl Network for Anew {
        async fn socket(
            &self,
            _: &Place,
            domain: Domain,
            kind: Kind,
        ) -> io::Result<socket2::Socket> {
            let made = std::thread::spawn(move || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
                lath_net::new_socket(domain, kind)
            });
            made.join().map_err(|_| io::ErrorKind::Other)?
        }
    }

    #[tokio::test]
    async fn a_network_made_anew_is_noticed_and_one_that_stays_is_not() {
        let vpc = VpcId::random();
        let vpcs = BTreeSet::from([&vpc]);
        let same: Arc<dyn Network> = Arc::new(lath_net::HostNetwork);
        let anew: Arc<dyn Network> = Arc::new(Anew);
        if now(&anew, &vpc).await.is_none() {
            // Without privileges there are no networks to make.
            return;
        }
        let mut namespaces = Namespaces::default();
        for (network, want) in [(&same, vec![]), (&same, vec![]), (&anew, vec![vpc.clone()])] {
            namespaces.looked = None;
            assert_eq!(namespaces.changed(network, &vpcs).await, want);
        }
        let soon_again = namespaces.changed(&anew, &vpcs).await;
        assert!(soon_again.is_empty(), "networks are looked at now and then");
    }
}
