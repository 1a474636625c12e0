//! Sets of keys (RFC 7517), and what they prove.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

use crate::Token;

/// Most keys of each type in a set, as AWS takes them
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>).
const MOST: usize = 100;

/// The public keys of an issuer.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, where it says so.
    algorithm: Option<String>,
    public: Public,
}

#[derive(Debug, Clone)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The point, uncompressed, on this curve.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

/// Why a token is not proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The set has no key that the token names.
    #[error("the issuer has no such key")]
    NoKey,
    /// The algorithm is not known, or is none.
    #[error("the algorithm is not known")]
    Algorithm,
    /// The signature is not the issuer's.
    #[error("the signature is not the issuer's")]
    Signature,
}

enum Algorithm {
    Rsa(&'static RsaParameters),
    Ec(Curve, &'static dyn VerificationAlgorithm),
}

impl Algorithm {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            "ES256" => Self::Ec(Curve::P256, &ECDSA_P256_SHA256_FIXED),
            "ES384" => Self::Ec(Curve::P384, &ECDSA_P384_SHA384_FIXED),
            _ => return None,
        })
    }

    /// Whether a key that could be the one made the signature; `None` of a key of another type.
    fn verify(&self, key: &Public, token: &Token) -> Option<bool> {
        let (signed, signature) = (token.signed.as_bytes(), &token.signature);
        match (self, key) {
            (Self::Rsa(parameters), Public::Rsa { n, e }) => {
                let key = RsaPublicKeyComponents { n, e };
                Some(key.verify(parameters, signed, signature).is_ok())
            }
            (Self::Ec(wanted, algorithm), Public::Ec { curve, point }) if wanted == curve => {
                let key = UnparsedPublicKey::new(*algorithm, point);
                Some(key.verify(signed, signature).is_ok())
            }
            _ => None,
        }
    }
}

impl KeySet {
    /// Reads a set. Keys that are not for signatures, or of types that are not known, are passed over; so is what is more
    /// than AWS reads. `None` when it is no set at all.
    pub fn parse(set: &Value) -> Option<Self> {
        let keys = set.get("keys")?.as_array()?;
        let mut counts = [0, 0];
        let mut room = |key: &Key| {
            let count = match key.public {
                Public::Rsa { .. } => &mut counts[0],
                Public::Ec { .. } => &mut counts[1],
            };
            *count += 1;
            *count <= MOST
        };
        let keys = keys.iter().filter_map(Key::read);
        Some(Self(keys.filter(|key| room(key)).collect()))
    }

    /// Whether the set has the key that a token names.
    pub fn has(&self, key_id: Option<&str>) -> bool {
        self.candidates(key_id).next().is_some()
    }

    /// The keys with this id; all of them for a token that names none.
    fn candidates<'a>(&'a self, key_id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        let named = move |key: &&Key| key_id.is_none_or(|id| key.id.as_deref() == Some(id));
        self.0.iter().filter(named)
    }

    /// Proves that one of these keys signed a token.
    ///
    /// # Errors
    /// Why it does not.
    pub fn verify(&self, token: &Token) -> Result<(), Unproved> {
        let algorithm = Algorithm::of(&token.algorithm).ok_or(Unproved::Algorithm)?;
        let mut outcome = Err(Unproved::NoKey);
        for key in self.candidates(token.key_id()) {
            if key
                .algorithm
                .as_ref()
                .is_some_and(|it| *it != token.algorithm)
            {
                continue;
            }
            match algorithm.verify(&key.public, token) {
                Some(true) => return Ok(()),
                Some(false) => outcome = Err(Unproved::Signature),
                None => {}
            }
        }
        outcome
    }
}

