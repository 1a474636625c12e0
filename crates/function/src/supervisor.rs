//! The one task that knows functions and their environments.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lath_clock::Clock;
use lath_code::{Archives, Digest};
use lath_feed::telemetry::Sink;
use lath_feed::{
    Condition, Function, FunctionObserved, Invoked, Snapshot, SnapshotReceiver, function_limits,
};
use lath_instance::Instances;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::environment::{self, LaneEvent, Made};
use crate::house::Shared;
use crate::runtime;
use crate::{Asked, FunctionsObserved, not_ready};

/// How long an environment waits for its next invocation.
const IDLE: Duration = Duration::from_secs(600);
/// How old an environment becomes, so that what it knows from its beginning (its keys) stays good.
const LIFE: Duration = Duration::from_secs(2 * 3600);
/// How often that is looked at, and what could not be made ready is tried again.
const PERIOD: Duration = Duration::from_secs(5);
/// Environments that are busy, and those that are there before idle ones are ended.
const MOST: usize = function_limits::CONCURRENT as usize;
/// Before the names of unpacked code that is being removed.
const GONE: &str = "gone-";
/// How often code that nothing uses is removed.
const SWEEP: Duration = Duration::from_secs(60);

/// Keeps functions as the newest snapshot wants them.
pub struct Supervisor {
    instances: Instances,
    archives: Archives,
    unpacked: PathBuf,
    clock: Clock,
    queue: mpsc::Receiver<Asked>,
    observed_tx: watch::Sender<FunctionsObserved>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

impl Supervisor {
    pub(crate) fn new(
        instances: Instances,
        archives: Archives,
        (unpacked, clock): (PathBuf, Clock),
        queue: mpsc::Receiver<Asked>,
    ) -> Self {
        let (observed_tx, _) = crate::observed();
        Self {
            instances,
            archives,
            unpacked,
            clock,
            queue,
            observed_tx,
        }
    }

    /// What was observed, by function.
    pub fn observed(&self) -> watch::Receiver<FunctionsObserved> {
        self.observed_tx.subscribe()
    }

