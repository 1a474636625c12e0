use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use lath_authz::ResourceType;
use lath_control::Cell;
use lath_store::{Kinds, Record, Tx, View};

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// What the ids of a kind look like, and the errors about them.
#[derive(Debug, Clone, Copy)]
pub struct IdForm {
    /// What stands before the last hyphen, such as `vpc`.
    pub prefix: &'static str,
    /// The code for text that is no such id.
    pub malformed: &'static str,
    /// The code for an id that nothing has.
    pub not_found: &'static str,
    /// The message for an id that nothing has, with `{}` for the id.
    pub absent: &'static str,
}

impl IdForm {
    /// The message for an id that nothing has.
    pub fn absent(&self, id: &str) -> String {
        self.absent.replace("{}", id)
    }
}

/// A kind of resource: all that is said of it in one place. It stands in for its [`ResourceType`] wherever permissions
/// are stated.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its ids.
    pub id: IdForm,
    /// What policies know of it. The type's name is that of tags too.
    pub resource_type: ResourceType,
    /// Whether there is one of this id.
    pub exists: fn(&Cell, &View, &str) -> bool,
    /// Adds the records that it is kept in to those of the database.
    pub records: fn(Kinds) -> Kinds,
}

impl Kind {
    /// A kind whose resources are the records `R`, under their ids.
    pub const fn of<R: Record>(id: IdForm, resource_type: ResourceType) -> Self {
        Self {
            id,
            resource_type,
            exists: |_, view, id| view.get::<R>(id).is_some(),
            records: |kinds| kinds.with::<R>(),
        }
    }

    /// A kind whose resources are parts of other kinds' records.
    pub const fn within(
        id: IdForm,
        resource_type: ResourceType,
        exists: fn(&Cell, &View, &str) -> bool,
    ) -> Self {
        Self {
            id,
            resource_type,
            exists,
            records: |kinds| kinds,
        }
    }
}

impl Deref for Kind {
    type Target = ResourceType;

    fn deref(&self) -> &ResourceType {
        &self.resource_type
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource_type.name)
    }
}

/// A record that is a resource.
pub trait Resource: Record {
    /// Its kind.
    const RESOURCE: Kind;
}

/// A record that holds its resource's tags.
pub trait Tagged: Record + Clone {
    /// They.
    fn tags(&self) -> &Tags;
    /// They, to change.
    fn tags_mut(&mut self) -> &mut Tags;
}

/// The records that hold their resources' tags in a member `tags`.
#[macro_export]
macro_rules! tagged {
    ($($record:ty),* $(,)?) => {$(
        impl $crate::Tagged for $record {
            fn tags(&self) -> &$crate::Tags {
                &self.tags
            }
            fn tags_mut(&mut self) -> &mut $crate::Tags {
                &mut self.tags
            }
        }
    )*};
}

/// The tags of a record, types erased: for services that find a resource of whatever kind by its ARN.
#[derive(Clone, Copy)]
pub struct TagsOf {
    /// The tags of the record with this key; `None` where there is none.
    pub read: fn(&View, &str) -> Option<Tags>,
    /// Replaces the tags of the record with this key.
    pub write: fn(&mut Tx, &str, Tags),
}

impl TagsOf {
    /// Those of records `R`.
    pub const fn of<R: Tagged>() -> Self {
        Self {
            read: |view, key| view.get::<R>(key).map(|record| record.tags().clone()),
            write: |tx, key, tags| {
                tx.update::<R>(key, |record| *record.tags_mut() = tags);
            },
        }
    }
}

impl fmt::Debug for TagsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagsOf")
    }
}

/// The kind, among these, of what has such an id.
pub fn kind_of<'k>(kinds: impl IntoIterator<Item = &'k Kind>, id: &str) -> Option<&'k Kind> {
    let (prefix, _) = id.rsplit_once('-')?;
    kinds.into_iter().find(|kind| kind.id.prefix == prefix)
}
