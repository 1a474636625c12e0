//! The programs of Kubernetes on this host.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the directory with the programs.
pub const VARIABLE: &str = "LATH_KUBERNETES_BIN";

/// What must be there. `coredns` runs in pods, from an image.
pub const PROGRAMS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// Where nodes find the container runtime, in this order.
const RUNTIMES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/sbin"];

/// A directory with every program of a cluster, and the version that they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory, without symbolic links.
    pub directory: PathBuf,
    /// Such as `v1.37.2`.
    pub version: String,
}

/// Why clusters cannot run on this host.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    /// No directory was named.
    #[error(
        "clusters need the programs of Kubernetes: set {VARIABLE} to a directory with {}",
        PROGRAMS.join(", ")
    )]
    NotNamed,
    /// The directory lacks a program.
    #[error("{VARIABLE} names {}, which has no {program}", directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
        /// The program.
        program: &'static str,
    },
    /// A program does not run.
    #[error("{} does not say its version: {reason}", program.display())]
    Broken {
        /// The program.
        program: PathBuf,
        /// What happened.
        reason: String,
    },
}

impl Binaries {
    /// The programs in the directory that `LATH_KUBERNETES_BIN` names.
    ///
    /// # Errors
    /// When the variable is not set, or the directory is not complete.
    pub fn find() -> Result<Self, BinariesError> {
        let directory = std::env::var_os(VARIABLE).filter(|it| !it.is_empty());
        Self::open(Path::new(&directory.ok_or(BinariesError::NotNamed)?))
    }

    /// The programs in `directory`. Runs kubelet once to ask for its version.
    ///
    /// # Errors
    /// When a program is missing or does not run.
    pub fn open(directory: &Path) -> Result<Self, BinariesError> {
        let missing = |program| BinariesError::Missing {
            directory: directory.to_owned(),
            program,
        };
        if let Some(program) = PROGRAMS.iter().find(|it| !directory.join(it).is_file()) {
            return Err(missing(program));
        }
        let directory = directory.canonicalize().map_err(|_| missing("kubelet"))?;
        let version = version(&directory.join("kubelet"))?;
        Ok(Self { directory, version })
    }

    /// Such as `1.37`, as EKS writes versions.
    pub fn minor_version(&self) -> String {
        let version = self.version.trim_start_matches('v');
        let mut parts = version.split('.');
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) => format!("{major}.{minor}"),
            _ => version.to_owned(),
        }
    }
}

fn version(kubelet: &Path) -> Result<String, BinariesError> {
    let broken = |reason: String| BinariesError::Broken {
        program: kubelet.to_owned(),
        reason,
    };
    let output = Command::new(kubelet).arg("--version").output();
    let output = output.map_err(|error| broken(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().strip_prefix("Kubernetes ").map(str::to_owned);
    version.ok_or_else(|| broken(format!("it says {text:?} ({})", output.status)))
}

/// A program of the container runtime (`containerd`, `runc`) on this host.
pub fn runtime_program(name: &str) -> Option<PathBuf> {
    let mut places = RUNTIMES.iter().map(|place| Path::new(place).join(name));
    places.find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_complete_directory_says_its_version() {
        let directory = tempfile::tempdir().unwrap();
        let error = Binaries::open(directory.path()).unwrap_err();
        assert!(error.to_string().ends_with("has no etcd"), "{error}");
        for program in PROGRAMS {
            let path = directory.path().join(program);
            std::fs::write(&path, "#!/bin/sh\necho Kubernetes v1.37.2\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let found = Binaries::open(directory.path()).unwrap();
        assert_eq!(found.version, "v1.37.2");
        assert_eq!(found.minor_version(), "1.37");
    }
}
