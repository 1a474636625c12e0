use super::*;

use tokio::io::AsyncReadExt as _;

/// `slots`: of the table, as without any that are closed or wait.
fn acceptor(slots: usize, per_place: usize, per_source: usize) -> Acceptor {
    acceptor_idle(slots, per_place, per_source, Duration::from_secs(600))
}

fn acceptor_idle(slots: usize, per_place: usize, per_source: usize, idle: Duration) -> Acceptor {
    let fits = |total: &usize| Division::of(*total).slots == slots;
    let limits = ConnectionLimits {
        total: (slots..).find(fits).unwrap(),
        per_place,
        per_source,
        idle,
    };
    Acceptor::new("tests", limits)
}

fn source(last: u8) -> Source {
    Source::of(Ipv4Addr::new(10, 0, 0, last).into())
}

async fn admit(acceptor: &Acceptor, last: u8) -> Option<Slot> {
    let admitted = acceptor.admit(&Place::Host, source(last));
    tokio::time::timeout(Duration::from_secs(60), admitted)
        .await
        .expect("an answer")
}

/// Those that must go do so when they are run.
async fn until(so: impl Fn() -> bool) {
    let waits = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, waits)
        .await
        .expect("in time");
}

/// Holds a connection as a server does: until it must end.
fn hold(slot: Slot) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { slot.ended().await })
}

#[tokio::test(start_paused = true)]
async fn a_source_with_its_share_gives_up_its_oldest_idle_connection() {
    let acceptor = acceptor(10, 10, 2);
    let first = hold(admit(&acceptor, 1).await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = hold(admit(&acceptor, 1).await.unwrap());
    let other = hold(admit(&acceptor, 2).await.unwrap());
    let third = admit(&acceptor, 1).await;
    assert!(third.is_some());
    first.await.unwrap();
    assert!(!second.is_finished() && !other.is_finished());
    assert_eq!(acceptor.taken(), 3);
}

#[tokio::test]
async fn a_source_whose_share_is_busy_is_refused_and_nobody_else() {
    let acceptor = acceptor(10, 10, 2);
    let slots = [
        admit(&acceptor, 1).await.unwrap(),
        admit(&acceptor, 1).await.unwrap(),
    ];
    let busy = slots.each_ref().map(Slot::busy);
    assert!(admit(&acceptor, 1).await.is_none());
    assert!(admit(&acceptor, 2).await.is_some());
    drop(busy);
    let [oldest, newest] = slots;
    oldest.touch();
    newest.touch();
    let mut holders = tokio::task::JoinSet::new();
    for slot in [oldest, newest] {
        holders.spawn(async move { slot.ended().await });
    }
    assert!(admit(&acceptor, 1).await.is_some());
    holders.join_next().await.unwrap().unwrap();
    assert!(holders.try_join_next().is_none());
}

#[tokio::test]
async fn the_heaviest_gives_way_to_those_who_have_less() {
    let acceptor = acceptor(4, 4, 4);
    let heavy: Vec<_> = [
        admit(&acceptor, 1).await.unwrap(),
        admit(&acceptor, 1).await.unwrap(),
        admit(&acceptor, 1).await.unwrap(),
        admit(&acceptor, 1).await.unwrap(),
    ]
    .into_iter()
    .map(|slot| {
        let busy = slot.busy();
        tokio::spawn(async move {
            slot.ended().await;
            drop(busy);
        })
    })
    .collect();
    let ended = || heavy.iter().filter(|it| it.is_finished()).count();
    // All are busy: it loses some until it has no more than the newcomer.
    let second = admit(&acceptor, 2).await.expect("a slot");
    let _at_work = second.busy();
    let third = admit(&acceptor, 2).await.expect("a slot");
    let _at_work = third.busy();
    until(|| ended() == 2).await;
    assert!(admit(&acceptor, 2).await.is_none());
    assert!(admit(&acceptor, 1).await.is_none());
}

#[tokio::test]
async fn a_source_never_takes_from_one_that_has_less() {
    let acceptor = acceptor(3, 3, 3);
    let light = hold(admit(&acceptor, 1).await.unwrap());
    let heavy = [
        hold(admit(&acceptor, 2).await.unwrap()),
        hold(admit(&acceptor, 2).await.unwrap()),
    ];
    for _ in 0..20 {
        let _next = hold(admit(&acceptor, 2).await.expect("a slot of its own"));
    }
    assert!(!light.is_finished());
    until(|| heavy.iter().all(tokio::task::JoinHandle::is_finished)).await;
}

#[tokio::test]
async fn who_must_go_and_does_not_is_not_waited_for() {
    let acceptor = acceptor(2, 2, 2);
    let division = Division::of(acceptor.shared.limits.total);
    let most = division.open();
    let mut slots = Vec::new();
    // None of the slots' holders is there to see that it must go.
    while let Some(slot) = admit(&acceptor, 1).await {
        slots.push(slot);
        assert!(slots.len() <= most, "there is an end");
    }
    assert_eq!(slots.len(), most);
    drop(slots.swap_remove(0));
    assert!(admit(&acceptor, 1).await.is_some());
}

#[tokio::test]
async fn a_place_takes_no_more_than_its_share_from_other_places() {
    let acceptor = acceptor(8, 4, 4);
    let vpc = |n: u8| Place::Vpc(format!("vpc-0000000000000000{n}").parse().unwrap());
    let (mine, other) = (vpc(1), vpc(2));
    let quiet = hold(acceptor.admit(&mine, source(1)).await.unwrap());
    for n in 0..100 {
        let slot = acceptor.admit(&other, source(n)).await;
        hold(slot.expect("a slot"));
    }
    assert!(!quiet.is_finished());
    assert!(acceptor.taken() <= 5);
}

#[tokio::test]
async fn what_is_idle_for_too_long_ends_and_what_is_busy_does_not() {
    let acceptor = acceptor_idle(4, 4, 4, Duration::from_millis(50));
    let busy_slot = admit(&acceptor, 1).await.unwrap();
    let at_work = busy_slot.busy();
    let busy = hold(busy_slot);
    hold(admit(&acceptor, 1).await.unwrap()).await.unwrap();
    assert!(!busy.is_finished());
    drop(at_work);
    busy.await.unwrap();
    assert_eq!(acceptor.taken(), 0);
}

#[test]
fn addresses_stand_for_sources() {
    for (one, other, same) in [
        ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false),
        ("127.0.0.1", "127.9.9.9", true),
        ("10.0.0.1", "::ffff:10.0.0.1", true),
        ("2001:db8::1", "2001:db8::ffff:1", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
    ] {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of(one) == of(other), same, "{one} {other}");
    }
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let acceptor = acceptor(8, 8, 8);
    let server = tokio::spawn(async move {
        loop {
            let (stream, _, slot) = acceptor.accept(&listener, &Place::Host).await;
            tokio::spawn(async move {
                tokio::select! {
                    () = slot.ended() => {}
                    _ = stream.readable() => {
                        let _ = stream.try_write(b"well");
                    }
                }
            });
        }
    });
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(at).await.unwrap());
    }
    let mut stream = TcpStream::connect(at).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"?")
        .await
        .unwrap();
    let mut answer = [0; 4];
    let read = stream.read_exact(&mut answer);
    tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .expect("an answer in time")
        .unwrap();
    assert_eq!(&answer, b"well");
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn who_waits_without_end_gets_the_next_slot() {
    let acceptor = acceptor(1, 1, 1);
    let held = admit(&acceptor, 1).await.unwrap();
    let busy = held.busy();
    let waits = {
        let acceptor = acceptor.clone();
        let wait = async move {
            let waits = acceptor.admit_within(Duration::MAX, &Place::Host, source(2));
            waits.await.is_some()
        };
        tokio::spawn(wait)
    };
    tokio::time::sleep(3 * PAUSE).await;
    assert!(!waits.is_finished());
    drop(busy);
    drop(held);
    assert!(waits.await.unwrap());
}

