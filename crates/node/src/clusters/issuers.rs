//! Issuers of service account tokens in the VPCs of their clusters: `https://oidc.eks.REGION.amazonaws.com`, where the VPC's
//! resolver leads to [`API_ADDRESS`]. Programs in a cluster trust its authority, so that each is shown a certificate of the
//! cluster that it is in. What is served are public keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use lath_feed::{ControlPlane, Snapshot};
use lath_kubernetes::pki::{self, Authority};
use lath_kubernetes::{issuer, serving};
use lath_model::WorkloadId;
use lath_model::id::VpcId;
use lath_net::accept::{Acceptor, ConnectionLimits};
use lath_net::{API_ADDRESS, Place};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::DropGuard;

use super::Shared;
use super::doors::{self, Door, SecureDoor};
use super::webhook::response;
use crate::api;

/// After this a certificate is made anew, long before it expires.
const RENEWED: Duration = Duration::from_secs(24 * 3600);
/// Of one address, at once.
const PER_SOURCE: usize = 32;
/// A connection without a request is ended after this, where others want its place.
const IDLE: Duration = Duration::from_secs(30);

/// The issuers' servers in all VPCs that have a cluster.
pub(super) struct Issuers {
    acceptor: Acceptor,
    serving: BTreeMap<VpcId, DropGuard>,
}

impl Default for Issuers {
    fn default() -> Self {
        let total = api::connections().1;
        let per_place = total.div_ceil(2);
        let limits = ConnectionLimits {
            total,
            per_place,
            per_source: per_place.min(PER_SOURCE),
            idle: IDLE,
        };
        Self {
            acceptor: Acceptor::new("issuers of clusters", limits),
            serving: BTreeMap::new(),
        }
    }
}

impl Issuers {
    /// Listeners as the snapshot wants them, where the networks of the VPCs are there.
    pub(super) async fn ensure(&mut self, shared: &Arc<Shared>, snapshot: &Snapshot) {
        self.serving
            .retain(|vpc, _| clusters_of(snapshot, vpc).next().is_some());
        let planes = snapshot.control_planes.values();
        for vpc in planes.filter_map(|it| vpc_of(snapshot, it)) {
            if self.serving.contains_key(vpc) {
                continue;
            }
            match self.serve(shared, vpc).await {
                Ok(guard) => drop(self.serving.insert(vpc.clone(), guard)),
                // The address is there once the fabric has made it.
                Err(error) => {
                    tracing::debug!(vpc.id = vpc.as_str(), %error, "a VPC has no issuers yet");
                }
            }
        }
    }

    async fn serve(&self, shared: &Arc<Shared>, vpc: &VpcId) -> std::io::Result<DropGuard> {
        let address = SocketAddr::new(API_ADDRESS.into(), 443);
        let issuers = Issuer {
            shared: Arc::clone(shared),
            vpc: vpc.clone(),
            certified: Mutex::default(),
        };
        let (place, acceptor) = (Place::Vpc(vpc.clone()), self.acceptor.clone());
        doors::open_secure(shared, acceptor, place, address, issuers).await
    }
}

fn vpc_of<'a>(snapshot: &'a Snapshot, plane: &ControlPlane) -> Option<&'a VpcId> {
    Some(&snapshot.workloads.get(&plane.id)?.vpc)
}

/// Clusters of a VPC, by name.
fn clusters_of<'a>(
    snapshot: &'a Snapshot,
    vpc: &'a VpcId,
) -> impl Iterator<Item = &'a ControlPlane> {
    let planes = snapshot.control_planes.values();
    let planes = planes.filter(move |it| vpc_of(snapshot, it) == Some(vpc));
    planes.map(|it| &**it)
}

/// The cluster that an address of a VPC is in, as a node or a pod; else the VPC's first.
fn cluster_of<'a>(
    snapshot: &'a Snapshot,
    vpc: &'a VpcId,
    address: IpAddr,
) -> Option<&'a ControlPlane> {
    let instance = || {
        let IpAddr::V4(address) = address else {
            return None;
        };
        let attachment = snapshot.interface_at(vpc, address)?.attachment.as_ref()?;
        match &attachment.workload {
            WorkloadId::Instance(id) => snapshot.instances.get(id)?.cluster.as_ref(),
            WorkloadId::Managed(_) => None,
        }
    };
    let own = instance().and_then(|it| snapshot.control_planes.get(&it.cluster));
    let own = own.map(|it| &**it);
    own.or_else(|| clusters_of(snapshot, vpc).next())
}

/// TLS by the authority of a cluster, and since when.
type Certified = (Instant, TlsAcceptor);

struct Issuer {
    shared: Arc<Shared>,
    vpc: VpcId,
    /// By what tells a cluster from others.
    certified: Mutex<BTreeMap<String, Certified>>,
}

impl SecureDoor for Issuer {
    /// `None` when the VPC has no cluster any more, or its keys are none.
    fn tls(&self, from: IpAddr) -> Option<TlsAcceptor> {
        let snapshot = Arc::clone(&self.shared.parts.snapshots.borrow());
        let plane = cluster_of(&snapshot, &self.vpc, from)?;
        let id = pki::identity(&plane.keys);
        let mut certified = self
            .certified
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        certified.retain(|_, (since, _)| since.elapsed() < RENEWED);
        if let Some((_, tls)) = certified.get(&id) {
            return Some(tls.clone());
        }
        let (host, _) = plane.issuer_place()?;
        let tls = Authority::open(&plane.keys, &self.shared.parts.clock)
            .map_err(|error| error.to_string())
            .and_then(|it| serving::open_acceptor(&it, host).map_err(|error| error.to_string()));
        match tls {
            Ok(tls) => {
                certified.insert(id, (Instant::now(), tls.clone()));
                Some(tls)
            }
            Err(error) => {
                tracing::warn!(cluster = plane.name, error, "an issuer has no certificate");
                None
            }
        }
    }
}

impl Door for Issuer {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return response(StatusCode::METHOD_NOT_ALLOWED, String::new());
        }
        let snapshot = Arc::clone(&self.shared.parts.snapshots.borrow());
        let path = request.uri().path();
        let mut planes = snapshot.control_planes.values();
        match planes.find_map(|plane| issuer::document(plane, path)) {
            Some(document) => response(StatusCode::OK, document.to_string()),
            None => response(StatusCode::NOT_FOUND, String::new()),
        }
    }
}
