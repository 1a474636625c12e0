//! The typed state: authorities of the account, and what they issued.

use std::collections::BTreeMap;

use lath_ca::Sealed;
use lath_model::Timestamp;
use lath_store::Record;
use serde::{Deserialize, Serialize};

use super::shape::{AuthorityStatus, AuthorityType, Configuration, Reason, UsageMode};

/// A private authority, by the id in its ARN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Authority {
    pub(crate) id: String,
    pub(crate) kind: AuthorityType,
    pub(crate) configuration: Configuration,
    pub(crate) usage_mode: UsageMode,
    /// As it was at the last change; one whose certificate ended since is [`AuthorityStatus::Expired`] all the same.
    pub(crate) status: AuthorityStatus,
    pub(crate) key: Sealed,
    /// PEM.
    pub(crate) request: String,
    /// PEM, once it was imported.
    pub(crate) certificate: Option<String>,
    /// PEM: those above the certificate, up to the root.
    pub(crate) chain: String,
    pub(crate) serial: Option<String>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) changed_at: Timestamp,
    /// Until when a deleted one can be restored.
    pub(crate) restorable_until: Option<Timestamp>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for Authority {
    const KIND: &'static str = "acm-pca.authority";
    fn id(&self) -> String {
        self.id.clone()
    }
}

impl Authority {
    /// The status at a time.
    pub(crate) fn status(&self, now: Timestamp) -> AuthorityStatus {
        let has_ended = self.not_after.is_some_and(|end| end <= now);
        if self.status == AuthorityStatus::Active && has_ended {
            return AuthorityStatus::Expired;
        }
        self.status
    }
}

/// A certificate that an authority issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    pub(crate) authority: String,
    /// What stands last in its ARN: the serial number without colons.
    pub(crate) id: String,
    /// PEM.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) chain: String,
    pub(crate) revoked: Option<(Timestamp, Reason)>,
}

impl Record for Issued {
    const KIND: &'static str = "acm-pca.certificate";
    fn id(&self) -> String {
        format!("{}/{}", self.authority, self.id)
    }
    fn keys(&self) -> Vec<(&'static str, String)> {
        let revoked = self.revoked.iter();
        revoked
            .map(|_| (Self::REVOKED, Self::REVOKED.to_owned()))
            .collect()
    }
}

impl Issued {
    /// The index of those that were revoked.
    pub(crate) const REVOKED: &'static str = "revoked";

    /// The certificate of the authority that signed it, PEM.
    pub(crate) fn issuer(&self) -> String {
        const END: &str = "-----END CERTIFICATE-----";
        // What has nothing above it signed itself.
        let chain = match self.chain.is_empty() {
            true => &self.certificate,
            false => &self.chain,
        };
        let end = chain.find(END).map_or(chain.len(), |at| at + END.len());
        chain[..end].to_owned() + "\n"
    }
}
