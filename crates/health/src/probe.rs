//! One probe: a GET on a fresh connection that is closed afterwards.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use lath_feed::HealthCheck;
use lath_model::lattice::{ProtocolVersion, TargetProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::{MAX_HEAD, StatusLine, status_of};
use crate::dial::{Dial, Reach};

const USER_AGENT: &str = "vpc-lattice-health-checker/1.0";

/// Why a probe did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The target could not be connected.
    #[error("connecting {at} failed: {reason}")]
    Connect {
        /// The target.
        at: SocketAddr,
        /// What the kernel said.
        reason: String,
    },
    /// The target did not answer in time.
    #[error("no answer within the timeout")]
    Timeout,
    /// The target hung up, or its answer is not HTTP.
    #[error("no HTTP answer: {0}")]
    Protocol(String),
    /// The answer's status is none of those that mean healthy.
    #[error("the answer's status is {0}")]
    Status(u16),
    /// Lath cannot probe this way.
    #[error("{0} is not supported for health checks")]
    Unsupported(&'static str),
}

/// All that one probe needs.
pub(crate) struct Probe {
    pub(crate) dial: Dial,
    pub(crate) reach: Reach,
    pub(crate) at: SocketAddr,
    pub(crate) check: Arc<HealthCheck>,
}

impl Probe {
    /// Asks the target once.
    ///
    /// # Errors
    /// Why it does not count as healthy.
    pub(crate) async fn run(&self) -> Result<(), ProbeError> {
        tokio::time::timeout(self.check.timeout, self.ask())
            .await
            .unwrap_or(Err(ProbeError::Timeout))
    }

    async fn ask(&self) -> Result<(), ProbeError> {
        if self.check.protocol == TargetProtocol::Https {
            return Err(ProbeError::Unsupported("HTTPS"));
        }
        let stream = self.connect().await?;
        if self.check.protocol == TargetProtocol::Tcp {
            return Ok(());
        }
        let status = match self.check.protocol_version {
            ProtocolVersion::Http1 => self.ask_http1(stream).await?,
            ProtocolVersion::Http2 | ProtocolVersion::Grpc => self.ask_http2(stream).await?,
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

    async fn ask_http1(&self, mut stream: TcpStream) -> Result<u16, ProbeError> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n",
            self.check.path, self.at
        );
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(protocol)?;
        let mut answer = Vec::with_capacity(512);
        loop {
            match status_of(&answer) {
                StatusLine::Status(status) => return Ok(status),
                StatusLine::Malformed => return Err(ProbeError::Protocol("malformed".to_owned())),
                StatusLine::Partial if answer.len() >= MAX_HEAD => {
                    return Err(ProbeError::Protocol("the head is too long".to_owned()));
                }
                StatusLine::Partial => {}
            }
            if stream.read_buf(&mut answer).await.map_err(protocol)? == 0 {
                return Err(ProbeError::Protocol("the connection was closed".to_owned()));
            }
        }
    }

    async fn ask_http2(&self, stream: TcpStream) -> Result<u16, ProbeError> {
        let request = http::Request::get(format!("http://{}{}", self.at, self.check.path))
            .header(http::header::USER_AGENT, USER_AGENT)
            .body(Empty::<bytes::Bytes>::new())
            .map_err(protocol)?;
        let (mut sender, connection) = http2::handshake(Local, TokioIo::new(stream))
            .await
            .map_err(protocol)?;
        let mut connection = std::pin::pin!(connection);
        let mut reply = std::pin::pin!(sender.send_request(request));
        tokio::select! {
            reply = &mut reply => reply.map(|reply| reply.status().as_u16()).map_err(protocol),
            ended = &mut connection => {
                let text = ended.map_or_else(|error| error.to_string(), |()| "closed".to_owned());
                Err(ProbeError::Protocol(text))
            }
        }
    }
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
