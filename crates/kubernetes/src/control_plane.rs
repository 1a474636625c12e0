//! What a control plane runs: etcd, kube-apiserver, kube-controller-manager and kube-scheduler, on one set of addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use lath_clock::Clock;
use lath_feed::{ClusterLog, ControlPlane};
use lath_instance::{File, HostDirectory, Setup, SharedFile, Unit};
use serde_json::json;

use crate::files::{kubeconfig, public, secret, shown};
use crate::leaves::{CERTIFICATES, Needed, OF_PLANES};
use crate::manifests::KUBELET_CLIENT;
use crate::pki::{self, Authority, PkiError};
use crate::serving::FRONT_PROXY;
use crate::{Binaries, PROGRAMS_PLACE, WEBHOOK_PORT, audit, authentication};

const CONFIGURATION: &str = "/etc/kubernetes";
/// Where kube-apiserver writes its audit log, beside the logs of the units.
const AUDIT_LOG: &str = "/var/log/kube-apiserver-audit.log";
/// The directory of the database is below it, called by the cluster's identity: what an earlier cluster of the same name
/// left is no other cluster's.
const DATABASES: &str = "/var/lib/etcd";
/// Of a database, in bytes: beyond it etcd takes no writes.
const DATABASE_BYTES: u64 = 2 << 30;
/// After as many seconds without a word a node is not ready.
const NODE_GRACE_SECONDS: u32 = 20;
/// How many seconds an answer of the token webhook holds: so long a revoked access entry works on.
const TOKEN_CACHE_SECONDS: u32 = 5;

/// The name of the log (`/var/log/NAME.log`) of a component.
pub fn log_name(log: ClusterLog) -> &'static str {
    match log {
        ClusterLog::Api => "kube-apiserver",
        ClusterLog::Audit => "kube-apiserver-audit",
        ClusterLog::Authenticator => "authenticator",
        ClusterLog::ControllerManager => "kube-controller-manager",
        ClusterLog::Scheduler => "kube-scheduler",
    }
}

/// All that a control plane gets, with certificates of this moment.
///
/// # Errors
/// When the cluster's keys are none.
pub fn setup(plane: &ControlPlane, binaries: &Binaries, clock: &Clock) -> Result<Setup, PkiError> {
    Ok(Setup {
        directories: [DATABASES, CERTIFICATES, authentication::DIRECTORY]
            .map(|path| HostDirectory {
                path: path.into(),
                mode: 0o700,
                shared_mounts: false,
            })
            .into(),
        shared: vec![SharedFile {
            source: binaries.directory.clone(),
            path: PROGRAMS_PLACE.into(),
        }],
        files: files(plane, clock)?,
        units: vec![
            etcd(plane),
            api_server(plane),
            controller_manager(plane),
            scheduler(),
        ],
        ..Setup::default()
    })
}

/// The first address of a block of ClusterIPs: of the service `kubernetes`.
fn service_address(plane: &ControlPlane) -> Ipv4Addr {
    (u32::from(plane.service_cidr.network()) + 1).into()
}

/// Certificates of a control plane, which are renewed while it runs.
pub fn certificates(plane: &ControlPlane) -> Vec<Needed> {
    let mut addresses: Vec<IpAddr> = plane.addresses.iter().copied().map(IpAddr::V4).collect();
    addresses.extend([Ipv4Addr::LOCALHOST, service_address(plane)].map(IpAddr::V4));
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let apiserver = "kube-apiserver";
    let server = Needed::server("apiserver", apiserver, (&names, &addresses), OF_PLANES);
    let clients = [
        // No master: a node says itself where its kubelet is, and could name the API server's own address.
        ("apiserver-kubelet-client", KUBELET_CLIENT, None),
        ("front-proxy-client", FRONT_PROXY, None),
        ("admin", "lath", Some("system:masters")),
        (
            "kube-controller-manager",
            "system:kube-controller-manager",
            None,
        ),
        ("kube-scheduler", "system:kube-scheduler", None),
    ];
    let clients = clients.map(|(name, user, group)| Needed::client(name, user, group, OF_PLANES));
    clients.into_iter().chain([server]).collect()
}

/// The file of the certificate that the authority signs with: kube-controller-manager takes one alone.
const SIGNER: &str = "signer.crt";

