//! Packets through real tunnels, between network namespaces.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod lab;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;

use lab::{End, PATIENCE, ends, joined, wait_for};
use lath_tunnel::{Tunnel, device_names, private_key, public_key, remove_device};

/// Bytes without repetition.
fn stuff(length: usize) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length / 8 + 1).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}

/// A server that reads everything and then sends it back.
fn echo(end: &End, port: u16) -> (SocketAddr, JoinHandle<()>) {
    let at = SocketAddr::from((end.link, port));
    let listener = end.inner.run(|| TcpListener::bind(at).unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    (at, thread)
}

fn call(from: &End, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let connect = || TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    let mut stream = from.inner.run(connect);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn what_is_sent_arrives_whole_both_ways() {
    for (name, underlay, mtu) in [("jumbo", 9216, 8500), ("ethernet", 1500, 1440)] {
        let Some(ends) = ends(underlay) else { return };
        let tunnels = joined(&ends, mtu);
        let bytes = stuff(24 << 20);
        for (server, client) in [(&ends[1], &ends[0]), (&ends[0], &ends[1])] {
            let (at, serving) = echo(server, 7000);
            assert!(call(client, at, &bytes) == bytes, "{name}: other bytes");
            serving.join().unwrap();
        }
        let state = tunnels[0].state().borrow().clone();
        assert!(state.last_handshake.is_some(), "{name}: {state:?}");
        assert!(state.rx_bytes > 48 << 20, "{name}: {state:?}");
    }
}

#[test]
fn large_packets_pass_although_the_underlay_is_smaller_than_it_should_be() {
    let Some(ends) = ends(1500) else { return };
    let _tunnels = joined(&ends, 8500);
    let bytes = stuff(2 << 20);
    let (at, serving) = echo(&ends[1], 7000);
    assert!(call(&ends[0], at, &bytes) == bytes);
    serving.join().unwrap();
}

#[test]
fn datagrams_of_every_size_pass() {
    let Some(ends) = ends(9216) else { return };
    let _tunnels = joined(&ends, 8500);
    let [near, far] = ends.each_ref().map(|end| {
        let at = SocketAddr::from((end.link, 5353));
        let socket = end.inner.run(|| UdpSocket::bind(at).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    });
    let mut got = [0; 65_536];
    for size in [0, 1, 2, 1399, 8471, 8472, 8473, 20_000, 60_000] {
        let sent = stuff(size);
        near.send_to(&sent, far.local_addr().unwrap()).unwrap();
        let (length, from) = far.recv_from(&mut got).unwrap();
        assert_eq!(from, near.local_addr().unwrap());
        assert!(got[..length] == sent, "{size}");
    }
}

#[test]
fn a_datagram_train_is_cut_where_its_sender_said() {
    let Some(ends) = ends(9216) else { return };
    let _tunnels = joined(&ends, 8500);
    let [near, far] = ends.each_ref().map(|end| {
        let at = SocketAddr::from((end.link, 5353));
        let socket = end.inner.run(|| UdpSocket::bind(at).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    });
    nix::sys::socket::setsockopt(&near, nix::sys::socket::sockopt::UdpGsoSegment, &1000).unwrap();
    let sent = stuff(5500);
    near.send_to(&sent, far.local_addr().unwrap()).unwrap();
    let mut got = [0; 65_536];
    for piece in sent.chunks(1000) {
        let (length, _) = far.recv_from(&mut got).unwrap();
        assert!(got[..length] == *piece);
    }
}

#[test]
fn either_side_comes_back() {
    let Some(ends) = ends(9216) else { return };
    let [mut near, far] = joined(&ends, 8500).map(Some);
    let mut far = far;
    for round in 0..2 {
        let (gone, stays) = if round == 0 {
            (&mut near, &mut far)
        } else {
            (&mut far, &mut near)
        };
        gone.take().unwrap().stop();
        let stays = stays.as_ref().unwrap();
        wait_for(stays, "the other side is gone", |state| !state.connected);
        // The device stays for the next process.
        let (at, other) = (&ends[round], &ends[1 - round]);
        let netns = at.inner.fd();
        assert!(
            device_names(std::os::fd::AsFd::as_fd(&netns))
                .unwrap()
                .contains(&"p0".into())
        );
        let anew = at.start(other, 8500);
        wait_for(&anew, "anew", |state| state.connected);
        wait_for(stays, "the other side is back", |state| state.connected);
        *gone = Some(anew);
        let (server, serving) = echo(at, 7000);
        assert_eq!(call(other, server, b"again"), b"again");
        serving.join().unwrap();
    }
}

#[test]
fn a_cut_cable_is_noticed_and_mended() {
    let Some(ends) = ends(9216) else { return };
    let tunnels = joined(&ends, 8500);
    ends[0].underlay.ip("link set wan down");
    for tunnel in &tunnels {
        wait_for(tunnel, "cut", |state| !state.connected);
    }
    ends[0].underlay.ip("link set wan up");
    for tunnel in &tunnels {
        wait_for(tunnel, "mended", |state| state.connected);
    }
}

#[test]
fn another_key_never_connects() {
    let Some(ends) = ends(9216) else { return };
    let right = ends[0].start(&ends[1], 8500);
    let mut config = ends[1].config(&ends[0], 8500);
    config.private_key = private_key();
    let wrong = Tunnel::start(config).unwrap();
    wait_for(&right, "it tries", |state| state.tx_bytes > 5 * 148);
    wait_for(&wrong, "it tries", |state| state.tx_bytes > 5 * 148);
    for tunnel in [&right, &wrong] {
        let state = tunnel.state().borrow().clone();
        assert!(!state.connected && state.rx_bytes == 0, "{state:?}");
        assert_eq!(state.last_handshake, None);
    }
    wrong.remove().unwrap();
    let _right_now = ends[1].start(&ends[0], 8500);
    wait_for(&right, "the right key", |state| state.connected);
}

#[test]
fn a_device_has_one_user_and_goes_when_it_is_removed() {
    let Some(ends) = ends(9216) else { return };
    let first = ends[0].start(&ends[1], 8500);
    let error = Tunnel::start(ends[0].config(&ends[1], 8500)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}");
    let netns = ends[0].inner.fd();
    let names = || device_names(std::os::fd::AsFd::as_fd(&netns)).unwrap();
    first.remove().unwrap();
    assert!(!names().contains(&"p0".into()), "{:?}", names());
    ends[0].start(&ends[1], 8500).stop();
    assert!(names().contains(&"p0".into()));
    for _ in 0..2 {
        remove_device(std::os::fd::AsFd::as_fd(&netns), "p0").unwrap();
        assert!(!names().contains(&"p0".into()));
    }
}

#[test]
fn a_device_that_is_deleted_is_said_to_be_broken() {
    let Some(ends) = ends(9216) else { return };
    let tunnel = ends[0].start(&ends[1], 8500);
    ends[0].inner.ip("link delete p0");
    wait_for(&tunnel, "broken", |state| state.broken.is_some());
}

#[test]
fn keys_are_pairs() {
    let key = private_key();
    assert_eq!(public_key(&key), public_key(&key.clone()));
    assert_ne!(public_key(&key), public_key(&private_key()));
}
