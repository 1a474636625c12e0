use std::sync::Arc;

use lath_ca::Authority;
use lath_clock::Clock;
use lath_feed::{InstallationKeys, NoNode, NodeQueries, Observed, ObservedReceiver, Topology};
use lath_model::{Owner, Partition, Timestamp};
use lath_store::Db;

/// Whether AWS's limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// AWS's limits and quotas: what passes here passes there.
    #[default]
    Strict,
    /// Limits are lifted, and what AWS cannot do is allowed.
    Extended,
}

/// A region: the unit of failure. Every service of its control plane holds one.
#[derive(Clone)]
pub struct Cell {
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// Whether AWS's limits hold.
    pub mode: Mode,
    /// Where the other regions are.
    pub topology: Arc<Topology>,
    /// The state.
    pub db: Db,
    /// The actual state that nodes report.
    pub observed: ObservedReceiver,
    /// The installation's own keys, for nodes that verify signatures; `None` in tests.
    pub keys: Option<Arc<InstallationKeys>>,
    /// The installation's certificate authority, which opens the private keys of the state too; `None` in tests.
    pub authority: Option<Arc<Authority>>,
    /// Questions to the node.
    pub node: Arc<dyn NodeQueries>,
}

impl Cell {
    /// A cell in memory with no node, for tests; the sender feeds it observations.
    pub fn for_test() -> (Self, tokio::sync::watch::Sender<Arc<Observed>>) {
        let (sender, observed) = tokio::sync::watch::channel(Arc::default());
        let cell = Self {
            region: "us-east-1".into(),
            account: "123456789012".into(),
            mode: Mode::Strict,
            topology: Arc::new(Topology::single("us-east-1")),
            db: Db::in_memory(),
            observed,
            keys: None,
            authority: None,
            node: Arc::new(NoNode),
        };
        (cell, sender)
    }

    /// [`Self::for_test`] by another clock than the system's.
    pub fn for_test_at(clock: Clock) -> (Self, tokio::sync::watch::Sender<Arc<Observed>>) {
        let (mut cell, sender) = Self::for_test();
        cell.db = cell.db.with_clock(clock);
        (cell, sender)
    }

    /// The time now, by the clock of the state. What a transaction writes carries [`Tx::now`](lath_store::Tx::now) instead.
    pub fn now(&self) -> Timestamp {
        self.db.now()
    }

    /// The partition that this region, and with it the whole installation, is in.
    pub fn partition(&self) -> Partition {
        Partition::of_region(&self.region)
    }

    /// The account in its partition.
    pub fn owner(&self) -> Owner<'_> {
        Owner {
            partition: self.partition(),
            account: &self.account,
        }
    }

    /// The ARN of a resource of this account and region.
    pub fn arn(&self, service: &str, resource: impl Into<String>) -> String {
        self.arn_in(&self.region, service, resource)
    }

    /// The ARN of a resource of this account in a region of this partition.
    pub fn arn_in(&self, region: &str, service: &str, resource: impl Into<String>) -> String {
        self.owner().arn_in(region, service, resource)
    }

    /// The ARN of a resource of this account that is in no region, such as IAM's.
    pub fn global_arn(&self, service: &str, resource: impl Into<String>) -> String {
        self.owner().arn(service, resource)
    }

    /// The region's availability zones: `a`, `b` and `c`.
    pub fn availability_zones(&self) -> [String; 3] {
        ["a", "b", "c"].map(|letter| format!("{}{letter}", self.region))
    }
}
