//! The neutral tree between bytes and types.

use std::fmt;

use lath_model::Timestamp;
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
    List(Vec<Doc>),
    /// A structure or map, in order.
    Map(Vec<(String, Doc)>),
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
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.0);
        serializer.serialize_newtype_struct(Self::NEWTYPE, &text)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = String::deserialize(deserializer)?;
        base64::engine::general_purpose::STANDARD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not base64"))
    }
}
