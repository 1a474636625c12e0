//! Tokens of OpenID Connect issuers: the first line is the token, the second a set of keys.

use lath_oidc::{KeySet, Token, Unproved};

use crate::text;

/// A key that signed nothing which this target is given.
const OTHER: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

pub(crate) fn run(bytes: &[u8]) {
    let text = text(bytes);
    let (token, keys) = text.split_once('\n').unwrap_or((text, ""));
    let keys = serde_json::from_str(keys).ok();
    let keys = keys.and_then(|set| KeySet::parse(&set)).unwrap_or_default();
    let Ok(read) = Token::parse(token) else {
        return;
    };
    assert!(token.len() <= 20_000, "a long token was read");
    let claims = read.claims();
    assert!(claims.issuer().is_ok_and(|it| !it.is_empty()) || claims.issuer().is_err());
    assert!(claims.audiences().is_ok_and(|it| !it.is_empty()) || claims.audiences().is_err());
    let _ = (claims.subject(), claims.check_time(0), claims.check_time(i64::MAX));
    if keys.verify(&read).is_ok() {
        assert!(keys.has(read.key_id()), "a key proved what it does not name");
    }
    let other = serde_json::from_str(OTHER).ok();
    let other = other.and_then(|set| KeySet::parse(&set)).unwrap_or_default();
    assert!(other.has(None), "the key is one");
    let proved = other.verify(&read);
    assert!(
        matches!(proved, Err(Unproved::NoKey | Unproved::Algorithm | Unproved::Signature)),
        "a signature was guessed"
    );
}
