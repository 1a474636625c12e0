//! One drill: repetitions of load, fault, recovery.

use std::io;
use std::time::{Duration, Instant};

use lath_model::WorkloadId;

use crate::analysis::{Judge, Seen};
use crate::load::{Load, Running, Sample};
use crate::order::{LONGEST, Order, Orders, ahead};
use crate::{Scenario, monotonic_ns};

/// What is done, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is broken.
    pub scenario: Scenario,
    /// The region that is hit, or that the victim is in.
    pub region: String,
    /// The workload that is hit.
    pub victim: Option<WorkloadId>,
    /// Who calls meanwhile.
    pub load: Load,
    /// How samples are judged.
    pub judge: Judge,
    /// How long everything must go well before the fault, and after it.
    pub calm: Duration,
    /// How long the fault stands; at most [`LONGEST`].
    pub fault: Duration,
    /// How long calm is waited for.
    pub patience: Duration,
    /// How many repetitions.
    pub repeat: u32,
    /// Where orders are given.
    pub orders: Orders,
}

/// Tells whether the system knows of the fault. Asked every few milliseconds.
pub trait Detector {
    /// Takes what is so now for how it should be.
    fn begin(&mut self);
    /// Whether the system says that something is not as it should be.
    fn noticed(&mut self) -> bool;
}

/// A drill that could not be run to its end. The fault is withdrawn.
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
        /// Why.
        source: io::Error,
    },
    /// The target does not answer well although nothing is broken.
    #[error("{when}, {target} did not answer well for {calm_ms} ms in a row: {last}")]
    Restless {
        /// `before the fault` or `after the fault`.
        when: &'static str,
        /// What was asked.
        target: String,
        /// How long was wanted.
        calm_ms: u128,
        /// The newest error.
        last: String,
    },
    /// Nobody injected the fault.
    #[error(
        "nobody injected the fault within {0:?}: does `lath serve` run with this data directory?"
    )]
    Ignored(Duration),
    /// It could not be injected.
    #[error("the fault could not be injected: {0}")]
    Refused(String),
}

/// How long an order may wait for whoever carries it out.
const INJECTION: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Withdraws its order when it is dropped.
struct Standing<'a> {
    orders: &'a Orders,
    name: String,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        // What cannot be withdrawn ends by its time.
        let _ = self.orders.withdraw(&self.name);
    }
}

impl Plan {
    /// Runs every repetition; `tell` hears of each.
    ///
    /// # Errors
    /// Why the drill could not be run to its end; the fault is withdrawn then too.
    pub fn run(
        &self,
        detector: &mut dyn Detector,
        mut tell: impl FnMut(u32, &Seen),
    ) -> Result<Vec<Seen>, DrillError> {
        let mut all = Vec::new();
        for turn in 1..=self.repeat {
            let seen = self.once(detector)?;
            tell(turn, &seen);
            all.push(seen);
        }
        Ok(all)
    }

    fn once(&self, detector: &mut dyn Detector) -> Result<Seen, DrillError> {
        let begin_ns = monotonic_ns();
        let load = self.load.clone().start().map_err(DrillError::Load)?;
        self.await_calm(&load, begin_ns, "before the fault")?;
        detector.begin();
        let standing = self.order()?;
        let fault_ns = self.injected(&standing.name)?;
        let detected_ns = self.watch(detector, fault_ns);
        drop(standing);
        let lifted_ns = monotonic_ns();
        let restless = self.await_calm(&load, lifted_ns, "after the fault");
        let samples = load.stop();
        restless?;
        Ok(Seen {
            fault_ns,
            detected_ns,
            lifted_ns,
            samples,
        })
    }

    fn order(&self) -> Result<Standing<'_>, DrillError> {
        let name = format!("drill-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let order = Order {
            name: name.clone(),
            scenario: self.scenario,
            region: self.region.clone(),
            victim: self.victim.clone(),
            until_ms: ahead(self.fault.min(LONGEST) + INJECTION),
        };
        let standing = Standing {
            orders: &self.orders,
            name,
        };
        self.orders
            .give(&order)
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
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the fault's time is over; tells when the system noticed.
    fn watch(&self, detector: &mut dyn Detector, fault_ns: u64) -> Option<u64> {
        let end = fault_ns + u64::try_from(self.fault.as_nanos()).unwrap_or(u64::MAX / 2);
        let mut detected = None;
        while monotonic_ns() < end {
            if detected.is_none() && detector.noticed() {
                detected = Some(monotonic_ns());
            }
            std::thread::sleep(LOOK);
        }
        detected
    }

    /// Waits until nothing was bad for a while.
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
                return Err(DrillError::Restless {
                    when,
                    target: self.load.target.to_string(),
                    calm_ms: self.calm.as_millis(),
                    last: last.unwrap_or_else(|| "late answers, or none".into()),
                });
            }
            std::thread::sleep(LOOK * 4);
        }
    }

    fn is_bad(&self, sample: &Sample) -> bool {
        sample.error.is_some() || sample.took_ns > self.judge.late_ns
    }
}
