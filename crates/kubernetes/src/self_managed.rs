//! What an instance of an image for Kubernetes runs: containerd from its first moment, and kubelet once its user's
//! kubeadm, or whatever else makes clusters, has begun it. Lath knows nothing of its cluster.

use std::path::Path;

use lath_instance::{File, Setup, SharedFile, Unit};
use serde_json::json;

use crate::files::{public, shown};
use crate::node::{
    LATH_DIRECTORY, SOCKET, containerd, containerd_configuration, directory, images_from_lath,
    network_by_lath, shared,
};
use crate::{Binaries, PROGRAMS_PLACE};

/// What is there beside the programs that every directory of them has.
const KUBEADM: &str = "kubeadm";
/// Settings that count more than those that kubeadm writes.
const KUBELET_SETTINGS: &str = "/etc/kubernetes/kubelet.conf.d";
/// As the package of kubelet has it, so that kubeadm's files count.
const KUBELET: &str = "\
for file in /var/lib/kubelet/kubeadm-flags.env /etc/sysconfig/kubelet /etc/default/kubelet; do
    if [ -r \"$file\" ]; then . \"$file\"; fi
done
exec /usr/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
--kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \
--config-dir=/etc/kubernetes/kubelet.conf.d $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
";

/// What such an instance gets; without the programs, a word on its console. `lath` is Lath's own program, which is
/// `systemctl`, `dnf` and `modprobe` there.
pub fn setup(binaries: Result<&Binaries, String>, lath: &Path) -> Setup {
    let binaries = binaries.and_then(|found| match found.directory.join(KUBEADM).is_file() {
        true => Ok(found),
        false => Err(format!("{} has no kubeadm", found.directory.display())),
    });
    let binaries = match binaries {
        Ok(binaries) => binaries,
        Err(reason) => {
            return Setup {
                notes: vec![format!("This image runs no Kubernetes here: {reason}.")],
                ..Setup::default()
            };
        }
    };
    Setup {
        directories: vec![
            directory("/var/lib/containerd", false),
            directory("/var/lib/kubelet", true),
            directory("/var/lib/cni", false),
            directory("/var/lib/etcd", false),
            directory(LATH_DIRECTORY, false),
            // There is nothing to install from; scripts write there. And what the host's kernel is told is the host's.
            directory("/etc/yum.repos.d", false),
            directory("/usr/lib/sysctl.d", false),
        ],
        shared: programs(binaries, lath),
        files: files(),
        units: vec![
            settings_of_kernel(),
            containerd(&containerd_file()),
            kubelet(),
        ],
        on_demand: vec!["kubelet".to_owned()],
        notes: vec![format!(
            "Kubernetes {}: kubeadm, kubelet, kubectl and containerd are there.",
            binaries.version
        )],
    }
}

fn containerd_file() -> String {
    format!("{LATH_DIRECTORY}/containerd.toml")
}

fn programs(binaries: &Binaries, lath: &Path) -> Vec<SharedFile> {
    let mut all = vec![shared(&binaries.directory, PROGRAMS_PLACE)];
    for name in ["kubelet", "kubectl"] {
        let original = binaries.directory.join(name);
        all.push(shared(&original, &format!("/usr/bin/{name}")));
    }
    for path in [
        "/opt/cni/bin/lath-cni",
        "/opt/cni/bin/loopback",
        "/usr/bin/dnf",
        "/usr/bin/systemctl",
        "/usr/bin/yum",
        "/usr/sbin/modprobe",
    ] {
        all.push(shared(lath, path));
    }
    all
}

fn files() -> Vec<File> {
    let settings = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
        },
        "featureGates": {"KubeletInUserNamespace": true},
    });
    let settings_file = Path::new(KUBELET_SETTINGS).join("00-lath.conf");
    let kubeadm = File {
        mode: 0o755,
        ..public("/usr/bin/kubeadm".into(), &kubeadm())
    };
    vec![
        kubeadm,
        public(settings_file, &shown(&settings)),
        public(containerd_file().into(), &containerd_configuration()),
        images_from_lath(),
        // Behind every other, so that a user's own plugin counts.
        network_by_lath("99-lath.conflist"),
    ]
}

/// kubeadm calls it an error that a host has control groups of version 1, until one says that it is none. These nodes say
/// so: the settings of their kubelet allow for it.
fn kubeadm() -> String {
    format!(
        r#"#!/bin/sh
# Written by Lath at each boot.
case "$1 $2" in
    "init phase"|"join phase") ;;
    "init "*|"join "*)
        if [ -d /sys/fs/cgroup/memory ]; then
            echo "This host has control groups of version 1: kubeadm ignores SystemVerification." >&2
            set -- "$@" --ignore-preflight-errors=SystemVerification
        fi ;;
esac
exec {PROGRAMS_PLACE}/{KUBEADM} "$@"
"#
    )
}

/// What the instance's user has put into `/etc/sysctl.d` holds after each boot, such as forwarding. What is the host's is
/// refused, and no failure.
fn settings_of_kernel() -> Unit {
    Unit {
        name: "systemd-sysctl".to_owned(),
        command: ["/bin/sh", "-c", "sysctl -e --system || true"]
            .map(str::to_owned)
            .to_vec(),
        environment: Vec::new(),
        ready: None,
        once: true,
        stop_seconds: 1,
    }
}

fn kubelet() -> Unit {
    Unit {
        name: "kubelet".to_owned(),
        command: ["/bin/sh", "-c", KUBELET].map(str::to_owned).to_vec(),
        environment: Vec::new(),
        ready: None,
        once: false,
        stop_seconds: 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_programs_the_console_says_what_is_missing() {
        let reason = "set LATH_KUBERNETES_BIN".to_owned();
        let without = setup(Err(reason), Path::new("/usr/bin/lath"));
        assert!(without.units.is_empty() && without.shared.is_empty());
        assert!(without.notes[0].contains("LATH_KUBERNETES_BIN"));
        let directory = tempfile::tempdir().unwrap();
        let binaries = Binaries {
            directory: directory.path().to_owned(),
            version: "v1.37.2".to_owned(),
        };
        let without = setup(Ok(&binaries), Path::new("/usr/bin/lath"));
        assert!(without.notes[0].contains("has no kubeadm"));
    }

    #[test]
    fn kubelet_waits_for_an_order_and_no_file_is_a_link() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(KUBEADM), "").unwrap();
        let binaries = Binaries {
            directory: directory.path().to_owned(),
            version: "v1.37.2".to_owned(),
        };
        let with = setup(Ok(&binaries), Path::new("/usr/bin/lath"));
        let units: Vec<&str> = with.units.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(units, ["systemd-sysctl", "containerd", "kubelet"]);
        assert_eq!(with.on_demand, ["kubelet"]);
        // What is bound read-only cannot be a file that is written.
        let is_shared = |file: &File| with.shared.iter().any(|it| it.path == file.path);
        assert!(!with.files.iter().any(is_shared));
    }
}
