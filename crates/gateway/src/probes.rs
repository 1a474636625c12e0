//! Metrics for Prometheus, and probes for kubelets, over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::controller::App;
use crate::webhook::certificate::Served;

/// Where probes and metrics are, unless the settings say something else: kubelets and Prometheus look elsewhere, and a host
/// opens no port to its network unasked.
const USUAL: &str = "127.0.0.1:8080";
/// How many connections there may be.
const CONNECTIONS: usize = 32;
/// How long a client may take to ask, and how long all of a connection may take: places are few.
const IDLE: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(30);
/// The largest head of a request. Bodies are not read.
const HEAD: usize = 16 << 10;

/// What probes ask for.
pub(crate) struct Probes {
    pub(crate) app: Arc<App>,
    /// Whether the cluster was read as a whole.
    pub(crate) read: Arc<AtomicBool>,
    pub(crate) leads: watch::Receiver<bool>,
    /// What the webhook is served with, where there is one.
    pub(crate) certified: Option<Arc<Served>>,
}

/// An address as AWS's controller takes it: a port alone stands for all of this machine's addresses.
fn address(text: &str) -> anyhow::Result<SocketAddr> {
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.to_owned(),
    };
    whole.parse().with_context(|| {
        format!("--metrics-bind-address {text}: give an address with a port (127.0.0.1:8080), :PORT, or 0 for none")
    })
}

/// Listens where the settings say. `None` without metrics, and where the usual address is taken.
pub(crate) async fn listen(wanted: Option<&str>) -> anyhow::Result<Option<TcpListener>> {
    let text = wanted.unwrap_or(USUAL);
    if ["", "0"].contains(&text) {
        return Ok(None);
    }
    let address = address(text)?;
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        // The user did not ask for this port: another program may have it on this host.
        Err(error) if wanted.is_none() => {
            tracing::warn!(listener.addr = %address, %error, "there are no metrics and probes: --metrics-bind-address gives them another port");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("no metrics and probes at {address}: --metrics-bind-address takes another one, or 0 for none")
        }),
    }
}

impl Probes {
    fn answer(&self, request: &Request<Incoming>) -> (StatusCode, &'static str, String) {
        const PLAIN: &str = "text/plain; charset=utf-8";
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let said = "only GET and HEAD\n".to_owned();
            return (StatusCode::METHOD_NOT_ALLOWED, PLAIN, said);
        }
        match request.uri().path() {
            "/metrics" => {
                let depth = self.app.queue.depth();
                let text = self.app.metrics.text(depth, *self.leads.borrow());
                (
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    text,
                )
            }
            "/healthz" => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            // The API server must not ask one that it does not trust yet.
            "/readyz" if self.certified.as_ref().is_some_and(|it| !it.is_ready()) => {
                let said =
                    "the webhook has no certificate that the API server trusts yet\n".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, PLAIN, said)
            }
            // Also one that does not lead: it can take over at once.
            "/readyz" if self.read.load(Ordering::Acquire) => {
                (StatusCode::OK, PLAIN, "ok\n".to_owned())
            }
            "/readyz" => {
                let said = "the cluster is not read yet\n".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, PLAIN, said)
            }
            _ => {
                let said = "/metrics, /healthz and /readyz are here\n".to_owned();
                (StatusCode::NOT_FOUND, PLAIN, said)
            }
        }
    }

    /// Answers for as long as the process lives.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let probes = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a connection for metrics cannot be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Who comes when all places are taken is hung up on.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let probes = Arc::clone(&probes);
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let (status, kind, text) = probes.answer(&request);
                    let mut response = Response::new(Full::new(Bytes::from(text)));
                    *response.status_mut() = status;
                    let kind = hyper::header::HeaderValue::from_static(kind);
                    response
                        .headers_mut()
                        .insert(hyper::header::CONTENT_TYPE, kind);
                    std::future::ready(Ok::<_, Infallible>(response))
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(IDLE)
                    .max_buf_size(HEAD)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                match tokio::time::timeout(WHOLE, served).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::trace!(%error, "a connection for metrics ended"),
                    Err(_) => tracing::trace!("a connection for metrics took too long"),
                }
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::tests::bench::Bench;

    async fn ask(at: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let head = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn probes_say_whether_the_cluster_is_read() {
        let bench = Bench::usual().await;
        bench.put("httproutes", "web", &serde_json::json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [{"name": "one", "port": 80}]}]}));
        bench.settle(&[crate::tests::bench::route("web")]).await;
        let (_leads, leading) = watch::channel(true);
        let read = Arc::new(AtomicBool::new(false));
        let probes = Probes {
            app: Arc::new(bench.app),
            read: Arc::clone(&read),
            leads: leading,
            certified: None,
        };
        let listener = listen(Some("127.0.0.1:0")).await.unwrap().unwrap();
        let at = listener.local_addr().unwrap();
        let serving = tokio::spawn(probes.serve(listener));
        assert!(ask(at, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(at, "GET /readyz").await.starts_with("HTTP/1.1 503"));
        read.store(true, Ordering::Release);
        assert!(ask(at, "GET /readyz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(at, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(ask(at, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        let long = format!("GET /{}", "a".repeat(HEAD + 1));
        assert!(
            ask(at, &long).await.starts_with("HTTP/1.1 431")
                || ask(at, &long).await.starts_with("HTTP/1.1 414")
        );
        let metrics = ask(at, "GET /metrics").await;
        for line in [
            "lath_gateway_leader 1",
            "lath_gateway_queue_depth{state=\"due\"} 0",
            "lath_gateway_api_requests_total{operation=\"RegisterTargets\",code=\"200\"} 1",
        ] {
            assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
        }
        // Asked for, a taken address is an error; the usual one is done without.
        let taken = listen(Some(&at.to_string())).await.unwrap_err();
        assert!(
            taken.to_string().contains("--metrics-bind-address"),
            "{taken}"
        );
        assert!(listen(Some("0")).await.unwrap().is_none());
        assert!(listen(Some("nowhere")).await.is_err());
        assert_eq!(address(":81").unwrap().to_string(), "0.0.0.0:81");
        serving.abort();
    }
}
