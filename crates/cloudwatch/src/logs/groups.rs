use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use lath_control::{BadToken, paginate_from};
use lath_service::{Violation, detected, operations};
use lath_store::Tx;
use lath_wire::{ApiError, Caller};

use super::api::{
    CreateLogGroup, DeleteLogGroup, DeleteRetentionPolicy, DescribeLogGroups, Empty, GROUP_KEY,
    LogGroupClass, LogGroups, PutLogGroupDeletionProtection, PutRetentionPolicy,
};
use super::constraint::{at_most, check_length};
use super::resource_types::{LOG_GROUP, TAGGED_GROUP, pairs};
use super::{api, exists, find_group, invalid, named_by, no_group};
use crate::CloudWatch;
use crate::records::LogGroup;

operations! {
    for CloudWatch as "logs";
    change CreateLogGroup -> Empty = create
        => on(&LOG_GROUP, |op, _| op.log_group_name.clone())
            .tagged(|op, _| op.tags.as_ref().map(pairs).unwrap_or_default())
            .also("logs:TagResource", &TAGGED_GROUP, |op, _| op.tags.as_ref().filter(|it| !it.is_empty()).map(|_| op.log_group_name.clone()))
            .tagged(|op, _| op.tags.as_ref().map(pairs).unwrap_or_default())
        => refusing ["" CreateLogGroup];
    change DeleteLogGroup -> Empty = delete
        => on(&LOG_GROUP, |op, _| op.log_group_name.clone());
    change PutLogGroupDeletionProtection -> Empty = protect
        => on(&LOG_GROUP, |op, _| op.log_group_identifier.clone());
    change PutRetentionPolicy -> Empty = put_retention
        => on(&LOG_GROUP, |op, _| op.log_group_name.clone());
    change DeleteRetentionPolicy -> Empty = delete_retention
        => on(&LOG_GROUP, |op, _| op.log_group_name.clone());
    asynchronous DescribeLogGroups -> LogGroups = describe_groups
        => any();
}

/// The values that PutRetentionPolicy takes.
const RETENTION_DAYS: [i64; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

impl CloudWatch {
    /// `arn:PARTITION:logs:REGION:ACCOUNT:log-group:NAME`.
    pub(super) fn group_arn(&self, name: &str) -> String {
        self.cell.arn("logs", format!("log-group:{name}"))
    }
}

pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let fits = |key: &String| !key.starts_with("aws:") || lath_wire::may_set_system_tags();
    if tags.keys().all(fits) {
        return Ok(());
    }
    Err(invalid("A tag's key does not begin with aws:."))
}

fn check_create(op: &CreateLogGroup) -> Result<(), ApiError> {
    check_length(&op.log_group_name)?;
    check_tags(op.tags.as_ref().unwrap_or(&BTreeMap::new()))?;
    if op.kms_key_id.is_some() {
        return Err(invalid(format!(
            "{GROUP_KEY}: log groups cannot be encrypted with a key here."
        )));
    }
    match op.log_group_class {
        None | Some(LogGroupClass::Standard) => Ok(()),
        Some(_) => Err(invalid("logGroupClass: only STANDARD is available here.")),
    }
}

fn create(_app: &CloudWatch, tx: &mut Tx, op: CreateLogGroup) -> Result<Empty, ApiError> {
    check_create(&op)?;
    if tx.get::<LogGroup>(&op.log_group_name).is_some() {
        return Err(exists("log group"));
    }
    tx.put(LogGroup {
        name: op.log_group_name,
        uid: rand::random(),
        created_at: tx.now(),
        retention_days: None,
        tags: op.tags.unwrap_or_default(),
        deletion_protected: op.deletion_protection_enabled.unwrap_or(false),
    });
    Ok(Empty {})
}

fn delete(_app: &CloudWatch, tx: &mut Tx, op: DeleteLogGroup) -> Result<Empty, ApiError> {
    check_length(&op.log_group_name)?;
    // Its events go with the sweep: no call reaches them once no group has their uid.
    let group = tx.get::<LogGroup>(&op.log_group_name);
    let group = group.ok_or_else(no_group)?;
    check_unprotected(&group)?;
    tx.delete::<LogGroup>(&op.log_group_name);
    Ok(Empty {})
}

/// Neither a protected group is deleted nor a stream of it.
pub(super) fn check_unprotected(group: &LogGroup) -> Result<(), ApiError> {
    if !group.deletion_protected {
        return Ok(());
    }
    let message = format!(
        "The log group {} has deletion protection enabled: disable it with PutLogGroupDeletionProtection first.",
        group.name
    );
    Err(ApiError::new("ValidationException", 400, message))
}

