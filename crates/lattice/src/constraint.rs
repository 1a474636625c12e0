//! What is asked of values beside the model's own bounds, which are checked before. Each check reports and goes on, so that a
//! caller learns of every failing member at once.

use std::collections::BTreeMap;

use lath_wire::Problems;

use crate::long_tag;

/// A list of at most `max` items.
pub(crate) fn at_most(p: &mut Problems, member: &str, items: usize, max: usize) {
    if items > max {
        p.add(
            member,
            format!("Member must have length less than or equal to {max}"),
        );
    }
}

/// Reports that a number is below `min`.
pub(crate) fn at_least(p: &mut Problems, member: &str, min: i64) {
    p.add(
        member,
        format!("Member must have value greater than or equal to {min}"),
    );
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
    at_most(p, "tags", value.len(), MOST_TAGS);
    for (key, value) in value.iter().take(2 * MOST_TAGS) {
        let member = format!("tags.{}", key.chars().take(128).collect::<String>());
        if key.to_ascii_lowercase().starts_with("aws:") && !lath_wire::may_set_system_tags() {
            p.add(&member, "Tag keys must not begin with aws:");
        }
        let good = key.chars().all(in_tag) && (free(key) || value.chars().all(in_tag));
        if !good {
            p.add(
                member,
                r"Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*",
            );
        }
    }
}

fn in_tag(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c)
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
    fn tags_have_the_characters_that_aws_documents() {
        for (key, value, good) in [
            ("k", "", true),
            ("Name", "a b/c@d", true),
            ("aws:x", "v", false),
            ("k", "<>", false),
        ] {
            let map = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            assert_eq!(problems(|p| tags(p, &map)) == 0, good, "{key}={value}");
        }
    }
}
