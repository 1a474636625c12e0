//! The deserializer that feeds made-up values and watches what is asked of it.

use lath_model::Timestamp;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::knowledge::{Content, Knowledge, LIST, MAP, Path, Stopped};
use crate::{Blob, Shape};

/// The structures around a place, by name and first member, so that recursion is seen.
type Around = Vec<(&'static str, *const &'static str)>;

#[derive(Clone)]
pub(super) struct Probe<'k> {
    knowledge: &'k Knowledge,
    path: Path,
    around: Around,
    /// The nearest place around that can be empty.
    escape: Option<Path>,
}

impl Knowledge {
    pub(super) fn probe(&self) -> Probe<'_> {
        Probe {
            knowledge: self,
            path: Vec::new(),
            around: Vec::new(),
            escape: None,
        }
    }
}

impl Probe<'_> {
    fn inside(&self, name: &'static str) -> Self {
        let mut inner = self.clone();
        inner.path.push(name);
        inner
    }

    fn leaf(&self, shape: Shape) {
        self.knowledge.saw_leaf(&self.path, shape);
    }

    fn number(&self) -> i64 {
        self.leaf(Shape::Integer);
        self.knowledge.number(&self.path)
    }

    fn text(&self) -> String {
        self.leaf(Shape::String);
        self.knowledge.text(&self.path)
    }

    fn may_be_empty(&self) -> bool {
        self.knowledge.fills(&self.path)
    }

    fn members<'de, V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        let here = (name, fields.as_ptr());
        if self.around.contains(&here) {
            self.knowledge.saw_recursion(&self.path, name);
            if let Some(escape) = &self.escape {
                self.knowledge.stay_empty(escape);
            }
            return Err(Stopped {
                handled: true,
                ..Stopped::plain()
            });
        }
        self.around.push(here);
        self.knowledge.saw_struct(&self.path, name, fields);
        let mut last = None;
        let outcome = visitor.visit_map(Members {
            probe: &self,
            fields: fields.iter(),
            last: &mut last,
        });
        outcome.map_err(|stopped| self.explained(stopped, last))
    }

    /// Notes where a member was missing, and which member is a second name of another.
    fn explained(&self, mut stopped: Stopped, last: Option<&'static str>) -> Stopped {
        if stopped.within.is_some() {
            return stopped;
        }
        if stopped.missing.is_some() {
            stopped.within = Some(self.path.clone());
        }
        if let Some(last) = last.filter(|_| stopped.duplicate) {
            self.knowledge.saw_alias(&self.inside(last).path);
            stopped.duplicate = false;
            stopped.handled = true;
        }
        stopped
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
            visitor.visit_i64(self.number())
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stopped;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        self.leaf(Shape::Any);
        visitor.visit_string("text".into())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        self.leaf(Shape::Boolean);
        visitor.visit_bool(true)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        self.leaf(Shape::Float);
        visitor.visit_f64(1.0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        self.leaf(Shape::String);
        visitor.visit_char('c')
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_string(self.text())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        self.leaf(Shape::Blob);
        visitor.visit_byte_buf(b"bytes".to_vec())
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stopped> {
        self.knowledge.saw_option(&self.path);
        if !self.may_be_empty() {
            return visitor.visit_none();
        }
        self.escape = Some(self.path.clone());
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        self.leaf(Shape::Unit);
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        match name {
            Timestamp::NEWTYPE => {
                self.leaf(Shape::Timestamp);
                visitor.visit_i64(1_577_836_800_000)
            }
            Blob::NEWTYPE => self.deserialize_byte_buf(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stopped> {
        self.knowledge.saw_list(&self.path);
        let left = usize::from(self.may_be_empty());
        self.escape = Some(self.path.clone());
        visitor.visit_seq(Items { probe: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        self.knowledge.saw_list(&self.path);
        visitor.visit_seq(Items {
            probe: self,
            left: length,
        })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Stopped> {
        self.knowledge.saw_map(&self.path);
        let left = usize::from(self.may_be_empty());
        self.escape = Some(self.path.clone());
        visitor.visit_map(Entries { probe: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        self.members(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        self.knowledge.saw_enum(&self.path, variants);
        let variant = self.knowledge.variant(&self.path, variants);
        let variant = variant.ok_or_else(Stopped::plain)?;
        visitor.visit_enum(Chosen {
            probe: self,
            name,
            variant,
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_string(self.text())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stopped> {
        visitor.visit_unit()
    }
}

fn named<'de>(name: &'static str) -> StrDeserializer<'de, Stopped> {
    name.into_deserializer()
}

struct Items<'k> {
    probe: Probe<'k>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Stopped;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stopped> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.probe.inside(LIST)).map(Some)
    }
}

struct Entries<'k> {
    probe: Probe<'k>,
    left: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Stopped;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stopped> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.probe.inside("key")).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stopped> {
        seed.deserialize(self.probe.inside(MAP))
    }
}

struct Members<'p, 'k> {
    probe: &'p Probe<'k>,
    fields: std::slice::Iter<'static, &'static str>,
    last: &'p mut Option<&'static str>,
}

impl<'de> MapAccess<'de> for Members<'_, '_> {
    type Error = Stopped;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stopped> {
        let knowledge = self.probe.knowledge;
        let next = self
            .fields
            .find(|name| knowledge.feeds(&self.probe.inside(name).path));
        let Some(name) = next else {
            return Ok(None);
        };
        *self.last = Some(name);
        seed.deserialize(named(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stopped> {
        let name = self.last.expect("serde asks for a key first");
        let inner = self.probe.inside(name);
        let path = inner.path.clone();
        let knowledge = self.probe.knowledge;
        let outcome = seed.deserialize(inner);
        match &outcome {
            Err(stopped) if stopped.handled || knowledge.leaves_out_within(&path) => {}
            Err(stopped) if stopped.missing.is_some() => knowledge.give_up(&path),
            Err(_) => knowledge.refused(&path),
            Ok(_) => {}
        }
        outcome.map_err(|stopped| Stopped {
            handled: true,
            ..stopped
        })
    }
}

struct Chosen<'k> {
    probe: Probe<'k>,
    name: &'static str,
    variant: &'static str,
}

impl<'k> Chosen<'k> {
    fn content(&self, content: Content) -> Probe<'k> {
        self.probe
            .knowledge
            .saw_content(&self.probe.path, self.variant, content);
        self.probe.inside(self.variant)
    }
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = Stopped;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Stopped> {
        Ok((seed.deserialize(named(self.variant))?, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Stopped;

    fn unit_variant(self) -> Result<(), Stopped> {
        self.content(Content::Bare);
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Stopped> {
        seed.deserialize(self.content(Content::Filled))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        self.content(Content::Filled)
            .deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stopped> {
        let name = self.name;
        self.content(Content::Filled).members(name, fields, visitor)
    }
}
