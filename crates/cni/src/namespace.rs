//! Netlink in a network namespace.

use std::fs::File;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use rtnetlink::Handle;

use crate::answer::{Code, Failure};

/// Opens a pod's network namespace.
///
/// # Errors
/// It is not there, or no network namespace.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let failed = |error| {
        let message = format!("network namespace {}: {error}", path.display());
        Failure::new(Code::UnknownContainer, message)
    };
    File::open(path).map_err(failed)
}

/// Runs `work` with a netlink socket of `place`, or of the calling process's namespace.
///
/// A thread of its own enters the namespace and ends with it, so that the process never leaves its own. `/proc/sys/net`
/// that `work` writes is the namespace's as well.
pub(crate) fn inside<T, Work>(place: Option<&File>, work: Work) -> Result<T, Failure>
where
    T: Send,
    Work: AsyncFnOnce(Handle) -> Result<T, Failure> + Send,
{
    let enter = || {
        if let Some(place) = place {
            setns(place, CloneFlags::CLONE_NEWNET)
                .map_err(|error| Failure::io("cannot enter the pod's network namespace", error))?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io("cannot start", error))?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()
                .map_err(|error| Failure::io("cannot open a netlink socket", error))?;
            let connection = tokio::spawn(connection);
            let outcome = work(handle).await;
            connection.abort();
            outcome
        })
    };
    std::thread::scope(|scope| match scope.spawn(enter).join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
