//! AWS's default quotas (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/quotas.html>). They hold in
//! strict mode only.

use lath_control::Cell;
use lath_service::Quota;
use lath_wire::ApiError;

use crate::fault;
use crate::ident::Kind;

pub(crate) const SERVICE_NETWORKS: Quota<Kind> = Quota::new(Kind::ServiceNetwork, "L-9CAD07FB", 50);
pub(crate) const SERVICES: Quota<Kind> = Quota::new(Kind::Service, "L-620C821E", 2000);
pub(crate) const LISTENERS_PER_SERVICE: Quota<Kind> = Quota::new(Kind::Listener, "L-D64E952E", 2);
pub(crate) const RULES_PER_LISTENER: Quota<Kind> = Quota::new(Kind::Rule, "L-CF78395E", 10);
pub(crate) const TARGET_GROUPS: Quota<Kind> = Quota::new(Kind::TargetGroup, "L-BB11C6B9", 500);
pub(crate) const TARGET_GROUPS_PER_SERVICE: Quota<Kind> =
    Quota::new(Kind::TargetGroup, "L-3DEC3B9F", 10);
pub(crate) const TARGETS_PER_GROUP: Quota<Kind> = Quota::new(Kind::TargetGroup, "L-D71303F3", 1000);
pub(crate) const SERVICES_PER_NETWORK: Quota<Kind> =
    Quota::new(Kind::ServiceAssociation, "L-75D4A19E", 500);
pub(crate) const VPCS_PER_NETWORK: Quota<Kind> =
    Quota::new(Kind::VpcAssociation, "L-EF6E2D62", 500);
pub(crate) const RESOURCES_PER_NETWORK: Quota<Kind> =
    Quota::new(Kind::ResourceAssociation, "L-6095700C", 500);
pub(crate) const RESOURCE_CONFIGURATIONS: Quota<Kind> =
    Quota::new(Kind::ResourceConfiguration, "L-5FF8F9B9", 2000);
pub(crate) const CHILDREN_PER_GROUP: Quota<Kind> =
    Quota::new(Kind::ResourceConfiguration, "L-9BC96FEF", 60);
pub(crate) const GATEWAYS_PER_VPC: Quota<Kind> =
    Quota::new(Kind::ResourceGateway, "L-0DCA4434", 500);
pub(crate) const DOMAIN_VERIFICATIONS: Quota<Kind> =
    Quota::new(Kind::DomainVerification, "L-73D0F278", 5);

/// Checks that `count`, with the new one, is within the quota.
///
/// # Errors
/// `ServiceQuotaExceededException` (402) in strict mode.
pub(crate) fn check(quota: Quota<Kind>, cell: &Cell, count: usize) -> Result<(), ApiError> {
    quota.check(cell, count, |it| {
        fault::quota_exceeded(it.kind, it.code, it.limit)
    })
}
