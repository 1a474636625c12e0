//! What every Describe operation does: ids, filters, pages.

use std::collections::{BTreeMap, HashSet};
use std::ops::{Bound, RangeInclusive};

use lath_control::{Page, paginate, paginate_from};
use lath_ec2_records::errors::{client, invalid_value};
use lath_ec2_records::ids::Ids as _;
use lath_service::IdForm;
use lath_store::{Record, View};
use lath_wire::ApiError;
use serde::Serialize;

use crate::filter::{Field, Filter, Filters, Member};
use crate::tags::Tag;

/// An item of a Describe operation's answer.
pub trait Listed: Serialize + Sized + 'static {
    /// Its ids.
    const ID: IdForm;
    /// What it can be filtered by, besides tags.
    const FIELDS: &'static [Field<Self>];
    /// Documented filters that are about a member of the answer, or about what does not exist here.
    const MEMBERS: &'static [Member] = &[];
    /// How long a page may be.
    const PAGE: RangeInclusive<i32> = 5..=1000;
    /// Its id.
    fn id(&self) -> &str;
    /// Its tags.
    fn tags(&self) -> &[Tag];
}

/// What a caller wants of a list.
#[derive(Debug, Default)]
pub struct Query<'a> {
    /// Items of these ids; every one where none is named.
    pub ids: &'a [String],
    /// What they have to match.
    pub filters: &'a [Filter],
    /// How many to a page.
    pub max_results: Option<i32>,
    /// Where the page begins.
    pub next_token: Option<&'a str>,
}

/// The items that a caller wants.
///
/// # Errors
/// `Malformed` and `NotFound` for ids, `InvalidParameterValue` for filters and page sizes,
/// `InvalidNextToken`.
pub fn select<T: Listed>(
    items: impl IntoIterator<Item = T>,
    query: &Query<'_>,
) -> Result<Page<T>, ApiError> {
    let filters = Filters::with_members(query.filters, T::FIELDS, T::MEMBERS)?;
    let size = page_size(query.max_results, T::PAGE)?;
    let named = by_ids(items, query.ids)?;
    let wanted = named
        .into_iter()
        .filter(|item| filters.matches(item, item.tags()));
    paginate(wanted, |item| item.id().to_owned(), size, query.next_token).map_err(bad_token)
}

/// The records of a kind that a caller wants, as `show` answers them: `None` for one that is not among them. An item has
/// its record's id. What is not on the page is not made, except what filters have to look at before the page is full.
///
/// # Errors
/// As [`select`].
pub fn select_records<R: Record, T: Listed>(
    view: &View,
    show: impl Fn(&R) -> Option<T>,
    query: &Query<'_>,
) -> Result<Page<T>, ApiError> {
    if !query.ids.is_empty() {
        let named = query.ids.iter().filter_map(|id| view.get::<R>(id));
        return select(named.filter_map(|it| show(&it)), query);
    }
    let filters = Filters::with_members(query.filters, T::FIELDS, T::MEMBERS)?;
    let size = page_size(query.max_results, T::PAGE)?;
    let from = |start: Bound<String>| {
        let records = view.from::<R>(start.as_ref().map(String::as_str));
        let items = records.filter_map(|it| show(&it));
        items.filter(|item| filters.matches(item, item.tags()))
    };
    paginate_from(from, |item| item.id().to_owned(), size, query.next_token).map_err(bad_token)
}

/// The same of what stands inside records, which are found by the items' ids in an index.
///
/// # Errors
/// As [`select`].
pub fn select_keyed<R: Record, T: Listed>(
    view: &View,
    index: &'static str,
    show: impl Fn(&R, &str) -> Option<T>,
    query: &Query<'_>,
) -> Result<Page<T>, ApiError> {
    if !query.ids.is_empty() {
        let named = query.ids.iter().filter_map(|id| {
            let record = view.by::<R>(index, id).next()?;
            show(&record, id)
        });
        return select(named, query);
    }
    let filters = Filters::with_members(query.filters, T::FIELDS, T::MEMBERS)?;
    let size = page_size(query.max_results, T::PAGE)?;
    let from = |start: Bound<String>| {
        let records = view.keyed_from::<R>(index, start.as_ref().map(String::as_str));
        let items = records.filter_map(|(id, it)| show(&it, &id));
        items.filter(|item| filters.matches(item, item.tags()))
    };
    paginate_from(from, |item| item.id().to_owned(), size, query.next_token).map_err(bad_token)
}

/// `NextToken` was not made by this operation.
pub fn bad_token(_: lath_control::BadToken) -> ApiError {
    client("InvalidNextToken", "The specified NextToken is not valid.")
}

/// `MaxResults`, or everything.
pub fn page_size(wanted: Option<i32>, allowed: RangeInclusive<i32>) -> Result<usize, ApiError> {
    let Some(wanted) = wanted else {
        return Ok(usize::MAX);
    };
    let bound = if wanted < *allowed.start() {
        format!("greater than {}", allowed.start())
    } else if wanted > *allowed.end() {
        format!("less than {}", allowed.end())
    } else {
        return Ok(usize::try_from(wanted).unwrap_or(usize::MAX));
    };
    Err(invalid_value(format!(
        "Value ( {wanted} ) for parameter maxResults is invalid. Expecting a value {bound}."
    )))
}

/// The items of these ids, or all; by ascending id.
fn by_ids<T: Listed>(
    items: impl IntoIterator<Item = T>,
    ids: &[String],
) -> Result<Vec<T>, ApiError> {
    for id in ids {
        T::ID.check(id)?;
    }
    let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
    let found: BTreeMap<String, T> = items
        .into_iter()
        .filter(|item| wanted.is_empty() || wanted.contains(item.id()))
        .map(|item| (item.id().to_owned(), item))
        .collect();
    if let Some(absent) = ids.iter().find(|id| !found.contains_key(*id)) {
        return Err(T::ID.not_found(absent));
    }
    Ok(found.into_values().collect())
}
