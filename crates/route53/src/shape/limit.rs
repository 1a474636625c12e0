//! Limits.

use super::{Located, operations, structures, values};
use crate::resource_types::{DELEGATION_SET, ZONE};

values! {
    /// A limit of an account.
    AccountLimitType {
        HealthChecks = "MAX_HEALTH_CHECKS_BY_OWNER",
        HostedZones = "MAX_HOSTED_ZONES_BY_OWNER",
        TrafficPolicyInstances = "MAX_TRAFFIC_POLICY_INSTANCES_BY_OWNER",
        ReusableDelegationSets = "MAX_REUSABLE_DELEGATION_SETS_BY_OWNER",
        TrafficPolicies = "MAX_TRAFFIC_POLICIES_BY_OWNER",
    }
    /// A limit of a hosted zone.
    HostedZoneLimitType {
        RecordSets = "MAX_RRSETS_BY_ZONE",
        Vpcs = "MAX_VPCS_ASSOCIATED_BY_ZONE",
    }
    /// A limit of a reusable delegation set.
    DelegationSetLimitType {
        Zones = "MAX_ZONES_BY_REUSABLE_DELEGATION_SET",
    }
}

structures! {
    AccountLimit {
        "Type" kind: AccountLimitType,
        "Value" value: i64,
    }
    HostedZoneLimit {
        "Type" kind: HostedZoneLimitType,
        "Value" value: i64,
    }
    DelegationSetLimit {
        "Type" kind: DelegationSetLimitType,
        "Value" value: i64,
    }
    GetAccountLimitResponse {
        "Limit" limit: AccountLimit,
        "Count" count: i64,
    }
    GetHostedZoneLimitResponse {
        "Limit" limit: HostedZoneLimit,
        "Count" count: i64,
    }
    GetReusableDelegationSetLimitResponse {
        "Limit" limit: DelegationSetLimit,
        "Count" count: i64,
    }
}

impl Located for GetAccountLimitResponse {}
impl Located for GetHostedZoneLimitResponse {}
impl Located for GetReusableDelegationSetLimitResponse {}

operations! {
    GetAccountLimit get "accountlimit/{Type}" 200 -> GetAccountLimitResponse => any() {
        "Type" kind: AccountLimitType,
    }
    GetHostedZoneLimit get "hostedzonelimit/{Id}/{Type}" 200 -> GetHostedZoneLimitResponse
        => on(&ZONE, |op, _| op.id.clone())
    {
        "Id" id: String,
        "Type" kind: HostedZoneLimitType,
    }
    GetReusableDelegationSetLimit get "reusabledelegationsetlimit/{Id}/{Type}" 200 -> GetReusableDelegationSetLimitResponse
        => on(&DELEGATION_SET, |op, _| op.id.clone())
    {
        "Id" id: String,
        "Type" kind: DelegationSetLimitType,
    }
}
