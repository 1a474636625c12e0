//! Resource record sets, and what they answer.

use serde::{Deserialize, Serialize};

use super::{requests, structures, values};

values! {
    /// A record's type. In the order in which lists of a name show them.
    RrType {
        A = "A",
        Aaaa = "AAAA",
        Caa = "CAA",
        Cname = "CNAME",
        Ds = "DS",
        Https = "HTTPS",
        Mx = "MX",
        Naptr = "NAPTR",
        Ns = "NS",
        Ptr = "PTR",
        Soa = "SOA",
        Spf = "SPF",
        Srv = "SRV",
        Sshfp = "SSHFP",
        Svcb = "SVCB",
        Tlsa = "TLSA",
        Txt = "TXT",
    }
    /// A side of a failover pair.
    Failover {
        Primary = "PRIMARY",
        Secondary = "SECONDARY",
    }
}

structures! {
    #[derive(Eq)]
    ResourceRecord {
        "Value" value: String,
    }
    #[derive(Eq)]
    AliasTarget {
        "HostedZoneId" zone_id: String,
        "DNSName" dns_name: String,
        "EvaluateTargetHealth" evaluate_target_health: bool,
    }
    #[derive(Eq)]
    GeoLocation {
        "ContinentCode" continent: Option<String>,
        "CountryCode" country: Option<String>,
        "SubdivisionCode" subdivision: Option<String>,
    }
    #[derive(Eq)]
    CidrRoutingConfig {
        "CollectionId" collection_id: String,
        "LocationName" location: String,
    }
    #[derive(Eq)]
    Coordinates {
        "Latitude" latitude: String,
        "Longitude" longitude: String,
    }
    #[derive(Eq)]
    GeoProximityLocation {
        "AWSRegion" region: Option<String>,
        "LocalZoneGroup" local_zone_group: Option<String>,
        "Coordinates" coordinates: Option<Coordinates>,
        "Bias" bias: Option<i64>,
    }
    /// As it travels; a stored one has its names in canonical form.
    #[derive(Eq)]
    ResourceRecordSet {
        "Name" name: String,
        "Type" kind: RrType,
        "SetIdentifier" set_identifier: Option<String>,
        "Weight" weight: Option<i64>,
        "Region" region: Option<String>,
        "GeoLocation" geo_location: Option<GeoLocation>,
        "Failover" failover: Option<Failover>,
        "MultiValueAnswer" multi_value_answer: Option<bool>,
        "TTL" ttl: Option<i64>,
        "ResourceRecords" records: Option<Vec<ResourceRecord>>,
        "AliasTarget" alias: Option<AliasTarget>,
        "HealthCheckId" health_check_id: Option<String>,
        "TrafficPolicyInstanceId" traffic_policy_instance_id: Option<String>,
        "CidrRoutingConfig" cidr: Option<CidrRoutingConfig>,
        "GeoProximityLocation" geo_proximity: Option<GeoProximityLocation>,
    }
    ListResourceRecordSetsResponse {
        "ResourceRecordSets" sets: Vec<ResourceRecordSet>,
        "IsTruncated" is_truncated: bool,
        "NextRecordName" next_name: Option<String>,
        "NextRecordType" next_type: Option<RrType>,
        "NextRecordIdentifier" next_identifier: Option<String>,
        "MaxItems" max_items: String,
    }
    TestDNSAnswerResponse {
        "Nameserver" name_server: String,
        "RecordName" name: String,
        "RecordType" kind: RrType,
        "RecordData" data: Vec<RecordDataEntry>,
        "ResponseCode" response_code: String,
        "Protocol" protocol: String,
    }
}

/// One value of an answer, which lists call so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordDataEntry(pub(crate) String);

requests! {
    ListResourceRecordSets {
        "Id" id: String,
        "name" name: Option<String>,
        "type" kind: Option<RrType>,
        "identifier" identifier: Option<String>,
        "maxitems" max_items: Option<String>,
    }
    TestDNSAnswer {
        "hostedzoneid" zone_id: String,
        "recordname" name: String,
        "recordtype" kind: RrType,
        "resolverip" resolver_ip: Option<String>,
        "edns0clientsubnetip" subnet_ip: Option<String>,
        "edns0clientsubnetmask" subnet_mask: Option<String>,
    }
}

impl ResourceRecordSet {
    /// One that answers nothing yet.
    pub(crate) fn new(name: &str, kind: RrType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            set_identifier: None,
            weight: None,
            region: None,
            geo_location: None,
            failover: None,
            multi_value_answer: None,
            ttl: None,
            records: None,
            alias: None,
            health_check_id: None,
            traffic_policy_instance_id: None,
            cidr: None,
            geo_proximity: None,
        }
    }

    /// The values, none for an alias.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.records
            .iter()
            .flatten()
            .map(|record| record.value.as_str())
    }
}
