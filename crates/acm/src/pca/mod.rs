//! ACM PCA: private authorities of the account, whose certificates a user may have from anywhere.
//!
//! [`Pca`] holds a region's cell and handles every operation that [`service`] registers. An authority is a sealed key and a name;
//! it signs once its own certificate was imported. ACM asks for a signer by the authority's ARN. The installation's own
//! authority is among those of every region: it can be described and be named in requests to ACM, and not be changed.
//!
//! Not there: lists of revoked certificates and OCSP, passthrough templates, audit reports, permissions and policies for
//! other accounts.

mod authorities;
mod bounds;
mod issue;
mod lifecycle;
mod record;
mod shape;
mod subject;
mod tags;
mod templates;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lath_authz::{RESOURCE_TAG, ResourceType};
use lath_ca::{Certificate, SignatureAlgorithm, Signer};
use lath_control::Cell;
use lath_model::Timestamp;
use lath_service::{App, Stateful};
use lath_store::{Db, Kinds, View};
use lath_wire::{ApiError, ErrorStyle, Protocol, Service, ServiceInfo};

use crate::fault::coded;
use crate::shape::FailureReason;
use record::Authority;
use shape::AuthorityStatus;

pub(crate) use issue::note;
pub(crate) use lifecycle::sweep;
pub(crate) use record::Issued;
pub(crate) use shape::Reason;

/// The service of one region.
pub struct Pca {
    /// The region.
    pub cell: Cell,
}

impl App for Pca {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for Pca {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Pca, |app| app.view(), app.cell.owner());

/// What identifies ACM PCA on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "acm-pca",
    model: "acm-pca",
    version: "2017-08-22",
    xmlns: "",
    target_prefix: "ACMPrivateCA",
    protocols: &[Protocol::Json11],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<Pca>) -> Service {
    let registers = [
        authorities::register,
        issue::register,
        lifecycle::register,
        tags::register,
    ];
    let style = ErrorStyle::Constraint {
        code: "ValidationException",
        wrong_type: "SerializationException",
    };
    let service = Service::new(INFO)
        .held_to(&bounds::CONSTRAINTS)
        .with_error_style(style);
    registers
        .into_iter()
        .fold(service, |service, register| register(service, app))
}

/// The record kinds of this service.
pub(crate) fn kinds(kinds: Kinds) -> Kinds {
    kinds.with::<Authority>().with::<Issued>()
}

/// An authority, by its ARN.
const AUTHORITY: ResourceType = ResourceType {
    name: "certificate-authority",
    arn: |at, id| {
        if id.starts_with("arn:") {
            return at.settled(id);
        }
        at.arn("acm-pca", &format!("certificate-authority/{id}"))
    },
    keys: &[RESOURCE_TAG],
    facts: |at, id| {
        let found = at
            .view
            .get::<Authority>(id.rsplit('/').next().unwrap_or(id));
        let tags = found.map(|it| it.tags.clone()).unwrap_or_default();
        let fact = |(key, value)| (format!("aws:ResourceTag/{key}"), vec![value]);
        tags.into_iter().map(fact).collect()
    },
};

fn arn(cell: &Cell, id: &str) -> String {
    cell.arn("acm-pca", format!("certificate-authority/{id}"))
}

fn not_found(arn: &str) -> ApiError {
    coded(
        "ResourceNotFoundException",
        format!("Could not find Certificate Authority {arn}"),
    )
}

fn invalid_state(message: impl Into<String>) -> ApiError {
    coded("InvalidStateException", message)
}

fn invalid_args(message: impl Into<String>) -> ApiError {
    coded("InvalidArgsException", message)
}

/// The authority of an ARN.
fn find(cell: &Cell, view: &View, arn: &str) -> Result<Arc<Authority>, ApiError> {
    let id = arn.rsplit('/').next().unwrap_or_default();
    let found = view.get::<Authority>(id);
    let found = found.filter(|it| self::arn(cell, &it.id) == arn);
    found.ok_or_else(|| {
        if crate::authorities::installation_arn(cell).as_deref() == Some(arn) {
            return invalid_state("The installation's own authority can be described and be named in requests to ACM only.");
        }
        not_found(arn)
    })
}

/// What signs for an authority that has its certificate.
fn signer(cell: &Cell, it: &Authority, algorithm: SignatureAlgorithm) -> Result<Signer, ApiError> {
    let installation = cell.authority.as_ref();
    let key = installation.and_then(|authority| authority.unseal(&it.key));
    let key = key.ok_or_else(|| ApiError::internal("a private key was sealed with another key"))?;
    let chain = Certificate::all_from_pem(it.certificate.as_deref().unwrap_or_default().as_bytes());
    let chain = chain.unwrap_or_default().into_iter().map(|it| it.der);
    Signer::open(&key, algorithm, chain.collect()).map_err(ApiError::internal)
}

/// What signs ACM's certificates for an authority of the account.
pub(crate) struct Signing {
    pub(crate) signer: Signer,
    /// PEM: the authority's certificate and those above it.
    pub(crate) chain: String,
    /// When the authority ends.
    pub(crate) not_after: Timestamp,
}

/// What signs for the authority of an ARN.
///
/// # Errors
/// Why ACM's request fails.
pub(crate) fn signing(cell: &Cell, view: &View, arn: &str) -> Result<Signing, FailureReason> {
    let id = arn.rsplit('/').next().unwrap_or_default();
    let found = view
        .get::<Authority>(id)
        .filter(|it| self::arn(cell, &it.id) == arn);
    let found = found.ok_or(FailureReason::PcaResourceNotFound)?;
    let not_after = found.not_after.ok_or(FailureReason::PcaInvalidState)?;
    if found.status(cell.now()) != AuthorityStatus::Active {
        return Err(FailureReason::PcaInvalidState);
    }
    let key = subject::key_algorithm(found.configuration.key_algorithm);
    let way = key.map(|_| subject::signature(found.configuration.signing_algorithm));
    let way = way.flatten().ok_or(FailureReason::PcaInvalidArgs)?;
    let signer = signer(cell, &found, way).map_err(|_| FailureReason::PcaRequestFailed)?;
    let own = found.certificate.clone().unwrap_or_default();
    Ok(Signing {
        signer,
        chain: own + &found.chain,
        not_after,
    })
}

/// The certificate of the authority of an ARN, PEM; within, `None` where it has none or is deleted. `None`: there is no such
/// authority.
pub(crate) fn certificate(cell: &Cell, view: &View, arn: &str) -> Option<Option<String>> {
    let id = arn.rsplit('/').next().unwrap_or_default();
    let found = view.get::<Authority>(id)?;
    let is_it = self::arn(cell, &found.id) == arn;
    let is_there = found.status != AuthorityStatus::Deleted;
    is_it.then(|| found.certificate.clone().filter(|_| is_there))
}

/// What each authority revoked, also one that is gone: its certificate, PEM, and serial numbers.
pub(crate) fn revoked(view: &View) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for it in view.by::<Issued>(Issued::REVOKED, Issued::REVOKED) {
        let serials = all.entry(it.issuer()).or_default();
        serials.insert(it.id.clone());
    }
    all
}
