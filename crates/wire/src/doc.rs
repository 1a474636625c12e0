//! The neutral tree between bytes and types.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_model::Timestamp;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One value of any wire format.
#[derive(Debug, Clone, PartialEq)]
pub enum Doc {
    /// Absent or null.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    String(String),
    /// Text whose type the format does not tell (forms, XML, path labels, query): read as what is wanted.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// A moment.
    Timestamp(Timestamp),
    /// A list.
    List(Vec<Self>),
    /// A structure or map, in order.
    Map(Vec<(String, Self)>),
}

/// Bytes on the wire: base64 in JSON, XML and forms, a byte string in CBOR.
#[derive(Clone, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Blob(pub Vec<u8>);

impl Blob {
    /// The newtype-struct name that the codecs look for.
    pub const NEWTYPE: &'static str = "lath.Blob";
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(Self::NEWTYPE, &STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text")
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("not base64"))?;
                Ok(Blob(bytes))
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Blob, D::Error> {
                self.visit_str(&String::deserialize(inner)?)
            }
        }
        deserializer.deserialize_newtype_struct(Self::NEWTYPE, Bytes)
    }
}

impl Doc {
    /// An empty structure.
    pub const fn empty() -> Self {
        Self::Map(Vec::new())
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Map(members) => members.is_empty(),
            _ => false,
        }
    }

    /// How many values there are in it, at every level; one in what has no levels.
    pub(crate) fn values(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::values).sum::<usize>(),
            Self::Map(members) => 1 + members.iter().map(|(_, it)| it.values()).sum::<usize>(),
            _ => 1,
        }
    }

    /// The member of this name, in a structure.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, doc)| doc),
            _ => None,
        }
    }

    /// What a reader of an error would call it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::String(_) | Self::Text(_) => "a string",
            Self::Blob(_) => "bytes",
            Self::Timestamp(_) => "a timestamp",
            Self::List(_) => "a list",
            Self::Map(_) => "a structure",
        }
    }
}
