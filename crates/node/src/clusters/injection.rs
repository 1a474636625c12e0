//! The admission webhook in the network namespace of each control plane: kube-apiserver asks it what a new pod gets for
//! credentials of AWS, and whether policies of security groups may select it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use lath_feed::ControlPlane;
use lath_kubernetes::Client;
use lath_kubernetes::injection::{self, Gift, Here, INJECTION_PORT, LARGEST, Review};
use lath_kubernetes::pki::Authority;
use lath_model::{ManagedId, WorkloadId};
use lath_net::{API_ADDRESS, Place};
use serde_json::Value;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::DropGuard;

use super::Shared;
use super::doors::{self, Door, SecureDoor};
use super::webhook::response;

/// How long a request's body may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the API server may take to show a service account, and policies: less together than it waits for the webhook.
const ACCOUNT: Duration = Duration::from_secs(6);
const POLICIES: Duration = Duration::from_secs(3);

/// Answers in the namespace of a control plane until what it returns is dropped. `address` is the API server's.
///
/// # Errors
/// When it cannot listen there, or the cluster's keys are none.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    plane: &ControlPlane,
    address: SocketAddr,
) -> Result<DropGuard, String> {
    let place = Place::Workload(WorkloadId::Managed(plane.id.clone()));
    let authority =
        Authority::open(&plane.keys, &shared.parts.clock).map_err(|error| error.to_string())?;
    let tls = injection::tls(&authority).map_err(|error| error.to_string())?;
    let network = Arc::clone(&shared.parts.network);
    let client = Client::new(&authority, network, place.clone(), address);
    let client = client.map_err(|error| error.to_string())?;
    let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), INJECTION_PORT);
    let door = Injection {
        shared: Arc::clone(shared),
        id: plane.id.clone(),
        client,
        tls,
    };
    let acceptor = shared.acceptor.clone();
    let opened = doors::open_secure(shared, acceptor, place, at, door).await;
    opened.map_err(|error| error.to_string())
}

struct Injection {
    shared: Arc<Shared>,
    id: ManagedId,
    client: Client,
    tls: TlsAcceptor,
}

impl SecureDoor for Injection {
    fn tls(&self, _: IpAddr) -> Option<TlsAcceptor> {
        Some(self.tls.clone())
    }
}

impl Door for Injection {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != "/mutate" {
            return response(StatusCode::NOT_FOUND, String::new());
        }
        let body = Limited::new(request.into_body(), LARGEST).collect();
        let Ok(body) = tokio::time::timeout(PATIENCE, body).await else {
            return response(StatusCode::REQUEST_TIMEOUT, String::new());
        };
        let Ok(body) = body else {
            return response(StatusCode::PAYLOAD_TOO_LARGE, String::new());
        };
        match Review::parse(&body.to_bytes()) {
            Ok(mut review) => {
                if self.has_policies(&review).await {
                    review.mark();
                }
                response(StatusCode::OK, self.mutated(&review).await.to_string())
            }
            Err(error) => response(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

impl Injection {
    /// Whether there are policies in the pod's namespace. Where that is not known its node asks, which is told more.
    async fn has_policies(&self, review: &Review) -> bool {
        let Some(path) = review.policies_path() else {
            return false;
        };
        let path = format!("{path}?limit=1");
        match tokio::time::timeout(POLICIES, self.client.find(&path)).await {
            Ok(Ok(found)) => {
                let items = found.as_ref().and_then(|it| it["items"].as_array());
                items.is_some_and(|it| !it.is_empty())
            }
            Ok(Err(_)) | Err(_) => true,
        }
    }

    async fn mutated(&self, review: &Review) -> Value {
        let snapshot = Arc::clone(&self.shared.parts.snapshots.borrow());
        let Some(plane) = snapshot.control_planes.get(&self.id) else {
            return review.answer(None);
        };
        let endpoint = format!("http://{API_ADDRESS}");
        let here = Here {
            region: &snapshot.region,
            endpoint: self.shared.parts.api_in_vpcs.then_some(&endpoint),
        };
        // As on EKS, an association comes before what annotations say.
        if let Some(gift) = Gift::of_association(&plane.pod_identities, review, here) {
            return review.answer(Some(&gift));
        }
        let Some(path) = review.account_path() else {
            return review.answer(None);
        };
        match tokio::time::timeout(ACCOUNT, self.client.find(&path)).await {
            Ok(Ok(Some(account))) => {
                let gift = Gift::of_annotations(&account, review, here);
                review.answer(gift.as_ref())
            }
            Ok(Ok(None)) => review.answer(None),
            Ok(Err(error)) => review.answer_without(&error.to_string()),
            Err(_) => review.answer_without("its service account cannot be read in time"),
        }
    }
}
