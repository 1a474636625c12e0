//! One probe: a GET on a new connection, which is then closed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use lath_feed::HealthCheck;
use lath_model::lattice::{ProtocolVersion, TargetProtocol};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::dial::{Dial, Reach};
use crate::grpc;
use crate::response::{Flaw, MAX_BODY, MAX_HEAD, ResponseReader};
use crate::tls;
use crate::verify::Verified;

/// The size of one read, in bytes.
const PIECE: usize = 4096;

const USER_AGENT: &str = "vpc-lattice-health-checker/1.0";

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The connection to the target failed.
    #[error("connecting {at} failed: {reason}")]
    Connect {
        /// The target.
        at: SocketAddr,
        /// The error.
        reason: String,
    },
    /// The target did not respond in time.
    #[error("no answer within the timeout")]
    Timeout,
    /// The target closed the connection, or its response is not HTTP, endless, cut off or contradictory.
    #[error("no valid HTTP answer: {0}")]
    Protocol(String),
    /// The response's status does not match the health check.
    #[error("the answer's status is {0}")]
    Status(u16),
}

/// A connection in the clear or under TLS.
trait Bytes: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Bytes for S {}

/// The parameters of a probe.
pub(crate) struct Probe {
    pub(crate) dial: Dial,
    pub(crate) reach: Reach,
    pub(crate) at: SocketAddr,
    pub(crate) check: Arc<HealthCheck>,
    /// How targets prove who they are, where they do.
    pub(crate) verified: Option<Arc<Verified>>,
}

impl Probe {
    /// Probes the target once.
    ///
    /// # Errors
    /// When the target does not pass the check.
    pub(crate) async fn run(&self) -> Result<(), ProbeError> {
        tokio::time::timeout(self.check.timeout, self.ask())
            .await
            .unwrap_or(Err(ProbeError::Timeout))
    }

    async fn ask(&self) -> Result<(), ProbeError> {
        let stream = self.connect().await?;
        let status = match self.check.protocol {
            TargetProtocol::Tcp => return Ok(()),
            TargetProtocol::Http => self.ask_over(stream).await?,
            TargetProtocol::Https => {
                let version = self.check.protocol_version;
                let (config, name) = match &self.verified {
                    None => (tls::towards_targets(version), Some(self.at.ip().into())),
                    Some(verified) => (
                        verified.checking(version).map_err(protocol)?,
                        verified.server_name(),
                    ),
                };
                let name: ServerName<'static> =
                    name.ok_or_else(|| protocol("the targets' name is none"))?;
                let shaken = TlsConnector::from(config).connect(name, stream);
                self.ask_over(shaken.await.map_err(protocol)?).await?
            }
        };
        let healthy = self
            .check
            .matcher
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&status));
        if healthy {
            Ok(())
        } else {
            Err(ProbeError::Status(status))
        }
    }

    async fn connect(&self) -> Result<TcpStream, ProbeError> {
        let timeout = self.check.timeout;
        let connecting = self.dial.connect(&self.reach, self.at, timeout);
        connecting.await.map_err(|error| ProbeError::Connect {
            at: self.at,
            reason: error.to_string(),
        })
    }

    async fn ask_over(&self, stream: impl Bytes) -> Result<u16, ProbeError> {
        match self.check.protocol_version {
            ProtocolVersion::Http1 => self.ask_http1(stream).await,
            ProtocolVersion::Http2 => self.ask_http2(stream).await,
            ProtocolVersion::Grpc => self.ask_grpc(stream).await,
        }
    }

    async fn ask_http1(&self, mut stream: impl Bytes) -> Result<u16, ProbeError> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n",
            self.check.path, self.at
        );
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(protocol)?;
        let mut answer = ResponseReader::default();
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            piece.clear();
            let read = match stream.read_buf(&mut piece).await {
                // Over TLS, an end without a word.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                read => read.map_err(protocol)?,
            };
            if read == 0 {
                return answer.close().map_err(protocol);
            }
            if let Some(status) = answer.push(&piece).map_err(protocol)? {
                return Ok(status);
            }
        }
    }

    async fn ask_http2(&self, stream: impl Bytes) -> Result<u16, ProbeError> {
        let request = http::Request::get(self.uri(&self.check.path))
            .header(http::header::USER_AGENT, USER_AGENT)
            .body(Full::default())
            .map_err(protocol)?;
        let mut status = 0;
        let head = |head: &Head| status = head.status.as_u16();
        exchange(stream, request, head).await?;
        Ok(status)
    }

    /// gRPC's own health check: what is not `SERVING` is an error, whatever its words.
    async fn ask_grpc(&self, stream: impl Bytes) -> Result<u16, ProbeError> {
        let (path, query) = self
            .check
            .path
            .split_once('?')
            .unwrap_or((&self.check.path, ""));
        let request = http::Request::post(self.uri(path))
            .header(http::header::USER_AGENT, USER_AGENT)
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .header(http::header::TE, "trailers")
            .body(Full::from(grpc::check(query)))
            .map_err(protocol)?;
        let (mut status, mut ended) = (0, None);
        let head = |head: &Head| {
            status = head.status.as_u16();
            ended = grpc::status(&head.headers);
        };
        let body = exchange(stream, request, head).await?;
        if status != 200 {
            return Err(ProbeError::Status(status));
        }
        let ended = body.trailers.as_ref().and_then(grpc::status).or(ended);
        match ended {
            Some(0) => grpc::serving(&body.bytes).map_err(protocol).map(|()| 200),
            Some(code) => Err(ProbeError::Protocol(format!("grpc-status {code}"))),
            None => Err(ProbeError::Protocol("no grpc-status".into())),
        }
    }

    fn uri(&self, path: &str) -> String {
        let scheme = match self.check.protocol {
            TargetProtocol::Https => "https",
            TargetProtocol::Http | TargetProtocol::Tcp => "http",
        };
        format!("{scheme}://{}{path}", self.at)
    }
}

