//! By TCP (RFC 7766).

use std::net::SocketAddr;

use lath_net::Place;
use lath_net::accept::{Acceptor, ConnectionLimits, Source};
use lath_net::descriptors::Purpose;
use lath_zones::Random;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Responder, respond};
use crate::query::MAX_QUERY;
use crate::shares::IDLE;
use crate::tcp::{accept, read_message, write_message};
use crate::zone_state::ZoneState;

/// How many connections an address may hold open.
const CONNECTIONS: usize = 1024;

/// How many of them one client may.
const PER_CLIENT: usize = 32;

/// Accepts connections for ever.
pub(crate) async fn serve(listener: TcpListener, place: Place, zone_state: ZoneState) {
    let total = Purpose::Authority.share(CONNECTIONS);
    let limits = ConnectionLimits {
        total,
        per_place: total,
        per_source: PER_CLIENT.min(total),
        idle: IDLE,
    };
    let acceptor = Acceptor::new("authoritative DNS by TCP", limits);
    accept(
        listener,
        &acceptor,
        &place,
        Source::of,
        |stream, from, _| converse(stream, from, zone_state.clone()),
    )
    .await;
}

async fn converse(mut stream: TcpStream, from: SocketAddr, zone_state: ZoneState) {
    let mut reply = Vec::new();
    while let Ok(Ok(query)) = timeout(IDLE, read_message(&mut stream, MAX_QUERY)).await {
        if !answer(&zone_state, &query, from, &mut reply) {
            return;
        }
        let written = timeout(IDLE, write_message(&mut stream, &reply)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

fn answer(zone_state: &ZoneState, query: &[u8], from: SocketAddr, reply: &mut Vec<u8>) -> bool {
    let (zones, health) = (zone_state.zones(), zone_state.health());
    let mut random = Random::new(rand::random());
    let mut responder = Responder {
        zones: &zones,
        health: &health,
        random: &mut random,
    };
    respond(&mut responder, query, from.ip(), true, reply)
}
