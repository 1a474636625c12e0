//! `lath drill`: injects a fault under client load and measures its impact.

mod victim;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lath_clock::Clock;
use lath_drill::analysis::Criteria;
use lath_drill::load::{FASTEST, Load};
use lath_drill::objective::Objectives;
use lath_drill::order::{LONGEST, Orders};
use lath_drill::report::{Report, Subject};
use lath_drill::run::{Detector, Plan};
use lath_drill::{Scenario, Target};
use lath_status::{Region, Status};

use crate::cli::{Drill, Output};
use victim::Victim;

use crate::running::{self, Running};
use crate::status;
use crate::{config, output};

/// The maximum number of repetitions.
const MOST: u32 = 10_000;
/// The address of every VPC's resolver.
const VPC_RESOLVER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 253)),
    53,
);
/// How often the status is read.
const POLL: Duration = Duration::from_millis(20);

/// Runs the drill. The exit code says whether the objectives were met.
pub(crate) fn main(flags: &Drill) -> anyhow::Result<ExitCode> {
    let data_dir = config::data_dir(&flags.data_dir_flag);
    let status = status::fetch(&data_dir)?;
    let plan = plan(flags, &data_dir, &status)?;
    let mut objectives = Objectives::default();
    for text in &flags.objective {
        objectives.set(text)?;
    }
    let mut watcher = Watcher::start(data_dir, plan.scenario)?;
    let print_repetition = |turn: u32, seen: &lath_drill::analysis::Observation| {
        let figures = lath_drill::analysis::figures(seen, &plan.judge);
        let time = |ns: Option<u64>| {
            ns.map_or_else(|| "never".into(), |ns| format!("{} ms", ns / 1_000_000))
        };
        eprintln!(
            "{turn}/{}: detected {}, recovered {}, failed {}, late {}",
            plan.repeat,
            time(figures.detection_ns),
            time(figures.recovery_ns),
            figures.failed,
            figures.late
        );
    };
    let seen = plan.run(&mut watcher, print_repetition)?;
    let subject = Subject {
        scenario: plan.scenario,
        victim: match &plan.pods {
            Some(pods) => format!("{pods} in {}", flags.victim),
            None => flags.victim.clone(),
        },
        target: plan.load.target.to_string(),
        rate: plan.load.rate,
    };
    let report = Report::new(
        subject,
        plan.judge,
        objectives,
        seen,
        plan.orders.clock().now(),
    );
    let saved = save(flags, &report)?;
    output::print(&match flags.output {
        Output::Text => format!("{}{saved}", report.text()),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    })?;
    // Not 1, which means that the drill could not run.
    Ok(if report.verdict.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

fn save(flags: &Drill, report: &Report) -> anyhow::Result<String> {
    let Some(folder) = &flags.out else {
        return Ok(String::new());
    };
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write("drill.json", serde_json::to_string(report)?)?;
    write("drill.html", lath_drill::page::page(report))?;
    Ok(format!(
        "saved: {0}/drill.json, {0}/drill.html\n",
        folder.display()
    ))
}

fn plan(flags: &Drill, data_dir: &Path, status: &Status) -> anyhow::Result<Plan> {
    let scenario: Scenario = flags.scenario.parse()?;
    let target: Target = flags.target.parse()?;
    ensure!(
        (1..=FASTEST).contains(&flags.rate),
        "--rate {} is not from 1 to {FASTEST}",
        flags.rate
    );
    ensure!(
        (1..=MOST).contains(&flags.repeat),
        "--repeat {} is not from 1 to {MOST}",
        flags.repeat
    );
    ensure!(
        flags.fault > Duration::ZERO && flags.fault <= LONGEST,
        "--fault {:?} is not between 0 and {LONGEST:?}",
        flags.fault
    );
    let victim = Victim::of(flags, scenario, status)?;
    let (netns, resolver) = match &flags.from {
        Some(client) => (Some(netns(data_dir, status, client)?), VPC_RESOLVER),
        None => (None, SocketAddr::from(([127, 0, 0, 1], 4553))),
    };
    Ok(Plan {
        scenario,
        region: victim.region,
        victim: victim.workload,
        cluster: victim.cluster,
        pods: victim.pods,
        judge: Criteria {
            late_ns: nanos(flags.late),
            answer_must_change: scenario.facts().moves_names
                && matches!(target, Target::Dns { .. }),
        },
        load: Load {
            target,
            rate: flags.rate,
            timeout: flags.timeout,
            resolver: flags.resolver.unwrap_or(resolver),
            netns,
        },
        calm: flags.calm,
        fault: flags.fault,
        patience: flags.patience,
        repeat: flags.repeat,
        orders: Orders::of(data_dir, Clock::system()),
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The pinned network namespace of a client instance.
fn netns(data_dir: &Path, status: &Status, client: &str) -> anyhow::Result<PathBuf> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "--from needs root, as the load enters the instance's network; without --from it comes from this machine"
    );
    let found = victim::instance(status, client)?;
    let folders = Running::read(data_dir)?.data_dirs(data_dir);
    let pins = folders
        .iter()
        .map(|folder| running::run_dir(folder).join("netns").join(&found.id));
    let mut there = pins.filter(|pin| pin.exists());
    there
        .next()
        .with_context(|| format!("{} has no network now: is it running?", found.id))
}

/// Polls the status and collects the problems it reports.
struct Watcher {
    wrong: Arc<Mutex<BTreeSet<String>>>,
    baseline: BTreeSet<String>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(data_dir: PathBuf, scenario: Scenario) -> anyhow::Result<Self> {
        let (wrong, stop): (Arc<Mutex<BTreeSet<String>>>, Arc<AtomicBool>) = Default::default();
        let (into, until) = (Arc::clone(&wrong), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("lath-drill-status".into())
            .spawn(move || {
                while !until.load(Ordering::Relaxed) {
                    // A status that cannot be read is no evidence of a fault.
                    if let Ok(status) = status::fetch(&data_dir) {
                        *into.lock().unwrap_or_else(PoisonError::into_inner) =
                            wrong_in(&status, scenario);
                    }
                    std::thread::sleep(POLL);
                }
            })?;
        Ok(Self {
            wrong,
            baseline: BTreeSet::new(),
            stop,
            thread: Some(thread),
        })
    }

    fn now(&self) -> BTreeSet<String> {
        self.wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Detector for Watcher {
    fn begin(&mut self) {
        self.baseline = self.now();
    }

    fn noticed(&mut self) -> bool {
        !self.now().is_subset(&self.baseline)
    }
}

/// The problems that a status reports, as far as the scenario lets them count.
fn wrong_in(status: &Status, scenario: Scenario) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    for group in &status.target_groups {
        let bad = group.targets.iter().filter(|t| t.health == "unhealthy");
        wrong.extend(bad.map(|t| format!("target {} {} {}", group.id, t.id, t.port)));
    }
    for check in status.health_checks.iter().filter(|check| !check.healthy) {
        wrong.insert(format!("health check {}", check.id));
    }
    for cluster in &status.clusters {
        let (region, name) = (&cluster.region, &cluster.name);
        if cluster.state != "ready" {
            wrong.insert(format!("cluster {region} {name}"));
        }
        let bad = cluster.nodes.iter().filter(|node| !node.ready);
        wrong.extend(bad.map(|node| format!("node {region} {name} {}", node.instance)));
    }
    for region in &status.regions {
        let cut = region.links.iter().filter(|(_, link)| !link.connected);
        wrong.extend(cut.map(|(other, _)| format!("link {} {other}", region.name)));
        if scenario.facts().shows_in_processes {
            processes(&mut wrong, region);
        }
    }
    wrong
}

fn processes(wrong: &mut BTreeSet<String>, region: &Region) {
    if !region.answers && region.name != lath_feed::WITNESS {
        wrong.insert(format!("control plane {}", region.name));
    }
    for process in &region.processes {
        // A restart proves a death that happened between two polls.
        if process.state != "running" || process.restarts > 0 {
            wrong.insert(format!(
                "process {} {} {}",
                region.name, process.role, process.restarts
            ));
        }
    }
}
