//! Pages: Route 53 has `maxitems` with markers, and `maxresults` with tokens.

use std::ops::Bound;

use lath_control::{Page, paginate, paginate_from};
use lath_wire::ApiError;

use crate::fault;

/// A size as it was given; more than `most` is `most`.
///
/// # Errors
/// `InvalidInput` when it is no positive number.
pub(crate) fn size(given: Option<&str>, most: usize) -> Result<usize, ApiError> {
    let Some(text) = given else { return Ok(most) };
    match text.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number.min(most)),
        _ => {
            let shown: String = text.chars().take(32).collect();
            Err(fault::invalid(format!(
                "Expected maxItems to be an integer value between 1 and {most} but got {shown}"
            )))
        }
    }
}

/// A size as answers repeat it.
pub(crate) fn shown(given: Option<&str>, most: usize) -> String {
    given.map_or_else(|| most.to_string(), str::to_owned)
}

/// Cuts a page that begins with the key `marker`, of the items that `from` gives from a key on: the answer's
/// `NextMarker` is the next page's first key.
pub(crate) fn from_marker<T, I: IntoIterator<Item = T>>(
    from: impl FnOnce(Bound<&str>) -> I,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    size: usize,
) -> (Vec<T>, Option<String>) {
    let start = marker.map_or(Bound::Unbounded, Bound::Included);
    let mut rest = from(start).into_iter();
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let next = rest.next().map(|item| key(&item));
    (page, next)
}

/// Cuts a page after an opaque token, of the items that `from` gives from behind a key on.
///
/// # Errors
/// `InvalidPaginationToken`.
pub(crate) fn behind_token<T, I: IntoIterator<Item = T>>(
    from: impl FnOnce(Bound<String>) -> I,
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    size: usize,
) -> Result<Page<T>, ApiError> {
    paginate_from(from, key, size, token).map_err(|_| fault::bad_token())
}

/// Cuts a page after an opaque token.
///
/// # Errors
/// `InvalidPaginationToken`.
pub(crate) fn from_token<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    size: usize,
) -> Result<Page<T>, ApiError> {
    paginate(items, key, size, token).map_err(|_| fault::bad_token())
}
