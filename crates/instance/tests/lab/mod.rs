//! A place for instances that a test made and that goes with it.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_feed::{InstancePhase, RootSource};
use lath_instance::{ExecRequest, InstanceSpec, Instances, InstancesConfig, Kind, Limits};
use lath_model::WorkloadId;
use nix::sched::{CloneFlags, setns, unshare};

/// Generous: tests wait for conditions, not for time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Whether instances can be made here; says so loudly when not.
pub(crate) fn possible() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: instances need root; run this test as root");
    }
    root
}

/// Directories, and the instances in them, which end with it.
pub(crate) struct Lab {
    /// None once another lab has it: then nothing is ended here.
    directory: Option<tempfile::TempDir>,
    pub(crate) instances: Instances,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::in_directory(directory)
    }

    fn in_directory(directory: tempfile::TempDir) -> Self {
        Self::with(directory, |_| {})
    }

    pub(crate) fn with(
        directory: tempfile::TempDir,
        change: impl FnOnce(&mut InstancesConfig),
    ) -> Self {
        let mut config = config(directory.path());
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let instances = runtime.block_on(Instances::open(config));
        Self {
            directory: Some(directory),
            instances: instances.unwrap(),
            runtime,
        }
    }

    /// As after a restart of Lath: everything in memory is forgotten.
    pub(crate) fn reopened(mut self) -> Self {
        let directory = self.directory.take().unwrap();
        drop(self);
        Self::in_directory(directory)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.as_ref().unwrap().path().to_owned()
    }

    /// A process of a running instance, by its name in the record.
    pub(crate) fn process(&self, id: &WorkloadId, name: &str) -> nix::unistd::Pid {
        let record = self.path().join("data/instances").join(id.as_str());
        let record = std::fs::read_to_string(record.join("running.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let pid = i32::try_from(record[name]["pid"].as_i64().unwrap()).unwrap();
        nix::unistd::Pid::from_raw(pid)
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn run(&self, spec: &InstanceSpec) {
        self.wait(self.instances.ensure_running(spec)).unwrap();
        let state = self.instances.status(&spec.id).unwrap();
        assert_eq!(state.state, InstancePhase::Running);
        assert_eq!(state.boot, spec.boot);
    }

    pub(crate) fn console(&self, id: &WorkloadId) -> String {
        let output = self.instances.console(id).unwrap_or_default();
        String::from_utf8_lossy(&output.bytes).into_owned()
    }

    pub(crate) fn await_console(&self, id: &WorkloadId, text: &str) -> String {
        eventually(&format!("{text:?} on the console"), || {
            let console = self.console(id);
            if console.contains(text) {
                Ok(console)
            } else {
                Err(console)
            }
        })
    }

    /// Exit status, standard output and standard error of a shell line in an instance.
    pub(crate) fn shell(&self, id: &WorkloadId, line: &str) -> (i32, String, String) {
        let request = ExecRequest {
            argv: ["sh", "-c", line].map(str::to_owned).to_vec(),
            ..ExecRequest::default()
        };
        let mut command = self.instances.exec_command(id, &request).unwrap();
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        (output.status.code().unwrap_or(-1), out, err)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.directory.is_none() {
            return;
        }
        for id in self.instances.list().unwrap_or_default() {
            let gone = self.runtime.block_on(self.instances.ensure_absent(&id));
            if let Err(error) = gone {
                eprintln!("left behind: {error}");
            }
        }
    }
}

/// `LATH_TEST_LAUNCHER` names a copy of the launcher where the build directory is out of reach, as for
/// a run by an ordinary user.
pub(crate) fn config(base: &std::path::Path) -> InstancesConfig {
    let built = env!("CARGO_BIN_EXE_lath-instance-launcher");
    let launcher = std::env::var_os("LATH_TEST_LAUNCHER").unwrap_or_else(|| built.into());
    InstancesConfig {
        launcher: PathBuf::from(launcher),
        ..InstancesConfig::new(base.join("data"), base.join("run"))
    }
}

/// A network of its own, with nothing in it but `lo`.
pub(crate) fn network() -> Arc<OwnedFd> {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let up = std::process::Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success());
        OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap())
    });
    Arc::new(made.join().unwrap())
}

/// The network that an ordinary instance is given.
pub(crate) fn netns(spec: &InstanceSpec) -> &Arc<OwnedFd> {
    match &spec.kind {
        Kind::Ordinary { netns } => netns,
        Kind::Node => panic!("a node makes its own"),
    }
}

/// Does `work` in a network.
pub(crate) fn within<T: Send + 'static>(
    network: &Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let network = Arc::clone(network);
    let done = std::thread::spawn(move || {
        setns(&network, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    });
    done.join().unwrap()
}

pub(crate) fn spec(user_data: &str) -> InstanceSpec {
    InstanceSpec {
        setup: Default::default(),
        id: lath_model::id::InstanceId::random().into(),
        kind: Kind::Ordinary { netns: network() },
        root: RootSource::Host,
        hostname: "ip-10-0-1-10.ec2.internal".into(),
        nameservers: vec!["10.0.0.2".parse().unwrap()],
        search: vec!["ec2.internal".into()],
        hosts: BTreeMap::new(),
        authority: "ROOT\n".into(),
        user_data: user_data.as_bytes().to_owned(),
        boot: 1,
        ssh_keys: vec!["ssh-ed25519 AAAAC3 test".into()],
        limits: Limits::default(),
    }
}

/// Tries until it works.
pub(crate) fn eventually<T, E: std::fmt::Debug>(
    what: &str,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if start.elapsed() > DEADLINE => panic!("no {what}: {error:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