/// The certificates of the authority, by the names of their files.
pub fn authorities(authority: &Authority) -> [(&'static str, &str); 2] {
    [
        ("ca.crt", authority.certificate()),
        (SIGNER, authority.newest()),
    ]
}

fn files(plane: &ControlPlane, clock: &Clock) -> Result<Vec<File>, PkiError> {
    let authority = Authority::open(&plane.keys, clock)?;
    let place = |name: &str| PathBuf::from(CERTIFICATES).join(name);
    let mut files = vec![
        public(place("ca.crt"), authority.certificate()),
        public(place(SIGNER), authority.newest()),
        secret(place("ca.key"), &plane.keys.authority_key.0),
        secret(place("sa.key"), &plane.keys.service_accounts.0),
        public(
            place("sa.pub"),
            &pki::service_account_public_key(&plane.keys)?,
        ),
        public("/etc/kubernetes/audit.json".into(), &audit::policy()),
        public("/etc/kubernetes/webhook.kubeconfig".into(), &webhook()),
    ];
    let configuration = authentication::configuration(plane, None);
    let place = PathBuf::from(authentication::DIRECTORY).join(authentication::FILE);
    files.push(public(place, &configuration));
    for needed in certificates(plane) {
        files.push(needed.file(&authority)?);
    }
    for name in ["admin", "kube-controller-manager", "kube-scheduler"] {
        let path = PathBuf::from(CONFIGURATION).join(format!("{name}.kubeconfig"));
        let text = kubeconfig("https://127.0.0.1:443", CERTIFICATES, name);
        files.push(secret(path, &text));
    }
    Ok(files)
}

/// How kube-apiserver reaches the token webhook.
fn webhook() -> String {
    shown(&json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "lath", "cluster": {
            "server": format!("http://127.0.0.1:{WEBHOOK_PORT}/authenticate"),
        }}],
        "users": [{"name": "kube-apiserver", "user": {}}],
        "contexts": [{"name": "webhook", "context": {"cluster": "lath", "user": "kube-apiserver"}}],
        "current-context": "webhook",
    }))
}

fn program(name: &str) -> String {
    format!("{PROGRAMS_PLACE}/{name}")
}

fn unit(name: &str, flags: Vec<String>, stop_seconds: u32) -> Unit {
    let mut command = vec![program(name)];
    command.extend(flags);
    Unit {
        name: name.to_owned(),
        command,
        environment: Vec::new(),
        ready: None,
        once: false,
        stop_seconds,
    }
}