impl Key {
    fn read(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(text(name)?.trim_end_matches('='))
                .ok()
        };
        if text("use").is_some_and(|it| it != "sig") {
            return None;
        }
        let public = match text("kty")? {
            "RSA" => {
                let whole = |bytes: Vec<u8>| {
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    bytes[zeros..].to_vec()
                };
                Public::Rsa {
                    n: whole(bytes("n")?),
                    e: whole(bytes("e")?),
                }
            }
            "EC" => {
                let (curve, length) = match text("crv")? {
                    "P-256" => (Curve::P256, 32),
                    "P-384" => (Curve::P384, 48),
                    _ => return None,
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != length || y.len() != length {
                    return None;
                }
                // SEC 1: 4 stands before both coordinates.
                let point = [vec![4], x, y].concat();
                Public::Ec { curve, point }
            }
            _ => return None,
        };
        Some(Self {
            id: text("kid").map(str::to_owned),
            algorithm: text("alg").map(str::to_owned),
            public,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
            let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Self(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
        }

        fn key(&self, id: &str) -> Value {
            let point = self.0.public_key().as_ref();
            let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
            json!({"kty": "EC", "crv": "P-256", "kid": id, "x": part(1..33), "y": part(33..65)})
        }

        fn token(&self, header: &Value) -> Token {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", encode(header), encode(&json!({"iss": "x"})));
            let signature = self
                .0
                .sign(&SystemRandom::new(), signed.as_bytes())
                .unwrap();
            let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
            Token::parse(&format!("{signed}.{signature}")).unwrap()
        }
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(&json!({"keys": keys})).unwrap()
    }

    #[test]
    fn the_named_key_proves_a_token() {
        let (ann, eve) = (Signer::new(), Signer::new());
        let keys = set(&[ann.key("ann"), eve.key("eve")]);
        let of = |signer: &Signer, header: Value| keys.verify(&signer.token(&header));
        assert_eq!(of(&ann, json!({"alg": "ES256", "kid": "ann"})), Ok(()));
        assert_eq!(
            of(&eve, json!({"alg": "ES256"})),
            Ok(()),
            "no name: any key"
        );
        let forged = of(&eve, json!({"alg": "ES256", "kid": "ann"}));
        assert_eq!(forged, Err(Unproved::Signature));
        let unknown = of(&ann, json!({"alg": "ES256", "kid": "bob"}));
        assert_eq!(unknown, Err(Unproved::NoKey));
        for algorithm in ["none", "HS256", "", "es256", "PS256"] {
            let outcome = of(&ann, json!({"alg": algorithm, "kid": "ann"}));
            assert_eq!(outcome, Err(Unproved::Algorithm), "{algorithm}");
        }
        // A key of another type is not the one that the token names.
        let outcome = of(&ann, json!({"alg": "RS256", "kid": "ann"}));
        assert_eq!(outcome, Err(Unproved::NoKey));
        assert_eq!(
            set(&[]).verify(&ann.token(&json!({"alg": "ES256"}))),
            Err(Unproved::NoKey)
        );
    }

    /// Made with OpenSSL.
    const RSA_TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogInIifQ.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIuZXhhbXBsZSIsICJzdWIiOiAicyJ9.n3WVG147xj3qfUAV5KCHHrCc6MERvb_lfRIC_ttNgoG5eUP_gdEY3UOXcoLBE7xYO1sCY27nWd14lpeVC-n88lP8zWMbODQ5udpJlnxYb577-asu2Q8EjFSAPesPM4PdzSPP-9sksXAnUMDIAiuCsswyk5iWC_dVzubAVz_4f48kKmam1Dxx7nwwtF1HB9BwyjaEXQQaBXG-jkQlDmGHOVmx4HoAOIPYNvCbOmRjDK9CATyKuq0oDcN7NCmX3fgPLvqNWPMSRD_ep8Su8XxbHSex_fWGLQ9eM1c2b00yz_4vz8G4RhFjVhpjQmN-tIOGRJ5dOgDUd_BRp8owwyHJgQ";
    const RSA_MODULUS: &str = "tMu2ZrWjifkcjv-91FLUgvNNBw2ATbPsyKIMQm45AIvN7FugsZNvh0DlS89W2N8hGrYBlmaxX6k5nfMXP3Itq5x3PAMTlyiLzNyMruVMU9CHq_2i6KdWqUuLnKYqBpePmhhaseu07LBLo9gs-KaowzmDj-hwgNM-Y8Nu2fEkuSSWhC1Hj95wvRGLMNuO-a7dYQOU-4ohhZwzAe4Cis61Vx_-WgMuBTahUJpUeH9ZddyLJGyMoncVTjUymSIBpfRE41yBqsdkBA0kTc1h3SVmcvPkEj4zT6fvk593RCzzBqy2QpqwoLFTW8atixyxoC2NLObPrsMGtGu9IRt1neTVjw";

    #[test]
    fn rsa_is_known_too() {
        let key = |n: &str| json!({"kty": "RSA", "kid": "r", "alg": "RS256", "n": n, "e": "AQAB"});
        let token = Token::parse(RSA_TOKEN).unwrap();
        assert_eq!(set(&[key(RSA_MODULUS)]).verify(&token), Ok(()));
        // A zero in front of the modulus, as some issuers write it.
        let mut padded = vec![0];
        padded.extend(URL_SAFE_NO_PAD.decode(RSA_MODULUS).unwrap());
        let padded = URL_SAFE_NO_PAD.encode(padded);
        assert_eq!(set(&[key(&padded)]).verify(&token), Ok(()));
        let short = set(&[key(&RSA_MODULUS[..128])]).verify(&token);
        assert_eq!(short, Err(Unproved::Signature), "a key of 768 bits");
        let other = RSA_TOKEN.replace(".ey", ".eX");
        let other = Token::parse(&other).map(|it| set(&[key(RSA_MODULUS)]).verify(&it));
        assert!(
            matches!(other, Err(_) | Ok(Err(Unproved::Signature))),
            "{other:?}"
        );
    }

    #[test]
    fn a_changed_token_is_not_proved() {
        let ann = Signer::new();
        let mut token = ann.token(&json!({"alg": "ES256", "kid": "ann"}));
        token.signed.push('x');
        assert_eq!(
            set(&[ann.key("ann")]).verify(&token),
            Err(Unproved::Signature)
        );
    }

    #[test]
    fn keys_for_other_ends_are_passed_over() {
        let ann = Signer::new();
        let with = |name: &str, value: &str| {
            let mut key = ann.key("ann");
            key[name] = json!(value);
            key
        };
        let token = ann.token(&json!({"alg": "ES256", "kid": "ann"}));
        for key in [
            with("use", "enc"),
            with("kty", "oct"),
            with("crv", "P-521"),
            with("alg", "ES384"),
            with("x", "AAAA"),
            with("x", "!"),
        ] {
            assert_eq!(
                set(std::slice::from_ref(&key)).verify(&token),
                Err(Unproved::NoKey),
                "{key}"
            );
        }
        assert_eq!(
            set(&[with("use", "sig"), with("alg", "ES256")]).verify(&token),
            Ok(())
        );
    }

    #[test]
    fn a_set_has_an_end() {
        let ann = Signer::new();
        let mut keys: Vec<Value> = (0..MOST).map(|it| ann.key(&it.to_string())).collect();
        keys.push(ann.key("beyond"));
        assert!(set(&keys).has(Some("99")) && !set(&keys).has(Some("beyond")));
        for none in [json!({}), json!([]), json!({"keys": {}})] {
            assert!(KeySet::parse(&none).is_none(), "{none}");
        }
    }
}
