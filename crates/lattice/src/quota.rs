//! AWS's default quotas (<https://docs.aws.amazon.com/vpc-lattice/latest/ug/quotas.html>). They hold in
//! strict mode only.

use lath_control::{Cell, Mode};
use lath_wire::ApiError;

use crate::fault;
use crate::ident::Kind;

/// A quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    kind: Kind,
    code: &'static str,
    limit: usize,
}

const fn quota(kind: Kind, code: &'static str, limit: usize) -> Quota {
    Quota { kind, code, limit }
}

pub(crate) const SERVICE_NETWORKS: Quota = quota(Kind::ServiceNetwork, "L-9CAD07FB", 50);
pub(crate) const SERVICES: Quota = quota(Kind::Service, "L-620C821E", 2000);
pub(crate) const LISTENERS_PER_SERVICE: Quota = quota(Kind::Listener, "L-D64E952E", 2);
pub(crate) const RULES_PER_LISTENER: Quota = quota(Kind::Rule, "L-CF78395E", 10);
pub(crate) const TARGET_GROUPS: Quota = quota(Kind::TargetGroup, "L-BB11C6B9", 500);
pub(crate) const TARGET_GROUPS_PER_SERVICE: Quota = quota(Kind::TargetGroup, "L-3DEC3B9F", 10);
pub(crate) const TARGETS_PER_GROUP: Quota = quota(Kind::TargetGroup, "L-D71303F3", 1000);
pub(crate) const SERVICES_PER_NETWORK: Quota = quota(Kind::ServiceAssociation, "L-75D4A19E", 500);
pub(crate) const VPCS_PER_NETWORK: Quota = quota(Kind::VpcAssociation, "L-EF6E2D62", 500);

impl Quota {
    /// Checks that `count`, with the new one, is within the quota.
    ///
    /// # Errors
    /// `ServiceQuotaExceededException` (402) in strict mode.
    pub(crate) fn check(self, cell: &Cell, count: usize) -> Result<(), ApiError> {
        if cell.mode == Mode::Strict && count > self.limit {
            return Err(fault::quota_exceeded(self.kind, self.code, self.limit));
        }
        Ok(())
    }
}
