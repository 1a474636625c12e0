//! The constraints of the API's model: lengths, ranges and patterns. Each check reports and goes on, so
//! that a caller learns of every failing member at once.

use std::collections::BTreeMap;

use lath_wire::Problems;

use crate::ident::{Identifier, Kind};
use crate::long_tag;

/// A text of `min` to `max` characters.
pub(crate) fn length(p: &mut Problems, member: &str, value: &str, min: usize, max: usize) {
    let length = value.chars().count();
    if length < min {
        p.add(
            member,
            format!("Member must have length greater than or equal to {min}"),
        );
    }
    if length > max {
        p.add(
            member,
            format!("Member must have length less than or equal to {max}"),
        );
    }
}

/// A list of `min` to `max` items.
pub(crate) fn count(p: &mut Problems, member: &str, items: usize, min: usize, max: usize) {
    if items < min {
        p.add(
            member,
            format!("Member must have length greater than or equal to {min}"),
        );
    }
    if items > max {
        p.add(
            member,
            format!("Member must have length less than or equal to {max}"),
        );
    }
}

/// A number from `min` to `max`.
pub(crate) fn range(p: &mut Problems, member: &str, value: i64, min: i64, max: i64) {
    if value < min {
        p.add(
            member,
            format!("Member must have value greater than or equal to {min}"),
        );
    }
    if value > max {
        p.add(
            member,
            format!("Member must have value less than or equal to {max}"),
        );
    }
}

/// The member satisfies a pattern, or the pattern is told.
pub(crate) fn pattern(p: &mut Problems, member: &str, satisfied: bool, pattern: &str) {
    if !satisfied {
        p.add(
            member,
            format!("Member must satisfy regular expression pattern: {pattern}"),
        );
    }
}

/// A resource's name: lower-case letters, digits and single inner hyphens, not the id's prefix in front.
pub(crate) fn name(p: &mut Problems, value: &str, kind: Kind, max: usize) {
    length(p, "name", value, 3, max);
    let reserved = match kind {
        Kind::ServiceNetwork => String::new(),
        kind => format!("{}-", kind.prefix()),
    };
    let letters = value
        .bytes()
        .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'-');
    let hyphens = !value.starts_with('-') && !value.ends_with('-') && !value.contains("--");
    let free = reserved.is_empty() || !value.starts_with(&reserved);
    let ahead = match reserved.as_str() {
        "" => String::new(),
        reserved => format!("(?!{reserved})"),
    };
    pattern(
        p,
        "name",
        letters && hyphens && free,
        &format!("{ahead}(?![-])(?!.*[-]$)(?!.*[-]{{2}})[a-z0-9-]+"),
    );
}

/// An id or ARN of this kind.
pub(crate) fn identifier(p: &mut Problems, member: &str, value: &str, kind: Kind) {
    pattern(
        p,
        member,
        Identifier::parse(kind, value).is_some(),
        &kind.pattern(),
    );
}

/// `vpc-` and 8 or 17 characters.
pub(crate) fn vpc(p: &mut Problems, member: &str, value: &str) {
    let good = value.parse::<lath_model::id::VpcId>().is_ok();
    pattern(p, member, good, "vpc-(([0-9a-z]{8})|([0-9a-z]{17}))");
}

/// At most `max` ids `sg-` and 8 or 17 characters.
pub(crate) fn security_groups(p: &mut Problems, value: &[String], min: usize) {
    count(p, "securityGroupIds", value.len(), min, 5);
    for (index, id) in value.iter().enumerate() {
        let good = id.parse::<lath_model::id::SecurityGroupId>().is_ok();
        let member = format!("securityGroupIds.{index}");
        pattern(p, &member, good, "sg-(([0-9a-z]{8})|([0-9a-z]{17}))");
    }
}

/// An idempotency token.
pub(crate) fn token(p: &mut Problems, value: Option<&str>) {
    let Some(value) = value else { return };
    length(p, "clientToken", value, 1, 64);
    let printable = value.bytes().any(|b| b.is_ascii_graphic());
    pattern(p, "clientToken", printable, ".*[!-~]+.*");
}

/// The page controls of lists.
pub(crate) fn page(p: &mut Problems, max_results: Option<i64>, next_token: Option<&str>) {
    if let Some(max_results) = max_results {
        range(p, "maxResults", max_results, 1, 100);
    }
    if let Some(token) = next_token {
        length(p, "nextToken", token, 1, 2048);
    }
}

/// The most tags that a resource may have.
pub(crate) const MOST_TAGS: usize = 50;

/// Tags to set.
pub(crate) fn tags(p: &mut Problems, value: &BTreeMap<String, String>) {
    tags_but(p, value, |_| false);
}

/// Tags of what may have a traffic policy or the like, which is JSON: it has characters that other tags have not.
pub(crate) fn tags_with_policy(p: &mut Problems, value: &BTreeMap<String, String>) {
    tags_but(p, value, long_tag::is_any);
}

/// The values of some keys are `free`.
fn tags_but(p: &mut Problems, value: &BTreeMap<String, String>, free: impl Fn(&str) -> bool) {
    count(p, "tags", value.len(), 0, MOST_TAGS);
    for (key, value) in value.iter().take(2 * MOST_TAGS) {
        let member = format!("tags.{}", key.chars().take(128).collect::<String>());
        length(p, &member, key, 1, 128);
        length(p, &member, value, 0, 256);
        if key.to_ascii_lowercase().starts_with("aws:") && !lath_wire::may_set_system_tags() {
            p.add(&member, "Tag keys must not begin with aws:");
        }
        let good = key.chars().all(in_tag) && (free(key) || value.chars().all(in_tag));
        pattern(p, &member, good, r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*");
    }
}

fn in_tag(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c)
}

/// A request path as rules and health checks know it.
pub(crate) fn is_path(value: &str) -> bool {
    value.starts_with('/')
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"@:%_+.~#?&/=-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(check: impl Fn(&mut Problems)) -> usize {
        let mut p = Problems::default();
        check(&mut p);
        p.into_vec().len()
    }

    #[test]
    fn names_follow_the_model() {
        for (value, good) in [
            ("web", true),
            ("a-b-c", true),
            ("0ab", true),
            ("ab", false),
            ("svc-web", false),
            ("-web", false),
            ("web-", false),
            ("w--b", false),
            ("Web", false),
            ("wéb", false),
        ] {
            let found = problems(|p| name(p, value, Kind::Service, 40));
            assert_eq!(found == 0, good, "{value}");
        }
        assert_eq!(problems(|p| name(p, "A", Kind::Service, 40)), 2);
    }

    #[test]
    fn tags_follow_the_model() {
        for (key, value, good) in [
            ("k", "", true),
            ("Name", "a b/c@d", true),
            ("", "v", false),
            ("aws:x", "v", false),
            ("k", "<>", false),
        ] {
            let map = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            assert_eq!(problems(|p| tags(p, &map)) == 0, good, "{key}={value}");
        }
    }
}
