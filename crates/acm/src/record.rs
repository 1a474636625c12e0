//! The typed state: what ACM keeps of each certificate. Private keys are sealed.

use std::collections::BTreeMap;

use lath_ca::{KeyAlgorithm, Sealed};
use lath_model::Timestamp;
use lath_store::{Kinds, Record};
use serde::{Deserialize, Serialize};

use crate::shape::{
    CertificateExport, CertificateStatus, FailureReason, RenewalStatus, RevocationReason,
    Transparency,
};

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// A caller brought it.
    Imported,
    /// The installation's authority issues it when its names are validated.
    Validated,
    /// A private authority of the account issues it.
    Private {
        /// The authority's ARN.
        authority: String,
    },
}

/// The proof that the requester has a name: a CNAME record in its zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validation {
    /// The name, which may begin with `*.`.
    pub(crate) domain: String,
    /// The record's name.
    pub(crate) record_name: String,
    /// The record's value.
    pub(crate) record_value: String,
    /// Whether it was found.
    pub(crate) is_found: bool,
}

/// What was issued or imported: the certificate, and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Material {
    /// PEM.
    pub(crate) certificate: String,
    /// PEM; empty where the certificate signed itself.
    pub(crate) chain: String,
    /// The key.
    pub(crate) key: Sealed,
}

/// How the renewal of a certificate stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renewal {
    pub(crate) status: RenewalStatus,
    pub(crate) reason: Option<FailureReason>,
    pub(crate) updated_at: Timestamp,
}

/// A certificate, by the id in its ARN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Certificate {
    pub(crate) id: String,
    pub(crate) origin: Origin,
    /// The first of its names.
    pub(crate) domain: String,
    /// All its names, the first too.
    pub(crate) names: Vec<String>,
    pub(crate) key_algorithm: KeyAlgorithm,
    /// As it was at the last change; one that ended since is [`CertificateStatus::Expired`] all the same.
    pub(crate) status: CertificateStatus,
    pub(crate) failure: Option<FailureReason>,
    pub(crate) validations: Vec<Validation>,
    pub(crate) material: Option<Material>,
    pub(crate) created_at: Timestamp,
    pub(crate) issued_at: Option<Timestamp>,
    pub(crate) imported_at: Option<Timestamp>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) revoked: Option<(Timestamp, RevocationReason)>,
    pub(crate) transparency: Option<Transparency>,
    pub(crate) export: Option<CertificateExport>,
    pub(crate) is_exported: bool,
    pub(crate) renewal: Option<Renewal>,
    /// A renewal was asked for.
    pub(crate) is_renewing: bool,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for Certificate {
    const KIND: &'static str = "acm.certificate";
    fn id(&self) -> String {
        self.id.clone()
    }
    fn keys(&self) -> Vec<(&'static str, String)> {
        let revoked = self.revoked.iter();
        revoked
            .map(|_| (Self::REVOKED, Self::REVOKED.to_owned()))
            .collect()
    }
}

lath_service::tagged!(Certificate);

impl Certificate {
    /// The index of those that were revoked.
    pub(crate) const REVOKED: &'static str = "revoked";

    /// The status at a time.
    pub(crate) fn status(&self, now: Timestamp) -> CertificateStatus {
        let has_ended = self.not_after.is_some_and(|end| end <= now);
        if self.status == CertificateStatus::Issued && has_ended {
            return CertificateStatus::Expired;
        }
        self.status
    }

    /// Whether the installation or an authority of the account issues it.
    pub(crate) fn is_managed(&self) -> bool {
        self.origin != Origin::Imported
    }
}

/// What the account is configured to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) days_before_expiry: i32,
}

impl Account {
    /// There is one.
    pub(crate) const ID: &'static str = "only";
}

impl Record for Account {
    const KIND: &'static str = "acm.account";
    fn id(&self) -> String {
        Self::ID.to_owned()
    }
}

/// The record kinds that this crate keeps.
pub fn kinds(kinds: Kinds) -> Kinds {
    crate::pca::kinds(kinds.with::<Certificate>().with::<Account>())
}