    /// Keeps functions until `stop`; then every environment ends.
    pub async fn run(
        self,
        mut snapshots: SnapshotReceiver,
        sink: Arc<dyn Sink>,
        stop: CancellationToken,
    ) {
        let region = snapshots.borrow().region.clone();
        let (events_tx, mut events_rx) = mpsc::unbounded_channel();
        let mut queue = self.queue;
        let mut state = State {
            shared: Arc::new(Shared::new(self.instances, sink, region, self.clock)),
            archives: self.archives,
            unpacked: self.unpacked,
            functions: BTreeMap::new(),
            lanes: HashMap::new(),
            next: 0,
            events_tx,
            preparing: JoinSet::new(),
            environments: JoinSet::new(),
            stop: stop.clone(),
        };
        let mut look = tokio::time::interval(PERIOD);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut swept = Instant::now();
        let first = Arc::clone(&snapshots.borrow_and_update());
        state.follow(&first);
        loop {
            state.observe(&self.observed_tx);
            tokio::select! {
                // What environments say comes before what callers ask: who is answered and asks again finds it done.
                biased;
                () = stop.cancelled() => break,
                Some((lane, word)) = events_rx.recv() => state.hear(lane, word),
                Some(prepared) = state.preparing.join_next() => {
                    if let Ok(prepared) = prepared {
                        state.prepared(prepared);
                    }
                }
                Some(_) = state.environments.join_next() => {}
                gone = snapshots.changed() => {
                    if gone.is_err() {
                        break;
                    }
                    let snapshot = Arc::clone(&snapshots.borrow_and_update());
                    state.follow(&snapshot);
                }
                Some(asked) = queue.recv() => state.ask(asked),
                _ = look.tick() => {
                    state.look(Instant::now());
                    if swept.elapsed() >= SWEEP {
                        swept = Instant::now();
                        state.sweep();
                    }
                }
            }
        }
        queue.close();
        state.lanes.clear();
        while state.environments.join_next().await.is_some() {}
        state.preparing.shutdown().await;
    }
}

/// Which processes a revision of a function may use.
type Key = (String, u64);

fn key(function: &Function) -> Key {
    (function.unique_id.clone(), function.revision)
}

struct FunctionState {
    /// As the snapshot has it.
    wanted: Arc<Function>,
    /// What new invocations use: the newest revision that could be made ready.
    ready: Option<Made>,
    /// Of the wanted one.
    outcome: Option<Result<(), String>>,
    preparing: bool,
}

/// An environment, as the supervisor knows it.
struct Lane {
    function: String,
    key: Key,
    code: String,
    /// `None` once it shall end.
    jobs: Option<mpsc::Sender<Asked>>,
    busy: bool,
    since: Instant,
    born: Instant,
}

struct State {
    shared: Arc<Shared>,
    archives: Archives,
    unpacked: PathBuf,
    functions: BTreeMap<String, FunctionState>,
    lanes: HashMap<u64, Lane>,
    next: u64,
    events_tx: mpsc::UnboundedSender<(u64, LaneEvent)>,
    preparing: JoinSet<(Arc<Function>, Result<Made, String>)>,
    environments: JoinSet<()>,
    stop: CancellationToken,
}

impl State {
    fn follow(&mut self, snapshot: &Snapshot) {
        self.functions
            .retain(|name, _| snapshot.functions.contains_key(name));
        for (name, function) in &snapshot.functions {
            let Some(kept) = self.functions.get_mut(name) else {
                let kept = FunctionState {
                    wanted: Arc::clone(function),
                    ready: None,
                    outcome: None,
                    preparing: false,
                };
                self.functions.insert(name.clone(), kept);
                self.prepare(name);
                continue;
            };
            if Arc::ptr_eq(&kept.wanted, function) || kept.wanted == *function {
                continue;
            }
            let same = key(&kept.wanted) == key(function);
            if kept.wanted.unique_id != function.unique_id {
                kept.ready = None;
            }
            kept.wanted = Arc::clone(function);
            if same {
                // Only limits or keys are new: environments go on.
                if let Some(ready) = &mut kept.ready
                    && key(&ready.function) == key(function)
                {
                    ready.function = Arc::clone(function);
                }
            } else {
                kept.outcome = None;
                self.prepare(name);
            }
        }
        self.retire();
    }

    /// Ends environments of functions and revisions that new invocations do not use.
    fn retire(&mut self) {
        for lane in self.lanes.values_mut() {
            let kept = self.functions.get(&lane.function);
            let ready = kept.and_then(|it| it.ready.as_ref());
            if ready.is_none_or(|ready| key(&ready.function) != lane.key) {
                lane.jobs = None;
            }
        }
    }

    fn prepare(&mut self, name: &str) {
        let Some(kept) = self.functions.get_mut(name) else {
            return;
        };
        if std::mem::replace(&mut kept.preparing, true) {
            return;
        }
        let function = Arc::clone(&kept.wanted);
        let (archives, unpacked) = (self.archives.clone(), self.unpacked.clone());
        self.preparing.spawn_blocking(move || {
            let made = prepare(&archives, &unpacked, &function);
            (function, made)
        });
    }

    fn prepared(&mut self, (function, outcome): (Arc<Function>, Result<Made, String>)) {
        let Some(kept) = self.functions.get_mut(&function.name) else {
            return;
        };
        kept.preparing = false;
        if key(&kept.wanted) != key(&function) {
            // It changed meanwhile.
            let name = function.name.clone();
            return self.prepare(&name);
        }
        match outcome {
            Ok(made) => {
                let function = Arc::clone(&kept.wanted);
                kept.ready = Some(Made { function, ..made });
                kept.outcome = Some(Ok(()));
            }
            Err(reason) => {
                tracing::warn!(function = function.name, reason, "a function cannot be run");
                kept.outcome = Some(Err(reason));
            }
        }
        self.retire();
    }

