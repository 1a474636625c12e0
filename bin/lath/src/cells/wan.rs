//! The WAN of an installation. The supervisor makes it before the first region starts and removes it after the last.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lath_fabric::{Fabric, FabricConfig, HostFacts, wan};
use lath_feed::Topology;
use tokio_util::sync::CancellationToken;

use super::layout::Layout;
use crate::serve::owner;

/// How often the kernel is compared with the plan, as other programs may change it.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon an incomplete apply is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The WAN.
pub(crate) struct Wan {
    fabric: Arc<Fabric>,
    topology: Topology,
    owner: String,
}

impl Wan {
    /// Makes the WAN, or adopts an existing one.
    ///
    /// # Errors
    /// When an underlay network cannot be made.
    pub(crate) async fn open(layout: &Layout, topology: &Topology) -> anyhow::Result<Self> {
        let owner = owner(layout.installation());
        let config = FabricConfig {
            run_dir: layout.own_run_dir(),
            owner: owner.clone(),
            host: None,
        };
        let fabric = Arc::new(Fabric::open(config).context("the WAN cannot be managed")?);
        let this = Self {
            fabric,
            topology: topology.clone(),
            owner,
        };
        let outcome = this.apply().await;
        for region in topology.regions.keys() {
            let pin = wan::pin(&layout.own_run_dir(), region);
            if let Err(error) = lath_fabric::Netns::open(&pin) {
                let reasons = outcome.unwrap_or_default();
                anyhow::bail!("the network of {region} cannot be made: {error} {reasons}");
            }
        }
        Ok(this)
    }

    /// Applies the plan. Returns why it is incomplete, if it is.
    async fn apply(&self) -> Option<String> {
        // The host's addresses and default routes may have changed.
        let plan = wan::plan(&self.topology, &HostFacts::probe(&self.owner, None));
        let report = self.fabric.apply(&plan).await;
        (!report.is_complete()).then(|| format!("{report:?}"))
    }

    /// Applies the plan again and again until `stop`.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut reported = None;
        let mut repairs = self.fabric.repairs();
        loop {
            repairs.borrow_and_update();
            let reasons = self.apply().await;
            if reasons != reported
                && let Some(reasons) = &reasons
            {
                tracing::warn!(reason = reasons, "parts of the WAN do not work");
            }
            if reasons.is_none() && reported.is_some() {
                tracing::info!("all parts of the WAN work again");
            }
            let pause = if reasons.is_none() { PERIOD } else { RETRY };
            reported = reasons;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                // Another program has changed it.
                Ok(()) = repairs.changed() => {}
            }
        }
    }

    /// Removes the WAN.
    ///
    /// # Errors
    /// When a part could not be removed.
    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        self.fabric
            .remove_all()
            .await
            .context("the WAN could not be removed")
    }
}
