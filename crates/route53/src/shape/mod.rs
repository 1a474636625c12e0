//! The operations as they travel: every name is the one on the wire.

mod change;
mod cidr;
mod delegation;
mod geo;
mod health;
mod limit;
mod record_set;
mod tag;
mod zone;

pub(crate) use change::*;
pub(crate) use cidr::*;
pub(crate) use delegation::*;
pub(crate) use geo::*;
pub(crate) use health::*;
pub(crate) use limit::*;
pub(crate) use record_set::*;
pub(crate) use tag::*;
pub(crate) use zone::*;

/// Structures, with their members' names on the wire.
macro_rules! structures {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $wire:literal $field:ident: $ty:ty,)* })*) => {$(
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        $(#[$meta])*
        pub(crate) struct $name {
            $($(#[$field_meta])* #[serde(rename = $wire)] pub(crate) $field: $ty,)*
        }
    )*};
}

/// Requests, with their members' names on the wire.
macro_rules! requests {
    ($($name:ident { $($wire:literal $field:ident: $ty:ty,)* })*) => {$(
        #[derive(Debug, Clone, serde::Deserialize)]
        pub(crate) struct $name {
            $(#[serde(rename = $wire)] pub(crate) $field: $ty,)*
        }
    )*};
}

/// Enums of bare values.
macro_rules! values {
    ($($(#[$meta:meta])* $name:ident { $($variant:ident = $wire:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $wire)] $variant,)*
        }

        impl $name {
            /// As it travels.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

pub(crate) use {requests, structures, values};

/// The header that says where the new thing is: the path below the API's version.
pub(crate) fn location(path: impl std::fmt::Display) -> (&'static str, String) {
    let url = format!("https://route53.amazonaws.com/2013-04-01/{path}");
    ("Location", url)
}
