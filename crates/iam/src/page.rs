//! Pages: `MaxItems`, `Marker`, `IsTruncated`.

use std::ops::Bound;
use std::sync::Arc;

use lath_control::{Page, paginate_from};
use lath_store::{Record, View};
use lath_wire::ApiError;

use crate::errors::validation;

/// Where a list goes on, and how much of it is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut<'a> {
    pub(crate) marker: Option<&'a str>,
    pub(crate) most: Option<i64>,
}

/// The cut of a request with `marker` and `max_items`.
macro_rules! cut {
    ($op:expr) => {
        $crate::page::Cut {
            marker: $op.marker.as_deref(),
            most: $op.max_items,
        }
    };
}
pub(crate) use cut;

/// A page of what is in ascending order of `key`.
pub(crate) fn page<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    cut: Cut<'_>,
) -> Result<Page<T>, ApiError> {
    page_from(|_| items, key, cut)
}

/// A page of the records of a kind that `wanted` takes. What is before the page costs nothing.
pub(crate) fn page_of<R: Record>(
    view: &View,
    wanted: impl Fn(&R) -> bool,
    cut: Cut<'_>,
) -> Result<Page<Arc<R>>, ApiError> {
    let from = |start: Bound<String>| {
        let records = view.from::<R>(start.as_ref().map(String::as_str));
        records.filter(|it| wanted(it))
    };
    page_from(from, |it| it.id(), cut)
}

fn page_from<T, I: IntoIterator<Item = T>>(
    from: impl FnOnce(Bound<String>) -> I,
    key: impl Fn(&T) -> String,
    cut: Cut<'_>,
) -> Result<Page<T>, ApiError> {
    let most = cut.most.and_then(|most| usize::try_from(most).ok());
    let size = most.unwrap_or(100);
    paginate_from(from, key, size, cut.marker).map_err(|_| validation("Invalid Marker."))
}

/// The list of a `PathPrefix`.
pub(crate) fn under(prefix: Option<&str>, path: &str) -> bool {
    prefix.is_none_or(|prefix| path.starts_with(prefix))
}
