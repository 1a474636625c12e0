//! The requests and answers of the API, exactly as its model names them.

mod access;
mod addon;
mod cluster;
mod identity;
mod identity_provider;
mod node_group;
mod update;

pub(crate) use access::*;
pub(crate) use addon::*;
pub(crate) use cluster::*;
pub(crate) use identity::*;
pub(crate) use identity_provider::*;
pub(crate) use node_group::*;
pub(crate) use update::*;

/// Structures of the wire.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name {
            $($(#[$attr])* pub(crate) $member: $type,)*
        }
    )*};
}

/// Words of the wire.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $text)] $word,)*
        }

        impl $name {
            /// As the wire prints it.
            #[allow(dead_code, reason = "not every word is printed outside of answers")]
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }
        }
    )*};
}

pub(crate) use {wire, words};

use serde::{Deserialize, Serialize};

wire! {
    /// An answer without members.
    Empty {}
}
