use std::sync::Arc;

use lath_service::operations;
use lath_wire::{ApiError, Caller};

use super::api::{EventsGot, GetLogEvents, OutputLogEvent};
use super::constraint::{at_most, check_length};
use super::events::{Cursor, StoredEvent, Stream};
use super::resource_types::{LOG_STREAM, group, stream};
use super::{find_group, invalid, no_stream};
use crate::CloudWatch;
use crate::archive::{Archive, ArchiveError, millis};

operations! {
    for CloudWatch as "logs";
    asynchronous GetLogEvents -> EventsGot = get
        => on(&LOG_STREAM, |op, at| group(op.log_group_name.as_ref(), op.log_group_identifier.as_ref()).map(|it| stream(at, &it, &op.log_stream_name)));
}

const MAX_EVENTS: usize = 10_000;
const MAX_BYTES: usize = 1 << 20;

/// A page token: `f` reads forward from a place (inclusive), `b` backward from it (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    forward: bool,
    place: Cursor,
}

impl Token {
    fn print(self) -> String {
        let direction = if self.forward { 'f' } else { 'b' };
        format!(
            "{direction}/{:020}{:020}",
            self.place.at, self.place.sequence
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let (direction, place) = text.split_once('/')?;
        let (at, sequence) = place.split_at_checked(20)?;
        let forward = match direction {
            "f" => true,
            "b" => false,
            _ => return None,
        };
        Some(Self {
            forward,
            place: Cursor {
                at: at.parse().ok()?,
                sequence: sequence.parse().ok()?,
            },
        })
    }
}

async fn get(app: &CloudWatch, _caller: &Caller, op: GetLogEvents) -> Result<EventsGot, ApiError> {
    check_length(&op.log_stream_name)?;
    let limit = at_most(op.limit, MAX_EVENTS);
    let view = app.cell.db.view();
    let group = find_group(
        app,
        &view,
        op.log_group_name.as_deref(),
        op.log_group_identifier.as_deref(),
    )?;
    let token = match &op.next_token {
        Some(text) => {
            Some(Token::parse(text).ok_or_else(|| invalid("The specified nextToken is invalid."))?)
        }
        None => None,
    };
    let archive = Arc::clone(&app.archive);
    let read = tokio::task::spawn_blocking(move || {
        let Some(stream) = archive.stream(group.uid, &op.log_stream_name)? else {
            return Ok(None);
        };
        page(&archive, group.uid, &op, &stream, token, limit).map(Some)
    });
    read.await
        .map_err(ApiError::internal)??
        .ok_or_else(no_stream)
}

fn page(
    archive: &Archive,
    group: u64,
    op: &GetLogEvents,
    stream: &Stream,
    token: Option<Token>,
    limit: usize,
) -> Result<EventsGot, ArchiveError> {
    let mut low = Cursor {
        at: op.start_time.map_or(0, millis),
        sequence: 0,
    };
    let mut high = Cursor {
        at: op.end_time.map_or(u64::MAX, millis),
        sequence: 0,
    };
    let forward = token.map_or_else(|| op.start_from_head == Some(true), |token| token.forward);
    match token {
        Some(Token {
            forward: true,
            place,
        }) => low = low.max(place),
        Some(Token {
            forward: false,
            place,
        }) => high = high.min(place),
        None => {}
    }
    let mut found: Vec<(Cursor, StoredEvent)> = Vec::new();
    let mut bytes = 0;
    let span = held_by(stream, (low, high));
    archive.walk(group, span, forward, |place, event| {
        if event.stream == op.log_stream_name {
            bytes += event.message.len() + 26;
            found.push((place, event));
        }
        found.len() < limit && bytes < MAX_BYTES
    })?;
    if !forward {
        found.reverse();
    }
    Ok(reply(found, token, (low, high), forward))
}

/// The part of a span in which a stream has events: others of its group may have many elsewhere.
fn held_by(stream: &Stream, (low, high): (Cursor, Cursor)) -> (Cursor, Cursor) {
    let (Some(first), Some(last)) = (stream.first_event, stream.last_event) else {
        return (low, low);
    };
    let at = |at| Cursor { at, sequence: 0 };
    (
        low.max(at(millis(first))),
        high.min(at(millis(last).saturating_add(1))),
    )
}

/// The tokens always lead on from the page's ends. An empty page answers the token it was asked with, which
/// tells the client that there is no more for now.
fn reply(
    found: Vec<(Cursor, StoredEvent)>,
    token: Option<Token>,
    (low, high): (Cursor, Cursor),
    forward: bool,
) -> EventsGot {
    let after = |place: Cursor| Cursor {
        sequence: place.sequence + 1,
        ..place
    };
    let rest = if forward { low } else { high };
    let first = found.first().map_or(rest, |(place, _)| *place);
    let last = found.last().map_or(rest, |(place, _)| after(*place));
    let asked = token.filter(|_| found.is_empty());
    let print = |forward, place| {
        asked
            .filter(|t| t.forward == forward)
            .unwrap_or(Token { forward, place })
            .print()
    };
    EventsGot {
        next_forward_token: print(true, last),
        next_backward_token: print(false, first),
        events: found
            .into_iter()
            .map(|(place, event)| output(place, event))
            .collect(),
    }
}

fn output(place: Cursor, event: StoredEvent) -> OutputLogEvent {
    OutputLogEvent {
        timestamp: i64::try_from(place.at).unwrap_or(i64::MAX),
        message: event.message,
        ingestion_time: event.ingested_at,
    }
}
