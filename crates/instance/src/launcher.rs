//! The binary called again as an instance's launcher: the calling side, and the called one.
//!
//! Namespaces are entered by processes with one thread only, so the work is done by a fresh copy of the
//! binary (`argv[1]` is [`LAUNCHER_ARGUMENT`]) that gets its open files at fixed numbers: 3 the network
//! namespace, 4 a pipe for the outcome, 5 the life line.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use lath_clock::Clock;
use lath_model::WorkloadId;

use crate::boot::BootPlan;
use crate::exec::{ExecRequest, exec_main};
use crate::layout::Layout;
use crate::process::{close_others, inherited};
use crate::record;
use crate::supervisor::{self, Inherited};

/// The first argument of the binary when it is called as a launcher.
pub const LAUNCHER_ARGUMENT: &str = "instance-init";

const NETNS: RawFd = 3;
const STATUS: RawFd = 4;
const LIFELINE: RawFd = 5;

/// To be called by `main` when the first argument is [`LAUNCHER_ARGUMENT`], with what follows it,
/// before any thread is started.
pub fn instance_init_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let texts: Option<Vec<&str>> = arguments.iter().map(|it| it.to_str()).collect();
    match texts.as_deref() {
        Some(["boot", plan]) => boot(Path::new(plan)),
        Some(["exec", data_dir, id, request]) => exec(Path::new(data_dir), id, request),
        _ => {
            crate::init::println_console("this is called by Lath itself, not by hand");
            ExitCode::FAILURE
        }
    }
}

fn boot(plan: &Path) -> ExitCode {
    let outcome = (|| {
        let inherited = Inherited {
            netns: inherited(NETNS).ok(),
            status: File::from(inherited(STATUS)?),
            lifeline: inherited(LIFELINE).ok(),
        };
        let fds = [NETNS, STATUS, LIFELINE];
        close_others(&fds)?;
        lath_net::descriptors::restore()?;
        let plan: BootPlan = serde_json::from_slice(&fs::read(plan)?)?;
        supervisor::run(&plan, inherited, Clock::system())
    })();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::init::println_console(&format!("instance supervisor: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn exec(data_dir: &Path, id: &str, request: &str) -> ExitCode {
    let request = match request.strip_prefix(IN_FILE) {
        Some(path) => once(Path::new(path)),
        None => serde_json::from_str(request).ok(),
    };
    let (Ok(id), Some(request)) = (id.parse(), request) else {
        return ExitCode::from(125);
    };
    let status = exec_main(data_dir, &id, &request);
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

/// Before the path of a file that holds a request. A request itself begins with a brace.
const IN_FILE: &str = "@";

/// The request that a file holds, which is of no use any more then.
fn once(path: &Path) -> Option<ExecRequest> {
    let text = fs::read(path).ok();
    let _ = fs::remove_file(path);
    serde_json::from_slice(&text?).ok()
}

/// As [`exec_command`], for requests with secrets in their environment: the arguments of a process are seen by everybody
/// on the host. The command removes the file.
pub(crate) fn private_exec_command(
    launcher: &Path,
    data_dir: &Path,
    layout: &Layout,
    id: &WorkloadId,
    request: &ExecRequest,
) -> io::Result<Command> {
    let file = layout.run().join("exec.json");
    record::save(&file, request)?;
    let mut command = Command::new(launcher);
    command
        .args([LAUNCHER_ARGUMENT, "exec"])
        .arg(data_dir)
        .arg(id.as_str())
        .arg(format!("{IN_FILE}{}", file.display()));
    Ok(command)
}

/// A command that runs `request` in an instance with whatever streams the caller gives it; its exit
/// status is the request's.
pub(crate) fn exec_command(
    launcher: &Path,
    data_dir: &Path,
    id: &WorkloadId,
    request: &ExecRequest,
) -> io::Result<Command> {
    let request = serde_json::to_string(request)?;
    let mut command = Command::new(launcher);
    command
        .args([LAUNCHER_ARGUMENT, "exec"])
        .arg(data_dir)
        .arg(id.as_str())
        .arg(request);
    Ok(command)
}

/// Becomes `request` in a running instance: for `lath exec`, which may be any process that is root (or
/// in the same user namespace). The calling process is replaced, so this returns only when that failed,
/// with the exit status to end with.
pub fn exec_in_instance(data_dir: &Path, id: &WorkloadId, request: &ExecRequest) -> i32 {
    let me = PathBuf::from("/proc/self/exe");
    let error = match exec_command(&me, data_dir, id, request) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    };
    crate::init::println_console(&format!("lath: {id}: {error}"));
    crate::exec::CANNOT_ENTER
}

/// Starts a supervisor; its outcome is one line on the returned pipe.
pub(crate) fn spawn(
    launcher: &Path,
    layout: &Layout,
    plan: &BootPlan,
    netns: Option<&OwnedFd>,
    lifeline: Option<&OwnedFd>,
) -> io::Result<(Child, OwnedFd)> {
    record::save(&layout.plan(), plan)?;
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let files = Handed::new(netns, &writer, lifeline)?;
    let log = File::create(layout.run().join("supervisor.log"))?;
    let mut command = Command::new(launcher);
    command
        .args([LAUNCHER_ARGUMENT, "boot"])
        .arg(layout.plan())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    lath_net::descriptors::hand_down(&mut command);
    files.hand_to(&mut command);
    Ok((command.spawn()?, reader))
}

/// Open files on their way to the numbers above; none of them is at such a number now.
struct Handed(Vec<(OwnedFd, RawFd)>);

impl Handed {
    fn new(
        netns: Option<&OwnedFd>,
        status: &OwnedFd,
        lifeline: Option<&OwnedFd>,
    ) -> io::Result<Self> {
        let mut files = vec![(above(status)?, STATUS)];
        if let Some(netns) = netns {
            files.push((above(netns)?, NETNS));
        }
        if let Some(lifeline) = lifeline {
            files.push((above(lifeline)?, LIFELINE));
        }
        Ok(Self(files))
    }

    #[expect(
        unsafe_code,
        reason = "std cannot hand over descriptors at given numbers"
    )]
    fn hand_to(self, command: &mut Command) {
        // SAFETY: dup2 is async-signal-safe, and nothing is allocated between fork and exec.
        unsafe {
            command.pre_exec(move || {
                for (file, number) in &self.0 {
                    if libc::dup2(file.as_raw_fd(), *number) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
    }
}

fn above(file: &impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(file, 10)?)
}
