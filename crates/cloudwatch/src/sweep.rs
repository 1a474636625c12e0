//! Removes what should not be in the archive: events of deleted groups, events beyond their group's
//! retention, metrics beyond CloudWatch's, and the oldest events beyond the bound on bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lath_model::Timestamp;
use lath_wire::ApiError;

use crate::CloudWatch;
use crate::archive::{Archive, ArchiveError};
use crate::metrics::retention;
use crate::records::LogGroup;

const DAY: Duration = Duration::from_secs(86_400);

/// One pass; doing it twice is the same as doing it once.
///
/// # Errors
/// When the archive fails; the next pass tries again.
pub async fn sweep(cloudwatch: &Arc<CloudWatch>) -> Result<(), ApiError> {
    // The archive is asked first: a group made meanwhile is then never taken for a deleted one.
    let archive = Arc::clone(&cloudwatch.archive);
    let held = tokio::task::spawn_blocking(move || archive.groups_held())
        .await
        .map_err(ApiError::internal)??;
    let view = cloudwatch.cell.db.view();
    let groups: HashMap<u64, Option<u32>> = view
        .list::<LogGroup>()
        .map(|group| (group.uid, group.retention_days))
        .collect();
    let (archive, now) = (Arc::clone(&cloudwatch.archive), cloudwatch.cell.now());
    tokio::task::spawn_blocking(move || pass(&archive, &held, &groups, now))
        .await
        .map_err(ApiError::internal)?
        .map_err(Into::into)
}

fn pass(
    archive: &Archive,
    held: &[u64],
    groups: &HashMap<u64, Option<u32>>,
    now: Timestamp,
) -> Result<(), ArchiveError> {
    for group in held {
        match groups.get(group) {
            None => archive.purge_group(*group)?,
            Some(None) => {}
            Some(Some(days)) => {
                let kept = i64::try_from((DAY * *days).as_millis()).unwrap_or(i64::MAX);
                archive.expire_group(*group, now.as_millis().saturating_sub(kept))?;
            }
        }
    }
    archive.enforce_bound()?;
    archive.expire_metrics(now, retention)
}
