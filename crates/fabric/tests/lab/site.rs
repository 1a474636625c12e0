//! A network namespace that tests send from and listen in.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{PATIENCE, SILENCE};

/// A network namespace to send from and to listen in.
#[derive(Clone)]
pub(crate) struct Site(Arc<OwnedFd>);

impl Site {
    /// The path MTU to `to`, learned by sending datagrams of this size that must not be cut.
    pub(crate) fn path_mtu(&self, to: &str, size: usize) -> i32 {
        let socket = self.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect(to).unwrap();
        never_fragment(&socket);
        let end = Instant::now() + PATIENCE;
        loop {
            let outcome = socket.send(&vec![0; size]);
            if outcome.is_err_and(|e| e.raw_os_error() == Some(libc::EMSGSIZE)) {
                return known_mtu(&socket);
            }
            assert!(Instant::now() < end, "no error came from the way to {to}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }

    /// Runs `work` on a thread in the namespace.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let fd = Arc::clone(&self.0);
        let thread = std::thread::spawn(move || {
            nix::sched::setns(&*fd, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    /// A TCP server that greets each client with the peer's address and then echoes.
    pub(crate) fn serve(&self, at: &str) -> SocketAddr {
        let at: SocketAddr = at.parse().unwrap();
        let listener = self.run(move || TcpListener::bind(at).unwrap());
        let bound = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || greet(stream));
            }
        });
        bound
    }

    /// A UDP server that answers with the peer's address.
    pub(crate) fn serve_udp(&self, at: &str) {
        let at: SocketAddr = at.parse().unwrap();
        let socket = self.run(move || UdpSocket::bind(at).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _the_client_may_be_gone =
                    socket.send_to(peer.ip().to_string().as_bytes(), peer);
            }
        });
    }

    /// Connects; what the server saw as our address.
    pub(crate) fn call(&self, to: &str, within: Duration) -> io::Result<String> {
        let mut stream = self.connect(to, within)?;
        read_line(&mut stream)
    }

    pub(crate) fn connect(&self, to: &str, within: Duration) -> io::Result<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        let stream = self.run(move || TcpStream::connect_timeout(&to, within))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// `reached as ADDRESS`, `silence`, or the error's kind.
    pub(crate) fn outcome(&self, to: &str) -> String {
        match self.call(to, SILENCE) {
            Ok(seen) => format!("reached as {seen}"),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => "silence".into(),
            Err(e) => format!("{:?}", e.kind()),
        }
    }

    /// Calls until it works or patience ends.
    pub(crate) fn reach(&self, to: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.call(to, Duration::from_secs(5)) {
                Ok(seen) => return seen,
                Err(e) if Instant::now() > end => panic!("{to} is not reached: {e}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Sends one datagram from `from` and returns the answer, if one comes.
    pub(crate) fn ask_udp(&self, from: &str, to: &str) -> Option<String> {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let socket = self.run(move || UdpSocket::bind(from)).ok()?;
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket.send_to(b"?", to).ok()?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

fn greet(mut stream: TcpStream) -> io::Result<()> {
    let peer = stream.peer_addr()?.ip();
    writeln!(stream, "{peer}")?;
    let mut buffer = [0; 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}

pub(crate) fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Whether a connection still carries bytes both ways.
pub(crate) fn echoes(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4];
    stream.write_all(b"ping").is_ok()
        && stream.read_exact(&mut buffer).is_ok()
        && buffer == *b"ping"
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse::<Ipv4Addr>().unwrap().into()
}

/// Sends a datagram from an address that is not the instance's.
pub(crate) fn spoof(from: &str, to: &str) {
    use nix::sys::socket::{setsockopt, sockopt::IpTransparent};
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    setsockopt(&socket, IpTransparent, &true).unwrap();
    let from: std::net::SocketAddr = format!("{from}:1234").parse().unwrap();
    let to: std::net::SocketAddr = to.parse().unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.send_to(b"?", &to.into()).unwrap();
}

impl Site {
    /// Whether an ICMP echo request is answered.
    pub(crate) fn ping(&self, to: &str) -> bool {
        use socket2::{Domain, Protocol, Socket, Type};
        const ECHO: [u8; 8] = [8, 0, 0, 0, 0, 1, 0, 1];
        let to: SocketAddr = format!("{to}:0").parse().unwrap();
        let socket =
            self.run(|| Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).unwrap());
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket.send_to(&ECHO, to).is_ok() && socket.recv(&mut [0; 64]).is_ok()
    }
}

#[expect(unsafe_code, reason = "no safe wrapper for these options")]
fn never_fragment(socket: &UdpSocket) {
    let value = libc::IP_PMTUDISC_DO;
    // SAFETY: the value outlives the call and its size is given.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            4,
        )
    };
    assert_eq!(outcome, 0);
}

#[expect(unsafe_code, reason = "no safe wrapper for these options")]
fn known_mtu(socket: &UdpSocket) -> i32 {
    let (mut value, mut length) = (0_i32, 4);
    // SAFETY: both outlive the call and the length is the value's.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(outcome, 0);
    value
}
