//! Changes and their progress.

use lath_model::Timestamp;

use super::{Located, ResourceRecordSet, operations, structures, values};
use crate::resource_types::{BATCH, CHANGE, ZONE, batch};

values! {
    /// Whether every server answers from a change.
    ChangeStatus {
        Pending = "PENDING",
        InSync = "INSYNC",
    }
    /// What a change does to a record set.
    Action {
        Create = "CREATE",
        Delete = "DELETE",
        Upsert = "UPSERT",
    }
}

structures! {
    #[derive(Eq)]
    ChangeInfo {
        "Id" id: String,
        "Status" status: ChangeStatus,
        "SubmittedAt" submitted_at: Timestamp,
        "Comment" comment: Option<String>,
    }
    #[derive(Eq)]
    Change {
        "Action" action: Action,
        "ResourceRecordSet" set: ResourceRecordSet,
    }
    #[derive(Eq)]
    ChangeBatch {
        "Comment" comment: Option<String>,
        "Changes" changes: Vec<Change>,
    }
    ChangeResourceRecordSetsResponse {
        "ChangeInfo" change: ChangeInfo,
    }
    GetChangeResponse {
        "ChangeInfo" change: ChangeInfo,
    }
}

impl Located for ChangeResourceRecordSetsResponse {}
impl Located for GetChangeResponse {}

operations! {
    ChangeResourceRecordSets post "hostedzone/{Id}/rrset/" 200 -> ChangeResourceRecordSetsResponse
        => on(&ZONE, |op, _| op.id.clone())
            .with_all(BATCH, batch)
    {
        "Id" id: String,
        "ChangeBatch" batch: ChangeBatch,
    }
    GetChange get "change/{Id}" 200 -> GetChangeResponse
        => on(&CHANGE, |op, _| op.id.clone())
    {
        "Id" id: String,
    }
}
