//! The token webhook, in the network namespace of each control plane: kube-apiserver asks it who a token is of.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use lath_feed::ControlPlane;
use lath_kubernetes::WEBHOOK_PORT;
use lath_kubernetes::access::{self, Principal, User};
use lath_kubernetes::auth_map::AuthMap;
use lath_kubernetes::token::Presigned;
use lath_model::WorkloadId;
use lath_net::Place;
use lath_policy::{Facts as _, Principal as Caller};
use serde_json::Value;
use tokio_util::sync::DropGuard;

use super::Shared;
use super::doors::{self, Door};

/// A request, in bytes.
const LARGEST: usize = 64 << 10;
/// Lines of the log that wait to be shipped.
const MOST_LINES: usize = 1000;

/// What the webhook knows besides the snapshot, and what it has to tell.
#[derive(Default)]
pub(super) struct Knowledge {
    /// The ConfigMap `kube-system/aws-auth`, as it was read last.
    auth_map: Mutex<Option<AuthMap>>,
    /// What it decided, for the log.
    lines: Mutex<Vec<String>>,
}

impl Knowledge {
    pub(super) fn set_auth_map(&self, map: Option<AuthMap>) {
        *self.auth_map.lock().unwrap_or_else(PoisonError::into_inner) = map;
    }

    /// What it decided since this was asked last.
    pub(super) fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn log(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= MOST_LINES {
            lines.remove(0);
        }
        lines.push(line);
    }
}

/// Answers in the namespace of a control plane until what it returns is dropped.
///
/// # Errors
/// When it cannot listen there.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    plane: &ControlPlane,
    knowledge: &Arc<Knowledge>,
) -> std::io::Result<DropGuard> {
    let place = Place::Workload(WorkloadId::Managed(plane.id.clone()));
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), WEBHOOK_PORT);
    let webhook = Webhook {
        shared: Arc::clone(shared),
        id: plane.id.clone(),
        knowledge: Arc::clone(knowledge),
    };
    doors::open(shared, place, address, webhook).await
}

struct Webhook {
    shared: Arc<Shared>,
    id: lath_model::ManagedId,
    knowledge: Arc<Knowledge>,
}

impl Door for Webhook {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != "/authenticate" {
            let status = match request.uri().path() {
                "/healthz" => StatusCode::OK,
                _ => StatusCode::NOT_FOUND,
            };
            return response(status, String::new());
        }
        let body = Limited::new(request.into_body(), LARGEST).collect().await;
        let Ok(body) = body else {
            return response(StatusCode::PAYLOAD_TOO_LARGE, String::new());
        };
        let review: Option<Value> = serde_json::from_slice(&body.to_bytes()).ok();
        let token = review.as_ref().and_then(|it| it["spec"]["token"].as_str());
        let Some(token) = token else {
            return response(StatusCode::BAD_REQUEST, String::new());
        };
        response(StatusCode::OK, self.review(token).to_string())
    }
}

impl Webhook {
    fn review(&self, token: &str) -> Value {
        let outcome = self.identify(token);
        self.knowledge.log(match &outcome {
            Ok((principal, user)) => format!(
                "level=info msg=\"access granted\" arn={:?} username={:?} groups={:?}",
                principal.arn, user.name, user.groups
            ),
            Err(reason) => format!("level=warning msg=\"access denied\" reason={reason:?}"),
        });
        let outcome = outcome.as_ref();
        let outcome = outcome.map(|(principal, user)| (principal, user));
        access::token_review(outcome.map_err(String::as_str))
    }

    fn identify(&self, token: &str) -> Result<(Principal, User), String> {
        let snapshot = Arc::clone(&self.shared.parts.snapshots.borrow());
        let plane = snapshot.control_planes.get(&self.id);
        let plane = plane.ok_or("the cluster is being deleted")?;
        let presigned = Presigned::parse(token).map_err(|error| error.to_string())?;
        let verified = presigned
            .verify(
                &plane.name,
                &self.shared.callers,
                self.shared.parts.clock.system_time(),
            )
            .map_err(|error| error.to_string())?;
        let caller = &verified.owner;
        let (identity_arn, account) = match &caller.principal {
            Caller::Session { role, account, .. } => (role.clone(), account.clone()),
            Caller::User { arn, account } | Caller::Root { arn, account } => {
                (arn.clone(), account.clone())
            }
            other => return Err(format!("{} is no caller of clusters", other.arn())),
        };
        let user_id = caller.facts.values("aws:userid").unwrap_or_default();
        let user_id = user_id.into_iter().next().unwrap_or_default();
        // The session of an instance's role is called by the instance's id.
        let session = user_id.split_once(':').map(|(_, session)| session);
        let instance = session.and_then(|it| snapshot.instances.get(&it.parse().ok()?));
        let principal = Principal {
            arn: caller.principal.arn(),
            identity_arn,
            account,
            user_id: user_id.clone(),
            access_key: verified.claim.access_key_id.clone(),
            instance_name: instance.map(|it| it.hostname.clone()),
        };
        let map = self.knowledge.auth_map.lock();
        let map = map.unwrap_or_else(PoisonError::into_inner);
        let user = access::user(&principal, &plane.access, map.as_ref());
        let user = user.ok_or_else(|| format!("{} is not mapped", principal.canonical_arn()))?;
        Ok((principal, user))
    }
}

pub(super) fn response(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}
