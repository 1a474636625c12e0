//! Changes and their progress.

use lath_model::Timestamp;

use super::{ResourceRecordSet, requests, structures, values};

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

requests! {
    ChangeResourceRecordSets {
        "Id" id: String,
        "ChangeBatch" batch: ChangeBatch,
    }
    GetChange {
        "Id" id: String,
    }
}
