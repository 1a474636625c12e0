//! Splits a large frame from the kernel into complete packets with their own lengths, sequence numbers and checksums.

use crate::checksum::{fold, pseudo, sum};
use crate::vnet::{Cut, Header, LENGTH};

const FIN_PUSH: u8 = 0x01 | 0x08;
const CWR: u8 = 0x80;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Calls `each` with every packet of a frame (a header and a large packet), in order. `None` when the frame is
/// malformed. `scratch` is the buffer for one packet.
pub(crate) fn packets(
    frame: &mut [u8],
    scratch: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]),
) -> Option<()> {
    let (header, packet) = frame.split_first_chunk_mut::<LENGTH>()?;
    let header = Header::read(header)?;
    match header.cut {
        Cut::Whole => {
            finish(packet, header.checksum)?;
            each(packet);
        }
        Cut::Tcp | Cut::Udp => cut(packet, header, scratch, &mut each)?,
    }
    Some(())
}

/// Completes a checksum. The kernel has put the sum of the pseudo header into the field.
fn finish(packet: &mut [u8], checksum: Option<(usize, usize)>) -> Option<()> {
    let Some((start, offset)) = checksum else {
        return Some(());
    };
    let total = !fold(sum(packet.get(start..)?));
    // In UDP zero means "no checksum", so send its equivalent 0xffff; in TCP the two are equal.
    let total = if total == 0 { 0xffff } else { total };
    let field = packet.get_mut(start.checked_add(offset)?..)?.get_mut(..2)?;
    field.copy_from_slice(&total.to_be_bytes());
    Some(())
}

/// The layout of a large packet.
struct Plan {
    transport: usize,
    payload: usize,
    protocol: u8,
}

fn plan(packet: &[u8], header: Header) -> Option<Plan> {
    let (transport, _) = header.checksum?;
    let shortest = if packet.first()? >> 4 == 4 { 20 } else { 40 };
    if transport < shortest {
        return None;
    }
    let (protocol, length) = match header.cut {
        Cut::Udp => (UDP, 8),
        Cut::Tcp | Cut::Whole => (TCP, usize::from(packet.get(transport + 12)? >> 4) * 4),
    };
    let payload = transport + length;
    let smallest = if protocol == TCP { 20 } else { 8 };
    (length >= smallest && payload < packet.len() && header.piece > 0).then_some(Plan {
        transport,
        payload,
        protocol,
    })
}

fn cut(
    packet: &[u8],
    header: Header,
    scratch: &mut Vec<u8>,
    each: &mut impl FnMut(&[u8]),
) -> Option<()> {
    let plan = plan(packet, header)?;
    let (headers, payload) = packet.split_at(plan.payload);
    let last = (payload.len() - 1) / header.piece;
    for (number, piece) in payload.chunks(header.piece).enumerate() {
        scratch.clear();
        scratch.extend_from_slice(headers);
        scratch.extend_from_slice(piece);
        put_network(scratch, &plan, number)?;
        if plan.protocol == TCP {
            put_tcp(
                scratch,
                &plan,
                number * header.piece,
                number == 0,
                number == last,
            );
        } else {
            let length = u16::try_from(8 + piece.len()).ok()?;
            scratch[plan.transport + 4..][..2].copy_from_slice(&length.to_be_bytes());
        }
        put_checksum(scratch, &plan)?;
        each(scratch);
    }
    Some(())
}

fn put_network(packet: &mut [u8], plan: &Plan, number: usize) -> Option<()> {
    if packet[0] >> 4 == 6 {
        let length = u16::try_from(packet.len() - 40).ok()?;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        return Some(());
    }
    let length = u16::try_from(packet.len()).ok()?;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    let id = u16::from_be_bytes([packet[4], packet[5]]).wrapping_add(number as u16);
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[10..12].fill(0);
    let header = usize::from(packet[0] & 0xf) * 4;
    let total = !fold(sum(packet.get(..header.min(plan.transport))?));
    packet[10..12].copy_from_slice(&total.to_be_bytes());
    Some(())
}

fn put_tcp(packet: &mut [u8], plan: &Plan, offset: usize, first: bool, last: bool) {
    let at = plan.transport;
    let number = u32::from_be_bytes([
        packet[at + 4],
        packet[at + 5],
        packet[at + 6],
        packet[at + 7],
    ]);
    let number = number.wrapping_add(offset as u32);
    packet[at + 4..at + 8].copy_from_slice(&number.to_be_bytes());
    if !first {
        packet[at + 13] &= !CWR;
    }
    if !last {
        packet[at + 13] &= !FIN_PUSH;
    }
}

fn put_checksum(packet: &mut [u8], plan: &Plan) -> Option<()> {
    let field = plan.transport + if plan.protocol == TCP { 16 } else { 6 };
    packet[field..field + 2].fill(0);
    let length = packet.len() - plan.transport;
    let total = sum(&packet[plan.transport..]) + pseudo(packet, plan.protocol, length)?;
    let total = match !fold(total) {
        0 => 0xffff,
        total => total,
    };
    packet[field..field + 2].copy_from_slice(&total.to_be_bytes());
    Some(())
}
