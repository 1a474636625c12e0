use std::sync::Arc;

use lath_model::Timestamp;
use lath_model::id::KeyPairId;
use lath_store::{Record, View};
use serde::{Deserialize, Serialize};

/// A key pair: its public half. The private one is given out once and not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Its id.
    pub id: KeyPairId,
    /// Its name, unique in the region.
    pub name: String,
    /// Its algorithm.
    pub kind: KeyKind,
    /// As AWS computes it: see `lath_ec2_compute`'s key pairs.
    pub fingerprint: String,
    /// In OpenSSH form, on one line.
    pub public_key: String,
    /// When it was made or imported.
    pub created_at: Timestamp,
}

/// A key's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyKind {
    /// RSA, 2048 bits when made here.
    Rsa,
    /// Ed25519.
    Ed25519,
}

impl KeyKind {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl Record for KeyPair {
    const KIND: &'static str = "ec2.key-pair";
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}

impl KeyPair {
    /// The name of the key pair of this id, which is what policies know it by; the id where there is none.
    pub fn name_of(view: &View, id: &str) -> String {
        let pair = view.get::<Self>(id);
        pair.map_or_else(|| id.to_owned(), |pair| pair.name.clone())
    }

    /// The key pair of this name.
    pub fn named(view: &View, name: &str) -> Option<Arc<Self>> {
        view.by::<Self>("name", name).next()
    }
}