#[test]
fn a_total_is_divided_and_never_exceeded() {
    for total in 1..5000 {
        let Division {
            slots,
            going,
            waiting,
        } = Division::of(total);
        assert!(slots >= 1 && waiting >= 1, "{total}");
        assert!(slots + going + waiting <= total.max(2), "{total}");
        assert!(slots >= total / 2, "{total}");
    }
    assert_eq!(Division::of(1 << 20).going, 256);
}

/// A connection of a listener that knows how many of them are open.
struct Counted(Arc<Mutex<(usize, usize)>>);

impl Counted {
    fn new(open: &Arc<Mutex<(usize, usize)>>) -> Self {
        let mut counts = open.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

/// Connections without end, of a new source each; the numbers of those that are open, and of the most that were.
struct Endless(Arc<Mutex<(usize, usize)>>, std::sync::atomic::AtomicU32);

impl Listen for Endless {
    type Stream = Counted;

    async fn accept(&self) -> io::Result<(Counted, SocketAddr)> {
        tokio::task::yield_now().await;
        let number = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let peer = Ipv4Addr::from(0x0a00_0000 + number);
        Ok((Counted::new(&self.0), (peer, 0).into()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_listeners_keep_within_the_total_whatever_their_holders_do() {
    const TOTAL: usize = 64;
    const LISTENERS: usize = 8;
    let acceptor = Acceptor::new(
        "tests",
        ConnectionLimits {
            total: TOTAL,
            per_place: TOTAL,
            per_source: TOTAL,
            idle: Duration::from_secs(600),
        },
    );
    let counts = Arc::new(Mutex::new((0, 0)));
    let mut accepting = tokio::task::JoinSet::new();
    for _ in 0..LISTENERS {
        let (acceptor, counts) = (acceptor.clone(), Arc::clone(&counts));
        accepting.spawn(async move {
            let listener = Endless(counts, 0.into());
            for served in 0..200_u32 {
                let (stream, _, slot) = acceptor.accept(&listener, &Place::Host).await;
                tokio::spawn(async move {
                    slot.ended().await;
                    // Some are slow to go.
                    for _ in 0..served % 7 {
                        tokio::task::yield_now().await;
                    }
                    drop((stream, slot));
                });
            }
        });
    }
    while accepting.join_next().await.is_some() {}
    let (_, most) = *counts.lock().unwrap();
    // Beside the total, each listener has one in its hand that it is about to refuse.
    assert!(most <= TOTAL + LISTENERS, "{most}");
    assert!(most > TOTAL / 2, "{most}");
}
