//! Ids and keys from the machine's random source.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng as _;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// `prefix` and 17 characters, as unique ids of roles, users and policies are.
pub fn id(prefix: &str) -> String {
    letters(prefix, 17)
}

/// `AKIA` or `ASIA` and 16 characters.
pub fn access_key_id(prefix: &str) -> String {
    letters(prefix, 16)
}

fn letters(prefix: &str, count: usize) -> String {
    let mut rng = rand::rng();
    let letter = |_| char::from(BASE32[rng.random_range(0..32)]);
    let rest: String = (0..count).map(letter).collect();
    format!("{prefix}{rest}")
}

/// 40 characters.
pub fn secret() -> String {
    let mut bytes = [0; 30];
    rand::rng().fill(&mut bytes);
    STANDARD.encode(bytes)
}
