//! The front door of all regions, and its queries to their control planes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use lath_door::{Outlook, Relay, Way};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::layout::Layout;
use super::process_supervisor::{Phase, State};
use crate::config::{self, Config};
use crate::serve::internal;

/// The time limit of an internal request to a control plane.
const REPORT_TIMEOUT: Duration = Duration::from_secs(8);
/// The time limit of a health check of a control plane.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest report, in bytes.
const MAX_REPORT: usize = 256 << 20;

/// A relay to every region. `controls` are the states of their control planes.
///
/// # Errors
/// When the URL of a remote region cannot be used.
pub(crate) fn relay(
    layout: &Layout,
    config: &Config,
    home: &str,
    controls: impl Iterator<Item = (String, watch::Receiver<State>)>,
) -> anyhow::Result<Relay> {
    let controls: Vec<_> = controls.collect();
    let asked: Vec<_> = controls
        .iter()
        .map(|(region, state)| (region.clone(), layout.api_socket(region), state.clone()))
        .collect();
    let mut relay = Relay::new(home).with_internal("/_lath/", move |request| {
        let asked = asked.clone();
        Box::pin(async move { internal(&request, &problems(asked).await) })
    });
    for (region, state) in controls {
        let way = Way::Socket(layout.api_socket(&region));
        relay = relay.with_region(region, way, outlook(state));
    }
    for (region, url) in &config.remote_regions {
        let way = Way::Http(config::authority(url)?);
        relay = relay.with_region(region.clone(), way, watch::channel(Outlook::default()).1);
    }
    Ok(relay)
}

/// Follows a process's state and translates it for the relay.
fn outlook(mut state: watch::Receiver<State>) -> watch::Receiver<Outlook> {
    let outlook_tx = watch::Sender::new(Outlook {
        expected: true,
        reason: None,
    });
    let outlook = outlook_tx.subscribe();
    tokio::spawn(async move {
        loop {
            let State { phase, failure, .. } = state.borrow_and_update().clone();
            outlook_tx.send_replace(Outlook {
                expected: phase.is_expected(),
                reason: match phase {
                    Phase::Refused(reason) => Some(reason.summary),
                    // Clients need not know more; `lath status` has the error.
                    _ => failure.map(|_| "its control plane fails".to_owned()),
                },
            });
            if state.changed().await.is_err() {
                return;
            }
        }
    });
    outlook
}

/// The problems that each region reports; a region that does not answer is one.
async fn problems(regions: Vec<(String, PathBuf, watch::Receiver<State>)>) -> Vec<String> {
    let mut asked = JoinSet::new();
    for (region, socket, state) in regions {
        asked.spawn(async move {
            if let Phase::Refused(reason) = &state.borrow().phase {
                return vec![format!("{region}: {}", reason.summary)];
            }
            let answer = tokio::time::timeout(HEALTH_TIMEOUT, ask(&socket, "/_lath/health")).await;
            let Ok(Ok(text)) = answer else {
                let problem = match &state.borrow().failure {
                    Some(error) => format!("{region}: its control plane fails: {error}"),
                    None => format!("{region}: its control plane does not answer"),
                };
                return vec![problem];
            };
            let text = String::from_utf8_lossy(&text).into_owned();
            // The first line only says ok or degraded.
            let lines = text.lines().skip(1);
            lines.map(|line| format!("{region}: {line}")).collect()
        });
    }
    let mut problems: Vec<String> = asked.join_all().await.into_iter().flatten().collect();
    problems.sort();
    problems
}

/// A control plane's answer to an internal request.
///
/// # Errors
/// When it does not answer in time, or with another status than 200.
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
    tokio::time::timeout(REPORT_TIMEOUT, answered)
        .await
        .context("it did not answer in time")?
}

/// Waits until a region's control plane answers.
pub(crate) async fn wait_until_answering(socket: Arc<Path>) {
    while ask(&socket, "/_lath/health").await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