fn protect(
    app: &CloudWatch,
    tx: &mut Tx,
    op: PutLogGroupDeletionProtection,
) -> Result<Empty, ApiError> {
    let group = find_group(app, tx.view(), None, Some(&op.log_group_identifier))?;
    tx.put(LogGroup {
        deletion_protected: op.deletion_protection_enabled,
        ..LogGroup::clone(&group)
    });
    Ok(Empty {})
}

fn set_retention(tx: &mut Tx, name: &str, days: Option<u32>) -> Result<Empty, ApiError> {
    check_length(name)?;
    let known = tx.update::<LogGroup>(name, |group| group.retention_days = days);
    known.map(|_| Empty {}).ok_or_else(no_group)
}

fn put_retention(
    _app: &CloudWatch,
    tx: &mut Tx,
    op: PutRetentionPolicy,
) -> Result<Empty, ApiError> {
    let days = op.retention_in_days;
    let known = days > 0 && RETENTION_DAYS.contains(&days);
    let Some(days) = u32::try_from(days).ok().filter(|_| known) else {
        let rule = format!("Member must satisfy enum value set: {RETENTION_DAYS:?}");
        let broken = Violation::new("retentionInDays", days.to_string(), rule);
        return Err(invalid(detected(&[broken])));
    };
    set_retention(tx, &op.log_group_name, Some(days))
}

fn delete_retention(
    _app: &CloudWatch,
    tx: &mut Tx,
    op: DeleteRetentionPolicy,
) -> Result<Empty, ApiError> {
    set_retention(tx, &op.log_group_name, None)
}

async fn describe_groups(
    app: &CloudWatch,
    caller: &Caller,
    op: DescribeLogGroups,
) -> Result<LogGroups, ApiError> {
    let limit = at_most(op.limit, 50);
    check_filters(&op)?;
    if op.log_group_name_prefix.is_some() && op.log_group_name_pattern.is_some() {
        return Err(invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let mine = |accounts: &Vec<String>| accounts.contains(&caller.account);
    let foreign = op
        .account_identifiers
        .as_ref()
        .is_some_and(|accounts| !mine(accounts));
    if foreign && op.include_linked_accounts == Some(true) {
        return Ok(LogGroups {
            log_groups: Vec::new(),
            next_token: None,
        });
    }
    let view = app.cell.db.view();
    let from = |start: Bound<String>| {
        let groups = view.from::<LogGroup>(start.as_ref().map(String::as_str));
        groups.filter(|group| wanted(app, &op, group))
    };
    let page = paginate_from(
        from,
        |group| group.name.clone(),
        limit,
        op.next_token.as_deref(),
    )
    .map_err(|BadToken| invalid("The specified nextToken is invalid."))?;
    let archive = Arc::clone(&app.archive);
    let uids: Vec<u64> = page.items.iter().map(|group| group.uid).collect();
    let sizes = tokio::task::spawn_blocking(move || archive.group_sizes(&uids))
        .await
        .map_err(ApiError::internal)??;
    let by_pattern = op.log_group_name_pattern.is_some();
    let groups = page.items.iter().zip(sizes);
    Ok(LogGroups {
        log_groups: groups
            .map(|(group, size)| app.describe(group, size, by_pattern))
            .collect(),
        next_token: page.next_token,
    })
}

impl CloudWatch {
    fn describe(&self, group: &LogGroup, stored_bytes: u64, by_pattern: bool) -> api::LogGroup {
        let arn = self.group_arn(&group.name);
        api::LogGroup {
            log_group_name: group.name.clone(),
            creation_time: group.created_at.as_millis(),
            retention_in_days: group.retention_days,
            metric_filter_count: 0,
            arn: format!("{arn}:*"),
            stored_bytes: (!by_pattern).then(|| i64::try_from(stored_bytes).unwrap_or(i64::MAX)),
            log_group_class: LogGroupClass::Standard,
            log_group_arn: arn,
            deletion_protection_enabled: (!by_pattern).then_some(group.deletion_protected),
        }
    }
}

fn check_filters(op: &DescribeLogGroups) -> Result<(), ApiError> {
    if let Some(prefix) = &op.log_group_name_prefix {
        check_length(prefix)?;
    }
    match op.log_group_name_pattern.as_deref() {
        None | Some("") => Ok(()),
        Some(pattern) => check_length(pattern),
    }
}

fn wanted(app: &CloudWatch, op: &DescribeLogGroups, group: &LogGroup) -> bool {
    let pattern = op.log_group_name_pattern.as_ref();
    op.log_group_name_prefix
        .as_ref()
        .is_none_or(|prefix| group.name.starts_with(prefix.as_str()))
        && pattern.is_none_or(|pattern| group.name.contains(pattern.as_str()))
        && matches!(op.log_group_class, None | Some(LogGroupClass::Standard))
        && op.log_group_identifiers.as_ref().is_none_or(|identifiers| {
            identifiers
                .iter()
                .any(|identifier| named_by(app, identifier) == Some(group.name.as_str()))
        })
}
