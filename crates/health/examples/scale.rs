//! Probes thousands of targets on one thread and prints the cost.
//!
//! `scale [TARGETS] [SECONDS]` (5000 and 20): a loopback server on one port plays every target, each at its own
//! address in 127.0.0.0/8. Each is probed every five seconds, AWS's shortest interval.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lath_feed::*;
use lath_health::{HealthConfig, HealthEngine};
use lath_model::id::*;
use lath_model::lattice::*;
use lath_net::HostNetwork;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

#[expect(clippy::print_stdout, reason = "this is a report")]
fn main() -> std::io::Result<()> {
    let argument = |place, otherwise: u64| {
        std::env::args()
            .nth(place)
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let (targets, seconds) = (argument(1, 5000), argument(2, 20));
    let probes = Arc::new(AtomicU64::new(0));
    let (port, server_cpu) = serve(&probes)?;
    let group = group(targets, port);
    let snapshot = Snapshot {
        version: 1,
        target_groups: lath_feed::Items::from([(group.id.clone(), Arc::new(group.clone()))]),
        ..Snapshot::default()
    };
    let (_keep, snapshots) = watch::channel(Arc::new(snapshot));
    let config = HealthConfig {
        first_within: Duration::from_secs(5),
        ..HealthConfig::default()
    };
    let handle = HealthEngine::start(Arc::new(HostNetwork), snapshots, config)?;
    std::thread::sleep(Duration::from_secs(7));
    let (from, at, served) = (cpu()?, Instant::now(), probes.load(Ordering::Relaxed));
    let server_from = server_cpu();
    std::thread::sleep(Duration::from_secs(seconds));
    let (spent, wall) = (cpu()? - from, at.elapsed());
    let served = probes.load(Ordering::Relaxed) - served;
    let engine = spent.saturating_sub(server_cpu() - server_from);
    let view = handle.view().borrow().clone();
    let healthy = view.groups[&group.id]
        .values()
        .filter(|t| t.health == TargetHealth::Healthy);
    println!(
        "{targets} targets every 5 s: {} healthy, {:.0} probes/s, {:.1} % of one core, {:.0} µs CPU per probe",
        healthy.count(),
        served as f64 / wall.as_secs_f64(),
        100.0 * engine.as_secs_f64() / wall.as_secs_f64(),
        engine.as_secs_f64() * 1e6 / served.max(1) as f64,
    );
    Ok(())
}

fn cpu() -> std::io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

fn of(time: nix::sys::time::TimeVal) -> Duration {
    Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64)
}

/// A server on its own thread. The returned function reads the CPU time of that thread.
fn serve(probes: &Arc<AtomicU64>) -> std::io::Result<(u16, impl Fn() -> Duration + use<>)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let (probes, used) = (Arc::clone(probes), Arc::new(AtomicU64::new(0)));
    let shown = Arc::clone(&used);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((mut stream, _)) = listener.accept().await {
                if probes.fetch_add(1, Ordering::Relaxed).is_multiple_of(64)
                    && let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD)
                {
                    let total = of(usage.user_time()) + of(usage.system_time());
                    used.store(total.as_micros() as u64, Ordering::Relaxed);
                }
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    let _ = stream.read(&mut buffer).await;
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .await;
                });
            }
        });
    });
    Ok((port, move || {
        Duration::from_micros(shown.load(Ordering::Relaxed))
    }))
}

fn group(targets: u64, port: u16) -> TargetGroup {
    let target = |index: u64| {
        let address = Ipv4Addr::from(0x7F10_0001 + u32::try_from(index).unwrap_or(0));
        let key = TargetKey {
            id: address.to_string(),
            port,
        };
        (
            key,
            Target {
                address: Some(IpAddr::V4(address)),
                draining_since: None,
            },
        )
    };
    TargetGroup {
        id: TargetGroupId::random(),
        arn: String::new(),
        name: "scale".to_owned(),
        vpc: VpcId::random(),
        protocol: TargetProtocol::Http,
        protocol_version: Some(ProtocolVersion::Http1),
        health_check: Some(HealthCheck {
            protocol: TargetProtocol::Http,
            protocol_version: ProtocolVersion::Http1,
            port: None,
            path: "/".to_owned(),
            matcher: vec![(200, 200)],
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_threshold: 2,
            unhealthy_threshold: 2,
        }),
        balancing: None,
        tls: None,
        in_use: true,
        targets: (0..targets).map(target).collect(),
        region: None,
    }
}
