use std::fmt;
use std::str::FromStr;

/// A record type by its number (RFC 1035, 3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u16);

macro_rules! kinds {
    ($($name:ident = $number:literal),* $(,)?) => {
        impl Kind {
            $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: Self = Self($number);)*

            fn known(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }
        }

        impl FromStr for Kind {
            type Err = UnknownKind;
            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text { $(stringify!($name) => Ok(Self($number)),)* _ => Err(UnknownKind) }
            }
        }
    };
}

kinds! {
    A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, HINFO = 13, MX = 15, TXT = 16, AAAA = 28, SRV = 33,
    NAPTR = 35, DS = 43, SSHFP = 44, TLSA = 52, SVCB = 64, HTTPS = 65, SPF = 99, ANY = 255, CAA = 257,
}

/// The text is not the name of a known record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a known record type")]
pub struct UnknownKind;

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(name) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}