fn flags<'a>(flags: impl IntoIterator<Item = (&'a str, String)>) -> Vec<String> {
    let flags = flags.into_iter();
    flags
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

fn certificate(name: &str) -> String {
    format!("{CERTIFICATES}/{name}")
}

fn raw(server: &[&str], path: &str) -> Vec<String> {
    let mut command = vec![program("kubectl")];
    command.extend(server.iter().map(|it| (*it).to_owned()));
    command.extend(["get", "--raw", path].map(str::to_owned));
    command
}

fn etcd(plane: &ControlPlane) -> Unit {
    let client = "http://127.0.0.1:2379";
    let peer = "http://127.0.0.1:2380";
    let flags = flags([
        ("name", "etcd".to_owned()),
        (
            "data-dir",
            format!("{DATABASES}/{}", pki::identity(&plane.keys)),
        ),
        ("listen-client-urls", client.to_owned()),
        ("advertise-client-urls", client.to_owned()),
        ("listen-peer-urls", peer.to_owned()),
        ("initial-advertise-peer-urls", peer.to_owned()),
        ("initial-cluster", format!("etcd={peer}")),
        ("snapshot-count", "10000".to_owned()),
        ("auto-compaction-retention", "1h".to_owned()),
        ("quota-backend-bytes", DATABASE_BYTES.to_string()),
        ("log-level", "warn".to_owned()),
    ]);
    let server = format!("--server={client}");
    Unit {
        ready: Some(raw(&[&server], "/health")),
        ..unit("etcd", flags, 10)
    }
}

fn api_server(plane: &ControlPlane) -> Unit {
    let issuer = &plane.issuer;
    let advertised = plane.addresses.first().copied();
    let seconds = plane.unreachable_seconds;
    let mut given = vec![
        ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
        ("bind-address", "0.0.0.0".to_owned()),
        (
            "advertise-address",
            advertised.unwrap_or(Ipv4Addr::LOCALHOST).to_string(),
        ),
        ("secure-port", "443".to_owned()),
        ("service-cluster-ip-range", plane.service_cidr.to_string()),
        ("client-ca-file", certificate("ca.crt")),
        ("tls-cert-file", certificate("apiserver.pem")),
        ("tls-private-key-file", certificate("apiserver.pem")),
        (
            "kubelet-client-certificate",
            certificate("apiserver-kubelet-client.pem"),
        ),
        (
            "kubelet-client-key",
            certificate("apiserver-kubelet-client.pem"),
        ),
        ("kubelet-certificate-authority", certificate("ca.crt")),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("service-account-issuer", issuer.clone()),
        ("service-account-jwks-uri", format!("{issuer}/keys")),
        (
            "api-audiences",
            format!("{issuer},https://kubernetes.default.svc"),
        ),
        ("service-account-key-file", certificate("sa.pub")),
        ("service-account-signing-key-file", certificate("sa.key")),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("requestheader-client-ca-file", certificate("ca.crt")),
        (
            "requestheader-allowed-names",
            "front-proxy-client".to_owned(),
        ),
        (
            "requestheader-extra-headers-prefix",
            "X-Remote-Extra-".to_owned(),
        ),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        (
            "proxy-client-cert-file",
            certificate("front-proxy-client.pem"),
        ),
        (
            "proxy-client-key-file",
            certificate("front-proxy-client.pem"),
        ),
        // ClusterIPs lead nowhere from here, where no kube-proxy runs: aggregated APIs and webhooks are called at their pods.
        ("enable-aggregator-routing", "true".to_owned()),
        (
            "authentication-token-webhook-config-file",
            "/etc/kubernetes/webhook.kubeconfig".to_owned(),
        ),
        (
            "authentication-config",
            format!("{}/{}", authentication::DIRECTORY, authentication::FILE),
        ),
        ("authentication-token-webhook-version", "v1".to_owned()),
        (
            "authentication-token-webhook-cache-ttl",
            format!("{TOKEN_CACHE_SECONDS}s"),
        ),
        ("audit-policy-file", "/etc/kubernetes/audit.json".to_owned()),
        ("audit-log-path", AUDIT_LOG.to_owned()),
        ("audit-log-maxsize", "8".to_owned()),
        ("audit-log-maxbackup", "1".to_owned()),
        ("profiling", "false".to_owned()),
        // Connections of clients end one after another, while the processes that they talk to still live.
        ("shutdown-delay-duration", "0s".to_owned()),
    ];
    if let Some(seconds) = seconds {
        given.extend([
            ("default-not-ready-toleration-seconds", seconds.to_string()),
            (
                "default-unreachable-toleration-seconds",
                seconds.to_string(),
            ),
        ]);
    }
    let admin = "--kubeconfig=/etc/kubernetes/admin.kubeconfig";
    Unit {
        ready: Some(raw(&[admin], "/readyz")),
        ..unit("kube-apiserver", flags(given), 15)
    }
}

fn controller_manager(plane: &ControlPlane) -> Unit {
    let own = "/etc/kubernetes/kube-controller-manager.kubeconfig".to_owned();
    let flags = flags([
        ("kubeconfig", own.clone()),
        ("authentication-kubeconfig", own.clone()),
        ("authorization-kubeconfig", own),
        ("service-account-private-key-file", certificate("sa.key")),
        ("root-ca-file", certificate("ca.crt")),
        ("cluster-signing-cert-file", certificate(SIGNER)),
        ("cluster-signing-key-file", certificate("ca.key")),
        ("use-service-account-credentials", "true".to_owned()),
        ("cluster-name", plane.name.clone()),
        ("leader-elect", "false".to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("service-cluster-ip-range", plane.service_cidr.to_string()),
        (
            "node-monitor-grace-period",
            format!("{NODE_GRACE_SECONDS}s"),
        ),
        // Each controller asks for a token of its own when it begins: at upstream's 20 requests a second that alone is five seconds.
        ("kube-api-qps", "200".to_owned()),
        ("kube-api-burst", "400".to_owned()),
        ("profiling", "false".to_owned()),
    ]);
    unit("kube-controller-manager", flags, 5)
}

fn scheduler() -> Unit {
    let own = "/etc/kubernetes/kube-scheduler.kubeconfig".to_owned();
    let flags = flags([
        ("kubeconfig", own.clone()),
        ("authentication-kubeconfig", own.clone()),
        ("authorization-kubeconfig", own),
        ("leader-elect", "false".to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("profiling", "false".to_owned()),
    ]);
    unit("kube-scheduler", flags, 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_control_plane_serves_its_addresses_and_keeps_its_keys() {
        let plane = testing::plane();
        let binaries = Binaries {
            directory: "/opt/k".into(),
            version: "v1.37.2".into(),
        };
        let setup = setup(&plane, &binaries, &Clock::system()).unwrap();
        let names: Vec<_> = setup.units.iter().map(|it| it.name.as_str()).collect();
        let want = [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ];
        assert_eq!(names, want);
        let data = |plane: &ControlPlane| etcd(plane).command[2].clone();
        let successor = testing::plane();
        assert!(data(&plane).starts_with("--data-dir=/var/lib/etcd/"));
        assert_eq!(data(&plane), data(&plane.clone()));
        assert_ne!(
            data(&plane),
            data(&successor),
            "the same name is not enough"
        );
        let api = &setup.units[1].command;
        for flag in [
            "--advertise-address=10.0.1.5",
            "--secure-port=443",
            "--service-cluster-ip-range=172.20.0.0/16",
            "--enable-aggregator-routing=true",
        ] {
            assert!(api.iter().any(|it| it == flag), "{flag} in {api:?}");
        }
        // No secret is a flag, and only root reads the files that hold one.
        for file in &setup.files {
            let is_secret = file.content.contains("PRIVATE KEY");
            assert!(!is_secret || file.mode & 0o077 == 0, "{file:?}");
        }
        let masters = setup.files.iter().filter(|file| is_of_masters(file));
        let masters: Vec<_> = masters.filter_map(|it| it.path.file_name()).collect();
        assert_eq!(masters, ["admin.pem"]);
    }

    fn is_of_masters(file: &File) -> bool {
        use base64::Engine as _;
        let Some((_, text)) = file.content.split_once("-----BEGIN CERTIFICATE-----") else {
            return false;
        };
        let text: String = text.lines().take_while(|it| !it.starts_with('-')).collect();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap();
        let group = b"system:masters";
        bytes.windows(group.len()).any(|it| it == group)
    }
}
