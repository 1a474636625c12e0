//! Desired and observed state of Route 53: zones, records, health checks. The same in every region.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use lath_model::Timestamp;
use lath_model::id::{HealthCheckId, HostedZoneId, VpcId};
use serde::{Deserialize, Serialize};

/// A hosted zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedZone {
    /// Its id.
    pub id: HostedZoneId,
    /// Its name: lower case, with the trailing dot, escapes (`\\ooo`) as the API shows them.
    pub name: String,
    /// For a private zone the VPCs (with their regions) that see it; `None` for a public one.
    pub vpcs: Option<BTreeSet<(String, VpcId)>>,
    /// The delegation set's servers, without trailing dots.
    pub name_servers: Vec<String>,
}

/// A zone, and a name in it (as [`HostedZone::name`]).
pub type RecordName = (HostedZoneId, String);

/// The record sets of one name by type (`A`, `CNAME`, ...), the apex's NS and SOA included. All sets of one entry
/// share one routing policy.
pub type NamedRecords = BTreeMap<String, Vec<RecordSet>>;

/// One resource record set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSet {
    /// Tells the sets of one name and type apart; `None` for a simple one.
    pub set_identifier: Option<String>,
    /// How it is chosen among them.
    pub routing: Routing,
    /// The check that must be healthy.
    pub health_check: Option<HealthCheckId>,
    /// What it answers.
    pub answer: RecordAnswer,
}

/// What a record set answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordAnswer {
    /// Values in the API's text form.
    Values {
        /// In seconds.
        ttl: u32,
        /// Such as `10 mail.example.com.` or `"text"`.
        values: Vec<String>,
    },
    /// What another name answers.
    Alias {
        /// The zone that the name is in: a hosted zone of Lath's, or that of an AWS service such as a Lattice service
        /// or a VPC endpoint.
        zone: String,
        /// The name, as [`HostedZone::name`].
        name: String,
        /// Whether the target's health counts.
        evaluate_target_health: bool,
    },
}

/// How a record set is chosen among those of its name and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Routing {
    /// There is no other.
    Simple,
    /// In proportion to its weight (0 to 255).
    Weighted(u8),
    /// The region nearest to the client.
    Latency(String),
    /// While it is healthy.
    FailoverPrimary,
    /// When the primary is not.
    FailoverSecondary,
    /// Where the client is.
    Geolocation(Location),
    /// Up to eight healthy ones.
    Multivalue,
    /// Nearest to the client, with a bias from -99 to 99. Coordinates in hundredths of a degree.
    Geoproximity {
        /// A region of AWS, or
        region: Option<String>,
        /// latitude and longitude.
        coordinates: Option<(i32, i32)>,
        /// Widens (positive) or narrows the area.
        bias: i8,
    },
    /// The client's address block, by a location of a CIDR collection.
    Cidr {
        /// The location's name; `*` is the default.
        location: String,
        /// Its blocks.
        blocks: BTreeSet<ipnet::IpNet>,
    },
}

/// A place of a geolocation record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Location {
    /// `*`.
    Default,
    /// Such as `EU`.
    Continent(String),
    /// Such as `DE`.
    Country(String),
    /// Of a country, such as `US` and `WA`.
    Subdivision(String, String),
}

/// A health check of Route 53.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route53HealthCheck {
    /// Its id.
    pub id: HealthCheckId,
    /// Its `HealthCheckVersion`; observers begin anew when it grows.
    pub version: u64,
    /// What is judged.
    pub judge: Judge,
    /// Whether the verdict is turned round.
    pub inverted: bool,
    /// Whether it counts as healthy without being looked at (before `inverted`).
    pub disabled: bool,
}

/// What a health check judges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Judge {
    /// An endpoint.
    Endpoint(EndpointCheck),
    /// Other checks: healthy when at least so many of them are.
    Calculated {
        /// How many.
        threshold: u32,
        /// Which.
        children: BTreeSet<HealthCheckId>,
    },
}

/// How an endpoint is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointCheck {
    /// How it is spoken to.
    pub protocol: CheckProtocol,
    /// Its address; with one, the name only fills `Host` and SNI.
    pub address: Option<IpAddr>,
    /// Its name.
    pub name: Option<String>,
    /// Its port.
    pub port: u16,
    /// Path and query, with the leading slash.
    pub path: String,
    /// What must be in the first 5,120 bytes of the body.
    pub search: Option<String>,
    /// Whether the name is sent in the TLS handshake.
    pub sni: bool,
    /// From a response to the next request: 10 or 30 seconds; from 100 ms on in extended mode.
    pub interval: Duration,
    /// Consecutive results that turn an observer's opinion, in both directions.
    pub threshold: u32,
}

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckProtocol {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS; certificates are not judged.
    Https,
    /// A connection is enough.
    Tcp,
}

/// A health check as this region's node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckObserved {
    /// The verdict, after `inverted` and `disabled`.
    pub healthy: bool,
    /// Since when.
    pub since: Timestamp,
    /// Whether a majority of observers reports; without one the verdict does not change.
    pub quorum: bool,
    /// What each observer says, by region.
    pub observers: BTreeMap<String, ObserverReport>,
}

/// What one observer says of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserverReport {
    /// Its opinion after the threshold.
    pub healthy: bool,
    /// Whether its newest probe succeeded.
    pub success: bool,
    /// Of the newest probe, such as `Success: HTTP Status Code 200, OK`.
    pub status: String,
    /// When that was.
    pub checked: Timestamp,
    /// The newest failure and when it was.
    pub last_failure: Option<(String, Timestamp)>,
    /// The address that was probed.
    pub address: Option<IpAddr>,
    /// The [`Route53HealthCheck::version`] it is about.
    pub version: u64,
}
