//! One probe: connect, TLS handshake, request, check of the response (section "How Route 53 determines whether an
//! endpoint is healthy" of the developer guide).

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lath_feed::{CheckProtocol, EndpointCheck};
use lath_mesh::gateway;
use lath_model::id::HealthCheckId;
use lath_net::Network;
use rand::Rng as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::content::{Progress, head};
use crate::directory::{Directory, Route};
use crate::tls::Tls;

/// With a shorter interval, every timeout shrinks to the interval.
pub(crate) const USUAL: Duration = Duration::from_secs(4);

/// The outcome of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    /// The status text, as in GetHealthCheckStatus.
    pub(crate) status: String,
    pub(crate) address: Option<IpAddr>,
}

/// Resources shared by all probes.
pub(crate) struct Tools {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) tls: Tls,
}

/// The time limit of each step.
struct Timeouts {
    connect: Duration,
    respond: Duration,
    search: Duration,
}

impl Timeouts {
    fn of(check: &EndpointCheck) -> Self {
        let limit = |seconds| match Duration::from_secs(seconds) {
            usual if check.interval < USUAL => usual.min(check.interval),
            usual => usual,
        };
        Self {
            connect: limit(match check.protocol {
                CheckProtocol::Tcp => 10,
                CheckProtocol::Http | CheckProtocol::Https => 4,
            }),
            respond: limit(2),
            search: limit(2),
        }
    }
}

/// Probes an endpoint once.
pub(crate) async fn probe(
    tools: &Tools,
    directory: &Directory,
    id: &HealthCheckId,
    check: &EndpointCheck,
) -> Outcome {
    let mut address = None;
    let asked = ask(tools, directory, id, check, &mut address);
    let found = if check.interval < USUAL {
        // A probe must end before the next one is due.
        timeout(check.interval, asked)
            .await
            .unwrap_or_else(|_| Err(timed_out("Connection")))
    } else {
        asked.await
    };
    let (success, status) = match found {
        Ok(status) => (true, format!("Success: {status}")),
        Err(reason) => (false, format!("Failure: {reason}")),
    };
    Outcome {
        success,
        status,
        address,
    }
}

fn timed_out(what: &str) -> String {
    format!(
        "{what} timed out. The endpoint or the internet connection is down, or requests are being blocked by your firewall."
    )
}

async fn ask(
    tools: &Tools,
    directory: &Directory,
    id: &HealthCheckId,
    check: &EndpointCheck,
    address: &mut Option<IpAddr>,
) -> Result<String, String> {
    let timeouts = Timeouts::of(check);
    let connecting = connect(tools, directory, check, &timeouts, address);
    let stream = timeout(timeouts.connect, connecting)
        .await
        .map_err(|_| timed_out("Connection"))??;
    match check.protocol {
        CheckProtocol::Tcp => Ok("TCP connection established".to_owned()),
        CheckProtocol::Http => converse(stream, id, check, *address, &timeouts).await,
        CheckProtocol::Https => {
            let name = server_name(check, *address)?;
            let sni = check.sni && check.name.is_some();
            let shaken = tools.tls.connector(sni).connect(name.clone(), stream);
            let shaken = timeout(timeouts.respond, shaken).await;
            let stream = match shaken.map_err(|_| timed_out("SSL handshake"))? {
                Ok(stream) => stream,
                // Some servers refuse a name for which they have no certificate: try again without SNI.
                Err(_) if sni => {
                    let again = connect(tools, directory, check, &timeouts, address).await?;
                    let shaken = tools.tls.connector(false).connect(name, again);
                    let shaken = timeout(timeouts.respond, shaken).await;
                    shaken
                        .map_err(|_| timed_out("SSL handshake"))?
                        .map_err(|error| format!("SSL alert: {error}"))?
                }
                Err(error) => return Err(format!("SSL alert: {error}")),
            };
            converse(stream, id, check, *address, &timeouts).await
        }
    }
}

fn server_name(
    check: &EndpointCheck,
    address: Option<IpAddr>,
) -> Result<ServerName<'static>, String> {
    let named = check.name.as_ref().filter(|_| check.sni);
    let named =
        named.and_then(|name| ServerName::try_from(name.trim_end_matches('.').to_owned()).ok());
    named
        .or_else(|| address.map(|address| ServerName::IpAddress(address.into())))
        .or_else(|| ServerName::try_from("endpoint.invalid").ok())
        .ok_or_else(|| "the name cannot be said in TLS".to_owned())
}

async fn connect(
    tools: &Tools,
    directory: &Directory,
    check: &EndpointCheck,
    timeouts: &Timeouts,
    address: &mut Option<IpAddr>,
) -> Result<TcpStream, String> {
    let route = match (&check.address, &check.name) {
        (Some(address), _) => directory.to_address(*address),
        (None, Some(name)) => directory.to_name(name),
        (None, None) => Route::Nowhere,
    };
    let connected = match route {
        Route::Direct(place, addresses) => {
            let at = pick(&addresses).ok_or_else(unresolved)?;
            *address = Some(at);
            let at = SocketAddr::new(at, check.port);
            lath_net::connect(&tools.network, &place, None, at, timeouts.connect).await
        }
        Route::Gateway(gateway, name) => {
            let authority = gateway::service_authority(&name, check.port);
            gateway::connect(&tools.network, gateway, &authority, timeouts.connect).await
        }
        Route::Resolver(place, name) => {
            let at = look_up(&name).await.ok_or_else(unresolved)?;
            *address = Some(at);
            let at = SocketAddr::new(at, check.port);
            lath_net::connect(&tools.network, &place, None, at, timeouts.connect).await
        }
        Route::Nowhere => return Err(unresolved()),
    };
    connected.map_err(|error| said(&error))
}

