//! One serde serializer into the tree.

use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_model::Timestamp;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::{Blob, Doc};

/// How lists and maps appear in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shaping {
    /// As lists and maps (JSON, CBOR).
    Plain,
    /// As the elements that XML prints: a list is a map that repeats one name, a map is a list of
    /// `entry` elements.
    Elements(ItemName),
}

/// What XML calls the items of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemName {
    /// Always the same: `item` in EC2, `member` in the query protocol.
    Fixed(&'static str),
    /// The name of the item's struct or newtype (rest-xml); `member` where it has none.
    OfType,
}

/// The value cannot be expressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the reply cannot be encoded: {0}")]
pub struct EncodeError(String);

impl serde::ser::Error for EncodeError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

/// Turns a value into a tree. Absent options vanish from structures and maps.
///
/// # Errors
/// A map whose keys are not text, or what the type's own `Serialize` refuses.
pub fn encode<T: Serialize + ?Sized>(value: &T, shaping: Shaping) -> Result<Doc, EncodeError> {
    let named = Cell::new(None);
    value.serialize(Encoder {
        shaping,
        named: &named,
    })
}

#[derive(Clone, Copy)]
struct Encoder<'n> {
    shaping: Shaping,
    /// The name of the struct or newtype met last: a list asks it for its items' name.
    named: &'n Cell<Option<&'static str>>,
}

impl<'n> Encoder<'n> {
    fn fields(self, name: &'static str) -> Fields<'n> {
        self.named.set(Some(name));
        Fields {
            encoder: self,
            name,
            variant: None,
            members: Vec::new(),
        }
    }

    fn items(self, variant: Option<&'static str>) -> Items<'n> {
        Items {
            encoder: self,
            variant,
            items: Vec::new(),
        }
    }
}

fn tagged(variant: Option<&'static str>, doc: Doc) -> Doc {
    match variant {
        Some(name) => Doc::Map(vec![(name.to_owned(), doc)]),
        None => doc,
    }
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, number: $type) -> Result<Doc, EncodeError> {
            Ok(Doc::Int(number.into()))
        }
    )*};
}

