//! What either end does when the other one refuses, is slow, asks for much, or has another past.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::*;
use crate::stream::control::QUESTIONS;
use crate::stream::message::Question;

/// Takes connections and ends them at once; how many there were.
fn refuse(listener: UnixListener) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(stream);
        }
    });
    count
}

#[tokio::test]
async fn a_control_that_refuses_at_once_is_asked_less_and_less_often() {
    let directory = tempfile::tempdir().unwrap();
    let here = refuse(listen(&directory.path().join("feed.sock")).unwrap());
    let _node = NodeEnd::start(directory.path());
    // And one on another machine.
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Address::Tcp {
        at: far.local_addr().unwrap().to_string(),
        key: FeedKey::new(&[2; 32]).unwrap(),
        control: FeedKey::new(&[1; 32]).unwrap().public(),
    };
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = far.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(stream);
        }
    });
    let _far_node = NodeEnd::at(way, NodeId::new("far").unwrap(), directory.path());
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (name, count) in [("here", here), ("far", count)] {
        let tries = count.load(Ordering::Relaxed);
        assert!((2..=8).contains(&tries), "{name}: {tries} tries");
    }
}

#[tokio::test]
async fn two_nodes_of_one_name_do_not_take_the_place_from_each_other_without_pause() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("feed.sock");
    let _control = ControlEnd::start(&socket, snapshot(1, &[]));
    let nodes = [0, 1].map(|_| NodeEnd::start(directory.path()));
    let snapshots = nodes.each_ref().map(|node| {
        let mut snapshots = node.snapshots.clone();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while snapshots.changed().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        count
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let whole: usize = snapshots.iter().map(|it| it.load(Ordering::Relaxed)).sum();
    assert!((2..=16).contains(&whole), "{whole} whole snapshots");
}

#[tokio::test]
async fn what_is_kept_on_disk_is_looked_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot-of-local");
    std::fs::write(&path, b"damaged").unwrap();
    let node = NodeEnd::start(directory.path());
    // The only look comes after GRACE, later on a busy machine.
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Were it read again with each try to reach control, this would be found.
    SnapshotFile::at(&path).save(&snapshot(3, &[])).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*node.source.borrow(), Source::Nothing);
}

/// Never answers; counts those who wait.
#[derive(Default)]
struct Silent(AtomicUsize);

#[async_trait]
impl NodeQueries for Silent {
    async fn console_output(&self, _instance: &InstanceId) -> Option<ConsoleOutput> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
}

fn console(number: u64) -> Down {
    let question = Question::Console("i-00000000000000001".parse().unwrap());
    Down::Ask { number, question }
}

#[tokio::test]
async fn a_node_answers_so_many_questions_at_once_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let listener = listen(&directory.path().join("feed.sock")).unwrap();
    let silent = Arc::new(Silent::default());
    let queries: Arc<dyn NodeQueries> = Arc::clone(&silent) as _;
    let _node = NodeEnd::asked(directory.path(), queries);
    let (mut stream, _) = listener.accept().await.unwrap();
    let hello: Up = frame::read(&mut stream).await.unwrap();
    assert!(matches!(hello, Up::Hello { .. }));
    for number in 0..1000 {
        frame::write(&mut stream, &console(number)).await.unwrap();
    }
    let asked = || silent.0.load(Ordering::Relaxed);
    let begun = async {
        while asked() < QUESTIONS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(asked(), QUESTIONS);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_asked_so_much_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("feed.sock");
    let control = ControlEnd::start(&socket, snapshot(1, &[]));
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    let hello = Up::Hello {
        region: "us-east-1".into(),
        node: NodeId::default(),
    };
    frame::write(&mut stream, &hello).await.unwrap();
    let first: Down = frame::read(&mut stream).await.unwrap();
    assert!(matches!(first, Down::Snapshot(_)));
    let instance: InstanceId = "i-00000000000000001".parse().unwrap();
    let mut asked = 0;
    for _ in 0..20 {
        // Few at a time, so that the queue takes them all.
        for _ in 0..50 {
            let (node, instance) = (control.node.clone(), instance.clone());
            tokio::spawn(async move { node.console_output(&instance).await });
        }
        let soon = Duration::from_millis(200);
        while let Ok(question) = tokio::time::timeout(soon, frame::read::<Down>(&mut stream)).await
        {
            assert!(matches!(question.unwrap(), Down::Ask { .. }));
            asked += 1;
        }
        if asked >= 256 {
            break;
        }
    }
    assert_eq!(asked, 256);
    let more = tokio::time::timeout(Duration::from_millis(300), stream.read_u8());
    assert!(more.await.is_err(), "nothing else is asked");
}

#[tokio::test]
async fn what_was_so_under_a_later_state_is_not_told_to_control_with_an_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("feed.sock");
    let mut node = NodeEnd::start(directory.path());
    let mut control = ControlEnd::start(&socket, snapshot(9, &[(ONE, "a")]));
    node.obeys(9).await;
    node.observe.send_replace(applied(9));
    heard(&mut control, 9).await;
    drop(control);
    // Its state was put back from a backup.
    let mut control = ControlEnd::start(&socket, snapshot(5, &[]));
    node.obeys(5).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(**control.observed.borrow(), Observed::default());
    node.observe.send_replace(applied(5));
    heard(&mut control, 5).await;
}
