//! Which environments are kept, and which code.

use super::*;
use lath_feed::telemetry::Discard;
use lath_instance::InstancesConfig;

async fn state(directory: &std::path::Path) -> State {
    let config = InstancesConfig::new(directory.join("data"), directory.join("run"));
    let instances = Instances::open(config).await.unwrap();
    let (events_tx, _) = mpsc::unbounded_channel();
    State {
        shared: Arc::new(Shared::new(
            instances,
            Arc::new(Discard),
            String::new(),
            Clock::system(),
        )),
        archives: Archives::at(directory.join("archives")),
        unpacked: directory.join("unpacked"),
        functions: BTreeMap::new(),
        lanes: HashMap::new(),
        next: 0,
        events_tx,
        preparing: JoinSet::new(),
        environments: JoinSet::new(),
        stop: CancellationToken::new(),
    }
}

fn function(name: &str) -> Arc<Function> {
    Arc::new(Function {
        name: name.to_owned(),
        arn: String::new(),
        unique_id: name.to_owned(),
        revision: 1,
        runtime: "provided.al2023".to_owned(),
        handler: String::new(),
        code: "c".repeat(64),
        memory_mib: 128,
        timeout_seconds: 3,
        environment: BTreeMap::new(),
        log_group: String::new(),
        reserved_concurrency: None,
        keys: None,
    })
}

fn kept(name: &str) -> FunctionState {
    FunctionState {
        wanted: function(name),
        ready: None,
        outcome: None,
        preparing: false,
    }
}

/// Environments of a function; where they are idle, the first one for longest.
fn add_lanes(state: &mut State, name: &str, count: usize, busy: bool) {
    let now = Instant::now();
    for _ in 0..count {
        state.next += 1;
        let lane = Lane {
            function: name.to_owned(),
            key: (name.to_owned(), 1),
            code: String::new(),
            jobs: Some(mpsc::channel(1).0),
            busy,
            since: now + Duration::from_secs(state.next),
            born: now,
        };
        state.lanes.insert(state.next, lane);
    }
}

#[tokio::test]
async fn what_deleted_functions_still_do_counts() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = state(directory.path()).await;
    add_lanes(&mut state, "deleted", MOST - 1, true);
    assert_eq!(state.is_throttled(&kept("new")), None);
    add_lanes(&mut state, "deleted", 1, true);
    assert_eq!(state.is_throttled(&kept("new")), Some(false));
}

#[tokio::test]
async fn idle_environments_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = state(directory.path()).await;
    add_lanes(&mut state, "one", MOST - 1, false);
    state.make_room();
    assert!(state.lanes.values().all(|it| it.jobs.is_some()));
    add_lanes(&mut state, "other", 1, false);
    state.make_room();
    let ended = state.lanes.iter().filter(|(_, it)| it.jobs.is_none());
    let ended: Vec<u64> = ended.map(|(number, _)| *number).collect();
    assert_eq!(ended, [1], "the one that waited longest");
}

#[tokio::test]
async fn code_that_nothing_uses_goes_and_what_is_being_unpacked_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = state(directory.path()).await;
    state.functions.insert("one".to_owned(), kept("one"));
    let used = "c".repeat(64);
    let unpacking = format!("{used}.1.2.new");
    for name in [used.as_str(), &unpacking, "unused", "unused.1.3.new"] {
        std::fs::create_dir_all(state.unpacked.join(name)).unwrap();
    }
    state.sweep();
    let there = |name: &str| state.unpacked.join(name).exists();
    assert!(there(&used) && there(&unpacking));
    assert!(!there("unused") && !there("unused.1.3.new"));
}