impl<'n> Serializer for Encoder<'n> {
    type Ok = Doc;
    type Error = EncodeError;
    type SerializeSeq = Items<'n>;
    type SerializeTuple = Items<'n>;
    type SerializeTupleStruct = Items<'n>;
    type SerializeTupleVariant = Items<'n>;
    type SerializeMap = Entries<'n>;
    type SerializeStruct = Fields<'n>;
    type SerializeStructVariant = Fields<'n>;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32
    }

    fn serialize_u64(self, number: u64) -> Result<Doc, EncodeError> {
        i64::try_from(number)
            .map(Doc::Int)
            .map_err(|_| EncodeError("an integer past 2^63".into()))
    }

    fn serialize_bool(self, value: bool) -> Result<Doc, EncodeError> {
        Ok(Doc::Bool(value))
    }

    fn serialize_f32(self, number: f32) -> Result<Doc, EncodeError> {
        Ok(Doc::Float(number.into()))
    }

    fn serialize_f64(self, number: f64) -> Result<Doc, EncodeError> {
        Ok(Doc::Float(number))
    }

    fn serialize_char(self, letter: char) -> Result<Doc, EncodeError> {
        Ok(Doc::String(letter.to_string()))
    }

    fn serialize_str(self, text: &str) -> Result<Doc, EncodeError> {
        Ok(Doc::String(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Doc, EncodeError> {
        Ok(Doc::Blob(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Doc, EncodeError> {
        Ok(Doc::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Doc, EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Doc, EncodeError> {
        Ok(Doc::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Doc, EncodeError> {
        Ok(Doc::empty())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Doc, EncodeError> {
        Ok(Doc::String(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Doc, EncodeError> {
        let inner = value.serialize(self)?;
        match (name, inner) {
            (Timestamp::NEWTYPE, Doc::Int(millis)) => {
                Ok(Doc::Timestamp(Timestamp::from_millis(millis)))
            }
            (Blob::NEWTYPE, Doc::String(text)) => STANDARD
                .decode(text)
                .map(Doc::Blob)
                .map_err(|_| EncodeError("a blob that is not base64".into())),
            (_, inner) => {
                self.named.set(Some(name));
                Ok(inner)
            }
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Doc, EncodeError> {
        Ok(tagged(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'n>, EncodeError> {
        Ok(self.items(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'n>, EncodeError> {
        Ok(self.items(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items<'n>, EncodeError> {
        Ok(self.items(None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'n>, EncodeError> {
        Ok(self.items(Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'n>, EncodeError> {
        Ok(Entries {
            encoder: self,
            key: None,
            members: Vec::new(),
        })
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'n>, EncodeError> {
        Ok(self.fields(name))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'n>, EncodeError> {
        let mut fields = self.fields(name);
        fields.variant = Some(variant);
        Ok(fields)
    }
}

struct Items<'n> {
    encoder: Encoder<'n>,
    variant: Option<&'static str>,
    items: Vec<(&'static str, Doc)>,
}

impl Items<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.encoder.named.set(None);
        let doc = value.serialize(self.encoder)?;
        let name = match self.encoder.shaping {
            Shaping::Elements(ItemName::Fixed(name)) => name,
            _ => self.encoder.named.get().unwrap_or("member"),
        };
        self.items.push((name, doc));
        Ok(())
    }

    fn finish(self) -> Doc {
        let items = self.items.into_iter();
        let doc = match self.encoder.shaping {
            Shaping::Plain => Doc::List(items.map(|(_, doc)| doc).collect()),
            Shaping::Elements(_) => {
                Doc::Map(items.map(|(name, doc)| (name.to_owned(), doc)).collect())
            }
        };
        tagged(self.variant, doc)
    }
}

macro_rules! items {
    ($($trait:ident::$method:ident)*) => {$(
        impl $trait for Items<'_> {
            type Ok = Doc;
            type Error = EncodeError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
                self.push(value)
            }
            fn end(self) -> Result<Doc, EncodeError> {
                Ok(self.finish())
            }
        }
    )*};
}

items! {
    SerializeSeq::serialize_element SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field SerializeTupleVariant::serialize_field
}

struct Entries<'n> {
    encoder: Encoder<'n>,
    key: Option<String>,
    members: Vec<(String, Doc)>,
}

impl SerializeMap for Entries<'_> {
    type Ok = Doc;
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.key = Some(match key.serialize(self.encoder)? {
            Doc::String(text) => text,
            Doc::Int(number) => number.to_string(),
            other => return Err(EncodeError(format!("a map's key is {}", other.kind()))),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let key = self.key.take().expect("serde gives the key first");
        let doc = value.serialize(self.encoder)?;
        if doc == Doc::Null {
            return Ok(());
        }
        self.members.push(match self.encoder.shaping {
            Shaping::Plain => (key, doc),
            Shaping::Elements(_) => ("entry".into(), entry(key, doc)),
        });
        Ok(())
    }

    fn end(self) -> Result<Doc, EncodeError> {
        Ok(Doc::Map(self.members))
    }
}

fn entry(key: String, value: Doc) -> Doc {
    Doc::Map(vec![
        ("key".into(), Doc::String(key)),
        ("value".into(), value),
    ])
}

struct Fields<'n> {
    encoder: Encoder<'n>,
    name: &'static str,
    variant: Option<&'static str>,
    members: Vec<(String, Doc)>,
}

impl Fields<'_> {
    fn push<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let doc = value.serialize(self.encoder)?;
        if doc != Doc::Null {
            self.members.push((name.to_owned(), doc));
        }
        Ok(())
    }

    fn finish(self) -> Doc {
        self.encoder.named.set(Some(self.name));
        tagged(self.variant, Doc::Map(self.members))
    }
}

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl $trait for Fields<'_> {
            type Ok = Doc;
            type Error = EncodeError;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), EncodeError> {
                self.push(name, value)
            }
            fn end(self) -> Result<Doc, EncodeError> {
                Ok(self.finish())
            }
        }
    )*};
}

fields! { SerializeStruct SerializeStructVariant }
