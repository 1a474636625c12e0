//! What is stored.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use lath_feed as feed;
use lath_model::Timestamp;
use lath_model::id::{HealthCheckId, HostedZoneId, VpcId};
use lath_store::Record;
use serde::{Deserialize, Serialize};

use crate::name;
use crate::shape::{HealthCheckConfig, ResourceRecordSet, RrType};

/// Tags by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// A hosted zone without its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Zone {
    pub(crate) id: HostedZoneId,
    /// Canonical.
    pub(crate) name: String,
    pub(crate) caller_reference: String,
    pub(crate) comment: Option<String>,
    /// `None` for a public zone.
    pub(crate) vpcs: Option<BTreeSet<(String, VpcId)>>,
    /// Without trailing dots.
    pub(crate) name_servers: Vec<String>,
    /// The reusable set that the servers are of: a bare id.
    pub(crate) delegation_set: Option<String>,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
}

impl Zone {
    pub(crate) fn is_private(&self) -> bool {
        self.vpcs.is_some()
    }
}

/// A record set of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSet {
    pub(crate) zone: HostedZoneId,
    /// Names are canonical; the rest is as it was given.
    pub(crate) set: ResourceRecordSet,
}

/// A change to zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Begins with the time in base 36: lists are in order of time.
    pub(crate) id: String,
    pub(crate) submitted_at: Timestamp,
    pub(crate) comment: Option<String>,
    /// The revision that holds it.
    pub(crate) revision: u64,
    /// Its number among all changes.
    pub(crate) serial: u64,
    /// Whether it was found in sync, which does not end.
    pub(crate) in_sync: bool,
}

/// Counts changes. There is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Serial {
    pub(crate) serial: u64,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthCheck {
    pub(crate) id: HealthCheckId,
    pub(crate) caller_reference: String,
    /// With the defaults filled in.
    pub(crate) config: HealthCheckConfig,
    pub(crate) version: u64,
    /// Grows also when a tag changes how it is probed.
    pub(crate) generation: u64,
    pub(crate) tags: Tags,
    pub(crate) created_at: Timestamp,
}

/// The caller reference of a health check, kept when the check is deleted: it cannot be used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthReference {
    pub(crate) reference: String,
    pub(crate) check: HealthCheckId,
}

/// That a VPC of another account may be associated with a private zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Authorization {
    pub(crate) zone: HostedZoneId,
    pub(crate) region: String,
    pub(crate) vpc: VpcId,
}

/// Named sets of address blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Collection {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) caller_reference: String,
    pub(crate) version: u64,
    pub(crate) locations: BTreeMap<String, BTreeSet<IpNet>>,
}

/// Name servers that several zones may share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DelegationSet {
    /// Bare, such as `N0123456789ABCDEFGHIJ`.
    pub(crate) id: String,
    pub(crate) caller_reference: String,
    pub(crate) name_servers: Vec<String>,
}

/// Elsewhere than at home: a copy of a zone, without its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopiedZone {
    pub(crate) zone: feed::HostedZone,
}

/// Elsewhere than at home: a copy of the records of one name in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopiedRecords {
    pub(crate) zone: HostedZoneId,
    pub(crate) name: String,
    pub(crate) sets: BTreeMap<String, Vec<feed::RecordSet>>,
}

/// Elsewhere than at home: a copy of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopiedCheck {
    pub(crate) check: feed::Route53HealthCheck,
}

/// Elsewhere than at home: how far the copy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copied {
    /// The home's newest change in it.
    pub(crate) serial: u64,
    /// The local revision that holds it.
    pub(crate) revision: u64,
    /// The newest of the home's changes that this region's node is known to answer from.
    pub(crate) served: u64,
}

/// At home: how far another region is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    pub(crate) region: String,
    pub(crate) serial: u64,
}

macro_rules! records {
    ($($record:ident $kind:literal |$this:ident| $id:expr $(=> $keys:expr)?;)*) => {
        $(impl Record for $record {
            const KIND: &'static str = $kind;
            fn id(&self) -> String {
                let $this = self;
                $id
            }
            $(fn keys(&self) -> Vec<(&'static str, String)> {
                let $this = self;
                $keys
            })?
        })*

        /// The record kinds that this crate keeps.
        pub fn kinds(kinds: lath_store::Kinds) -> lath_store::Kinds {
            kinds$(.with::<$record>())*
        }
    };
}

/// The id of a record that there is one of.
pub(crate) const ONLY: &str = "only";

records! {
    Zone "route53.hosted-zone" |this| this.id.to_string()
        => {
            let sorted = ("sorted", name::sort_key(&this.name));
            let reference = ("reference", this.caller_reference.clone());
            let set = this.delegation_set.iter().map(|id| ("delegation", id.clone()));
            set.chain([sorted, reference]).collect()
        };
    StoredSet "route53.record-set" |this| set_key(&this.zone, &this.set)
        => vec![
            ("name", format!("{}/{}", this.zone, this.set.name)),
            ("zone", this.zone.to_string()),
        ];
    Change "route53.change" |this| this.id.clone();
    Serial "route53.serial" |_this| ONLY.to_owned();
    HealthCheck "route53.health-check" |this| this.id.to_string();
    HealthReference "route53.health-reference" |this| this.reference.clone();
    Authorization "route53.authorization" |this| format!("{}/{}/{}", this.zone, this.region, this.vpc);
    Collection "route53.cidr-collection" |this| this.id.clone();
    DelegationSet "route53.delegation-set" |this| this.id.clone();
    CopiedZone "route53.copied-zone" |this| this.zone.id.to_string();
    CopiedRecords "route53.copied-records" |this| format!("{}/{}", this.zone, this.name);
    CopiedCheck "route53.copied-check" |this| this.check.id.to_string();
    Copied "route53.copied" |_this| ONLY.to_owned();
    Acknowledged "route53.acknowledged" |this| this.region.clone();
}

/// The keys of a zone's record sets are in the order in which lists show them: by the name with its labels
/// reversed, by type, by set identifier.
fn set_key(zone: &HostedZoneId, set: &ResourceRecordSet) -> String {
    let identifier = set.set_identifier.as_deref().unwrap_or_default();
    let mut key = group_key(zone, &set.name, Some(set.kind));
    key.push_str(identifier);
    key
}

/// What the keys of all sets of a name, or of a name and type, begin with. A name's last character is a dot
/// and a NUL follows it; a name below it that begins with a NUL shares the beginning, so that readers look
/// at the names too.
pub(crate) fn group_key(zone: &HostedZoneId, name: &str, kind: Option<RrType>) -> String {
    let mut key = format!("{zone}/{}\0", name::sort_key(name));
    if let Some(kind) = kind {
        key.push_str(kind.as_str());
        key.push('\0');
    }
    key
}
