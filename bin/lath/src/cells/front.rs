//! The front door of all regions, and what it asks their control planes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use lath_wire::http::{Relay, Way};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::keeper::State;
use super::layout::Layout;
use crate::config::{self, Config};
use crate::serve::internal;

/// How long a control plane may take to report.
const PATIENCE: Duration = Duration::from_secs(8);
/// The largest report, in bytes.
const MAX_REPORT: usize = 256 << 20;

/// A relay to every region. `controls` say how their control planes are.
///
/// # Errors
/// When the URL of a remote region cannot be used.
pub(crate) fn relay(
    layout: &Layout,
    config: &Config,
    home: &str,
    controls: impl Iterator<Item = (String, watch::Receiver<State>)>,
) -> anyhow::Result<Relay> {
    let mut relay = Relay::new(home).with_internal("/_lath/", |request| {
        Box::pin(async move { internal(&request) })
    });
    for (region, state) in controls {
        let way = Way::Socket(layout.api_socket(&region));
        relay = relay.with_region(region, way, expectation(state));
    }
    for (region, url) in &config.remote_regions {
        let way = Way::Http(config::authority(url)?);
        relay = relay.with_region(region.clone(), way, watch::channel(false).1);
    }
    Ok(relay)
}

/// Whether a process runs or will in a moment, as long as it is kept.
fn expectation(mut state: watch::Receiver<State>) -> watch::Receiver<bool> {
    let say = watch::Sender::new(true);
    let expected = say.subscribe();
    tokio::spawn(async move {
        loop {
            say.send_replace(state.borrow_and_update().phase.is_expected());
            if state.changed().await.is_err() {
                return;
            }
        }
    });
    expected
}

/// What a region's control plane says at an internal path; none where it does not answer.
pub(crate) async fn ask(socket: &Path, path: &str) -> anyhow::Result<Bytes> {
    let answered = async {
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path)
            .header(http::header::HOST, "lath")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_REPORT)
            .collect()
            .await;
        connection.abort();
        anyhow::ensure!(status == StatusCode::OK, "it answered {status}");
        let body = body.map_err(|error| anyhow::anyhow!(error))?;
        Ok(body.to_bytes())
    };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .context("it did not answer in time")?
}

/// Waits until a region's control plane answers.
pub(crate) async fn answers(socket: Arc<Path>) {
    while ask(&socket, "/_lath/health").await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
