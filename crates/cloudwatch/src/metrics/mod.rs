//! Metric series: identity, buckets of statistics, writing and reading.

mod bucket;
mod read;
mod series;
mod statistic;
mod write;

pub(crate) use bucket::Bucket;
pub(crate) use read::{periods_fit, retention};
pub(crate) use series::{Series, SeriesId};
pub(crate) use statistic::Statistic;
pub(crate) use write::{Datum, Pending, WriteError};
