//! The one access key that is good for the toys.

#![allow(unreachable_pub, reason = "each test binary has its own")]

use lath_sigv4::{Credential, Credentials, LookupError, Secret};
use lath_wire::{KeyOwner, Principal};

pub const KEY: &str = "AKIATOYTOYTOYTOYTOYT";
pub const SECRET: &str = "toy/secret+key";

pub struct Keys;

impl Credentials for Keys {
    type Owner = KeyOwner;
    fn lookup(
        &self,
        access_key_id: &str,
        token: Option<&str>,
    ) -> Result<Credential<KeyOwner>, LookupError> {
        match (access_key_id, token) {
            (KEY, None) => Ok(Credential {
                secret: Secret::new(SECRET),
                owner: KeyOwner {
                    account: "123456789012".into(),
                    principal: Principal {
                        arn: "arn:aws:iam::123456789012:root".into(),
                        user_id: "123456789012".into(),
                    },
                },
            }),
            (KEY, Some(_)) => Err(LookupError::BadToken),
            _ => Err(LookupError::UnknownKey),
        }
    }
}
