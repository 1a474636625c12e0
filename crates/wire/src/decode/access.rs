//! What holds others, given to serde piece by piece: lists, structures and maps, unions.

use std::collections::HashSet;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer as _, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::{Context, Node};
use crate::Doc;
use crate::decode_error::{DecodeError, Misfit};

pub(super) struct Items<'c> {
    pub(super) items: std::vec::IntoIter<(String, Doc)>,
    /// Of each item.
    pub(super) rule: u16,
    pub(super) context: &'c Context<'c>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((number, doc)) = self.items.next() else {
            return Ok(None);
        };
        let (context, rule) = (self.context, self.rule);
        let node = Node { doc, rule, context };
        context.within(number, || seed.deserialize(node)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len().min(1024))
    }
}

/// Whose rule is known.
#[derive(Clone, Copy)]
pub(super) enum Within {
    /// That of a structure: each member has its own.
    Named(u16),
    /// That of each value of a map.
    Each(u16),
}

pub(super) struct Members<'c> {
    members: std::vec::IntoIter<(String, Doc)>,
    value: Option<(String, Doc)>,
    rule: Within,
    context: &'c Context<'c>,
}

impl<'c> Members<'c> {
    /// Refuses duplicates (repeated XML elements are lists by now) and drops nulls, which are absent.
    pub(super) fn new(
        members: Vec<(String, Doc)>,
        rule: Within,
        context: &'c Context<'c>,
    ) -> Result<Self, DecodeError> {
        let mut seen = HashSet::with_capacity(members.len());
        if let Some((twice, _)) = members.iter().find(|(name, _)| !seen.insert(name.as_str())) {
            return Err(DecodeError::new(Misfit::WrongType(format!(
                "the member {:?} is given twice",
                twice.chars().take(128).collect::<String>()
            ))));
        }
        Ok(Self {
            members: members.into_iter(),
            value: None,
            rule,
            context,
        })
    }
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let next = self.members.find(|(_, doc)| *doc != Doc::Null);
        let Some((name, doc)) = next else {
            return Ok(None);
        };
        let key: StringDeserializer<DecodeError> = name.clone().into_deserializer();
        self.value = Some((name, doc));
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        let (name, doc) = self.value.take().expect("serde asks for a key first");
        let context = self.context;
        let rule = match self.rule {
            Within::Each(rule) => rule,
            Within::Named(rule) => context.member(rule, &name, &doc),
        };
        let node = Node { doc, rule, context };
        context.within(name, || seed.deserialize(node))
    }
}

/// An enum's variant: a bare name, or a union's member.
pub(super) struct Chosen<'c> {
    pub(super) name: String,
    pub(super) content: Option<Doc>,
    /// Of its content.
    pub(super) rule: u16,
    pub(super) context: &'c Context<'c>,
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self), DecodeError> {
        let name: StringDeserializer<DecodeError> = self.name.clone().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Chosen<'_> {
    fn open<T>(
        self,
        inner: impl FnOnce(Node<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let (context, rule) = (self.context, self.rule);
        let doc = self
            .content
            .ok_or_else(|| DecodeError::wrong("a structure", "a string"))?;
        context.within(self.name, || inner(Node { doc, rule, context }))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.content {
            None => Ok(()),
            Some(doc) if doc.is_empty() => Ok(()),
            Some(doc) => Err(DecodeError::wrong("nothing", doc.kind())),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        self.open(|node| seed.deserialize(node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.open(|node| node.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.open(|node| node.deserialize_struct("", fields, visitor))
    }
}
