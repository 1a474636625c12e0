//! Hosted zones and the VPCs that see private ones.

use lath_service::Located;
use serde::{Deserialize, Serialize};

use super::{ChangeInfo, location, requests, structures, values};

values! {
    /// The zones that a list is narrowed to.
    HostedZoneType {
        Private = "PrivateHostedZone",
    }
}

/// A name server, which lists call so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameServer(pub(crate) String);

structures! {
    #[derive(Eq)]
    #[serde(rename = "VPC")]
    Vpc {
        "VPCRegion" region: Option<String>,
        "VPCId" id: Option<String>,
    }
    #[derive(Eq, Default)]
    HostedZoneConfig {
        "Comment" comment: Option<String>,
        "PrivateZone" private_zone: Option<bool>,
    }
    #[derive(Eq)]
    HostedZone {
        "Id" id: String,
        "Name" name: String,
        "CallerReference" caller_reference: String,
        "Config" config: Option<HostedZoneConfig>,
        "ResourceRecordSetCount" count: Option<i64>,
    }
    #[derive(Eq)]
    DelegationSet {
        "Id" id: Option<String>,
        "CallerReference" caller_reference: Option<String>,
        "NameServers" name_servers: Vec<NameServer>,
    }
    HostedZoneOwner {
        "OwningAccount" account: Option<String>,
    }
    HostedZoneSummary {
        "HostedZoneId" id: String,
        "Name" name: String,
        "Owner" owner: HostedZoneOwner,
    }

    CreateHostedZoneResponse {
        "HostedZone" zone: HostedZone,
        "ChangeInfo" change: ChangeInfo,
        "DelegationSet" delegation_set: Option<DelegationSet>,
        "VPC" vpc: Option<Vpc>,
    }
    GetHostedZoneResponse {
        "HostedZone" zone: HostedZone,
        "DelegationSet" delegation_set: Option<DelegationSet>,
        "VPCs" vpcs: Option<Vec<Vpc>>,
    }
    ListHostedZonesResponse {
        "HostedZones" zones: Vec<HostedZone>,
        "Marker" marker: Option<String>,
        "IsTruncated" is_truncated: bool,
        "NextMarker" next_marker: Option<String>,
        "MaxItems" max_items: String,
    }
    ListHostedZonesByNameResponse {
        "HostedZones" zones: Vec<HostedZone>,
        "DNSName" dns_name: Option<String>,
        "HostedZoneId" zone_id: Option<String>,
        "IsTruncated" is_truncated: bool,
        "NextDNSName" next_dns_name: Option<String>,
        "NextHostedZoneId" next_zone_id: Option<String>,
        "MaxItems" max_items: String,
    }
    ListHostedZonesByVPCResponse {
        "HostedZoneSummaries" summaries: Vec<HostedZoneSummary>,
        "MaxItems" max_items: String,
        "NextToken" next_token: Option<String>,
    }
    DeleteHostedZoneResponse {
        "ChangeInfo" change: ChangeInfo,
    }
    UpdateHostedZoneCommentResponse {
        "HostedZone" zone: HostedZone,
    }
    GetHostedZoneCountResponse {
        "HostedZoneCount" count: i64,
    }
    /// Whether a zone is signed; there are no keys, so only the state of having none.
    SigningStatus {
        "ServeSignature" serve_signature: String,
    }
    /// A key of a zone that is signed: there is none.
    SigningKey {
        "Name" name: Option<String>,
    }
    GetDNSSECResponse {
        "Status" status: SigningStatus,
        "KeySigningKeys" keys: Vec<SigningKey>,
    }
    AssociateVPCWithHostedZoneResponse {
        "ChangeInfo" change: ChangeInfo,
    }
    DisassociateVPCFromHostedZoneResponse {
        "ChangeInfo" change: ChangeInfo,
    }
    CreateVPCAssociationAuthorizationResponse {
        "HostedZoneId" zone_id: String,
        "VPC" vpc: Vpc,
    }
    DeleteVPCAssociationAuthorizationResponse {}
    ListVPCAssociationAuthorizationsResponse {
        "HostedZoneId" zone_id: String,
        "NextToken" next_token: Option<String>,
        "VPCs" vpcs: Vec<Vpc>,
    }
}

impl Located for CreateHostedZoneResponse {
    fn headers(&self) -> Vec<(&'static str, String)> {
        vec![location(self.zone.id.trim_start_matches('/').to_owned())]
    }
}

requests! {
    CreateHostedZone {
        "Name" name: String,
        "VPC" vpc: Option<Vpc>,
        "CallerReference" caller_reference: String,
        "HostedZoneConfig" config: Option<HostedZoneConfig>,
        "DelegationSetId" delegation_set_id: Option<String>,
    }
    GetHostedZone {
        "Id" id: String,
    }
    ListHostedZones {
        "marker" marker: Option<String>,
        "maxitems" max_items: Option<String>,
        "delegationsetid" delegation_set_id: Option<String>,
        "hostedzonetype" zone_type: Option<HostedZoneType>,
    }
    ListHostedZonesByName {
        "dnsname" dns_name: Option<String>,
        "hostedzoneid" zone_id: Option<String>,
        "maxitems" max_items: Option<String>,
    }
    ListHostedZonesByVPC {
        "vpcid" vpc_id: String,
        "vpcregion" vpc_region: String,
        "maxitems" max_items: Option<String>,
        "nexttoken" next_token: Option<String>,
    }
    DeleteHostedZone {
        "Id" id: String,
    }
    UpdateHostedZoneComment {
        "Id" id: String,
        "Comment" comment: Option<String>,
    }
    GetHostedZoneCount {}
    GetDNSSEC {
        "Id" id: String,
    }
    AssociateVPCWithHostedZone {
        "Id" id: String,
        "VPC" vpc: Vpc,
        "Comment" comment: Option<String>,
    }
    DisassociateVPCFromHostedZone {
        "Id" id: String,
        "VPC" vpc: Vpc,
        "Comment" comment: Option<String>,
    }
    CreateVPCAssociationAuthorization {
        "Id" id: String,
        "VPC" vpc: Vpc,
    }
    DeleteVPCAssociationAuthorization {
        "Id" id: String,
        "VPC" vpc: Vpc,
    }
    ListVPCAssociationAuthorizations {
        "Id" id: String,
        "nexttoken" next_token: Option<String>,
        "maxresults" max_results: Option<String>,
    }
}
