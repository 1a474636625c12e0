//! A control plane of the real programs, in a network namespace of its own, run as its setup says.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lath_feed::{Addon, ClusterAccess, ControlPlane};
use lath_instance::Setup;
use lath_kubernetes::pki::Authority;
use lath_kubernetes::{Binaries, Client, access, control_plane, manifests, pki};
use lath_model::{ManagedId, ManagedKind};
use lath_net::{HostNetwork, Place};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PATIENCE: Duration = Duration::from_secs(120);

fn binaries() -> Option<Binaries> {
    if let Ok(found) = Binaries::find() {
        return Some(found);
    }
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let cache = std::fs::read_dir(home.join(".cache/lath/kubernetes")).ok()?;
    cache
        .flatten()
        .find_map(|it| Binaries::open(&it.path()).ok())
}

fn plane() -> ControlPlane {
    let addon = Addon {
        version: "v1.15.0-eksbuild.1".into(),
        configuration: None,
    };
    ControlPlane {
        id: ManagedId::new(ManagedKind::ControlPlane, "blue").unwrap(),
        name: "blue".into(),
        arn: "arn:aws:eks:us-east-1:123456789012:cluster/blue".into(),
        version: "1.37".into(),
        boot: 1,
        addresses: vec!["10.0.1.5".parse().unwrap()],
        service_cidr: "172.20.0.0/16".parse().unwrap(),
        keys: pki::generate(lath_clock::Clock::system().now()).unwrap(),
        issuer: "https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
            .into(),
        public_endpoint: None,
        logging: BTreeSet::new(),
        access: ClusterAccess::default(),
        addons: [("coredns".to_owned(), addon)].into(),
        pod_identities: Vec::new(),
        unreachable_seconds: Some(30),
        identity_provider: None,
        scales: false,
    }
}

/// The units of a setup, on an overlay of the host's root. They end with it.
struct Running {
    processes: Vec<Child>,
    directory: tempfile::TempDir,
}

