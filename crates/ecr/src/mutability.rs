//! Which tags move to other images.

use lath_wire::ApiError;

use crate::fault;
use crate::record::Repository;
use crate::shape::{ExclusionFilter, ImageTagMutability};

const MOST_FILTERS: usize = 5;
const LONGEST_FILTER: usize = 128;
const MOST_STARS: usize = 2;

/// Whether a tag moves in a repository.
pub(crate) fn moves(repository: &Repository, tag: &str) -> bool {
    let is_excluded = || {
        let mut filters = repository.exclusions.iter();
        filters.any(|it| matches(&it.filter, tag))
    };
    match repository.mutability {
        ImageTagMutability::Mutable => true,
        ImageTagMutability::Immutable => false,
        ImageTagMutability::MutableWithExclusion => !is_excluded(),
        ImageTagMutability::ImmutableWithExclusion => is_excluded(),
    }
}

/// Whether a text is as a filter says, where `*` is any text.
pub(crate) fn matches(filter: &str, text: &str) -> bool {
    let mut parts = filter.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Filters stand with the settings that name them, and only there.
///
/// # Errors
/// They do not, or one is malformed.
pub(crate) fn checked(
    mutability: ImageTagMutability,
    filters: Option<Vec<ExclusionFilter>>,
) -> Result<Vec<ExclusionFilter>, ApiError> {
    const MEMBER: &str = "imageTagMutabilityExclusionFilters";
    let filters = filters.unwrap_or_default();
    let wants = matches!(
        mutability,
        ImageTagMutability::ImmutableWithExclusion | ImageTagMutability::MutableWithExclusion
    );
    if wants == filters.is_empty() {
        let rule = "filters are given with IMMUTABLE_WITH_EXCLUSION and MUTABLE_WITH_EXCLUSION, and only with these";
        return Err(fault::broken(MEMBER, rule));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "*._-".contains(c);
    let fits = |it: &ExclusionFilter| {
        (1..=LONGEST_FILTER).contains(&it.filter.len())
            && it.filter.chars().all(plain)
            && it.filter.matches('*').count() <= MOST_STARS
    };
    if filters.len() > MOST_FILTERS || !filters.iter().all(fits) {
        let rule = "at most 5 filters of 1 to 128 letters, digits and ._-, with at most two *";
        return Err(fault::broken(MEMBER, rule));
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_are_any_text() {
        for (filter, text, want) in [
            ("latest", "latest", true),
            ("latest", "latest1", false),
            ("v*", "v1", true),
            ("v*", "1v", false),
            ("*-dev", "a-dev", true),
            ("*-dev", "a-dev2", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axcxb", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(filter, text), want, "{filter} {text}");
        }
    }
}
