//! Measures the throughput of a tunnel and of a bare veth cable: TCP between two namespaces for some seconds
//! each, and the CPU time of the whole process (senders, receivers and tunnels).
//!
//! `cargo run --release -p lath-tunnel --example throughput [SECONDS]`, as root.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should say where"
)]

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use lab::{Namespace, ends, joined};
use nix::sys::resource::{UsageWho, getrusage};

/// Bytes per second, and CPU seconds per gigabyte.
struct Figures {
    rate: f64,
    cost: f64,
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(5));
    for (underlay, mtu) in [(9216, 8500), (1500, 1440)] {
        let Some(ends) = ends(underlay) else { return };
        let [near, far] = ends.each_ref().map(|end| &end.underlay);
        let plain = measure(near, far, [100, 64, 1, 1], time);
        let tunnels = joined(&ends, mtu);
        let [near, far] = ends.each_ref().map(|end| &end.inner);
        let sealed = measure(near, far, ends[1].link, time);
        drop(tunnels);
        for (what, figures) in [("bare cable", &plain), ("tunnel", &sealed)] {
            println!(
                "mtu {underlay}: {what:<10} {:6.2} Gbit/s, {:.2} CPU s per GB",
                figures.rate * 8.0 / 1e9,
                figures.cost
            );
        }
        println!("mtu {underlay}: ratio {:.2}", sealed.rate / plain.rate);
    }
}

fn measure(near: &Namespace, far: &Namespace, at: [u8; 4], time: Duration) -> Figures {
    let at = SocketAddr::from((at, 7000));
    let listener = far.run(|| TcpListener::bind(at).unwrap());
    let reader = std::thread::spawn(move || drain(listener.accept().unwrap().0));
    let mut stream = near.run(|| TcpStream::connect(at).unwrap());
    let (bytes, started, cpu) = (vec![7; 256 * 1024], Instant::now(), cpu());
    while started.elapsed() < time {
        stream.write_all(&bytes).unwrap();
    }
    drop(stream);
    let moved = reader.join().unwrap() as f64;
    Figures {
        rate: moved / started.elapsed().as_secs_f64(),
        cost: (self::cpu() - cpu) / (moved / 1e9),
    }
}

fn drain(mut stream: TcpStream) -> u64 {
    let (mut buffer, mut moved) = (vec![0; 256 * 1024], 0);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return moved,
            length => moved += length as u64,
        }
    }
}

fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
