//! AWS's limits (<https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html>). They
//! hold in strict mode only.

use lath_control::{Cell, Mode};
use lath_service::operations;
use lath_store::View;
use lath_wire::ApiError;

use crate::Route53;
use crate::record::{self, Zone};
use crate::resource_types::*;
use crate::shape::*;
use crate::{delegation, fault, zone};

operations! {
    for Route53 as "route53";
    read GetAccountLimit: get "/2013-04-01/accountlimit/{Type}" 200 -> GetAccountLimitResponse = account
        => any();
    read GetHostedZoneLimit: get "/2013-04-01/hostedzonelimit/{Id}/{Type}" 200 -> GetHostedZoneLimitResponse = zone
        => on(&ZONE, |op, _| op.id.clone());
    read GetReusableDelegationSetLimit: get "/2013-04-01/reusabledelegationsetlimit/{Id}/{Type}" 200 -> GetReusableDelegationSetLimitResponse = delegation_set
        => on(&DELEGATION_SET, |op, _| op.id.clone());
}

/// A limit and what it is answered with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    code: &'static str,
    name: &'static str,
    most: usize,
}

const fn limit(code: &'static str, name: &'static str, most: usize) -> Limit {
    Limit { code, name, most }
}

pub(crate) const HOSTED_ZONES: Limit =
    limit("TooManyHostedZones", "MAX_HOSTED_ZONES_BY_OWNER", 500);
pub(crate) const HEALTH_CHECKS: Limit =
    limit("TooManyHealthChecks", "MAX_HEALTH_CHECKS_BY_OWNER", 200);
pub(crate) const DELEGATION_SETS: Limit = limit(
    "LimitsExceeded",
    "MAX_REUSABLE_DELEGATION_SETS_BY_OWNER",
    100,
);
pub(crate) const VPCS_PER_ZONE: Limit = limit("LimitsExceeded", "MAX_VPCS_ASSOCIATED_BY_ZONE", 300);
pub(crate) const AUTHORIZATIONS_PER_ZONE: Limit = limit(
    "TooManyVPCAssociationAuthorizations",
    "MAX_VPC_ASSOCIATION_AUTHORIZATIONS_BY_ZONE",
    1000,
);
pub(crate) const CIDR_COLLECTIONS: Limit =
    limit("LimitsExceeded", "MAX_CIDR_COLLECTIONS_BY_OWNER", 5);
pub(crate) const CIDR_BLOCKS: Limit =
    limit("LimitsExceeded", "MAX_CIDR_BLOCKS_BY_COLLECTION", 1000);
/// Of a zone.
pub(crate) const RECORD_SETS: usize = 10_000;
/// Of zones that share a delegation set.
const ZONES_PER_SET: i64 = 100;

/// Whether AWS's limits hold.
pub(crate) fn holds(cell: &Cell) -> bool {
    cell.mode == Mode::Strict
}

impl Limit {
    /// Checks that `count`, with the new one, is within the limit.
    ///
    /// # Errors
    /// The limit's, in strict mode.
    pub(crate) fn check(self, cell: &Cell, count: usize) -> Result<(), ApiError> {
        if holds(cell) && count > self.most {
            let Self { code, name, most } = self;
            let text = format!("Limits Exceeded: {name}={most} Current={most}.");
            return Err(fault::fault(code, text));
        }
        Ok(())
    }

    fn value(self) -> i64 {
        number(self.most)
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn account(
    _: &Route53,
    view: &View,
    op: &GetAccountLimit,
) -> Result<GetAccountLimitResponse, ApiError> {
    let (value, count) = match op.kind {
        AccountLimitType::HealthChecks => {
            (HEALTH_CHECKS.value(), view.count::<record::HealthCheck>())
        }
        AccountLimitType::HostedZones => (HOSTED_ZONES.value(), view.count::<Zone>()),
        AccountLimitType::ReusableDelegationSets => (
            DELEGATION_SETS.value(),
            view.count::<record::DelegationSet>(),
        ),
        AccountLimitType::TrafficPolicyInstances => (5, 0),
        AccountLimitType::TrafficPolicies => (50, 0),
    };
    let limit = AccountLimit {
        kind: op.kind,
        value,
    };
    Ok(GetAccountLimitResponse {
        limit,
        count: number(count),
    })
}

pub(crate) fn zone(
    _: &Route53,
    view: &View,
    op: &GetHostedZoneLimit,
) -> Result<GetHostedZoneLimitResponse, ApiError> {
    let zone = zone::find(view, &op.id)?;
    let (value, count) = match (op.kind, &zone.vpcs) {
        (HostedZoneLimitType::RecordSets, _) => {
            (number(RECORD_SETS), zone::count_sets(view, &zone.id))
        }
        (HostedZoneLimitType::Vpcs, Some(vpcs)) => (VPCS_PER_ZONE.value(), vpcs.len()),
        (HostedZoneLimitType::Vpcs, None) => {
            return Err(fault::fault(
                "HostedZoneNotPrivate",
                "The specified hosted zone is a public hosted zone, not a private hosted zone.",
            ));
        }
    };
    let limit = HostedZoneLimit {
        kind: op.kind,
        value,
    };
    Ok(GetHostedZoneLimitResponse {
        limit,
        count: number(count),
    })
}

pub(crate) fn delegation_set(
    _: &Route53,
    view: &View,
    op: &GetReusableDelegationSetLimit,
) -> Result<GetReusableDelegationSetLimitResponse, ApiError> {
    let set = delegation::find(view, &op.id)?;
    let limit = DelegationSetLimit {
        kind: op.kind,
        value: ZONES_PER_SET,
    };
    Ok(GetReusableDelegationSetLimitResponse {
        limit,
        count: number(delegation::zones(view, &set)),
    })
}
