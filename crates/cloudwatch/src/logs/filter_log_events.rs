use std::collections::BTreeSet;
use std::sync::Arc;

use lath_service::operations;
use lath_wire::{ApiError, Caller};

use super::api::{EventsFiltered, FilterLogEvents, FilteredLogEvent};
use super::constraint::at_most;
use super::events::{Cursor, StoredEvent};
use super::pattern::FilterPattern;
use super::resource_types::{LOG_GROUP, group};
use super::{find_group, invalid, no_stream};
use crate::CloudWatch;
use crate::archive::{Archive, ArchiveError, millis};

operations! {
    for CloudWatch as "logs";
    asynchronous FilterLogEvents -> EventsFiltered = filter
        => on(&LOG_GROUP, |op, _| group(op.log_group_name.as_ref(), op.log_group_identifier.as_ref()));
}

const MAX_EVENTS: usize = 10_000;
const MAX_BYTES: usize = 1 << 20;
const MAX_STREAMS: usize = 100;
/// Events looked at for one page; then a page with a token is answered, even an empty one.
const MAX_SCANNED: usize = 200_000;

/// Which streams are searched.
enum Streams {
    All,
    Named(BTreeSet<String>),
    Prefixed(String),
}

impl Streams {
    fn of(op: &FilterLogEvents) -> Result<Self, ApiError> {
        match (&op.log_stream_names, &op.log_stream_name_prefix) {
            (Some(_), Some(_)) => Err(invalid(
                "Cannot specify both logStreamNames and logStreamNamePrefix in the same request.",
            )),
            (Some(names), None) if names.is_empty() || names.len() > MAX_STREAMS => Err(invalid(
                format!("Between 1 and {MAX_STREAMS} logStreamNames may be given."),
            )),
            (Some(names), None) => Ok(Self::Named(names.iter().cloned().collect())),
            (None, Some(prefix)) => Ok(Self::Prefixed(prefix.clone())),
            (None, None) => Ok(Self::All),
        }
    }

    fn hold(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
            Self::Prefixed(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

async fn filter(
    app: &CloudWatch,
    _caller: &Caller,
    op: FilterLogEvents,
) -> Result<EventsFiltered, ApiError> {
    let limit = at_most(op.limit, MAX_EVENTS);
    let pattern: FilterPattern = op
        .filter_pattern
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|error| invalid(format!("Invalid filter pattern: {error}")))?;
    let streams = Streams::of(&op)?;
    let from = match &op.next_token {
        Some(token) => {
            parse_token(token).ok_or_else(|| invalid("The specified nextToken is invalid."))?
        }
        None => Cursor {
            at: op.start_time.map_or(0, millis),
            sequence: 0,
        },
    };
    let view = app.cell.db.view();
    let group = find_group(
        app,
        &view,
        op.log_group_name.as_deref(),
        op.log_group_identifier.as_deref(),
    )?;
    let archive = Arc::clone(&app.archive);
    let read = tokio::task::spawn_blocking(move || {
        if let Streams::Named(names) = &streams {
            for name in names {
                if archive.stream(group.uid, name)?.is_none() {
                    return Ok(None);
                }
            }
        }
        // The end is inclusive here, unlike GetLogEvents'.
        let to = op
            .end_time
            .map_or(u64::MAX, |end| millis(end).saturating_add(1));
        let span = (
            from,
            Cursor {
                at: to,
                sequence: 0,
            },
        );
        page(&archive, group.uid, span, &streams, &pattern, limit).map(Some)
    });
    read.await
        .map_err(ApiError::internal)??
        .ok_or_else(no_stream)
}

fn parse_token(token: &str) -> Option<Cursor> {
    let (at, sequence) = token.split_once('-')?;
    Some(Cursor {
        at: at.parse().ok()?,
        sequence: sequence.parse().ok()?,
    })
}

fn page(
    archive: &Archive,
    group: u64,
    span: (Cursor, Cursor),
    streams: &Streams,
    pattern: &FilterPattern,
    limit: usize,
) -> Result<EventsFiltered, ArchiveError> {
    let (mut events, mut bytes, mut scanned) = (Vec::new(), 0, 0);
    let mut stopped_at = None;
    archive.walk(group, span, true, |place, event| {
        if events.len() == limit || bytes >= MAX_BYTES || scanned == MAX_SCANNED {
            stopped_at = Some(place);
            return false;
        }
        scanned += 1;
        if streams.hold(&event.stream) && pattern.matches(&event.message) {
            bytes += event.message.len() + 26;
            events.push(output(place, event));
        }
        true
    })?;
    Ok(EventsFiltered {
        events,
        // Always empty since the service deprecated it.
        searched_log_streams: Vec::new(),
        next_token: stopped_at.map(|place| format!("{}-{}", place.at, place.sequence)),
    })
}

fn output(place: Cursor, event: StoredEvent) -> FilteredLogEvent {
    FilteredLogEvent {
        log_stream_name: event.stream,
        timestamp: i64::try_from(place.at).unwrap_or(i64::MAX),
        message: event.message,
        ingestion_time: event.ingested_at,
        event_id: format!("{:028}{:028}", place.at, place.sequence),
    }
}