    fn observe(&self, observed_tx: &watch::Sender<FunctionsObserved>) {
        let mut now = BTreeMap::new();
        for (name, kept) in &self.functions {
            let Some(outcome) = &kept.outcome else {
                continue;
            };
            let revision = kept.wanted.revision;
            let condition = match outcome {
                Ok(()) => Condition::Ready { version: revision },
                Err(reason) => Condition::Failed {
                    reason: reason.clone(),
                },
            };
            let observed = FunctionObserved {
                unique_id: kept.wanted.unique_id.clone(),
                revision,
                condition,
            };
            now.insert(name.clone(), observed);
        }
        observed_tx.send_if_modified(|known| {
            let differs = **known != now;
            if differs {
                *known = Arc::new(now);
            }
            differs
        });
    }

    fn ask(&mut self, asked: Asked) {
        let name = &asked.invocation.function;
        let Some(kept) = self.functions.get(name) else {
            let _ = asked
                .answer
                .send(not_ready("the function is not known here"));
            return;
        };
        let Some(ready) = kept.ready.clone() else {
            let reason = match &kept.outcome {
                Some(Err(reason)) => reason.clone(),
                _ => "its code is being unpacked".to_owned(),
            };
            let _ = asked.answer.send(not_ready(reason));
            return;
        };
        if let Some(reserved) = self.is_throttled(kept) {
            let _ = asked.answer.send(Invoked::Throttled { reserved });
            return;
        }
        let of = key(&ready.function);
        let free = self
            .lanes
            .values_mut()
            .filter(|lane| !lane.busy && lane.function == *name && lane.key == of)
            .filter(|lane| lane.jobs.is_some())
            .max_by_key(|lane| lane.since);
        let mut asked = asked;
        if let Some(lane) = free
            && let Some(jobs) = &lane.jobs
        {
            match jobs.try_send(asked) {
                Ok(()) => {
                    lane.busy = true;
                    return;
                }
                Err(error) => {
                    asked = error.into_inner();
                    lane.jobs = None;
                }
            }
        }
        self.begin(ready, asked);
    }

    /// Whether one more is too many, and whether by the function's own limit.
    fn is_throttled(&self, kept: &FunctionState) -> Option<bool> {
        // Those of functions that are deleted count too, and those that take long to end.
        let all_busy = self.lanes.values().filter(|it| it.busy).count();
        if all_busy >= MOST || self.lanes.len() >= 2 * MOST {
            return Some(false);
        }
        let busy = |name: &str| {
            let busy = self.lanes.values().filter(|it| it.busy);
            busy.filter(|it| it.function == name).count()
        };
        let limit = |reserved: u32| usize::try_from(reserved).unwrap_or(usize::MAX);
        if let Some(reserved) = kept.wanted.reserved_concurrency {
            return (busy(&kept.wanted.name) >= limit(reserved)).then_some(true);
        }
        let (mut reserved, mut others) = (0_u32, 0);
        for (name, kept) in &self.functions {
            match kept.wanted.reserved_concurrency {
                Some(own) => reserved = reserved.saturating_add(own),
                None => others += busy(name),
            }
        }
        let left = function_limits::CONCURRENT.saturating_sub(reserved);
        (others >= limit(left)).then_some(false)
    }

    /// Ends the environment that has waited longest, where there are as many as invocations at once: a burst of each of many
    /// functions must not leave more and more of them.
    fn make_room(&mut self) {
        if self.lanes.len() < MOST {
            return;
        }
        let lanes = self.lanes.values_mut();
        let idle = lanes.filter(|lane| !lane.busy && lane.jobs.is_some());
        if let Some(lane) = idle.min_by_key(|lane| lane.since) {
            lane.jobs = None;
        }
    }

