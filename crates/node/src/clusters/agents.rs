//! The agent of pod identities inside nodes: gives a pod the credentials of its service account's role. It asks `eks-auth` as
//! the node, with the keys of the node's role, as AWS's agent does; what it was given it gives again while control is dead.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use lath_feed::{ClusterNodeObserved, ControlPlane, Power, Snapshot};
use lath_kubernetes::agent::{self, AgentError, Answer};
use lath_model::WorkloadId;
use lath_model::id::{InstanceId, VpcId};
use lath_net::{POD_IDENTITY_ADDRESS, Place};
use lath_sigv4::{Payload, Secret, SigningKey, sign};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::DropGuard;

use super::Shared;
use super::doors::{self, Door};

/// Where a pod gets its certificate, beside its credentials: an extension.
const IDENTITY_PATH: &str = "/lath/v1/identity";

/// How long `eks-auth` may take.
const ASKING: Duration = Duration::from_secs(15);
/// Credentials of a node that are kept, and after how many seconds new ones are asked for, as AWS's agent does.
const KEPT: usize = 2000;
const RENEWED_SECONDS: i64 = 3 * 3600;

/// Nodes whose agent answers.
#[derive(Default)]
pub(super) struct Answering(Mutex<BTreeMap<InstanceId, Result<(), String>>>);

impl Answering {
    fn set(&self, all: BTreeMap<InstanceId, Result<(), String>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// Why the agent does not answer on every node that is ready.
    pub(super) fn missing(
        &self,
        nodes: &BTreeMap<InstanceId, ClusterNodeObserved>,
    ) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = nodes.iter().filter(|(_, node)| node.ready);
        ready.into_iter().find_map(|(id, _)| match known.get(id) {
            Some(Ok(())) => None,
            Some(Err(reason)) => Some(format!("no agent answers on the node {id}: {reason}")),
            None => Some(format!("no agent answers on the node {id}")),
        })
    }
}

/// The agents of all nodes.
#[derive(Default)]
pub(super) struct Agents {
    /// With the namespace that the listener is in.
    serving: BTreeMap<InstanceId, (u64, DropGuard)>,
}

impl Agents {
    /// Listeners as the snapshot wants them, where the nodes' networks are there.
    pub(super) async fn ensure(&mut self, shared: &Arc<Shared>, snapshot: &Snapshot) {
        let is_wanted = |id: &InstanceId| wanted(snapshot, id).is_some();
        self.serving.retain(|id, _| is_wanted(id));
        let mut outcomes = BTreeMap::new();
        for id in snapshot.instances.keys().filter(|id| is_wanted(id)) {
            outcomes.insert(id.clone(), self.ensure_one(shared, id).await);
        }
        shared.agents.set(outcomes);
    }

    async fn ensure_one(&mut self, shared: &Arc<Shared>, id: &InstanceId) -> Result<(), String> {
        let workload = WorkloadId::from(id.clone());
        let netns = shared.parts.fabric.workload_netns(&workload);
        let netns = netns.and_then(|it| super::supervisor::inode(&it));
        let netns = netns.map_err(|error| {
            self.serving.remove(id);
            error.to_string()
        })?;
        if self.serving.get(id).is_some_and(|(of, _)| *of == netns) {
            return Ok(());
        }
        self.serving.remove(id);
        // The address is there once the fabric has made it.
        let guard = serve(shared, id).await.map_err(|error| error.to_string())?;
        self.serving.insert(id.clone(), (netns, guard));
        Ok(())
    }
}

/// The cluster of a node that runs the agent.
fn wanted<'a>(snapshot: &'a Snapshot, id: &InstanceId) -> Option<&'a ControlPlane> {
    let instance = snapshot.instances.get(id)?;
    let instance = (instance.power == Power::On).then_some(instance)?;
    let plane = snapshot
        .control_planes
        .get(&instance.cluster.as_ref()?.cluster)?;
    plane.has_pod_identity_agent().then_some(&**plane)
}

async fn serve(shared: &Arc<Shared>, id: &InstanceId) -> std::io::Result<DropGuard> {
    let place = Place::Workload(WorkloadId::from(id.clone()));
    let address = SocketAddr::new(POD_IDENTITY_ADDRESS.into(), 80);
    let agent = Agent {
        shared: Arc::clone(shared),
        id: id.clone(),
        kept: Mutex::default(),
    };
    doors::open(shared, place, address, agent).await
}

