//! Tags that hold a JSON text. A tag's value is 256 characters at most, so that the text may go on in further tags. What sets the
//! first replaces all of them, so that a shorter text is set in one call and is never half of two.

use lath_control::{Cell, Mode};
use lath_wire::ApiError;

use crate::fault;
use crate::record::Tags;

/// Such a tag.
#[derive(Debug)]
pub(crate) struct LongTag {
    /// The first one; further ones end in `-2`, `-3` and so on.
    pub(crate) name: &'static str,
    /// What the text is, with its article.
    pub(crate) what: &'static str,
    /// In as many tags at most.
    pub(crate) parts: usize,
}

/// What the policy of one resource needs.
pub(crate) const FEW_PARTS: usize = 16;
/// What needs more: as many as leave room for a resource's other tags.
pub(crate) const MANY_PARTS: usize = 40;

/// All there are.
const ALL: [&LongTag; 8] = [
    &crate::traffic::TAG,
    &crate::mutual_tls::TAG,
    &crate::canary::TAG,
    &crate::balancing::TAG,
    &crate::target_tls::TAG,
    &crate::matching::TAG,
    &crate::gateway::TAG,
    &crate::gateway_routes::TAG,
];

/// Whether a tag is one of those, or looks like it.
pub(crate) fn is_any(key: &str) -> bool {
    ALL.iter().any(|tag| tag.is_ours(key))
}

/// Whether these tags ask for something that a text says, or change it.
pub(crate) fn is_asked<'a>(keys: impl IntoIterator<Item = &'a String>) -> bool {
    keys.into_iter().any(|key| is_any(key))
}

impl LongTag {
    /// Which part of the text a tag holds, from 1.
    fn part(&self, key: &str) -> Option<usize> {
        match key.strip_prefix(self.name)? {
            "" => Some(1),
            rest => (2..=self.parts).find(|part| rest.strip_prefix('-') == Some(&part.to_string())),
        }
    }

    /// Whether a tag is one of those, or looks like it.
    pub(crate) fn is_ours(&self, key: &str) -> bool {
        // One tag's name may begin as another's.
        let mut others = ALL.iter().filter(|it| it.name.len() > self.name.len());
        key.starts_with(self.name) && !others.any(|it| key.starts_with(it.name))
    }

    /// Whether these tags ask for such a text, or change one.
    pub(crate) fn is_asked<'a>(&self, keys: impl IntoIterator<Item = &'a String>) -> bool {
        keys.into_iter().any(|key| self.is_ours(key))
    }

    /// The text that tags hold.
    ///
    /// # Errors
    /// A part is missing, or a tag is no part.
    pub(crate) fn text(&self, tags: &Tags) -> Result<Option<String>, ApiError> {
        let name = self.name;
        let mut parts = Vec::new();
        for (key, value) in tags.iter().filter(|(key, _)| self.is_ours(key)) {
            let Some(part) = self.part(key) else {
                let message = format!(
                    "{key} is no part of {}: they are {name}, {name}-2 to {name}-{}",
                    self.what, self.parts
                );
                return Err(fault::invalid("tags", message));
            };
            parts.push((part, value.as_str()));
        }
        parts.sort_unstable();
        for (index, (part, _)) in parts.iter().enumerate() {
            if *part != index + 1 {
                let missing = match index {
                    0 => name.to_owned(),
                    _ => format!("{name}-{}", index + 1),
                };
                let message = format!(
                    "{name}-{part} goes on with a text whose part {missing} is missing: set all parts in one request"
                );
                return Err(fault::invalid("tags", message));
            }
        }
        Ok((!parts.is_empty()).then(|| parts.iter().map(|(_, value)| *value).collect()))
    }

    /// Refuses such tags where there are none.
    ///
    /// # Errors
    /// `ValidationException` in strict mode.
    pub(crate) fn check_mode(&self, cell: &Cell, tags: &Tags) -> Result<(), ApiError> {
        if cell.mode == Mode::Strict && self.is_asked(tags.keys()) {
            let name = self.name;
            let message = format!("The tag {name} is an extension to AWS: it needs --extended");
            return Err(fault::invalid("tags", message));
        }
        Ok(())
    }

    /// The error about a text.
    pub(crate) fn wrong(&self, error: impl std::fmt::Display) -> ApiError {
        fault::invalid("tags", format!("{}: {error}", self.name))
    }

    /// Refuses a part that is set alone: it would go on with what is there already, and what it means for permissions is
    /// judged by what a request says.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(crate) fn check_whole(&self, given: &Tags) -> Result<(), ApiError> {
        let name = self.name;
        match given.contains_key(name) || !self.is_asked(given.keys()) {
            true => Ok(()),
            false => {
                let message =
                    format!("Part {name} is missing: set all parts of a policy in one request");
                Err(fault::invalid("tags", message))
            }
        }
    }

    /// Refuses such tags of what does not have them, and parts that are set alone.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(crate) fn check_place(
        &self,
        fits: bool,
        whose: &str,
        given: &Tags,
    ) -> Result<(), ApiError> {
        match fits || !self.is_asked(given.keys()) {
            true => self.check_whole(given),
            false => {
                let message = format!("{} is a tag of {whose}", self.name);
                Err(fault::invalid("tags", message))
            }
        }
    }

    /// Whether the text is the same in both.
    pub(crate) fn is_same(&self, before: &Tags, after: &Tags) -> bool {
        let of = |tags: &Tags| -> Vec<(String, String)> {
            let ours = tags.iter().filter(|(key, _)| self.is_ours(key));
            ours.map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        of(before) == of(after)
    }
}

/// Refuses what [`LongTag::check_mode`] refuses, of each of those tags.
///
/// # Errors
/// `ValidationException` in strict mode.
pub(crate) fn check_mode(cell: &Cell, tags: &Tags) -> Result<(), ApiError> {
    ALL.iter().try_for_each(|tag| tag.check_mode(cell, tags))
}

/// Makes room for what is being set: the first part stands for all of them.
pub(crate) fn make_room(tags: &mut Tags, given: &Tags) {
    for tag in ALL {
        if given.contains_key(tag.name) {
            tags.retain(|key, _| !tag.is_ours(key));
        }
    }
}

/// Takes the further parts away with the first.
pub(crate) fn follow(tags: &mut Tags, removed: &[String]) {
    for tag in ALL {
        if removed.iter().any(|key| key == tag.name) {
            tags.retain(|key, _| !tag.is_ours(key));
        }
    }
}
