//! The ten bytes that the kernel puts before each packet of a TUN device with `IFF_VNET_HDR`: what is left
//! to be done to it (`include/uapi/linux/virtio_net.h`).

/// Their number.
pub(crate) const LENGTH: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;

/// How a packet is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Not at all.
    Whole,
    /// Into TCP segments.
    Tcp,
    /// Into UDP datagrams.
    Udp,
}

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Where the unfinished checksum starts, and the offset of its field from there.
    pub(crate) checksum: Option<(usize, usize)>,
    pub(crate) cut: Cut,
    /// Payload bytes per piece.
    pub(crate) piece: usize,
}

impl Header {
    /// `None` for a header that is none of those we asked for.
    pub(crate) fn read(bytes: &[u8; LENGTH]) -> Option<Self> {
        let word = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        // Bit 0x80 says that CWR is among the flags, which is read from the packet.
        let cut = match bytes[1] & 0x7f {
            0 => Cut::Whole,
            1 | 4 => Cut::Tcp,
            5 => Cut::Udp,
            _ => return None,
        };
        let unfinished = bytes[0] & NEEDS_CHECKSUM != 0;
        Some(Self {
            checksum: unfinished.then(|| (word(6), word(8))),
            cut,
            piece: word(4),
        })
    }

    /// The header of TCP segments over IPv4 that were glued together.
    pub(crate) fn glued(ip: u16, headers: u16, piece: u16) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = NEEDS_CHECKSUM;
        bytes[1] = 1;
        bytes[2..4].copy_from_slice(&headers.to_ne_bytes());
        bytes[4..6].copy_from_slice(&piece.to_ne_bytes());
        bytes[6..8].copy_from_slice(&ip.to_ne_bytes());
        bytes[8..10].copy_from_slice(&16_u16.to_ne_bytes());
        bytes
    }
}