/// What was given for a token.
#[derive(Clone)]
struct CachedAnswer {
    answer: Answer,
    /// The role that the association had.
    role: String,
    /// In seconds since the epoch.
    since: i64,
}

/// What answers on one node.
struct Agent {
    shared: Arc<Shared>,
    id: InstanceId,
    /// By digest of the token.
    kept: Mutex<BTreeMap<[u8; 32], CachedAnswer>>,
}

impl Door for Agent {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.respond(request.uri().path(), request.headers()).await
    }
}

impl Agent {
    async fn respond(&self, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if path != agent::PATH && path != IDENTITY_PATH {
            return response(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
        }
        let host = headers.get(HOST).and_then(|it| it.to_str().ok());
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let now = self.shared.parts.clock.now().as_millis() / 1000;
        let token = agent::token(host.unwrap_or_default(), authorization, now);
        let given = match token {
            Ok(token) => self.credentials(token, now).await,
            Err(refusal) => Err(refusal),
        };
        let said = given.and_then(|answer| match path {
            IDENTITY_PATH => self.identity(&answer),
            _ => Ok(serde_json::to_value(&answer.given)),
        });
        match said {
            Ok(document) => match document.map(|it| it.to_string()) {
                Ok(text) => response(StatusCode::OK, text),
                Err(_) => response(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
            },
            Err(refusal) => {
                tracing::debug!(instance.id = %self.id, error = %refusal, "a pod gets no credentials");
                response(refusal.status, refusal.text + "\n")
            }
        }
    }

    /// The certificate of a pod whose token was found to be good: of its service account.
    fn identity(
        &self,
        answer: &Answer,
    ) -> Result<serde_json::Result<serde_json::Value>, AgentError> {
        let refuse = |text: &str| AgentError::new(StatusCode::NOT_FOUND, text);
        let snapshot = Arc::clone(&self.shared.parts.snapshots.borrow());
        let authority = snapshot.workload_authority.as_ref();
        let authority = authority.ok_or_else(|| refuse("workloads get no certificates"))?;
        let plane = wanted(&snapshot, &self.id).ok_or_else(|| refuse("the cluster is gone"))?;
        let mut identities = plane.pod_identities.iter();
        let pod = identities.find(|it| it.id == answer.association);
        let pod = pod.ok_or_else(|| refuse("the pod identity association is gone"))?;
        let id = lath_svid::names::pod(
            &authority.trust_domain,
            (&snapshot.account, &snapshot.region),
            &plane.name,
            &pod.namespace,
            &pod.service_account,
        );
        let issuer = &self.shared.parts.issuer;
        let svid = issuer.issue(authority, &id, self.shared.parts.clock.now());
        let svid = svid.ok_or_else(|| {
            AgentError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no certificate can be signed",
            )
        })?;
        Ok(Ok(serde_json::json!({
            "SpiffeId": id,
            "Certificate": svid.chain_pem(),
            "PrivateKey": *svid.key.reveal_pem(),
            "TrustBundle": *snapshot.authority,
            "TrustDomain": authority.trust_domain,
            "Expiration": svid.not_after.iso8601_seconds(),
        })))
    }

    async fn credentials(&self, token: &str, now: i64) -> Result<Answer, AgentError> {
        let snapshot = Arc::clone(&self.shared.parts.snapshots.borrow());
        let gone = || AgentError::new(StatusCode::SERVICE_UNAVAILABLE, "the cluster is gone");
        let plane = wanted(&snapshot, &self.id).ok_or_else(gone)?;
        let key = Sha256::digest(token).into();
        let known = self.known(&key, plane, now);
        if let Some(kept) = known.as_ref().filter(|it| now - it.since < RENEWED_SECONDS) {
            return Ok(kept.answer.clone());
        }
        match (self.ask(&snapshot, plane, token).await, known) {
            (Ok(answer), _) => {
                self.keep(key, plane, &answer, now);
                Ok(answer)
            }
            (Err(refusal), Some(kept)) if refusal.status.is_server_error() => {
                tracing::debug!(instance.id = %self.id, error = %refusal, "a pod gets the credentials that it had");
                Ok(kept.answer)
            }
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// What was given before, while its association is as it was.
    fn known(&self, key: &[u8; 32], plane: &ControlPlane, now: i64) -> Option<CachedAnswer> {
        let all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(key)?;
        let role = role(plane, &kept.answer)?;
        (role == kept.role && kept.answer.ends > now).then(|| kept.clone())
    }

    fn keep(&self, key: [u8; 32], plane: &ControlPlane, answer: &Answer, now: i64) {
        let Some(role) = role(plane, answer) else {
            return;
        };
        let kept = CachedAnswer {
            answer: answer.clone(),
            role: role.to_owned(),
            since: now,
        };
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.retain(|_, it| it.answer.ends > now && now - it.since < RENEWED_SECONDS);
        }
        if all.len() >= KEPT {
            let oldest = all.iter().min_by_key(|(_, it)| it.since);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                all.remove(&oldest);
            }
        }
        all.insert(key, kept);
    }

    async fn ask(
        &self,
        snapshot: &Snapshot,
        plane: &ControlPlane,
        token: &str,
    ) -> Result<Answer, AgentError> {
        let (request, from) = self
            .request(snapshot, plane, token)
            .map_err(|reason| AgentError::new(StatusCode::INTERNAL_SERVER_ERROR, reason))?;
        let answered = tokio::time::timeout(ASKING, self.shared.parts.api.ask(request, from));
        let late = |_| AgentError::new(StatusCode::GATEWAY_TIMEOUT, "EKS Auth does not answer");
        let answered = answered.await.map_err(late)?;
        let header = |name: &str| {
            let value = answered.headers().get(name);
            value.and_then(|it| it.to_str().ok()).unwrap_or_default()
        };
        let said = (header("x-amzn-errortype"), header("x-amzn-requestid"));
        agent::answer(answered.status(), said, answered.body())
    }

    /// The request to `eks-auth`, signed as the node; the text says why there is none.
    fn request(
        &self,
        snapshot: &Snapshot,
        plane: &ControlPlane,
        token: &str,
    ) -> Result<(Request<Bytes>, (VpcId, IpAddr)), String> {
        let instance = snapshot.instances.get(&self.id).ok_or("the node is gone")?;
        let profile = instance.metadata.profile.as_ref();
        let keys = profile.and_then(|it| it.keys.as_ref());
        let keys = keys.ok_or("the node has no role that can be assumed")?;
        let workload = WorkloadId::from(self.id.clone());
        let mut interfaces = snapshot.interfaces_of(&workload);
        let primary = interfaces.find(|it| it.device_at(&workload) == Some(0));
        let address = primary.and_then(|it| it.private_addresses().next());
        let address = address.ok_or("the node has no address")?;

        let (path, body) = (agent::path(&plane.name), agent::body(token));
        let host = format!("eks-auth.{}.api.aws", snapshot.region);
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&host).map_err(|error| error.to_string())?;
        headers.insert(HOST, host);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let by = SigningKey {
            access_key_id: &keys.id,
            secret: &Secret::new(&keys.secret.0),
            session_token: Some(&keys.token.0),
            region: &snapshot.region,
            service: "eks-auth",
        };
        let to_sign = lath_sigv4::Request {
            method: "POST",
            path: &path,
            query: "",
            headers: &headers,
            body: Payload::Bytes(body.as_bytes()),
        };
        for (name, value) in sign(&to_sign, &by, self.shared.parts.clock.system_time()) {
            let value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
            headers.insert(name, value);
        }
        let request = Request::post(path).body(Bytes::from(body));
        let mut request = request.map_err(|error| error.to_string())?;
        *request.headers_mut() = headers;
        Ok((request, (instance.vpc.clone(), address.into())))
    }
}

/// The role that an association has now.
fn role<'a>(plane: &'a ControlPlane, answer: &Answer) -> Option<&'a str> {
    let mut identities = plane.pod_identities.iter();
    let identity = identities.find(|it| it.id == answer.association)?;
    Some(&identity.role_arn)
}

fn response(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let kind = match status {
        StatusCode::OK => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
