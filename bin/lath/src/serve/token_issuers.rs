//! Who issues the tokens of pods and of other web identities: clusters, which STS does not know, and issuers that publish keys.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use lath_control::{Cell, Mode};
use lath_oidc::{Remote, SystemRoots};
use lath_store::View;
use lath_sts::{Issuers, PodIdentities, PodIdentityAssociation, TokenCluster};

/// Where the keys of web identities are found: clusters' in the state, others' over HTTPS.
pub(crate) fn sources(cell: &Cell) -> Issuers {
    let roots = SystemRoots::load();
    let remote = match cell.mode {
        Mode::Strict => Remote::public(roots),
        Mode::Extended => Remote::new(roots),
    };
    let cell = cell.clone();
    Issuers::default()
        .with_local(Arc::new(move |view, url| {
            Some(lath_eks::issuer(&cell, view, url)?.keys)
        }))
        .with_remote(Arc::new(remote))
}

/// The clusters of this region, and the roles of their pods.
pub(crate) fn pods(cell: &Cell) -> Arc<dyn PodIdentities> {
    Arc::new(Clusters(cell.clone()))
}

struct Clusters(Cell);

impl PodIdentities for Clusters {
    fn cluster(&self, view: &View, name: &str) -> Option<TokenCluster> {
        let (arn, issuer) = lath_eks::issuer_of(&self.0, view, name)?;
        Some(TokenCluster {
            arn,
            issuer: issuer.url,
            keys: issuer.keys,
        })
    }

    fn association(
        &self,
        view: &View,
        cluster: &str,
        namespace: &str,
        service_account: &str,
    ) -> Option<PodIdentityAssociation> {
        let role = lath_eks::pod_role(&self.0, view, cluster, namespace, service_account)?;
        Some(PodIdentityAssociation {
            arn: role.association_arn,
            id: role.association_id,
            role_arn: role.role_arn,
        })
    }
}

type Answer = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;

/// The documents of clusters' issuers, which anybody may read. They name URLs below `amazonaws.com`, as tokens do.
pub(super) fn documents(cell: &Cell) -> impl Fn(Request<Bytes>) -> Answer + Send + Sync + 'static {
    let cell = cell.clone();
    move |request| {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let found = lath_eks::issuer_document(&cell, &cell.db.view(), request.uri().path());
        let response = match found.filter(|_| reads) {
            Some(document) => Response::builder()
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::CACHE_CONTROL, "public, max-age=3600")
                .body(Bytes::from(document.to_string())),
            None => Response::builder()
                .status(StatusCode::NOT_FOUND)
                .body(Bytes::from_static(b"not found\n")),
        };
        Box::pin(std::future::ready(response.unwrap_or_default()))
    }
}