impl Running {
    fn start(setup: &Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &Path| {
            let path = path.strip_prefix("/").unwrap();
            directory.path().join("data/upper").join(path)
        };
        for name in ["data", "root"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        // An overlay cannot lie on an overlay, which the host's root may be.
        let data = directory.path().join("data");
        sh(&format!("mount -t tmpfs tmpfs {}", data.display()));
        std::fs::create_dir(data.join("work")).unwrap();
        for file in &setup.files {
            let path = at(&file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &file.content).unwrap();
            let mode = std::fs::Permissions::from_mode(file.mode);
            std::fs::set_permissions(&path, mode).unwrap();
        }
        for it in &setup.directories {
            std::fs::create_dir_all(at(&it.path)).unwrap();
        }
        for it in &setup.shared {
            std::fs::create_dir_all(at(&it.path)).unwrap();
        }
        let mut running = Self {
            processes: Vec::new(),
            directory,
        };
        let root = running.directory.path().join("root");
        sh(&format!(
            "mount -t overlay overlay -o lowerdir=/,upperdir={0}/upper,workdir={0}/work {1} && mount -t proc proc {1}/proc && mount --bind /dev {1}/dev",
            data.display(),
            root.display()
        ));
        for it in &setup.shared {
            let target = root.join(it.path.strip_prefix("/").unwrap());
            sh(&format!(
                "mount --bind {} {}",
                it.source.display(),
                target.display()
            ));
        }
        for unit in &setup.units {
            let log = std::fs::File::create(running.directory.path().join(&unit.name)).unwrap();
            let mut command = Command::new("chroot");
            command.arg(&root).args(&unit.command);
            let output = (log.try_clone().unwrap(), log);
            command
                .stdin(Stdio::null())
                .stdout(output.0)
                .stderr(output.1);
            running.processes.push(command.spawn().unwrap());
            let Some(ready) = &unit.ready else { continue };
            let end = Instant::now() + PATIENCE;
            loop {
                let output = Command::new("chroot")
                    .arg(&root)
                    .args(ready)
                    .output()
                    .unwrap();
                if output.status.success() {
                    break;
                }
                let log = running.log(&unit.name);
                assert!(Instant::now() < end, "{}: {output:?}\n{log}", unit.name);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        running
    }

    fn log(&self, unit: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(unit)).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end && matches!(process.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(process.kill());
            drop(process.wait());
        }
    }
}

fn sh(script: &str) {
    let status = Command::new("sh").args(["-c", script]).status().unwrap();
    assert!(status.success(), "{script}");
}

/// A webhook that knows one token.
async fn webhook(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut request = Vec::new();
            loop {
                let mut part = [0; 4096];
                let count = stream.read(&mut part).await.unwrap();
                request.extend_from_slice(&part[..count]);
                let text = String::from_utf8_lossy(&request);
                if count == 0 || text.trim_end().ends_with('}') {
                    break;
                }
            }
            let principal = access::Principal {
                arn: "arn:aws:iam::1:user/ann".into(),
                identity_arn: "arn:aws:iam::1:user/ann".into(),
                account: "1".into(),
                user_id: "AIDA1".into(),
                access_key: "AKIA1".into(),
                instance_name: None,
            };
            let user = access::User {
                name: "ann".into(),
                groups: vec![format!("{}AmazonEKSViewPolicy", access::POLICY_GROUPS)],
            };
            let text = String::from_utf8_lossy(&request).into_owned();
            let outcome = if text.contains("\"good\"") {
                Ok((&principal, &user))
            } else {
                Err("no token")
            };
            let body = access::token_review(outcome).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
    }
}

#[test]
fn a_control_plane_gets_ready_and_obeys_its_administrator() {
    let binaries = binaries();
    let (Some(binaries), true) = (binaries, nix::unistd::geteuid().is_root()) else {
        writeln!(
            std::io::stderr(),
            "SKIPPED: no root, or no programs of Kubernetes"
        )
        .unwrap();
        return;
    };
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    sh("mount --make-rprivate / && ip link set lo up && ip address add 10.0.1.5/32 dev lo");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // The socket is made here, in this namespace.
    let listener =
        std::net::TcpListener::bind(("127.0.0.1", lath_kubernetes::WEBHOOK_PORT)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let plane = plane();
    let begun = Instant::now();
    let running = Running::start(
        &control_plane::setup(&plane, &binaries, &lath_clock::Clock::system()).unwrap(),
    );
    writeln!(std::io::stderr(), "ready after {:?}", begun.elapsed()).unwrap();
    runtime.block_on(async {
        tokio::spawn(webhook(
            tokio::net::TcpListener::from_std(listener).unwrap(),
        ));
        obeys(&plane, &running).await;
    });
}

async fn obeys(plane: &ControlPlane, running: &Running) {
    let authority = Authority::open(&plane.keys, &lath_clock::Clock::system()).unwrap();
    let address = SocketAddr::new(plane.addresses[0].into(), 443);
    let client = Client::new(&authority, Arc::new(HostNetwork), Place::Host, address).unwrap();
    client.ready().await.unwrap();
    let nodes = client.get("/api/v1/nodes").await.unwrap();
    assert_eq!(nodes["items"], json!([]));

    let wanted = manifests::of(plane);
    for manifest in &wanted {
        client.apply(manifest).await.unwrap();
    }
    let record = manifests::record(&wanted, &[]);
    client.apply(&record).await.unwrap();
    let found = client.get(manifests::RECORD).await.unwrap();
    assert_eq!(found["data"], record.object["data"]);
    // In whose words `lath-node` sees that an object has to be made anew.
    for (kind, pointer, value, words) in [
        (
            "/clusterrolebindings/",
            "/roleRef/name",
            json!("x"),
            "field is immutable",
        ),
        (
            "/deployments/",
            "/spec/selector/matchLabels/k8s-app",
            json!("x"),
            "field is immutable",
        ),
    ] {
        let mut manifest = wanted
            .iter()
            .find(|it| it.path.contains(kind))
            .unwrap()
            .clone();
        *manifest.object.pointer_mut(pointer).unwrap() = value.clone();
        if let Some(labels) = manifest
            .object
            .pointer_mut("/spec/template/metadata/labels")
        {
            labels["k8s-app"] = value;
        }
        let error = client.apply(&manifest).await.unwrap_err();
        assert_eq!(error.status(), Some(http::StatusCode::UNPROCESSABLE_ENTITY));
        assert!(error.to_string().contains(words), "{error}");
    }
    // What is wrong with an object itself may be an error of the server.
    let mut manifest = wanted.last().unwrap().clone();
    manifest.object["spec"]["replicas"] = json!("x");
    let error = client.apply(&manifest).await.unwrap_err();
    let status = http::StatusCode::INTERNAL_SERVER_ERROR;
    assert_eq!(error.status(), Some(status), "{error}");
    let service = client
        .get("/api/v1/namespaces/kube-system/services/kube-dns")
        .await;
    assert_eq!(service.unwrap()["spec"]["clusterIP"], "172.20.0.10");
    assert_eq!(client.find("/api/v1/namespaces/none").await.unwrap(), None);

    // The controller manager lives: pods of the deployment appear, and wait for a node.
    let end = Instant::now() + PATIENCE;
    loop {
        let pods = client
            .get("/api/v1/namespaces/kube-system/pods")
            .await
            .unwrap();
        if pods["items"].as_array().unwrap().len() == 2 {
            break;
        }
        assert!(
            Instant::now() < end,
            "{}",
            running.log("kube-controller-manager")
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    // Pages of pods that have a node: none has.
    let on_nodes = "/api/v1/pods?fieldSelector=spec.nodeName!%3D&limit=1";
    let page: Value = client.get_as(on_nodes).await.unwrap();
    assert_eq!(page["items"], json!([]));
    let page = client.get("/api/v1/pods?limit=1").await.unwrap();
    let rest = page["metadata"]["continue"].as_str().unwrap();
    let next = format!("/api/v1/pods?limit=1&continue={rest}");
    let page = client.get(&next).await;
    assert_eq!(page.unwrap()["items"].as_array().unwrap().len(), 1);

    // Who a token is of is asked of the webhook, and what she may do of the bindings.
    let review = |token: &str| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = client.post(path, &review("good")).await.unwrap();
    assert_eq!(answer["status"]["user"]["username"], "ann", "{answer}");
    let answer = client.post(path, &review("bad")).await.unwrap();
    assert_ne!(answer["status"]["authenticated"], true);
    let may = |verb: &str| {
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": "ann", "groups": [format!("{}AmazonEKSViewPolicy", access::POLICY_GROUPS)],
                "resourceAttributes": {"namespace": "default", "verb": verb, "resource": "pods"},
            },
        })
    };
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    for (verb, want) in [("list", true), ("delete", false)] {
        let answer: Value = client.post(path, &may(verb)).await.unwrap();
        assert_eq!(answer["status"]["allowed"], want, "{verb} {answer}");
    }
    // The API server's own client may do what kubelets ask about, and nothing else.
    for (resource, want) in [("nodes", true), ("secrets", false)] {
        let subresource = if want { "proxy" } else { "" };
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": "kube-apiserver-kubelet-client",
                "resourceAttributes": {"verb": "get", "resource": resource, "subresource": subresource},
            },
        });
        let answer: Value = client.post(path, &review).await.unwrap();
        assert_eq!(answer["status"]["allowed"], want, "{resource} {answer}");
    }

    // The issuer's keys are those that the cluster shows.
    let keys = client.get("/openid/v1/jwks").await.unwrap();
    let own = pki::key_set(&plane.keys).unwrap();
    for member in ["kid", "x", "y", "crv"] {
        assert_eq!(keys["keys"][0][member], own["keys"][0][member], "{member}");
    }
}
