//! One control and several nodes, over connections between machines.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use lath_model::id::VpcId;

use super::*;
use crate::Condition;

fn key(byte: u8) -> FeedKey {
    FeedKey::new(&[byte; 32]).unwrap()
}

/// Control's, and those of the nodes that it knows.
const CONTROL: u8 = 1;
const NODES: [(u8, &str); 5] = [
    (2, "one"),
    (3, "two"),
    (4, "local"),
    (5, "far"),
    (6, "known"),
];

fn known() -> KnownNodes {
    let known = NODES.map(|(byte, name)| (key(byte).public(), node(name)));
    known.into_iter().collect()
}

fn key_of(name: &NodeId) -> FeedKey {
    let its = NODES.iter().find(|(_, its)| *its == name.as_str());
    key(its.unwrap().0)
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// Control's end at a port, with its address.
async fn control(first: Snapshot) -> (ControlEnd, SocketAddr, watch::Sender<KnownNodes>) {
    let (know, nodes) = watch::channel(known());
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap(), key(CONTROL), nodes).await;
    let listener = listener.unwrap();
    let Listener::Tcp { listener: door, .. } = &listener else {
        panic!("a port")
    };
    let at = door.local_addr().unwrap();
    (ControlEnd::at(listener, first), at, know)
}

/// The way to the control plane of the key `control`, for who has this one.
fn by(at: SocketAddr, key: FeedKey, control: u8) -> Address {
    Address::Tcp {
        at: at.to_string(),
        key,
        control: self::key(control).public(),
    }
}

fn known_node(at: SocketAddr, name: &str, directory: &Path) -> NodeEnd {
    let name = node(name);
    NodeEnd::at(by(at, key_of(&name), CONTROL), name, directory)
}

/// Passes connections on to `to`, and keeps what passes.
async fn tap(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, seen) = (listener.local_addr().unwrap(), Arc::default());
    let kept: Arc<Mutex<Vec<u8>>> = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to).await.unwrap();
            let ((near_rx, near_tx), (far_rx, far_tx)) = (near.into_split(), far.into_split());
            for (mut from, mut to) in [(near_rx, far_tx), (far_rx, near_tx)] {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut bytes).await {
                        kept.lock().unwrap().extend_from_slice(&bytes[..count]);
                        if to.write_all(&bytes[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    (at, seen)
}

/// Passes connections on to `to`, and what is said from there slowly.
async fn slow_road(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to).await.unwrap();
            let ((mut near_rx, mut near_tx), (mut far_rx, mut far_tx)) =
                (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut near_rx, &mut far_tx).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(count @ 1..) = far_rx.read(&mut bytes).await {
                    if near_tx.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
    });
    at
}

#[tokio::test]
async fn the_last_bytes_of_a_large_snapshot_arrive_over_a_slow_road() {
    let directory = tempfile::tempdir().unwrap();
    // More than sockets hold, so that the sender waits for room at the end too.
    let large = "x".repeat(24 << 20);
    let (control, at, _know) = control(snapshot(1, &[(ONE, &large)])).await;
    let mut one = known_node(slow_road(at).await, "one", directory.path());
    one.obeys(1).await;
    assert_eq!(control.node.names(), [node("one")]);
}

#[tokio::test]
async fn two_nodes_follow_one_control_and_their_observations_are_merged() {
    let directory = tempfile::tempdir().unwrap();
    let (mut control, at, _know) = control(snapshot(10, &[(ONE, "a name that shows")])).await;
    let (tapped, seen) = tap(at).await;
    let mut one = known_node(tapped, "one", directory.path());
    let mut two = known_node(at, "two", directory.path());
    one.obeys(10).await;
    two.obeys(10).await;
    assert_eq!(control.node.names(), [node("one"), node("two")]);

    let of = |version: u64, id: &str| {
        let ready = Condition::Ready { version };
        Arc::new(Observed {
            applied_version: version,
            vpcs: BTreeMap::from([(id.parse().unwrap(), ready)]),
            ..Observed::default()
        })
    };
    one.observe.send_replace(of(3, "vpc-00000000000000001"));
    two.observe.send_replace(of(2, "vpc-00000000000000002"));
    let both = control
        .observed
        .wait_for(|it| it.applied_version == 2 && it.vpcs.len() == 2);
    drop(tokio::time::timeout(PATIENCE, both).await.unwrap().unwrap());
    let counted = control.node.metrics_text().await.unwrap();
    for sample in ["counted{node=\"one\"} 1\n", "counted{node=\"two\"} 1\n"] {
        assert!(counted.contains(sample), "{counted}");
    }
    let instance = "i-00000000000000001".parse().unwrap();
    assert!(control.node.console_output(&instance).await.is_some());

    // A node that restarts is no third one.
    drop(two);
    let mut two = known_node(at, "two", directory.path());
    control.publish.send_replace(Arc::new(snapshot(11, &[])));
    one.obeys(11).await;
    two.obeys(11).await;
    two.observe.send_replace(of(3, "vpc-00000000000000002"));
    heard(&mut control, 3).await;
    assert_eq!(control.node.names(), [node("one"), node("two")]);

    // What changed is said, and counts.
    one.observe.send_replace(of(4, "vpc-00000000000000003"));
    two.observe.send_replace(of(5, "vpc-00000000000000002"));
    let both = control.observed.wait_for(|it| {
        let vpcs: Vec<_> = it.vpcs.keys().map(VpcId::as_str).collect();
        it.applied_version == 4 && vpcs == ["vpc-00000000000000002", "vpc-00000000000000003"]
    });
    drop(tokio::time::timeout(PATIENCE, both).await.unwrap().unwrap());

    let seen = seen.lock().unwrap();
    let shows = |text: &str| seen.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(seen.len() > 1000, "something passed");
    for clear in ["a name that shows", "us-east-1", "123456789012", "vpc-"] {
        assert!(!shows(clear), "{clear}");
    }
}

