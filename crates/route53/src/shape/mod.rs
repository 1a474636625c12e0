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

/// Operations: method, path, status, input and output.
macro_rules! operations {
    ($($name:ident $method:ident $path:literal $status:literal -> $output:ty => $($need:ident($($of_need:tt)*)).+ { $($wire:literal $field:ident: $ty:ty,)* })*) => {$(
        #[derive(Debug, Clone, serde::Deserialize)]
        pub(crate) struct $name {
            $(#[serde(rename = $wire)] pub(crate) $field: $ty,)*
        }

        impl lath_authz::Authorized for $name {
            const SERVICE: &'static str = "route53";

            fn access() -> lath_authz::Access<Self> {
                lath_authz::Access::<Self>::new()$(.$need($($of_need)*))+
            }
        }

        impl lath_wire::Operation for $name {
            const NAME: &'static str = stringify!($name);
            const ROUTE: Option<lath_wire::Route> =
                Some(lath_wire::Route::$method(concat!("/2013-04-01/", $path), $status));
            type Output = $output;

            fn headers(output: &Self::Output) -> Vec<(&'static str, String)> {
                $crate::shape::Located::location(output)
                    .map(|path| ("Location", format!("https://route53.amazonaws.com/2013-04-01/{path}")))
                    .into_iter()
                    .collect()
            }
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

pub(crate) use {operations, structures, values};

/// What an answer says of where the new thing is: the path below the API's version.
pub(crate) trait Located {
    /// `None` where nothing was made.
    fn location(&self) -> Option<String> {
        None
    }
}