fn unresolved() -> String {
    "DNS resolution failed: no A record was found for the endpoint's name.".to_owned()
}

fn said(error: &Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut => timed_out("Connection"),
        ErrorKind::ConnectionRefused => format!("Connection refused: {error}"),
        _ => format!("Connection failed: {error}"),
    }
}

fn pick(addresses: &[IpAddr]) -> Option<IpAddr> {
    if addresses.is_empty() {
        return None;
    }
    let at = rand::rng().random_range(0..addresses.len());
    addresses.get(at).copied()
}

/// Resolves a name with the host's resolvers; IPv4 only, like AWS's checkers.
async fn look_up(name: &str) -> Option<IpAddr> {
    let found = tokio::net::lookup_host((name, 0)).await.ok()?;
    let found: Vec<IpAddr> = found
        .map(|at| at.ip())
        .filter(IpAddr::is_ipv4)
        .take(64)
        .collect();
    pick(&found)
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    id: &HealthCheckId,
    check: &EndpointCheck,
    address: Option<IpAddr>,
    timeouts: &Timeouts,
) -> Result<String, String> {
    let request = request(id, check, address);
    let mut bytes = Vec::with_capacity(1024);
    let answering = async {
        stream.write_all(request.as_bytes()).await.map_err(cut)?;
        loop {
            match head(&bytes) {
                Progress::Done(head) => return Ok(head),
                Progress::Malformed(flaw) => {
                    return Err(format!("the response is not valid HTTP: {flaw}"));
                }
                Progress::Partial => {}
            }
            if stream.read_buf(&mut bytes).await.map_err(cut)? == 0 {
                return Err("the endpoint closed the connection without a response".to_owned());
            }
        }
    };
    let head = timeout(timeouts.respond, answering)
        .await
        .map_err(|_| timed_out("The response"))??;
    let status = format!("HTTP Status Code {}, {}", head.status, head.reason);
    if !(200..400).contains(&head.status) {
        return Err(status);
    }
    let Some(search) = &check.search else {
        return Ok(status);
    };
    let searching = async {
        let mut ended = false;
        loop {
            match head.search(&bytes, search, ended) {
                Progress::Done(found) => return found,
                Progress::Malformed(_) => return false,
                Progress::Partial => {}
            }
            ended = !matches!(stream.read_buf(&mut bytes).await, Ok(1..));
        }
    };
    match timeout(timeouts.search, searching).await {
        Ok(true) => Ok(status),
        Ok(false) => Err(format!(
            "{status}. The search string was not found in the first 5,120 bytes of the body."
        )),
        Err(_) => Err(timed_out("The response body")),
    }
}

fn cut(error: Error) -> String {
    format!("the connection was cut: {error}")
}

fn request(id: &HealthCheckId, check: &EndpointCheck, address: Option<IpAddr>) -> String {
    let path = if check.path.starts_with('/') { "" } else { "/" };
    format!(
        "GET {path}{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Amazon-Route53-Health-Check-Service (ref {id}; report http://amzn.to/1vsZADi)\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: close\r\n\r\n",
        check
            .path
            .replace(|c: char| c.is_ascii_control() || c == ' ', "%20"),
        host(check, address)
    )
}

/// The Host header: the name, or the address if there is none; with the port unless it is the protocol's default.
fn host(check: &EndpointCheck, address: Option<IpAddr>) -> String {
    let name = match (&check.name, check.address.or(address)) {
        (Some(name), _) => name.replace(|c: char| c.is_ascii_control() || c == ' ', ""),
        (None, Some(IpAddr::V6(address))) => format!("[{address}]"),
        (None, Some(address)) => address.to_string(),
        (None, None) => String::new(),
    };
    match (check.protocol, check.port) {
        (CheckProtocol::Http, 80) | (CheckProtocol::Https, 443) => name,
        (_, port) => format!("{name}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_is_as_aws_writes_it() {
        use CheckProtocol::{Http, Https};
        let v4 = Some(IpAddr::from([192, 0, 2, 1]));
        let v6 = Some("2001:db8::1".parse().unwrap());
        for (protocol, name, address, port, want) in [
            (Http, Some("a.example"), v4, 80, "a.example"),
            (Http, Some("a.example"), None, 443, "a.example:443"),
            (Https, Some("a.example"), None, 443, "a.example"),
            (Https, Some("a.example"), None, 80, "a.example:80"),
            (Http, None, v4, 80, "192.0.2.1"),
            (Http, None, v4, 8080, "192.0.2.1:8080"),
            (Http, None, v6, 8080, "[2001:db8::1]:8080"),
            (Http, Some("a\r\nX: b"), v4, 80, "aX:b"),
        ] {
            let check = EndpointCheck {
                protocol,
                address,
                name: name.map(str::to_owned),
                port,
                path: "/".into(),
                search: None,
                sni: false,
                interval: Duration::from_secs(30),
                threshold: 3,
            };
            assert_eq!(host(&check, None), want);
        }
    }
}
