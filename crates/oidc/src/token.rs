//! JSON Web Tokens in their compact form (RFC 7519, RFC 7515).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Longest token, in bytes: what STS takes as `WebIdentityToken`.
const LONGEST: usize = 20_000;
/// How far an issuer's clock may be ahead, in seconds.
const AHEAD: i64 = 300;

/// The text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is no JSON Web Token")]
pub struct NotAToken;

/// A token that was read, of which nothing is proved yet.
#[derive(Debug, Clone)]
pub struct Token {
    pub(crate) algorithm: String,
    key_id: Option<String>,
    claims: Claims,
    /// What is signed: header and claims as they came.
    pub(crate) signed: String,
    pub(crate) signature: Vec<u8>,
}

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// When it has not three parts, a part is not base64url without padding, the first two are not objects of JSON, the
    /// header names no algorithm, or it says that something must be understood that is not known here (`crit`).
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        if text.len() > LONGEST {
            return Err(NotAToken);
        }
        let parts: Vec<&str> = text.splitn(4, '.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(NotAToken);
        };
        let signed = text[..header.len() + 1 + claims.len()].to_owned();
        let header = object(header)?;
        let Some(Value::String(algorithm)) = header.get("alg") else {
            return Err(NotAToken);
        };
        if header.contains_key("crit") {
            return Err(NotAToken);
        }
        let key_id = header.get("kid").and_then(Value::as_str);
        Ok(Self {
            algorithm: algorithm.clone(),
            key_id: key_id.map(str::to_owned),
            claims: Claims(object(claims)?),
            signed,
            signature: decoded(signature)?,
        })
    }

    /// The key that the token says it is signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What it claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, NotAToken> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| NotAToken)
}

fn object(part: &str) -> Result<Map<String, Value>, NotAToken> {
    match serde_json::from_slice(&decoded(part)?) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(NotAToken),
    }
}

/// A claim that has to be there is not, or is of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Missing a required claim: {0}")]
pub struct MissingClaim(pub &'static str);

/// The token does not count at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTime {
    /// It expired, at this second since the epoch.
    Expired(i64),
    /// It does not count before this second since the epoch.
    Early(i64),
}

/// What a token claims.
#[derive(Debug, Clone)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Any claim.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Every claim with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A claim that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A claim that is a text or several.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Who issued the token: `iss`.
    ///
    /// # Errors
    /// When it does not say.
    pub fn issuer(&self) -> Result<&str, MissingClaim> {
        self.needed("iss")
    }

    /// Whom it is about: `sub`.
    ///
    /// # Errors
    /// When it does not say.
    pub fn subject(&self) -> Result<&str, MissingClaim> {
        self.needed("sub")
    }

    /// Whom it is for: `aud`.
    ///
    /// # Errors
    /// When it does not say.
    pub fn audiences(&self) -> Result<Vec<&str>, MissingClaim> {
        let audiences = self.texts("aud");
        if audiences.iter().all(|it| it.is_empty()) {
            return Err(MissingClaim("aud"));
        }
        Ok(audiences)
    }

    fn needed(&self, name: &'static str) -> Result<&str, MissingClaim> {
        let text = self.text(name).filter(|text| !text.is_empty());
        text.ok_or(MissingClaim(name))
    }

    fn seconds(&self, name: &str) -> Option<i64> {
        let number = self.get(name)?;
        // A fraction of a second counts for nothing; casts of floats saturate.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a time beyond i64 is as far as i64 goes"
        )]
        let whole = |it: f64| it.floor() as i64;
        number.as_i64().or_else(|| number.as_f64().map(whole))
    }

    /// Whether the token counts at `now`, in seconds since the epoch: it must say when it ends and when it was issued.
    ///
    /// # Errors
    /// When it does not say.
    pub fn check_time(&self, now: i64) -> Result<Result<(), BadTime>, MissingClaim> {
        let ends = self.seconds("exp").ok_or(MissingClaim("exp"))?;
        let issued = self.seconds("iat").ok_or(MissingClaim("iat"))?;
        if now >= ends {
            return Ok(Err(BadTime::Expired(ends)));
        }
        let begins = self.seconds("nbf").unwrap_or(issued).max(issued);
        if begins > now.saturating_add(AHEAD) {
            return Ok(Err(BadTime::Early(begins)));
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn token(header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", encode(header), encode(claims))
    }

    #[test]
    fn a_token_has_three_parts_and_an_algorithm() {
        let good = token(&json!({"alg": "ES256", "kid": "k"}), &json!({"iss": "x"}));
        let read = Token::parse(&good).unwrap();
        assert_eq!(read.key_id(), Some("k"));
        assert_eq!(read.claims().issuer(), Ok("x"));
        assert_eq!(read.signature, b"sig");
        assert!(good.starts_with(&format!("{}.", read.signed)));
        let (head, body) = good.split_once('.').unwrap();
        for bad in [
            "",
            "..",
            "a.b.c",
            head,
            &format!("{head}."),
            &format!("{good}.x"),
            &format!("{head}.{body}="),
            &format!("{head} .{body}"),
            &token(&json!({}), &json!({})),
            &token(&json!({"alg": 1}), &json!({})),
            &token(&json!({"alg": "ES256", "crit": ["b64"]}), &json!({})),
            &token(&json!([]), &json!({})),
            &token(&json!({"alg": "ES256"}), &json!("x")),
            &token(
                &json!({"alg": "ES256", "x": "x".repeat(LONGEST)}),
                &json!({}),
            ),
        ] {
            assert_eq!(Token::parse(bad).unwrap_err(), NotAToken, "{bad}");
        }
    }

    #[test]
    fn claims_are_there_or_missed() {
        let claims = |value: Value| Claims(value.as_object().cloned().unwrap());
        assert_eq!(claims(json!({})).issuer(), Err(MissingClaim("iss")));
        assert_eq!(
            claims(json!({"sub": 1})).subject(),
            Err(MissingClaim("sub"))
        );
        assert_eq!(claims(json!({"aud": "a"})).audiences(), Ok(vec!["a"]));
        let two = claims(json!({"aud": ["a", "b"]}));
        assert_eq!(two.audiences(), Ok(vec!["a", "b"]));
        for none in [json!({}), json!({"aud": []}), json!({"aud": ""})] {
            assert_eq!(claims(none).audiences(), Err(MissingClaim("aud")));
        }
    }

    #[test]
    fn a_token_counts_for_a_time() {
        let at = |value: Value| Claims(value.as_object().cloned().unwrap()).check_time(1000);
        assert_eq!(at(json!({"exp": 1001, "iat": 900})), Ok(Ok(())));
        assert_eq!(
            at(json!({"exp": 1000.9, "iat": 900})),
            Ok(Err(BadTime::Expired(1000)))
        );
        assert_eq!(at(json!({"exp": 2000, "iat": 1300})), Ok(Ok(())));
        assert_eq!(
            at(json!({"exp": 2000, "iat": 1301})),
            Ok(Err(BadTime::Early(1301)))
        );
        assert_eq!(
            at(json!({"exp": 2000, "iat": 1, "nbf": 1400})),
            Ok(Err(BadTime::Early(1400)))
        );
        assert_eq!(at(json!({"iat": 1})), Err(MissingClaim("exp")));
        assert_eq!(
            at(json!({"exp": "2000", "iat": 1})),
            Err(MissingClaim("exp"))
        );
        assert_eq!(at(json!({"exp": 2000})), Err(MissingClaim("iat")));
        assert_eq!(at(json!({"exp": 1e300, "iat": 1})), Ok(Ok(())));
    }
}