type Head = http::response::Parts;

/// What followed a head.
#[derive(Default)]
struct Rest {
    /// As much of it as is looked at.
    bytes: Vec<u8>,
    trailers: Option<http::HeaderMap>,
}

/// One exchange by HTTP/2, to its end.
async fn exchange(
    stream: impl Bytes,
    request: http::Request<Full<bytes::Bytes>>,
    mut see: impl FnMut(&Head),
) -> Result<Rest, ProbeError> {
    let (mut sender, connection) = http2::Builder::new(Local)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(protocol)?;
    let mut connection = std::pin::pin!(connection);
    let mut reply = std::pin::pin!(async {
        let reply = sender.send_request(request).await.map_err(protocol)?;
        let (head, body) = reply.into_parts();
        see(&head);
        read_to_end(body).await
    });
    tokio::select! {
        reply = &mut reply => reply,
        ended = &mut connection => {
            let text = ended.map_or_else(|error| error.to_string(), |()| "closed".to_owned());
            Err(ProbeError::Protocol(text))
        }
    }
}

/// Reads an HTTP/2 body to the end that its frames mark (RFC 9113 section 8.1).
async fn read_to_end(mut body: Incoming) -> Result<Rest, ProbeError> {
    let (mut read, mut rest) = (0, Rest::default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(protocol)?;
        if let Some(data) = frame.data_ref() {
            read += data.len() as u64;
            let room = grpc::MAX_ANSWER.saturating_sub(rest.bytes.len());
            rest.bytes.extend_from_slice(&data[..data.len().min(room)]);
        }
        if read > MAX_BODY {
            return Err(protocol(Flaw::BodyTooLong));
        }
        rest.trailers = frame.into_trailers().ok();
    }
    Ok(rest)
}

#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

fn protocol(error: impl std::fmt::Display) -> ProbeError {
    ProbeError::Protocol(error.to_string())
}
