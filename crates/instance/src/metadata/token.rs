//! Session tokens: who may use one and until when is in the token itself, under a keyed hash, so
//! nothing is remembered and no instance can make Lath remember much.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lath_model::Timestamp;
use lath_model::id::InstanceId;
use sha2::{Digest, Sha256};

/// Seconds a token may live.
pub(super) const TTL: std::ops::RangeInclusive<u32> = 1..=21_600;

const MAC: usize = 32;
const EXPIRY: usize = 8;

/// Makes and judges tokens. Those of an earlier process are void; clients ask for new ones then.
#[derive(Debug)]
pub(super) struct Tokens {
    inner: [u8; 32],
    outer: [u8; 32],
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self {
            inner: rand::random(),
            outer: rand::random(),
        }
    }

    /// A token for one instance.
    pub(super) fn make(&self, instance: &InstanceId, now: Timestamp, ttl_seconds: u32) -> String {
        let ttl = std::time::Duration::from_secs(ttl_seconds.into());
        let expiry = now.plus(ttl).as_millis().to_be_bytes();
        let mut bytes = expiry.to_vec();
        bytes.extend(self.mac(instance, &expiry));
        STANDARD.encode(bytes)
    }

    /// Whether `token` is good for `instance` now.
    pub(super) fn is_good(&self, token: &[u8], instance: &InstanceId, now: Timestamp) -> bool {
        let Ok(bytes) = STANDARD.decode(token) else {
            return false;
        };
        let Some((expiry, mac)) = bytes.split_first_chunk::<EXPIRY>() else {
            return false;
        };
        same(mac, &self.mac(instance, expiry)) && i64::from_be_bytes(*expiry) > now.as_millis()
    }

    fn mac(&self, instance: &InstanceId, expiry: &[u8; EXPIRY]) -> [u8; MAC] {
        let inner = Sha256::new()
            .chain_update(self.inner)
            .chain_update(expiry)
            .chain_update(instance.as_str())
            .finalize();
        Sha256::new()
            .chain_update(self.outer)
            .chain_update(inner)
            .finalize()
            .into()
    }
}

/// Takes the same time wherever they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_instance_and_its_time() {
        let tokens = Tokens::new();
        let (mine, other) = (InstanceId::random(), InstanceId::random());
        let at = Timestamp::from_millis;
        let token = tokens.make(&mine, at(1_000), 60);
        let mut forged = token.clone().into_bytes();
        forged[3] ^= 1;
        for (name, tokens, token, who, now, good) in [
            ("fresh", &tokens, token.as_bytes(), &mine, 2_000, true),
            (
                "last moment",
                &tokens,
                token.as_bytes(),
                &mine,
                60_999,
                true,
            ),
            ("late", &tokens, token.as_bytes(), &mine, 61_000, false),
            ("another's", &tokens, token.as_bytes(), &other, 2_000, false),
            ("forged", &tokens, &forged, &mine, 2_000, false),
            ("short", &tokens, b"AAAA", &mine, 2_000, false),
            ("no base64", &tokens, b"\xff", &mine, 2_000, false),
            (
                "another process",
                &Tokens::new(),
                token.as_bytes(),
                &mine,
                2_000,
                false,
            ),
        ] {
            assert_eq!(tokens.is_good(token, who, at(now)), good, "{name}");
        }
    }
}
