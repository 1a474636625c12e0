//! ACM: certificates that callers bring, and that the installation's own authority issues.
//!
//! [`Acm`] holds a region's cell and handles every operation that [`service`] registers. A certificate with public names is
//! issued when the account's public hosted zones hold the records that prove them; one of a private authority at once.
//! [`reconcilers`] look for the records, issue, and renew. Private keys are sealed in the state ([`lath_ca::Authority`]).
//! [`usable()`] gives listeners their certificates; which listeners have one is known from claims ([`lath_control::claims_on`]): a
//! service that uses a certificate writes a claim on its ARN under the ARN of what uses it.
//!
//! [`Pca`] is ACM PCA: authorities of the account's own, which sign private certificates.
//!
//! Not there: validation by mail and by HTTP, transparency logs, events. Requests for the former are refused.

mod account;
mod authorities;
mod bounds;
mod certificates;
mod describe;
mod export;
mod facts;
mod fault;
mod import;
mod issue;
mod lifecycle;
mod list;
mod names;
mod pca;
mod record;
mod request;
mod resource_types;
mod shape;
mod tags;
#[cfg(test)]
mod tests;
mod trust;
mod usable;

use std::sync::Arc;

use lath_ca::Authority;
use lath_control::{Cell, claims_on};
use lath_service::{App, Stateful};
use lath_store::{Db, View};
use lath_wire::{ApiError, ErrorStyle, Protocol, Service, ServiceInfo};

pub use issue::reconcilers;
pub use pca::{INFO as PCA_INFO, Pca, service as pca_service};
pub use record::kinds;
pub use resource_types::CERTIFICATE;
pub use trust::{NotTrusted, revoked, trusted};
pub use usable::{NotUsable, usable};

/// What public zones say of a name and a type of records, such as `CNAME`.
pub type PublicRecords = fn(&Cell, &View, &str, &str) -> Vec<String>;

/// The service of one region.
pub struct Acm {
    /// The region.
    pub cell: Cell,
    /// Where the records are looked for that prove names.
    pub records: PublicRecords,
}

impl App for Acm {
    fn view(&self) -> Arc<View> {
        self.cell.db.view()
    }
}

impl Stateful for Acm {
    fn db(&self) -> &Db {
        &self.cell.db
    }
}

lath_authz::authorized!(Acm, |app| app.view(), app.cell.owner());

/// What identifies ACM on the wire.
pub const INFO: ServiceInfo = ServiceInfo {
    signing_name: "acm",
    model: "acm",
    version: "2015-12-08",
    xmlns: "",
    target_prefix: "CertificateManager",
    protocols: &[Protocol::Json11],
};

/// The operations, and who handles them.
pub fn service(app: &Arc<Acm>) -> Service {
    let registers = [
        account::register,
        certificates::register,
        describe::register,
        export::register,
        import::register,
        lifecycle::register,
        list::register,
        request::register,
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

impl Acm {
    /// The installation's authority, which also opens private keys.
    pub(crate) fn authority(&self) -> Result<&Arc<Authority>, ApiError> {
        let authority = self.cell.authority.as_ref();
        authority.ok_or_else(|| ApiError::internal("the cell has no certificate authority"))
    }
}

/// The ARNs of what uses a certificate.
pub(crate) fn users(view: &View, arn: &str) -> Vec<String> {
    let claims = claims_on(view, arn);
    claims.iter().map(|it| it.holder.clone()).collect()
}

/// Runs what takes long where it blocks no task: keys are made, signatures checked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ApiError::internal)
}
