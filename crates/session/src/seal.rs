//! The installation's key for session tokens: every region opens the tokens of all regions.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Base64 of 32 bytes.
const LENGTH: usize = 44;
const NONCE: usize = 12;
/// The longest sealed text that is opened, in characters.
const LONGEST: usize = 32 << 10;

/// The purpose of a sealed text. A text sealed for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A session token.
    Session,
    /// The details of a refusal.
    Refusal,
    /// A password of the image registry, or an address in it.
    Registry,
    /// A certificate's private key.
    Certificate,
    /// What a client of a service keeps to stay at its target.
    Persistence,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"lath session 1",
            Self::Refusal => b"lath refusal 1",
            Self::Registry => b"lath registry 1",
            Self::Certificate => b"lath certificate 1",
            Self::Persistence => b"lath persistence 1",
        }
    }
}

/// A key for sealing (AES-256-GCM). Its `Debug` output hides the key.
#[derive(Clone)]
pub struct SealingKey {
    key: Arc<LessSafeKey>,
    text: Arc<str>,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

impl SealingKey {
    /// A new random key.
    pub fn random() -> Self {
        Self::of(&random::<32>())
    }

    /// Parses the text of [`SealingKey::reveal`]; ignores surrounding white space.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let bytes = STANDARD.decode(text).ok()?;
        let bytes: [u8; 32] = bytes.try_into().ok()?;
        (text.len() == LENGTH).then(|| Self::of(&bytes))
    }

    /// The secret key as base64 of 32 bytes, to store it or to send it to a node.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    fn of(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("the algorithm takes 32 bytes");
        Self {
            key: Arc::new(LessSafeKey::new(key)),
            text: STANDARD.encode(bytes).into(),
        }
    }

    /// Seals a text, which only this key opens, and only for this purpose.
    pub fn seal(&self, purpose: Purpose, plain: &[u8]) -> String {
        let nonce = random::<NONCE>();
        let mut sealed = plain.to_vec();
        let aad = Aad::from(purpose.label());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .expect("texts are far below the 64 GiB that the algorithm takes");
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        STANDARD.encode(whole)
    }

    /// Opens a sealed text; `None` when it was not sealed with this key for this purpose, or was changed.
    pub fn open(&self, purpose: Purpose, text: &str) -> Option<Vec<u8>> {
        if text.len() > LONGEST {
            return None;
        }
        let whole = STANDARD.decode(text).ok()?;
        let (nonce, sealed) = whole.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let aad = Aad::from(purpose.label());
        let plain = self.key.open_in_place(nonce, aad, &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the machine's random source works, or nothing here is safe");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_for_the_same_purpose_only() {
        let key = SealingKey::random();
        let again = SealingKey::parse(format!("{}\n", key.reveal()).as_bytes()).unwrap();
        let sealed = key.seal(Purpose::Session, b"text");
        let opened = again.open(Purpose::Session, &sealed);
        assert_eq!(opened.as_deref(), Some(&b"text"[..]));
        assert_eq!(again.open(Purpose::Refusal, &sealed), None);
        assert_eq!(SealingKey::random().open(Purpose::Session, &sealed), None);
        for at in [0, 5, 20, sealed.len() - 3] {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(key.open(Purpose::Session, &forged), None, "{at}");
        }
        for junk in ["", "AAAA", "!", &"A".repeat(100_000)] {
            assert_eq!(key.open(Purpose::Session, junk), None);
        }
    }
}
