//! Reusable delegation sets.

use lath_service::Located;

use super::{DelegationSet, location, requests, structures};

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
    fn headers(&self) -> Vec<(&'static str, String)> {
        let id = self.set.id.as_ref();
        id.map(|id| location(id.trim_start_matches('/')))
            .into_iter()
            .collect()
    }
}

requests! {
    CreateReusableDelegationSet {
        "CallerReference" caller_reference: String,
        "HostedZoneId" zone_id: Option<String>,
    }
    GetReusableDelegationSet {
        "Id" id: String,
    }
    ListReusableDelegationSets {
        "marker" marker: Option<String>,
        "maxitems" max_items: Option<String>,
    }
    DeleteReusableDelegationSet {
        "Id" id: String,
    }
}
