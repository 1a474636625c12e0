//! Output of scripts: to `/var/log/cloud-init-output.log` and to the console, for as long as anybody
//! holds the writing end, which may be long after the script that started them ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use crate::process::{close_others, fork_child};

/// The log, as on AWS's images.
pub(super) const LOG: &str = "/var/log/cloud-init-output.log";

/// The writing end of a pipe to a process that copies.
#[derive(Debug)]
pub(super) struct Output {
    pipe: OwnedFd,
}

impl Output {
    /// Starts the copying process. Before this there must be no thread.
    pub(super) fn open() -> io::Result<Self> {
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let source = File::from(reader);
        let kept = std::os::fd::AsRawFd::as_raw_fd(&source);
        fork_child(move || {
            // Its own copy of the writing end would keep it alive for ever.
            let _ = close_others(&[kept]);
            copy(source);
            0
        })?;
        Ok(Self { pipe: writer })
    }

    /// For a child's standard output or error.
    pub(super) fn stdio(&self) -> io::Result<Stdio> {
        Ok(Stdio::from(self.pipe.try_clone()?))
    }

    /// A line of Lath's own.
    pub(super) fn write_line(&self, text: &str) {
        let line = format!("cloud-init: {text}\n");
        if let Ok(pipe) = self.pipe.try_clone() {
            let _ = File::from(pipe).write_all(line.as_bytes());
        }
    }
}

/// The console is standard output. A log that cannot be written is no reason to lose the console.
fn copy(mut source: File) {
    let mut log = OpenOptions::new().create(true).append(true).open(LOG).ok();
    let mut bytes = [0; 8192];
    loop {
        match source.read(&mut bytes) {
            Ok(0) => return,
            Ok(length) => {
                if let Some(log) = &mut log {
                    let _ = log.write_all(&bytes[..length]);
                }
                let mut console = io::stderr();
                let _ = console.write_all(&bytes[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
