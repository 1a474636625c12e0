use std::sync::Arc;
use std::time::Duration;

use lath_model::Timestamp;
use lath_service::operations;
use lath_wire::{ApiError, Caller};

use super::api::{
    EntityRejectionErrorType, EventsPut, InputLogEvent, PutLogEvents, RejectedEntityInfo,
    RejectedLogEventsInfo,
};
use super::constraint::check_length;
use super::events::{Append, EVENT_OVERHEAD};
use super::resource_types::{LOG_STREAM, stream};
use super::{find_group, invalid, no_stream};
use crate::CloudWatch;

operations! {
    for CloudWatch as "logs";
    asynchronous PutLogEvents -> EventsPut = put
        => on(&LOG_STREAM, |op, at| stream(at, &op.log_group_name, &op.log_stream_name));
}

/// Sequence tokens are not asked for any more, but still answered.
const SEQUENCE_TOKEN: &str = "49600000000000000000000000000000000000000000000000000000";

const MAX_BYTES: u64 = 1_048_576;
const MAX_SPAN: i64 = 24 * 3600 * 1000;
const NEWEST: Duration = Duration::from_secs(2 * 3600);
const OLDEST: i64 = 14 * 24 * 3600 * 1000;

async fn put(app: &CloudWatch, _caller: &Caller, op: PutLogEvents) -> Result<EventsPut, ApiError> {
    check_length(&op.log_stream_name)?;
    check_batch(&op.log_events)?;
    let group = find_group(app, &app.cell.db.view(), Some(&op.log_group_name), None)?;
    let now = app.cell.now();
    let retention = group.retention_days.map(|days| i64::from(days) * MAX_SPAN);
    let (kept, rejected) = sort_out(op.log_events, now, retention);
    let append = Append {
        group: group.uid,
        stream: op.log_stream_name,
        events: kept
            .into_iter()
            .map(|event| (event.timestamp, event.message))
            .collect(),
        make_stream: false,
    };
    let archive = Arc::clone(&app.archive);
    let stored = tokio::task::spawn_blocking(move || archive.append(&[append], now.as_millis()));
    if stored.await.map_err(ApiError::internal)?? != [true] {
        return Err(no_stream());
    }
    Ok(EventsPut {
        next_sequence_token: Some(SEQUENCE_TOKEN.into()),
        rejected_log_events_info: rejected,
        rejected_entity_info: op.entity.map(|_| RejectedEntityInfo {
            error_type: EntityRejectionErrorType::UnsupportedLogGroupType,
        }),
    })
}

fn check_batch(events: &[InputLogEvent]) -> Result<(), ApiError> {
    let bytes: u64 = events
        .iter()
        .map(|event| event.message.len() as u64 + EVENT_OVERHEAD)
        .sum();
    if bytes > MAX_BYTES {
        return Err(invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {MAX_BYTES}"
        )));
    }
    if events
        .windows(2)
        .any(|pair| pair[0].timestamp > pair[1].timestamp)
    {
        return Err(invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    let moments = events.first().zip(events.last());
    if moments
        .is_some_and(|(first, last)| last.timestamp.saturating_sub(first.timestamp) > MAX_SPAN)
    {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}

/// Leaves out what is too new, too old or beyond the group's retention, and says which.
fn sort_out(
    events: Vec<InputLogEvent>,
    now: Timestamp,
    retention: Option<i64>,
) -> (Vec<InputLogEvent>, Option<RejectedLogEventsInfo>) {
    let newest = now.plus(NEWEST).as_millis();
    let oldest = now.as_millis() - OLDEST;
    let expired = retention.map_or(i64::MIN, |kept| now.as_millis() - kept);
    let before = |limit: i64| {
        events
            .iter()
            .take_while(|event| event.timestamp < limit)
            .count()
    };
    let (old, gone) = (before(oldest), before(expired));
    let fresh = events
        .iter()
        .take_while(|event| event.timestamp <= newest)
        .count();
    let index = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let info = RejectedLogEventsInfo {
        too_new_log_event_start_index: (fresh < events.len()).then(|| index(fresh)),
        too_old_log_event_end_index: (old > 0).then(|| index(old)),
        expired_log_event_end_index: (gone > 0).then(|| index(gone)),
    };
    let first = old.max(gone).min(fresh);
    let kept = events.into_iter().skip(first).take(fresh - first).collect();
    (
        kept,
        (info != RejectedLogEventsInfo::default()).then_some(info),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(timestamp: i64) -> InputLogEvent {
        InputLogEvent {
            timestamp,
            message: "x".into(),
        }
    }

    #[test]
    fn events_out_of_range_are_left_out_and_named() {
        let now = Timestamp::from_millis(100 * MAX_SPAN);
        let at = |days: i64| event((100 + days) * MAX_SPAN);
        let (kept, info) = sort_out(
            vec![at(-20), at(-10), at(-1), at(0), at(1)],
            now,
            Some(5 * MAX_SPAN),
        );
        assert_eq!(kept.len(), 2);
        let want = RejectedLogEventsInfo {
            too_new_log_event_start_index: Some(4),
            too_old_log_event_end_index: Some(1),
            expired_log_event_end_index: Some(2),
        };
        assert_eq!(info, Some(want));
        assert_eq!(sort_out(vec![at(0)], now, None).1, None);
    }

    #[test]
    fn batches_that_are_refused() {
        let cases: [(&str, Vec<InputLogEvent>); 2] = [
            ("out of order", vec![event(2), event(1)]),
            ("too long a span", vec![event(0), event(MAX_SPAN + 1)]),
        ];
        for (name, events) in cases {
            assert!(check_batch(&events).is_err(), "{name}");
        }
    }
}
