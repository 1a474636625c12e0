//! Which network a socket is in.

use std::io;
use std::os::fd::AsFd;

use nix::libc;

/// `SO_NETNS_COOKIE` (`include/uapi/asm-generic/socket.h`), which libc does not name on every target.
const SO_NETNS_COOKIE: libc::c_int = 71;

nix::getsockopt_impl!(
    Cookie,
    libc::SOL_SOCKET,
    SO_NETNS_COOKIE,
    u64,
    nix::sys::socket::sockopt::GetStruct<u64>
);

/// The network namespace of a socket, as a number that is never given twice while the machine runs: two
/// sockets of one place differ in it when the place was made anew between them.
///
/// # Errors
/// What `getsockopt(2)` said; `ENOPROTOOPT` before Linux 5.14.
pub fn namespace(socket: &impl AsFd) -> io::Result<u64> {
    Ok(nix::sys::socket::getsockopt(socket, Cookie)?)
}

#[derive(Debug, Clone, Copy)]
struct Cookie;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_one_network_have_one_namespace() {
        let sockets = [0, 1].map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a socket"));
        let [one, other] = sockets.map(|socket| namespace(&socket).expect("a cookie"));
        assert_eq!(one, other);
        assert_ne!(one, 0);
    }
}
