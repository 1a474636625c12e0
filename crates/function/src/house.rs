//! One environment's processes: a workload with a network of its own, in which the function's program runs.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lath_clock::Clock;
use lath_feed::telemetry::Sink;
use lath_feed::{Function, RootSource};
use lath_instance::{
    ExecRequest, File, InstanceSpec, Instances, Kind, Limits, Setup, SharedFile, is_rootless,
};
use lath_model::{ManagedId, ManagedKind, WorkloadId};
use lath_net::accept::Acceptor;
use nix::sched::{CloneFlags, unshare};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use crate::log::Lines;
use crate::runtime::{Begin, RUNTIME_DIR, TASK_ROOT};
use crate::runtime_api::{self, ADDRESS, Word};

/// The users of environments: behind those of nodes of clusters, and like them free in systemd's table.
const FIRST_USER: u32 = 0x7ffe_0000;
const USERS: u32 = 0x1_0000;
/// Environments that are made at the same time.
const AT_ONCE: usize = 8;
/// The memory for which Lambda gives one processor
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>), in MiB.
const MEMORY_OF_ONE: u32 = 1769;
/// Processes and threads of an environment, as on Lambda.
const PROCESSES: u32 = 1024;

/// What all environments share.
pub(crate) struct Shared {
    pub(crate) instances: Instances,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) region: String,
    pub(crate) clock: Clock,
    acceptor: Acceptor,
    starts: Semaphore,
    next_user: AtomicU32,
}

impl Shared {
    pub(crate) fn new(
        instances: Instances,
        sink: Arc<dyn Sink>,
        region: String,
        clock: Clock,
    ) -> Self {
        Self {
            instances,
            sink,
            region,
            clock,
            acceptor: runtime_api::acceptor(),
            starts: Semaphore::new(AT_ONCE),
            next_user: AtomicU32::new(0),
        }
    }

    /// An ordinary user of the host that nothing else is. A rootless Lath has none to give: there root in the environment is
    /// an ordinary user already.
    fn user(&self) -> Option<(u32, u32)> {
        if is_rootless() {
            return None;
        }
        let number = self.next_user.fetch_add(1, Ordering::Relaxed) % USERS;
        Some((FIRST_USER + number, FIRST_USER + number))
    }
}

/// The processes of one environment.
pub(crate) struct House {
    id: WorkloadId,
    instances: Instances,
    pub(crate) child: Child,
    pub(crate) out: Lines<ChildStdout>,
    pub(crate) err: Lines<ChildStderr>,
    pub(crate) words: mpsc::Receiver<Word>,
    _door: DropGuard,
}

impl House {
    /// Makes an environment and begins the function's program in it.
    ///
    /// # Errors
    /// In words for the user.
    pub(crate) async fn open(
        shared: &Shared,
        function: &Function,
        begin: &Begin,
        code: &Path,
        stream: &str,
    ) -> Result<Self, String> {
        let _turn = shared.starts.acquire().await;
        let name = format!("e-{}", Uuid::new_v4().simple());
        let id = ManagedId::new(ManagedKind::Function, &name).map_err(|it| it.to_string())?;
        let id = WorkloadId::from(id);
        let opened = Self::make(shared, function, begin, (code, stream), &id).await;
        if opened.is_err() {
            remove(&shared.instances, &id).await;
        }
        opened
    }

    async fn make(
        shared: &Shared,
        function: &Function,
        begin: &Begin,
        (code, stream): (&Path, &str),
        id: &WorkloadId,
    ) -> Result<Self, String> {
        let network = |error: io::Error| format!("its network cannot be made: {error}");
        let made = tokio::task::spawn_blocking(make_network).await;
        let (netns, listener) = made.map_err(io::Error::other).flatten().map_err(network)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(network)?;
        let spec = spec(id, function, begin, code, Arc::new(netns));
        let running = shared.instances.ensure_running(&spec).await;
        running.map_err(|error| error.to_string())?;
        let (words_tx, words) = mpsc::channel(runtime_api::QUEUE);
        let door = runtime_api::serve(listener, id.clone(), shared.acceptor.clone(), words_tx);
        let request = ExecRequest {
            argv: begin.argv.clone(),
            env: environment(function, &shared.region, stream),
            cwd: Some(TASK_ROOT.into()),
            user: shared.user(),
        };
        let command = shared.instances.private_exec_command(id, &request);
        let begun = command.and_then(|mut command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .env_clear();
            Command::from(command).kill_on_drop(true).spawn()
        });
        let mut child = begun.map_err(|error| format!("its program cannot be begun: {error}"))?;
        Ok(Self {
            id: id.clone(),
            instances: shared.instances.clone(),
            out: Lines::new(child.stdout.take()),
            err: Lines::new(child.stderr.take()),
            child,
            words,
            _door: door,
        })
    }

    /// Ends everything in it, at once.
    pub(crate) async fn close(self) {
        let Self {
            id,
            instances,
            child,
            words,
            ..
        } = self;
        drop((child, words));
        remove(&instances, &id).await;
    }
}

