//! Reusable delegation sets.

use super::{DelegationSet, Located, operations, structures};
use crate::resource_types::DELEGATION_SET;

structures! {
    CreateReusableDelegationSetResponse {
        "DelegationSet" set: DelegationSet,
    }
    GetReusableDelegationSetResponse {
        "DelegationSet" set: DelegationSet,
    }
    ListReusableDelegationSetsResponse {
        "DelegationSets" sets: Vec<DelegationSet>,
        "Marker" marker: String,
        "IsTruncated" is_truncated: bool,
        "NextMarker" next_marker: Option<String>,
        "MaxItems" max_items: String,
    }
    DeleteReusableDelegationSetResponse {}
}

impl Located for CreateReusableDelegationSetResponse {
    fn location(&self) -> Option<String> {
        let id = self.set.id.as_ref()?;
        Some(id.trim_start_matches('/').to_owned())
    }
}
impl Located for GetReusableDelegationSetResponse {}
impl Located for ListReusableDelegationSetsResponse {}
impl Located for DeleteReusableDelegationSetResponse {}

operations! {
    CreateReusableDelegationSet post "delegationset" 201 -> CreateReusableDelegationSetResponse => any() {
        "CallerReference" caller_reference: String,
        "HostedZoneId" zone_id: Option<String>,
    }
    GetReusableDelegationSet get "delegationset/{Id}" 200 -> GetReusableDelegationSetResponse
        => on(&DELEGATION_SET, |op, _| op.id.clone())
    {
        "Id" id: String,
    }
    ListReusableDelegationSets get "delegationset" 200 -> ListReusableDelegationSetsResponse => any() {
        "marker" marker: Option<String>,
        "maxitems" max_items: Option<String>,
    }
    DeleteReusableDelegationSet delete "delegationset/{Id}" 200 -> DeleteReusableDelegationSetResponse
        => on(&DELEGATION_SET, |op, _| op.id.clone())
    {
        "Id" id: String,
    }
}
