//! Kills the ends of a tunnel. The victims are child processes of this same program, so the test has no harness.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Child, Command, Stdio};

use lab::{End, Namespace, PATIENCE, ends};
use lath_feed::PrivateKey;
use lath_tunnel::{device_names, public_key};

/// The environment variable with an end's parameters: keys and namespaces.
const END: &str = "LATH_TEST_END";

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    if let Ok(end) = std::env::var(END) {
        victim(&end);
    }
    let Some(ends) = ends(9216) else { return };
    let mut processes = [0, 1].map(|number| Some(start(&ends, number)));
    for round in 0..6 {
        talk(&ends, round % 2);
        // Kill it both without traffic and under load.
        let busy = (round > 1).then(|| flood(&ends));
        let gone = round % 2;
        processes[gone] = None;
        let netns = ends[gone].inner.fd();
        assert!(device_names(netns.as_fd()).unwrap().contains(&"p0".into()));
        processes[gone] = Some(start(&ends, gone));
        talk(&ends, 1 - gone);
        if let Some(busy) = busy {
            busy.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }
    drop(processes);
    println!("test a_killed_end_comes_back_with_its_device ... ok");
}

/// Starts an end.
fn start(ends: &[End; 2], number: usize) -> Victim {
    let (own, peer) = (&ends[number], &ends[1 - number]);
    let place = |namespace: &Namespace| {
        let fd = namespace.fd();
        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        (fd, path)
    };
    let ((_inner, inner), (_underlay, underlay)) = (place(&own.inner), place(&own.underlay));
    let (key, public) = (text(&own.key.0), text(&public_key(&peer.key)));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(END, format!("{number} {inner} {underlay} {key} {public}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It prints a line once it has opened its namespaces.
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    Victim(child)
}

/// A process with one end. Dropping this kills it.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn text(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

fn victim(end: &str) -> ! {
    let words: Vec<&str> = end.split(' ').collect();
    let number: u8 = words[0].parse().unwrap();
    let open = |path: &str| Namespace::of(File::open(path).unwrap());
    let end = |number: u8, key: [u8; 32]| End {
        underlay: open(words[2]),
        inner: open(words[1]),
        key: PrivateKey(key),
        address: [100, 64, number, 1],
        link: [100, 65, number, 1],
    };
    let own = end(number, bytes(words[3]));
    let mut config = own.config(&end(1 - number, [1; 32]), 8500);
    config.peer_public_key = bytes(words[4]);
    let tunnel = lath_tunnel::Tunnel::start(config).unwrap();
    println!("started");
    loop {
        std::thread::park();
        assert_eq!(tunnel.state().borrow().broken, None);
    }
}

/// Sends a message and waits for the echo.
fn talk(ends: &[End; 2], from: usize) {
    let at = SocketAddr::from((ends[1 - from].link, 7000));
    let listener = ends[1 - from].inner.run(|| TcpListener::bind(at).unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(&said).unwrap();
    });
    let mut stream = ends[from]
        .inner
        .run(|| TcpStream::connect_timeout(&at, PATIENCE).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut said = [0; 5];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
    answering.join().unwrap();
}

/// A connection that sends at full rate while the result lives.
fn flood(ends: &[End; 2]) -> TcpStream {
    let at = SocketAddr::from((ends[1].link, 7001));
    let listener = ends[1].inner.run(|| TcpListener::bind(at).unwrap());
    let stream = ends[0]
        .inner
        .run(|| TcpStream::connect_timeout(&at, PATIENCE).unwrap());
    let (mut reading, _) = listener.accept().unwrap();
    let mut writing = stream.try_clone().unwrap();
    std::thread::spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
    std::thread::spawn(move || while writing.write_all(&[7; 65_536]).is_ok() {});
    stream
}
