//! HTTP/2 and gRPC towards targets that are written frame by frame.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use lath_feed::AccessLogDestination;
use lath_model::id::AccessLogSubscriptionId;
use lath_model::lattice::ProtocolVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::world::HOST;
use crate::lab::{Lab, PATIENCE, World, config, eventually};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` in HPACK.
const OK: &[u8] = &[0x88];

/// A connection as its target sees it.
struct Wire {
    stream: TcpStream,
}

struct Frame {
    kind: u8,
    flags: u8,
    id: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

impl Wire {
    /// The next connection, with these settings.
    async fn accept(listener: &TcpListener, settings: &[(u16, u32)]) -> Self {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 24]).await.unwrap();
        let mut wire = Self { stream };
        let pairs = settings.iter().flat_map(|(id, value)| {
            let mut pair = id.to_be_bytes().to_vec();
            pair.extend(value.to_be_bytes());
            pair
        });
        wire.send(SETTINGS, 0, 0, &pairs.collect::<Vec<_>>()).await;
        wire
    }

    async fn send(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(id.to_be_bytes());
        bytes.extend(payload);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next frame of a stream; `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await.ok()?;
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if head[3] == SETTINGS && head[4] == 0 {
                self.send(SETTINGS, 1, 0, &[]).await;
            }
            if id > 0 {
                return Some(Frame {
                    kind: head[3],
                    flags: head[4],
                    id,
                    payload,
                });
            }
        }
    }

    /// The streams of the next requests that are whole, and the bytes of their bodies together.
    async fn requests(&mut self, count: usize) -> (Vec<u32>, usize) {
        let (mut whole, mut bytes) = (Vec::new(), 0);
        while whole.len() < count {
            let frame = self.next().await.expect("a request");
            bytes += if frame.kind == DATA {
                frame.payload.len()
            } else {
                0
            };
            if frame.ends() {
                whole.push(frame.id);
            }
        }
        (whole, bytes)
    }

    async fn answer(&mut self, id: u32) {
        let flags = END_HEADERS | END_STREAM;
        self.send(HEADERS, flags, id, OK).await;
    }

    /// Says no more, and hears the rest: else the kernel would take back what was said.
    async fn end(mut self) {
        self.stream.shutdown().await.unwrap();
        while self.next().await.is_some() {}
    }

    /// Answers everything until the other end is gone.
    async fn serve(mut self) {
        while let Some(frame) = self.next().await {
            if frame.ends() {
                self.answer(frame.id).await;
            }
        }
    }
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// A service that forwards to one target by gRPC.
async fn calling(at: SocketAddr) -> (Lab, World) {
    let (mut world, group) = World::forwarding(&[at]);
    world.target_group(&group).protocol_version = Some(ProtocolVersion::Grpc);
    (Lab::start(config(), &world).await, world)
}

