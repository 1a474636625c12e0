//! The header that the kernel puts before each packet of a TUN device with `IFF_VNET_HDR`. It describes the
//! work left to do: checksum and segmentation (`include/uapi/linux/virtio_net.h`).

/// The length of the header, in bytes.
pub(crate) const LENGTH: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;

/// How to segment a packet.
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
    /// The start of the unfinished checksum, and the offset of its field from there.
    pub(crate) checksum: Option<(usize, usize)>,
    pub(crate) cut: Cut,
    /// Payload bytes per segment.
    pub(crate) piece: usize,
}

impl Header {
    /// Parses a header; `None` if it uses an offload that we did not enable.
    pub(crate) fn read(bytes: &[u8; LENGTH]) -> Option<Self> {
        let word = |at: usize| usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        // Bit 0x80 marks packets with the CWR flag, which we read from the packet itself.
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

    /// The header of coalesced TCP segments over IPv4.
    pub(crate) fn coalesced(ip: u16, headers: u16, piece: u16) -> [u8; LENGTH] {
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
