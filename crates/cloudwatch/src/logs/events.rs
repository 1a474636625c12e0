//! Log streams and events in the archive.

use redb::{Durability, ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, ArchiveError, COUNTERS, EVENTS, STREAMS, key, key_part, millis};

/// What CloudWatch adds to an event's bytes when it counts them.
pub(crate) const EVENT_OVERHEAD: u64 = 26;

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) created_at: i64,
    pub(crate) first_event: Option<i64>,
    pub(crate) last_event: Option<i64>,
    pub(crate) last_ingestion: Option<i64>,
    pub(crate) bytes: u64,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEvent {
    #[serde(rename = "s")]
    pub(crate) stream: String,
    #[serde(rename = "i")]
    pub(crate) ingested_at: i64,
    #[serde(rename = "m")]
    pub(crate) message: String,
}

/// An event's place in its group: its time, then the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    pub(crate) at: u64,
    pub(crate) sequence: u64,
}

/// Events to be appended to one stream.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) group: u64,
    pub(crate) stream: String,
    /// Milliseconds and text.
    pub(crate) events: Vec<(i64, String)>,
    /// Whether the stream is made when it is not there.
    pub(crate) make_stream: bool,
}

fn stream_key(group: u64, name: &str) -> Vec<u8> {
    let mut bytes = key(&[group]);
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

fn decode<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(json).map_err(ArchiveError::Corrupt)
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, ArchiveError> {
    serde_json::to_vec(value).map_err(ArchiveError::Corrupt)
}

impl Archive {
    /// Makes a stream; false when it exists.
    pub(crate) fn create_stream(
        &self,
        group: u64,
        name: &str,
        now: i64,
    ) -> Result<bool, ArchiveError> {
        self.write(Durability::Immediate, |tx| {
            let known = find_stream(tx, group, name)?.is_some();
            if !known {
                put_stream(tx, group, &Stream::new(name, now))?;
            }
            Ok(!known)
        })
    }

    /// Deletes a stream and its events; false when there is none.
    pub(crate) fn delete_stream(&self, group: u64, name: &str) -> Result<bool, ArchiveError> {
        self.write(Durability::Immediate, |tx| {
            let known = tx
                .open_table(STREAMS)?
                .remove(stream_key(group, name).as_slice())?
                .is_some();
            if known {
                remove_events(tx, group, |_, event| event.stream == name)?;
            }
            Ok(known)
        })
    }

    /// One stream.
    pub(crate) fn stream(&self, group: u64, name: &str) -> Result<Option<Stream>, ArchiveError> {
        self.read(|tx| {
            let table = tx.open_table(STREAMS)?;
            let row = table.get(stream_key(group, name).as_slice())?;
            row.map(|json| decode(json.value())).transpose()
        })
    }

    /// The streams of a group by ascending name.
    pub(crate) fn streams(&self, group: u64) -> Result<Vec<Stream>, ArchiveError> {
        self.read(|tx| {
            let table = tx.open_table(STREAMS)?;
            let mut streams = Vec::new();
            for row in table.range(key(&[group]).as_slice()..)? {
                let (at, json) = row?;
                if key_part(at.value(), 0) != group {
                    break;
                }
                streams.push(decode(json.value())?);
            }
            Ok(streams)
        })
    }

    /// Bytes stored in each group.
    pub(crate) fn group_sizes(&self, groups: &[u64]) -> Result<Vec<u64>, ArchiveError> {
        let size = |group: &u64| {
            Ok(self
                .streams(*group)?
                .iter()
                .map(|stream| stream.bytes)
                .sum())
        };
        groups.iter().map(size).collect()
    }

    /// Appends events; they are on disk when this returns. False for each append whose stream is missing.
    pub(crate) fn append(&self, appends: &[Append], now: i64) -> Result<Vec<bool>, ArchiveError> {
        self.write(Durability::Immediate, |tx| {
            appends
                .iter()
                .map(|append| self.append_one(tx, append, now))
                .collect()
        })
    }

    fn append_one(
        &self,
        tx: &WriteTransaction,
        append: &Append,
        now: i64,
    ) -> Result<bool, ArchiveError> {
        let mut stream = match find_stream(tx, append.group, &append.stream)? {
            Some(stream) => stream,
            None if append.make_stream => Stream::new(&append.stream, now),
            None => return Ok(false),
        };
        let before = stream.bytes;
        let first = self.take_sequence(tx, append.events.len() as u64)?;
        let mut events = tx.open_table(EVENTS)?;
        for ((at, message), sequence) in append.events.iter().zip(first..) {
            stream.count(*at, message, now);
            let event = StoredEvent {
                stream: append.stream.clone(),
                ingested_at: now,
                message: message.clone(),
            };
            let place = key(&[append.group, millis(*at), sequence]);
            events.insert(place.as_slice(), encode(&event)?.as_slice())?;
        }
        drop(events);
        add_bytes(tx, stream.bytes - before)?;
        put_stream(tx, append.group, &stream)?;
        Ok(true)
    }

    /// Walks a group's events between two places (from inclusive, to exclusive), in either direction,
    /// until `visit` answers false.
    pub(crate) fn walk(
        &self,
        group: u64,
        (from, to): (Cursor, Cursor),
        forward: bool,
        mut visit: impl FnMut(Cursor, StoredEvent) -> bool,
    ) -> Result<(), ArchiveError> {
        if from >= to {
            return Ok(());
        }
        self.read(|tx| {
            let table = tx.open_table(EVENTS)?;
            let (low, high) = (
                key(&[group, from.at, from.sequence]),
                key(&[group, to.at, to.sequence]),
            );
            let mut rows = table.range(low.as_slice()..high.as_slice())?;
            while let Some(row) = if forward {
                rows.next()
            } else {
                rows.next_back()
            } {
                let (at, json) = row?;
                let place = Cursor {
                    at: key_part(at.value(), 1),
                    sequence: key_part(at.value(), 2),
                };
                if !visit(place, decode(json.value())?) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Groups that the archive holds anything of.
    pub(crate) fn groups_held(&self) -> Result<Vec<u64>, ArchiveError> {
        self.read(|tx| {
            let mut held = Vec::new();
            for rows in [STREAMS, EVENTS] {
                let table = tx.open_table(rows)?;
                let mut from = Some(0u64);
                while let Some(low) = from {
                    let low = key(&[low]);
                    let Some(row) = table.range(low.as_slice()..)?.next() else {
                        break;
                    };
                    let group = key_part(row?.0.value(), 0);
                    held.push(group);
                    from = group.checked_add(1);
                }
            }
            held.sort_unstable();
            held.dedup();
            Ok(held)
        })
    }

    /// Removes all that a group holds.
    pub(crate) fn purge_group(&self, group: u64) -> Result<(), ArchiveError> {
        self.write(Durability::Immediate, |tx| {
            remove_events(tx, group, |_, _| true)?;
            let mut streams = tx.open_table(STREAMS)?;
            streams.retain(|at, _| key_part(at, 0) != group)?;
            Ok(())
        })
    }

    /// Removes events older than `before` (milliseconds) from a group.
    pub(crate) fn expire_group(&self, group: u64, before: i64) -> Result<(), ArchiveError> {
        self.write(Durability::Immediate, |tx| {
            remove_events(tx, group, |at, _| at < millis(before))
        })
    }

    /// Removes the oldest events of all groups while more than the bound is held.
    pub(crate) fn enforce_bound(&self) -> Result<(), ArchiveError> {
        let held = self.read(|tx| {
            let counters = tx.open_table(COUNTERS)?;
            Ok(counters.get("bytes")?.map_or(0, |value| value.value()))
        })?;
        if held <= self.limits.log_bytes {
            return Ok(());
        }
        tracing::warn!(
            held,
            limit = self.limits.log_bytes,
            "log events go beyond the bound: the oldest are dropped"
        );
        // A tenth more than is needed, so that this does not run at every event.
        let excess = held - self.limits.log_bytes / 10 * 9;
        let cut = self.age_that_frees(excess)?;
        for group in self.groups_held()? {
            self.expire_group(group, cut)?;
        }
        Ok(())
    }

    /// The moment before which the oldest `excess` bytes of events lie.
    fn age_that_frees(&self, excess: u64) -> Result<i64, ArchiveError> {
        self.read(|tx| {
            let table = tx.open_table(EVENTS)?;
            let mut by_time = std::collections::BTreeMap::<u64, u64>::new();
            for row in table.range::<&[u8]>(..)? {
                let (at, json) = row?;
                // By the minute, so that the map stays small.
                *by_time.entry(key_part(at.value(), 1) / 60_000).or_default() +=
                    json.value().len() as u64;
            }
            let mut freed = 0;
            let cut = by_time.iter().find(|(_, bytes)| {
                freed += **bytes;
                freed >= excess
            });
            let minute = cut
                .map_or_else(|| by_time.keys().last(), |(at, _)| Some(at))
                .map_or(0, |at| *at);
            Ok(i64::try_from((minute + 1) * 60_000).unwrap_or(i64::MAX))
        })
    }
}

impl Stream {
    fn new(name: &str, now: i64) -> Self {
        Self {
            name: name.to_owned(),
            created_at: now,
            first_event: None,
            last_event: None,
            last_ingestion: None,
            bytes: 0,
        }
    }

    fn count(&mut self, at: i64, message: &str, now: i64) {
        self.first_event = Some(self.first_event.map_or(at, |first| first.min(at)));
        self.last_event = Some(self.last_event.map_or(at, |last| last.max(at)));
        self.last_ingestion = Some(now);
        self.bytes += message.len() as u64 + EVENT_OVERHEAD;
    }
}

fn find_stream(
    tx: &WriteTransaction,
    group: u64,
    name: &str,
) -> Result<Option<Stream>, ArchiveError> {
    let table = tx.open_table(STREAMS)?;
    let row = table.get(stream_key(group, name).as_slice())?;
    row.map(|json| decode(json.value())).transpose()
}

fn put_stream(tx: &WriteTransaction, group: u64, stream: &Stream) -> Result<(), ArchiveError> {
    let mut table = tx.open_table(STREAMS)?;
    table.insert(
        stream_key(group, &stream.name).as_slice(),
        encode(stream)?.as_slice(),
    )?;
    Ok(())
}

fn add_bytes(tx: &WriteTransaction, more: u64) -> Result<(), ArchiveError> {
    change_bytes(tx, |held| held.saturating_add(more))
}

fn change_bytes(
    tx: &WriteTransaction,
    change: impl FnOnce(u64) -> u64,
) -> Result<(), ArchiveError> {
    let mut counters = tx.open_table(COUNTERS)?;
    let held = counters.get("bytes")?.map_or(0, |value| value.value());
    counters.insert("bytes", change(held))?;
    Ok(())
}

/// Removes the events of a group that `goes` names, and takes their bytes off their streams.
fn remove_events(
    tx: &WriteTransaction,
    group: u64,
    goes: impl Fn(u64, &StoredEvent) -> bool,
) -> Result<(), ArchiveError> {
    let mut freed = std::collections::BTreeMap::<String, u64>::new();
    let mut table = tx.open_table(EVENTS)?;
    let low = key(&[group]);
    let high = group.checked_add(1).map(|next| key(&[next]));
    let remove = |at: &[u8], json: &[u8]| {
        let Ok(event) = decode::<StoredEvent>(json) else {
            return true;
        };
        let removed = goes(key_part(at, 1), &event);
        if removed {
            *freed.entry(event.stream).or_default() += event.message.len() as u64 + EVENT_OVERHEAD;
        }
        removed
    };
    remove_range(&mut table, &low, high.as_deref(), remove)?;
    drop(table);
    for (name, bytes) in &freed {
        if let Some(mut stream) = find_stream(tx, group, name)? {
            stream.bytes = stream.bytes.saturating_sub(*bytes);
            put_stream(tx, group, &stream)?;
        }
    }
    let total: u64 = freed.values().sum();
    change_bytes(tx, |held| held.saturating_sub(total))
}

fn remove_range(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    low: &[u8],
    high: Option<&[u8]>,
    mut remove: impl FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), ArchiveError> {
    let keep = |at: &[u8], json: &[u8]| !remove(at, json);
    match high {
        Some(high) => table.retain_in(low..high, keep)?,
        None => table.retain_in(low.., keep)?,
    }
    Ok(())
}
