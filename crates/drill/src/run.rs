//! Runs a drill: repetitions of load, fault and recovery.

use std::io;
use std::time::{Duration, Instant};

use lath_model::{ManagedId, WorkloadId};

use crate::analysis::{Criteria, Observation};
use crate::load::{Load, Running, Sample};
use crate::order::{LONGEST, Order, Orders};
use crate::{Pods, Scenario, monotonic_ns};

/// The plan of a drill.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The kind of fault.
    pub scenario: Scenario,
    /// The affected region, or the region of the victim.
    pub region: String,
    /// The affected workload.
    pub victim: Option<WorkloadId>,
    /// The affected cluster.
    pub cluster: Option<ManagedId>,
    /// The affected pods.
    pub pods: Option<Pods>,
    /// The client load.
    pub load: Load,
    /// The criteria for bad samples.
    pub judge: Criteria,
    /// How long every request must succeed before the fault and after it.
    pub calm: Duration,
    /// The duration of the fault; at most [`LONGEST`].
    pub fault: Duration,
    /// How long to wait for that calm.
    pub patience: Duration,
    /// The number of repetitions.
    pub repeat: u32,
    /// The directory of orders.
    pub orders: Orders,
}

/// Detects whether the system reports the fault. Polled every few milliseconds.
pub trait Detector {
    /// Takes the current state as the baseline.
    fn begin(&mut self);
    /// Whether the system reports a problem that is not in the baseline.
    fn noticed(&mut self) -> bool;
}

/// A drill could not be completed. Its fault is withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The load could not be started.
    #[error("the load cannot be started")]
    Load(#[source] io::Error),
    /// The order could not be written or withdrawn.
    #[error("orders cannot be given in {path}")]
    Order {
        /// The directory.
        path: std::path::PathBuf,
        /// The error.
        source: io::Error,
    },
    /// Requests fail or are late although there is no fault.
    #[error("{when}, {target} did not answer without errors for {calm_ms} ms in a row: {last}")]
    Unstable {
        /// `before the fault` or `after the fault`.
        when: &'static str,
        /// The target.
        target: String,
        /// The required calm, in milliseconds.
        calm_ms: u128,
        /// The newest error.
        last: String,
    },
    /// No process injected the fault.
    #[error(
        "no process injected the fault within {0:?}: does `lath serve` run with this data directory?"
    )]
    Ignored(Duration),
    /// The fault could not be injected.
    #[error("the fault could not be injected: {0}")]
    Refused(String),
}

/// How long an order may wait for its injection.
const INJECTION: Duration = Duration::from_secs(20);
/// The interval between looks at the outcome and the detector.
const POLL: Duration = Duration::from_millis(5);

/// Withdraws its order when it is dropped.
struct ActiveOrder<'a> {
    orders: &'a Orders,
    name: String,
}

impl Drop for ActiveOrder<'_> {
    fn drop(&mut self) {
        // An order that cannot be withdrawn ends by its deadline.
        let _ = self.orders.withdraw(&self.name);
    }
}

impl Plan {
    /// Runs all repetitions and calls `on_repetition` after each.
    ///
    /// # Errors
    /// When the drill cannot be completed; the fault is withdrawn then too.
    pub fn run(
        &self,
        detector: &mut dyn Detector,
        mut on_repetition: impl FnMut(u32, &Observation),
    ) -> Result<Vec<Observation>, DrillError> {
        let mut all = Vec::new();
        for turn in 1..=self.repeat {
            let seen = self.once(detector)?;
            on_repetition(turn, &seen);
            all.push(seen);
        }
        Ok(all)
    }

    fn once(&self, detector: &mut dyn Detector) -> Result<Observation, DrillError> {
        let begin_ns = monotonic_ns();
        let load = self.load.clone().start().map_err(DrillError::Load)?;
        self.await_calm(&load, begin_ns, "before the fault")?;
        detector.begin();
        let standing = self.order()?;
        let fault_ns = self.injected(&standing.name)?;
        let detected_ns = self.watch(detector, fault_ns);
        drop(standing);
        let lifted_ns = monotonic_ns();
        let unstable = self.await_calm(&load, lifted_ns, "after the fault");
        let samples = load.stop();
        unstable?;
        Ok(Observation {
            fault_ns,
            detected_ns,
            lifted_ns,
            samples,
        })
    }

    fn order(&self) -> Result<ActiveOrder<'_>, DrillError> {
        let name = format!("drill-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let order = Order {
            name: name.clone(),
            scenario: self.scenario,
            region: self.region.clone(),
            victim: self.victim.clone(),
            cluster: self.cluster.clone(),
            pods: self.pods.clone(),
            until_ms: self.orders.ahead(self.fault.min(LONGEST) + INJECTION),
        };
        let standing = ActiveOrder {
            orders: &self.orders,
            name,
        };
        self.orders
            .submit(&order)
            .map_err(|source| DrillError::Order {
                path: self.orders.directory().to_owned(),
                source,
            })?;
        Ok(standing)
    }

    fn injected(&self, name: &str) -> Result<u64, DrillError> {
        let end = Instant::now() + INJECTION;
        loop {
            if let Some(done) = self.orders.outcome(name) {
                return done
                    .error
                    .map_or(Ok(done.at_ns), |why| Err(DrillError::Refused(why)));
            }
            if Instant::now() >= end {
                return Err(DrillError::Ignored(INJECTION));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for the end of the fault. Returns the time when the system reported it.
    fn watch(&self, detector: &mut dyn Detector, fault_ns: u64) -> Option<u64> {
        let end = fault_ns + u64::try_from(self.fault.as_nanos()).unwrap_or(u64::MAX / 2);
        let mut detected = None;
        while monotonic_ns() < end {
            if detected.is_none() && detector.noticed() {
                detected = Some(monotonic_ns());
            }
            std::thread::sleep(POLL);
        }
        detected
    }

    /// Waits until all requests have been good for the required calm.
    fn await_calm(
        &self,
        load: &Running,
        from_ns: u64,
        when: &'static str,
    ) -> Result<(), DrillError> {
        let calm_ns = u64::try_from(self.calm.as_nanos()).unwrap_or(u64::MAX);
        let end = Instant::now() + self.patience;
        loop {
            let now = monotonic_ns();
            let recent = load.since(from_ns.max(now.saturating_sub(calm_ns)));
            let bad = recent.iter().find(|s| self.is_bad(s));
            let long_enough = now.saturating_sub(from_ns) >= calm_ns;
            if long_enough && bad.is_none() && !recent.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                let last = bad.and_then(|s| s.error.clone());
                return Err(DrillError::Unstable {
                    when,
                    target: self.load.target.to_string(),
                    calm_ms: self.calm.as_millis(),
                    last: last.unwrap_or_else(|| "late responses, or none".into()),
                });
            }
            std::thread::sleep(POLL * 4);
        }
    }

    fn is_bad(&self, sample: &Sample) -> bool {
        sample.error.is_some() || sample.took_ns > self.judge.late_ns
    }
}
