use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;
use crate::view::Held;

/// A typed value with an id.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind, such as `ec2.vpc`: unique in the database, never changed, and without slashes.
    const KIND: &'static str;
    /// The format of stored values. [`Record::upgrade`] converts older formats.
    const FORMAT: u16 = 1;

    /// The id, unique within the kind.
    fn id(&self) -> String;

    /// What it is found by besides its id ([`crate::View::by`]): names of indexes, and its key in each. It follows from
    /// the record alone.
    fn keys(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Converts a value in an older format to [`Record::FORMAT`].
    ///
    /// # Errors
    /// A text that explains why the value cannot be converted.
    fn upgrade(format: u16, _value: serde_json::Value) -> Result<Self, String> {
        Err(format!("format {format} of {} is not known", Self::KIND))
    }
}

/// A record of any type.
pub(crate) type Erased = Arc<dyn Any + Send + Sync>;

/// The kinds that a database may contain.
#[derive(Default)]
pub struct Kinds {
    known: HashMap<&'static str, Kind>,
    duplicate: Option<&'static str>,
}

/// One registered kind.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    record: TypeId,
    /// Decodes a stored value. `id` is the id in its key.
    pub(crate) decode: fn(id: &str, stored: &[u8]) -> Result<Held, String>,
}

impl Kinds {
    /// Adds a kind.
    #[must_use]
    pub fn with<R: Record>(mut self) -> Self {
        let kind = Kind {
            name: R::KIND,
            record: TypeId::of::<R>(),
            decode: |id, stored| decode::<R>(id, stored).map(|record| Held::new(Arc::new(record))),
        };
        let before = self.known.insert(R::KIND, kind);
        if before.is_some_and(|before| before.record != kind.record) || R::KIND.contains('/') {
            self.duplicate = Some(R::KIND);
        }
        self
    }

    /// The kind of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Kind> {
        self.known.get(name)
    }

    /// # Errors
    /// [`StoreError::DuplicateKind`] when two types claim one name.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.duplicate
            .map_or(Ok(()), |kind| Err(StoreError::DuplicateKind(kind.into())))
    }
}

/// Encodes a record: its format in decimal, a space, and JSON, such as `1 {"id":"vpc-1"}`.
pub(crate) fn encode<R: Record>(record: &R) -> Result<Vec<u8>, String> {
    let mut stored = format!("{} ", R::FORMAT).into_bytes();
    serde_json::to_writer(&mut stored, record).map_err(|error| error.to_string())?;
    Ok(stored)
}

/// Like [`encode`], for an erased record of type `R`. Debug builds also decode the result, so that the first
/// test that writes a record fails if a restart could not read it.
pub(crate) fn encode_erased<R: Record>(
    record: &(dyn Any + Send + Sync),
) -> Result<Vec<u8>, String> {
    let record = record
        .downcast_ref::<R>()
        .ok_or_else(|| format!("two record types are stored under the kind {:?}", R::KIND))?;
    let stored = encode(record)?;
    if cfg!(debug_assertions) {
        decode::<R>(&record.id(), &stored)
            .map_err(|error| format!("it cannot be read back: {error}"))?;
    }
    Ok(stored)
}

pub(crate) fn decode<R: Record>(id: &str, stored: &[u8]) -> Result<R, String> {
    let (format, json) = split(stored).ok_or("it has no format tag")?;
    let record = match format {
        newer if newer > R::FORMAT => {
            return Err(format!(
                "it has format {newer}, this version knows up to {}",
                R::FORMAT
            ));
        }
        same if same == R::FORMAT => {
            serde_json::from_slice(json).map_err(|error| error.to_string())?
        }
        older => {
            let value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
            R::upgrade(older, value)?
        }
    };
    if record.id() == id {
        Ok(record)
    } else {
        Err(format!("it says its id is {:?}", record.id()))
    }
}

fn split(stored: &[u8]) -> Option<(u16, &[u8])> {
    let space = stored.iter().position(|byte| *byte == b' ')?;
    let format = std::str::from_utf8(&stored[..space]).ok()?.parse().ok()?;
    Some((format, &stored[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Lamp {
        id: String,
        watts: u32,
    }

    impl Record for Lamp {
        const KIND: &'static str = "lamp";
        const FORMAT: u16 = 2;
        fn id(&self) -> String {
            self.id.clone()
        }
        fn upgrade(format: u16, value: serde_json::Value) -> Result<Self, String> {
            let id = value["name"].as_str().ok_or("no name")?.to_owned();
            match format {
                1 => Ok(Self { id, watts: 60 }),
                other => Err(format!("format {other}?")),
            }
        }
    }

    #[test]
    fn stored_values_are_read_or_refused_with_a_reason() {
        for (name, given, want) in [
            ("current", r#"2 {"id":"a","watts":5}"#, Ok(5)),
            ("older", r#"1 {"name":"a"}"#, Ok(60)),
            ("older, broken", r#"1 {}"#, Err("no name")),
            ("much older", r#"0 {"name":"a"}"#, Err("format 0?")),
            ("newer", r#"3 {"id":"a"}"#, Err("it has format 3")),
            ("no tag", r#"{"id":"a","watts":5}"#, Err("no format tag")),
            ("empty", "", Err("no format tag")),
            ("truncated", r#"2 {"id":"a","#, Err("EOF")),
            (
                "of another id",
                r#"2 {"id":"b","watts":5}"#,
                Err("its id is \"b\""),
            ),
        ] {
            let got = decode::<Lamp>("a", given.as_bytes());
            match (got, want) {
                (Ok(lamp), Ok(watts)) => assert_eq!(lamp.watts, watts, "{name}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{name}: {error}"),
                (got, _) => panic!("{name}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_kind_belongs_to_one_type() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Other;
        impl Record for Other {
            const KIND: &'static str = "lamp";
            fn id(&self) -> String {
                String::new()
            }
        }
        let same = Kinds::default().with::<Lamp>().with::<Lamp>();
        assert!(same.check().is_ok());
        assert!(same.with::<Other>().check().is_err());
    }
}
