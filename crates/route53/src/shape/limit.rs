//! Limits.

use super::{requests, structures, values};

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

requests! {
    GetAccountLimit {
        "Type" kind: AccountLimitType,
    }
    GetHostedZoneLimit {
        "Id" id: String,
        "Type" kind: HostedZoneLimitType,
    }
    GetReusableDelegationSetLimit {
        "Id" id: String,
        "Type" kind: DelegationSetLimitType,
    }
}