async fn client(world: &World) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(world.at).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn call() -> http::Request<()> {
    http::Request::post(format!("http://{HOST}/pkg.Service/Method"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// A call with five bytes; what came of it.
async fn unary(sender: &SendRequest<Bytes>) -> Result<u16, h2::Error> {
    let mut sender = sender.clone().ready().await?;
    let (response, mut body) = sender.send_request(call(), false)?;
    body.send_data(Bytes::from_static(b"hello"), true)?;
    let response = tokio::time::timeout(PATIENCE, response).await.unwrap()?;
    Ok(response.status().as_u16())
}

async fn several(sender: &SendRequest<Bytes>, count: usize) -> Vec<u16> {
    let calls = (0..count).map(|_| unary(sender));
    let came = futures::future::join_all(calls).await;
    came.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_target_that_goes_away_loses_no_call() {
    let (listener, at) = listening().await;
    let target = tokio::spawn(async move {
        let mut first = Wire::accept(&listener, &[]).await;
        let (ids, _) = first.requests(4).await;
        let least = *ids.iter().min().unwrap();
        // The others were not looked at (RFC 9113 section 6.8). The end comes at once.
        let mut last = least.to_be_bytes().to_vec();
        last.extend(0_u32.to_be_bytes());
        first.send(GOAWAY, 0, 0, &last).await;
        first.answer(least).await;
        first.end().await;
        let mut second = Wire::accept(&listener, &[]).await;
        let (ids, bytes) = second.requests(3).await;
        for id in ids {
            second.answer(id).await;
        }
        second.serve().await;
        bytes
    });
    let (lab, world) = calling(at).await;
    let sender = client(&world).await;
    assert_eq!(several(&sender, 4).await, [200; 4]);
    drop((sender, lab));
    assert_eq!(target.await.unwrap(), 15, "the bodies came a second time");
}

#[tokio::test]
async fn what_a_target_has_begun_is_not_sent_again() {
    let (listener, at) = listening().await;
    let target = tokio::spawn(async move {
        let mut first = Wire::accept(&listener, &[]).await;
        let (ids, _) = first.requests(1).await;
        let mut last = ids[0].to_be_bytes().to_vec();
        last.extend(0_u32.to_be_bytes());
        first.send(GOAWAY, 0, 0, &last).await;
        first.end().await;
        Wire::accept(&listener, &[]).await.serve().await;
    });
    let (_lab, world) = calling(at).await;
    let sender = client(&world).await;
    assert_eq!(unary(&sender).await.unwrap(), 502);
    assert_eq!(unary(&sender).await.unwrap(), 200);
    target.abort();
}

#[tokio::test]
async fn a_refused_stream_is_opened_again() {
    let (listener, at) = listening().await;
    let target = tokio::spawn(async move {
        let mut wire = Wire::accept(&listener, &[]).await;
        let (ids, _) = wire.requests(1).await;
        wire.send(RST_STREAM, 0, ids[0], &7_u32.to_be_bytes()).await;
        wire.serve().await;
    });
    let (_lab, world) = calling(at).await;
    assert_eq!(unary(&client(&world).await).await.unwrap(), 200);
    target.abort();
}

#[tokio::test]
async fn connections_are_as_many_as_the_targets_limit_of_streams_needs() {
    let (listener, at) = listening().await;
    let (seen, opened) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, counting) = (Arc::clone(&seen), Arc::clone(&opened));
    let target = tokio::spawn(async move {
        loop {
            // SETTINGS_MAX_CONCURRENT_STREAMS.
            let mut wire = Wire::accept(&listener, &[(3, 2)]).await;
            counting.fetch_add(1, Ordering::SeqCst);
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let (ids, _) = wire.requests(2).await;
                counted.fetch_add(2, Ordering::SeqCst);
                // No call ends before all have begun.
                while counted.load(Ordering::SeqCst) < 6 {
                    tokio::task::yield_now().await;
                }
                for id in ids {
                    wire.answer(id).await;
                }
                wire.serve().await;
            });
        }
    });
    let (_lab, world) = calling(at).await;
    assert_eq!(several(&client(&world).await, 6).await, [200; 6]);
    assert_eq!(opened.load(Ordering::SeqCst), 3);
    target.abort();
}

#[tokio::test]
async fn a_rush_waits_for_one_connection_and_one_that_is_not_read_holds_up_no_other() {
    let (listener, at) = listening().await;
    let target = tokio::spawn(async move {
        let mut wire = Wire::accept(&listener, &[]).await;
        // The connection's window is large, a stream's is not opened again.
        let more = 4_000_000_u32.to_be_bytes();
        wire.send(WINDOW_UPDATE, 0, 0, &more).await;
        wire.serve().await;
    });
    let (_lab, world) = calling(at).await;
    let sender = client(&world).await;
    let mut stuck = sender.clone().ready().await.unwrap();
    let (_response, mut body) = stuck.send_request(call(), false).unwrap();
    body.send_data(Bytes::from(vec![0; 1 << 20]), true).unwrap();
    assert_eq!(several(&sender, 50).await, [200; 50]);
    target.abort();
}

#[tokio::test]
async fn resets_go_through_in_both_directions() {
    let (listener, at) = listening().await;
    let (cancelled, mut cancelled_rx) = tokio::sync::mpsc::channel(1);
    let target = tokio::spawn(async move {
        let mut wire = Wire::accept(&listener, &[]).await;
        let (ids, _) = wire.requests(1).await;
        wire.send(HEADERS, END_HEADERS, ids[0], OK).await;
        wire.send(DATA, 0, ids[0], b"some").await;
        wire.send(RST_STREAM, 0, ids[0], &8_u32.to_be_bytes()).await;
        while let Some(frame) = wire.next().await {
            if frame.kind == HEADERS {
                wire.send(HEADERS, END_HEADERS, frame.id, OK).await;
            }
            if frame.kind == RST_STREAM {
                cancelled.send(frame.payload).await.unwrap();
            }
        }
    });
    let (_lab, world) = calling(at).await;
    let sender = client(&world).await;
    let mut ready = sender.clone().ready().await.unwrap();
    let (response, _) = ready.send_request(call(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let error = loop {
        match body.data().await.expect("an error first") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(Reason::CANCEL));

    // A stream in both directions whose client has had enough.
    let mut ready = sender.clone().ready().await.unwrap();
    let (response, mut upload) = ready.send_request(call(), false).unwrap();
    let response = response.await.unwrap();
    upload.send_reset(Reason::CANCEL);
    drop((response, upload));
    let cancelled_rx = tokio::time::timeout(PATIENCE, cancelled_rx.recv()).await;
    assert_eq!(cancelled_rx.unwrap().unwrap(), 8_u32.to_be_bytes());
    target.abort();
}

#[tokio::test]
async fn an_answer_of_trailers_alone_and_long_trailers_pass() {
    let (listener, at) = listening().await;
    let target = tokio::spawn(async move {
        let mut wire = Wire::accept(&listener, &[]).await;
        let status = |code: u8| {
            // A literal without indexing: `grpc-status: 5`.
            let mut field = vec![0, 11];
            field.extend(b"grpc-status");
            field.extend([1, code]);
            field
        };
        let (ids, _) = wire.requests(1).await;
        let only = [OK, &status(b'5')].concat();
        wire.send(HEADERS, END_HEADERS | END_STREAM, ids[0], &only)
            .await;
        let (ids, _) = wire.requests(1).await;
        wire.send(HEADERS, END_HEADERS, ids[0], OK).await;
        wire.send(DATA, 0, ids[0], b"x").await;
        // Four trailers of 4,000 bytes.
        let mut trailers = status(b'0');
        for name in b"abcd" {
            trailers.extend([0, 1, *name, 0x7f, 0xa1, 0x1e]);
            trailers.extend([b'v'; 4000]);
        }
        assert!(trailers.len() < 16_384);
        wire.send(HEADERS, END_HEADERS | END_STREAM, ids[0], &trailers)
            .await;
        wire.serve().await;
    });
    let (mut world, group) = World::forwarding(&[at]);
    world.target_group(&group).protocol_version = Some(ProtocolVersion::Grpc);
    world.service().access_logs.push(AccessLogDestination {
        id: AccessLogSubscriptionId::random(),
        destination_arn: "arn:service".into(),
    });
    let lab = Lab::start(config(), &world).await;
    let sender = client(&world).await;
    let mut got = Vec::new();
    for _ in 0..2 {
        let mut ready = sender.clone().ready().await.unwrap();
        let (response, _) = ready.send_request(call(), true).unwrap();
        let response = response.await.unwrap();
        let head = response.headers().get("grpc-status").cloned();
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let length = data.unwrap().len();
            body.flow_control().release_capacity(length).unwrap();
        }
        got.push((head, body.trailers().await.unwrap()));
    }
    assert_eq!(got[0].0.as_ref().unwrap(), "5");
    let trailers = got[1].1.as_ref().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(
        ["a", "b", "c", "d"]
            .iter()
            .all(|name| trailers[*name].len() == 4000)
    );
    eventually("two records", || lab.sink.logs.lock().unwrap().len() == 2).await;
    let records = lab.sink.logs.lock().unwrap().clone();
    let codes: Vec<_> = records.iter().map(|it| it.grpc_response_code).collect();
    assert_eq!(codes, [Some(5), Some(0)]);
    target.abort();
}

#[tokio::test]
async fn a_target_that_cannot_be_connected_is_unavailable() {
    let (listener, at) = listening().await;
    drop(listener);
    let (_lab, world) = calling(at).await;
    assert_eq!(several(&client(&world).await, 3).await, [503; 3]);
}