    fn begin(&mut self, made: Made, first: Asked) {
        self.make_room();
        self.next += 1;
        let number = self.next;
        let (jobs, queue) = mpsc::channel(1);
        let now = Instant::now();
        let lane = Lane {
            function: made.function.name.clone(),
            key: key(&made.function),
            code: made.function.code.clone(),
            jobs: Some(jobs),
            busy: true,
            since: now,
            born: now,
        };
        self.lanes.insert(number, lane);
        let events_tx = self.events_tx.clone();
        let events_tx = Box::new(move |word| drop(events_tx.send((number, word))));
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        self.environments.spawn(environment::run(
            shared, made, first, queue, events_tx, stop,
        ));
    }

    fn hear(&mut self, number: u64, word: LaneEvent) {
        let Some(lane) = self.lanes.get_mut(&number) else {
            return;
        };
        match word {
            LaneEvent::Free => {
                lane.busy = false;
                lane.since = Instant::now();
                if lane.born.elapsed() >= LIFE {
                    lane.jobs = None;
                }
            }
            LaneEvent::Spent => {
                lane.busy = false;
                lane.jobs = None;
            }
            LaneEvent::Gone(left) => {
                self.lanes.remove(&number);
                if let Some(asked) = left {
                    self.ask(asked);
                }
            }
        }
    }

    fn look(&mut self, now: Instant) {
        for lane in self.lanes.values_mut().filter(|lane| !lane.busy) {
            if now.duration_since(lane.since) >= IDLE || now.duration_since(lane.born) >= LIFE {
                lane.jobs = None;
            }
        }
        let failed = self.functions.iter();
        let failed = failed.filter(|(_, kept)| matches!(kept.outcome, Some(Err(_))));
        let failed: Vec<String> = failed.map(|(name, _)| name.clone()).collect();
        for name in failed {
            self.prepare(&name);
        }
    }

    /// Removes unpacked code that nothing uses.
    fn sweep(&self) {
        let wanted = self.functions.values().map(|kept| kept.wanted.code.clone());
        let ready = self
            .functions
            .values()
            .filter_map(|kept| kept.ready.as_ref());
        let used: BTreeSet<String> = wanted
            .chain(ready.map(|ready| ready.function.code.clone()))
            .chain(self.lanes.values().map(|lane| lane.code.clone()))
            .collect();
        // Renamed here and not later: a function that wants it again from now on finds nothing, and unpacks it anew.
        let entries = std::fs::read_dir(&self.unpacked).into_iter().flatten();
        let mut gone = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let code = name.split('.').next().unwrap_or(&name);
            if used.contains(code) {
                continue;
            }
            let place = match name.starts_with(GONE) {
                true => Ok(entry.path()),
                false => {
                    let place = self.unpacked.join(format!("{GONE}{}", Uuid::new_v4()));
                    std::fs::rename(entry.path(), &place).map(|()| place)
                }
            };
            match place {
                Ok(place) => gone.push(place),
                Err(error) => {
                    tracing::warn!(%error, "unpacked code that nothing uses cannot be renamed");
                }
            }
        }
        tokio::task::spawn_blocking(move || {
            for place in gone {
                if let Err(error) = std::fs::remove_dir_all(&place)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    tracing::warn!(%error, "unpacked code that nothing uses cannot be removed");
                }
            }
        });
    }
}

/// Unpacks a function's code, and looks for its runtime.
fn prepare(
    archives: &Archives,
    unpacked: &std::path::Path,
    function: &Arc<Function>,
) -> Result<Made, String> {
    use std::os::unix::fs::DirBuilderExt as _;
    let digest: Digest = function
        .code
        .parse()
        .map_err(|()| "its code has no digest")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(unpacked)
        .map_err(|error| format!("its code cannot be unpacked: {error}"))?;
    let code = unpacked.join(digest.as_str());
    archives.unpack(&digest, &code)?;
    Ok(Made {
        begin: runtime::begin(function)?,
        function: Arc::clone(function),
        code,
    })
}

#[cfg(test)]
mod tests;
