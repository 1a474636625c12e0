use std::sync::Arc;

use lath_control::{BadToken, paginate};
use lath_service::operations;
use lath_wire::{ApiError, Caller};

use super::api::{
    CreateLogStream, DeleteLogStream, DescribeLogStreams, Empty, LogStream, LogStreams, OrderBy,
};
use super::constraint::{at_most, check_length};
use super::events::Stream;
use super::groups::check_unprotected;
use super::resource_types::{LOG_GROUP, LOG_STREAM, group, stream};
use super::{exists, find_group, invalid, no_stream};
use crate::CloudWatch;

operations! {
    for CloudWatch as "logs";
    asynchronous CreateLogStream -> Empty = create
        => on(&LOG_STREAM, |op, at| stream(at, &op.log_group_name, &op.log_stream_name));
    asynchronous DeleteLogStream -> Empty = delete
        => on(&LOG_STREAM, |op, at| stream(at, &op.log_group_name, &op.log_stream_name));
    asynchronous DescribeLogStreams -> LogStreams = describe_streams
        => on(&LOG_GROUP, |op, _| group(op.log_group_name.as_ref(), op.log_group_identifier.as_ref()));
}

async fn create(
    app: &CloudWatch,
    _caller: &Caller,
    op: CreateLogStream,
) -> Result<Empty, ApiError> {
    check_length(&op.log_stream_name)?;
    let group = find_group(app, &app.cell.db.view(), Some(&op.log_group_name), None)?;
    let archive = Arc::clone(&app.archive);
    let now = app.cell.now().as_millis();
    let made = tokio::task::spawn_blocking(move || {
        archive.create_stream(group.uid, &op.log_stream_name, now)
    });
    let made = made.await.map_err(ApiError::internal)??;
    if made {
        Ok(Empty {})
    } else {
        Err(exists("log stream"))
    }
}

async fn delete(
    app: &CloudWatch,
    _caller: &Caller,
    op: DeleteLogStream,
) -> Result<Empty, ApiError> {
    check_length(&op.log_stream_name)?;
    let group = find_group(app, &app.cell.db.view(), Some(&op.log_group_name), None)?;
    let archive = Arc::clone(&app.archive);
    check_unprotected(&group)?;
    let gone =
        tokio::task::spawn_blocking(move || archive.delete_stream(group.uid, &op.log_stream_name));
    let gone = gone.await.map_err(ApiError::internal)??;
    if gone { Ok(Empty {}) } else { Err(no_stream()) }
}

async fn describe_streams(
    app: &CloudWatch,
    _caller: &Caller,
    op: DescribeLogStreams,
) -> Result<LogStreams, ApiError> {
    let limit = at_most(op.limit, 50);
    let order = op.order_by.unwrap_or_default();
    if order == OrderBy::LastEventTime && op.log_stream_name_prefix.is_some() {
        return Err(invalid(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        ));
    }
    if let Some(prefix) = &op.log_stream_name_prefix {
        check_length(prefix)?;
    }
    let group = find_group(
        app,
        &app.cell.db.view(),
        op.log_group_name.as_deref(),
        op.log_group_identifier.as_deref(),
    )?;
    let archive = Arc::clone(&app.archive);
    let uid = group.uid;
    let mut streams = tokio::task::spawn_blocking(move || archive.streams(uid))
        .await
        .map_err(ApiError::internal)??;
    if let Some(prefix) = &op.log_stream_name_prefix {
        streams.retain(|stream| stream.name.starts_with(prefix.as_str()));
    }
    let descending = op.descending.unwrap_or(false);
    let mut keyed: Vec<(String, Stream)> = streams
        .into_iter()
        .map(|stream| (place(&stream, order), stream))
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    if descending {
        keyed.reverse();
    }
    // A page token names the last stream given; ranks keep it ascending in both directions.
    let ranked = keyed.into_iter().enumerate();
    let page = paginate(
        ranked,
        |(rank, _)| format!("{rank:08}"),
        limit,
        op.next_token.as_deref(),
    )
    .map_err(|BadToken| invalid("The specified nextToken is invalid."))?;
    let arn = app.group_arn(&group.name);
    Ok(LogStreams {
        log_streams: page
            .items
            .into_iter()
            .map(|(_, (_, stream))| describe(&arn, stream))
            .collect(),
        next_token: page.next_token,
    })
}

fn place(stream: &Stream, order: OrderBy) -> String {
    match order {
        OrderBy::LogStreamName => stream.name.clone(),
        OrderBy::LastEventTime => {
            format!(
                "{:020}/{}",
                crate::archive::millis(stream.last_event.unwrap_or(0)),
                stream.name
            )
        }
    }
}

fn describe(group_arn: &str, stream: Stream) -> LogStream {
    LogStream {
        arn: format!("{group_arn}:log-stream:{}", stream.name),
        log_stream_name: stream.name,
        creation_time: stream.created_at,
        first_event_timestamp: stream.first_event,
        last_event_timestamp: stream.last_event,
        last_ingestion_time: stream.last_ingestion,
        // The service reports 0 for streams since 2019; the group has the sum.
        stored_bytes: 0,
    }
}