/// Goes on until it is gone, or says that it is not: the next start of the node removes what is left.
async fn remove(instances: &Instances, id: &WorkloadId) {
    for _ in 0..3 {
        let killed = instances.ensure_killed(id).await;
        match killed.and(instances.ensure_absent(id).await) {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(environment.id = %id, %error, "an environment does not go");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

fn spec(
    id: &WorkloadId,
    function: &Function,
    begin: &Begin,
    code: &Path,
    netns: Arc<OwnedFd>,
) -> InstanceSpec {
    let file = begin.file.map(|(path, content)| File {
        path: path.into(),
        mode: 0o644,
        content: content.to_owned(),
    });
    InstanceSpec {
        id: id.clone(),
        kind: Kind::Ordinary { netns },
        root: RootSource::Host,
        hostname: "lambda".to_owned(),
        nameservers: Vec::new(),
        search: Vec::new(),
        hosts: BTreeMap::new(),
        authority: Arc::default(),
        user_data: Vec::new(),
        boot: 1,
        ssh_keys: Vec::new(),
        limits: Limits {
            memory_bytes: Some(u64::from(function.memory_mib) << 20),
            pids: Some(PROCESSES),
            vcpus: Some(function.memory_mib.div_ceil(MEMORY_OF_ONE).max(1)),
        },
        setup: Setup {
            shared: vec![SharedFile {
                source: code.to_owned(),
                path: TASK_ROOT.into(),
            }],
            files: file.into_iter().collect(),
            ..Setup::default()
        },
    }
}

/// What the program finds in its environment
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>). What Lambda sets wins.
fn environment(function: &Function, region: &str, stream: &str) -> Vec<(String, String)> {
    let own = function.environment.iter();
    let own = own.map(|(name, value)| (name.clone(), value.0.clone()));
    let mut all: BTreeMap<String, String> = own.collect();
    let path = "/usr/local/bin:/usr/bin:/bin:/opt/bin";
    let memory = function.memory_mib.to_string();
    let api = ADDRESS.to_string();
    let execution = format!("AWS_Lambda_{}", function.runtime);
    let mut set = |name: &str, value: &str| drop(all.insert(name.to_owned(), value.to_owned()));
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", api.as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", &function.name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &function.log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", stream),
        ("AWS_REGION", region),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_EXECUTION_ENV", &execution),
        ("LAMBDA_TASK_ROOT", TASK_ROOT),
        ("LAMBDA_RUNTIME_DIR", RUNTIME_DIR),
        ("_HANDLER", &function.handler),
    ] {
        set(name, value);
    }
    if let Some(keys) = &function.keys {
        set("AWS_ACCESS_KEY_ID", &keys.id);
        set("AWS_SECRET_ACCESS_KEY", &keys.secret.0);
        set("AWS_SESSION_TOKEN", &keys.token.0);
    }
    for (name, value) in [
        ("HOME", "/tmp"),
        ("LANG", "en_US.UTF-8"),
        ("PATH", path),
        ("TZ", ":UTC"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ] {
        all.entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    all.into_iter().collect()
}

/// A network that has a loopback and nothing else, and the Runtime API's listener in it. A socket stays in the network where
/// it was made; the thread that stood there ends.
fn make_network() -> io::Result<(OwnedFd, TcpListener)> {
    let made = std::thread::spawn(|| -> io::Result<_> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        raise_loopback()?;
        let listener = TcpListener::bind(ADDRESS)?;
        listener.set_nonblocking(true)?;
        let netns = std::fs::File::open("/proc/thread-self/ns/net")?;
        Ok((OwnedFd::from(netns), listener))
    });
    let ended = made.join();
    ended.unwrap_or_else(|_| Err(io::Error::other("the thread that makes it ended")))
}

#[expect(unsafe_code, reason = "no safe wrapper raises a link")]
fn raise_loopback() -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: all zeros is a value of this plain structure.
    let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as nix::libc::c_char;
    }
    request.ifr_ifru.ifru_flags = nix::libc::IFF_UP as i16;
    // SAFETY: the kernel reads the structure, which outlives the call.
    let answer = unsafe {
        nix::libc::ioctl(
            socket.as_raw_fd(),
            nix::libc::SIOCSIFFLAGS,
            &raw const request,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
