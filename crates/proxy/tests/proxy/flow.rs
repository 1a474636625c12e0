//! Changes under load: nothing in flight is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lath_clock::Clock;
use lath_feed::TargetHealth;
use lath_model::lattice::{Action, Match, PathKind, PathMatch, WeightedTargetGroup};
use lath_proxy::observed_targets;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::lab::target::Deed;
use crate::lab::world::{HOST, key};
use crate::lab::*;

/// Clients that ask without pause until told to stop; each answer must be a 200.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(world: &World, clients: usize) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let (at, stop, answered) = (world.at, Arc::clone(&stop), Arc::clone(&answered));
            set.spawn(async move {
                let mut client = Client::connect(at).await;
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(HOST, "/load").await.expect("an answer");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self {
            stop,
            answered,
            clients: set,
        }
    }

    async fn more(&self, count: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        eventually("more answers", || {
            self.answered.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("every request was answered with 200");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_rules_and_targets_under_load_lose_nothing() {
    let targets = [
        Target::named("a").await,
        Target::named("b").await,
        Target::named("c").await,
    ];
    let (mut world, group) = World::forwarding(&[targets[0].at]);
    let lab = Lab::start(
        lath_proxy::ProxyConfig {
            threads: 2,
            ..config()
        },
        &world,
    )
    .await;
    let load = Load::start(&world, 8);
    for round in 0..10 {
        load.more(50).await;
        match round % 5 {
            0 => world.register(&group, targets[1].at),
            1 => world.drain(&group, targets[0].at),
            2 => {
                world
                    .target_group(&group)
                    .targets
                    .remove(&key(targets[0].at));
            }
            3 => {
                let path = PathMatch {
                    kind: PathKind::Prefix,
                    value: "/lo".into(),
                    case_sensitive: true,
                };
                let other = world.group(&[targets[2].at]);
                let share = WeightedTargetGroup {
                    target_group: other,
                    weight: 1,
                };
                let conditions = Match {
                    path: Some(path),
                    ..Match::default()
                };
                world.rule(conditions, Action::Forward(vec![share]));
            }
            _ => {
                world.listener().rules.clear();
                world.register(&group, targets[0].at);
            }
        }
        lab.apply(&mut world).await;
    }
    load.more(50).await;
    load.stop().await;
    assert!(targets.iter().all(|target| target.count() > 0));
}

#[tokio::test]
async fn a_draining_target_finishes_what_it_has_and_gets_nothing_new() {
    let (go, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (gate, begun) = (Arc::clone(&go), Arc::clone(&started));
    let slow = Target::start(move |_| {
        begun.notify_one();
        Deed::When(
            Arc::clone(&gate),
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_vec(),
        )
    })
    .await;
    let quick = Target::named("quick").await;
    let (mut world, group) = World::forwarding(&[slow.at]);
    let lab = Lab::start(config(), &world).await;
    let at = world.at;
    let waiting = tokio::spawn(async move { get(at, HOST, "/").await });
    started.notified().await;

    world.drain(&group, slow.at);
    world.register(&group, quick.at);
    lab.apply(&mut world).await;
    let in_flight = |lab: &Lab| {
        lab.handle
            .observed()
            .borrow()
            .in_flight
            .get(&group)
            .and_then(|g| g.get(&key(slow.at)).copied())
    };
    eventually("one request in flight", || in_flight(&lab) == Some(1)).await;
    let health = |lab: &Lab| {
        let observed = lab.handle.observed().borrow().clone();
        let drain = Duration::from_secs(300);
        observed_targets(
            &world.snapshot,
            &world.health,
            &observed,
            drain,
            Clock::system().now(),
        )[&group][&key(slow.at)]
            .health
    };
    assert_eq!(health(&lab), TargetHealth::Draining);
    for _ in 0..5 {
        assert_eq!(get(world.at, HOST, "/").await.body, "quick");
    }
    go.notify_one();
    assert_eq!(waiting.await.unwrap().body, "slow");
    eventually("nothing in flight", || in_flight(&lab) == Some(0)).await;
    assert_eq!(health(&lab), TargetHealth::Drained);
    assert_eq!(slow.count(), 1);
}

#[tokio::test]
async fn a_removed_listener_finishes_what_it_has_and_accepts_no_more() {
    let (go, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (gate, begun) = (Arc::clone(&go), Arc::clone(&started));
    let slow = Target::start(move |_| {
        begun.notify_one();
        Deed::When(
            Arc::clone(&gate),
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_vec(),
        )
    })
    .await;
    let (mut world, _) = World::forwarding(&[slow.at]);
    let lab = Lab::start(config(), &world).await;
    let at = world.at;
    let waiting = tokio::spawn(async move { get(at, HOST, "/").await });
    started.notified().await;
    let listener = world.service().listeners.pop_first().unwrap();
    lab.apply(&mut world).await;
    eventually("the port is closed", || {
        std::net::TcpStream::connect(at).is_err()
    })
    .await;
    go.notify_one();
    assert_eq!(waiting.await.unwrap().body, "slow");

    world.service().listeners.insert(listener.0, listener.1);
    lab.apply(&mut world).await;
    go.notify_one();
    assert_eq!(get(at, HOST, "/").await.body, "slow");
}

#[tokio::test]
async fn shutdown_lets_requests_finish() {
    let (go, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (gate, begun) = (Arc::clone(&go), Arc::clone(&started));
    let slow = Target::start(move |_| {
        begun.notify_one();
        Deed::When(
            Arc::clone(&gate),
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_vec(),
        )
    })
    .await;
    let (world, _) = World::forwarding(&[slow.at]);
    let lab = Arc::new(Lab::start(config(), &world).await);
    let at = world.at;
    let waiting = tokio::spawn(async move { get(at, HOST, "/").await });
    started.notified().await;
    let ending = Arc::clone(&lab);
    let ended = tokio::spawn(async move { ending.handle.shutdown(PATIENCE).await });
    eventually("the port is closed", || {
        std::net::TcpStream::connect(at).is_err()
    })
    .await;
    go.notify_one();
    assert_eq!(waiting.await.unwrap().body, "slow");
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the end in time")
        .unwrap();
}

#[tokio::test]
async fn a_listener_that_cannot_be_bound_is_tried_again() {
    let target = Target::named("x").await;
    let (world, _) = World::forwarding(&[target.at]);
    // Without SO_REUSEPORT, so that no other socket can bind.
    let taken = std::net::TcpListener::bind(world.at).unwrap();
    let (sender, snapshots) = tokio::sync::watch::channel(Arc::new(world.snapshot.clone()));
    let (_health, health) = tokio::sync::watch::channel(Arc::new(world.health.clone()));
    let handle = lath_proxy::Proxy::start(
        lath_proxy::ProxyConfig {
            bind_grace: Duration::ZERO,
            ..config()
        },
        Arc::new(lath_net::HostNetwork),
        snapshots,
        health,
        Arc::new(Memory::default()),
    )
    .unwrap();
    let mut observed = handle.observed();
    let failed = |o: &lath_proxy::ProxyObserved| {
        matches!(
            o.services.get(&world.service),
            Some(lath_feed::Condition::Failed { .. })
        ) && o
            .vpc_associations
            .values()
            .all(|c| matches!(c, lath_feed::Condition::Failed { .. }))
    };
    tokio::time::timeout(PATIENCE, observed.wait_for(failed))
        .await
        .expect("failed")
        .unwrap();
    drop(taken);
    let ready = |o: &lath_proxy::ProxyObserved| {
        matches!(
            o.services.get(&world.service),
            Some(lath_feed::Condition::Ready { .. })
        )
    };
    tokio::time::timeout(PATIENCE, observed.wait_for(ready))
        .await
        .expect("ready")
        .unwrap();
    assert_eq!(get(world.at, HOST, "/").await.body, "x");
    drop(sender);
}