#[tokio::test]
async fn each_node_gets_what_its_vpcs_need() {
    let directory = tempfile::tempdir().unwrap();
    let vpcs: [VpcId; 2] =
        ["vpc-00000000000000001", "vpc-00000000000000002"].map(|id| id.parse().unwrap());
    let mut first = snapshot(1, &[(ONE, "a")]);
    for vpc in &vpcs {
        first.name_sharing.insert(vpc.clone(), BTreeSet::new());
    }
    let (control, at, _know) = control(first).await;
    let mut local = known_node(at, "local", directory.path());
    let mut far = known_node(at, "far", directory.path());
    let has = |node: &mut NodeEnd, wanted: &[VpcId]| {
        let mut snapshots = node.snapshots.clone();
        let wanted = wanted.to_vec();
        async move {
            let has = snapshots.wait_for(|it| {
                it.prefix_lists.len() == 1 && it.name_sharing.keys().eq(wanted.iter())
            });
            drop(tokio::time::timeout(PATIENCE, has).await.unwrap().unwrap());
        }
    };
    has(&mut local, &vpcs).await;
    has(&mut far, &vpcs).await;
    let placed = (vpcs[1].clone(), node("far"));
    let placement = Placement::Vpcs([placed].into_iter().collect());
    control.place.send_replace(placement);
    has(&mut local, &vpcs[..1]).await;
    has(&mut far, &vpcs[1..]).await;
    control.place.send_replace(Placement::Whole);
    has(&mut far, &vpcs).await;
}

#[tokio::test]
async fn who_has_not_the_key_is_not_the_node_and_not_control() {
    let directory = tempfile::tempdir().unwrap();
    let (mut control, at, know) = control(snapshot(1, &[])).await;
    let strangers = [
        ("a key that is not known", by(at, key(9), CONTROL), "known"),
        (
            "another node's name",
            by(at, key_of(&node("one")), CONTROL),
            "known",
        ),
        (
            "another control plane",
            by(at, key_of(&node("two")), 9),
            "two",
        ),
        // A node's key is no control's: no node follows who has a stolen one.
        ("a node for control", by(at, key_of(&node("far")), 2), "far"),
    ];
    let strangers = strangers.map(|(why, way, name)| {
        let stranger = NodeEnd::at(way, node(name), directory.path());
        stranger.observe.send_replace(applied(9));
        (why, stranger)
    });
    // One who speaks in clear.
    let hello = Up::Hello {
        region: "us-east-1".into(),
        node: node("known"),
    };
    let mut plain = TcpStream::connect(at).await.unwrap();
    let hello = frame::encode(&hello).unwrap();
    plain.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    let end = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer));
    let _ = end.await.expect("an end");
    assert!(!answer.windows(9).any(|it| it == b"us-east-1"));

    // A true node of the same address still gets in, past those who try.
    let mut local = known_node(at, "known", directory.path());
    local.obeys(1).await;
    assert_eq!(control.node.names(), [node("known")]);
    assert_eq!(**control.observed.borrow(), Observed::default());
    for (why, stranger) in strangers {
        assert_eq!(*stranger.source.borrow(), Source::Nothing, "{why}");
    }

    // Until its key is taken off.
    local.observe.send_replace(applied(1));
    heard(&mut control, 1).await;
    know.send_modify(|known| known.retain(|_, name| *name != node("known")));
    let gone = async {
        while control.node.is_connected() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    control.publish.send_replace(Arc::new(snapshot(2, &[])));
    let mut one = known_node(at, "one", directory.path());
    one.obeys(2).await;
    assert_eq!(local.snapshots.borrow().version, 1);
    assert_eq!(control.node.names(), [node("one")]);
}
