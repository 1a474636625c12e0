//! Private keys: made, read in the three encodings that tools write, kept as PKCS #8.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaKeyPair,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::pem;

/// The kind and size of a key, by ACM's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// RSA, 2048 bits.
    #[serde(rename = "RSA_2048")]
    Rsa2048,
    /// RSA, 3072 bits.
    #[serde(rename = "RSA_3072")]
    Rsa3072,
    /// RSA, 4096 bits.
    #[serde(rename = "RSA_4096")]
    Rsa4096,
    /// The curve P-256.
    #[serde(rename = "EC_prime256v1")]
    P256,
    /// The curve P-384.
    #[serde(rename = "EC_secp384r1")]
    P384,
    /// The curve P-521.
    #[serde(rename = "EC_secp521r1")]
    P521,
}

impl KeyAlgorithm {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::P256,
        Self::P384,
        Self::P521,
    ];

    /// Whether keys are RSA's.
    pub fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    /// The algorithm's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA_2048",
            Self::Rsa3072 => "RSA_3072",
            Self::Rsa4096 => "RSA_4096",
            Self::P256 => "EC_prime256v1",
            Self::P384 => "EC_secp384r1",
            Self::P521 => "EC_secp521r1",
        }
    }

    pub(crate) fn of_modulus(bytes: usize) -> Option<Self> {
        match bytes {
            256 => Some(Self::Rsa2048),
            384 => Some(Self::Rsa3072),
            512 => Some(Self::Rsa4096),
            _ => None,
        }
    }
}

/// Why a private key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is none, or not PEM.
    #[error("it is no private key in PEM")]
    Malformed,
    /// It is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// Its kind or size is another than those of [`KeyAlgorithm`].
    #[error("its kind or size is not supported")]
    Unsupported,
    /// The host gives no random numbers.
    #[error("no key can be made")]
    Random,
}

/// A private key, PKCS #8. It does not print, and leaves no bytes behind.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    der: Zeroizing<Vec<u8>>,
    algorithm: KeyAlgorithm,
    public: Vec<u8>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

const CURVES: [(KeyAlgorithm, &EcdsaSigningAlgorithm); 3] = [
    (KeyAlgorithm::P256, &ECDSA_P256_SHA256_ASN1_SIGNING),
    (KeyAlgorithm::P384, &ECDSA_P384_SHA384_ASN1_SIGNING),
    (KeyAlgorithm::P521, &ECDSA_P521_SHA512_ASN1_SIGNING),
];

impl PrivateKey {
    /// A new one.
    ///
    /// # Errors
    /// The host gives no random numbers.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let size = match algorithm {
            KeyAlgorithm::Rsa2048 => KeySize::Rsa2048,
            KeyAlgorithm::Rsa3072 => KeySize::Rsa3072,
            KeyAlgorithm::Rsa4096 => KeySize::Rsa4096,
            curve => {
                let (_, curve) = CURVES
                    .iter()
                    .find(|(known, _)| *known == curve)
                    .ok_or(KeyError::Unsupported)?;
                let pair = EcdsaKeyPair::generate(curve).map_err(|_| KeyError::Random)?;
                return Self::of_curve(algorithm, &pair);
            }
        };
        let pair = RsaKeyPair::generate(size).map_err(|_| KeyError::Random)?;
        Self::of_rsa(&pair)
    }

    /// Reads the only key in a PEM text: PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    /// There is none, or more than one, or it is encrypted or of an unsupported kind.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let blocks = pem::blocks(text).ok_or(KeyError::Malformed)?;
        // OpenSSL writes the name of the curve before the key.
        let mut keys = blocks.iter().filter(|it| it.label != "EC PARAMETERS");
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(KeyError::Malformed);
        };
        if key.has_headers || key.label == "ENCRYPTED PRIVATE KEY" {
            return Err(KeyError::Encrypted);
        }
        match key.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&key.bytes),
            "RSA PRIVATE KEY" => {
                let pair = RsaKeyPair::from_der(&key.bytes);
                Self::of_rsa(&pair.map_err(|_| KeyError::Unsupported)?)
            }
            "EC PRIVATE KEY" => Self::of_any_curve(&key.bytes).ok_or(KeyError::Unsupported),
            _ => Err(KeyError::Malformed),
        }
    }

    /// Reads PKCS #8.
    ///
    /// # Errors
    /// It is none, or of an unsupported kind.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Some(key) = Self::of_any_curve(der) {
            return Ok(key);
        }
        match RsaKeyPair::from_pkcs8(der) {
            Ok(pair) => Self::of_rsa(&pair),
            Err(_) if pkcs8::PrivateKeyInfo::try_from(der).is_ok() => Err(KeyError::Unsupported),
            Err(_) => Err(KeyError::Malformed),
        }
    }

    fn of_any_curve(der: &[u8]) -> Option<Self> {
        CURVES.iter().find_map(|(algorithm, curve)| {
            let pair = EcdsaKeyPair::from_private_key_der(curve, der).ok()?;
            Self::of_curve(*algorithm, &pair).ok()
        })
    }

    fn of_curve(algorithm: KeyAlgorithm, pair: &EcdsaKeyPair) -> Result<Self, KeyError> {
        let der = pair.to_pkcs8v1().map_err(|_| KeyError::Unsupported)?;
        Ok(Self {
            der: Zeroizing::new(der.as_ref().to_vec()),
            algorithm,
            public: pair.public_key().as_ref().to_vec(),
        })
    }

    fn of_rsa(pair: &RsaKeyPair) -> Result<Self, KeyError> {
        let algorithm =
            KeyAlgorithm::of_modulus(pair.public_modulus_len()).ok_or(KeyError::Unsupported)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Unsupported)?;
        Ok(Self {
            der: Zeroizing::new(der.as_ref().to_vec()),
            algorithm,
            public: pair.public_key().as_ref().to_vec(),
        })
    }

    /// PKCS #8, DER.
    pub fn reveal(&self) -> &[u8] {
        &self.der
    }

    /// PKCS #8, PEM.
    pub fn reveal_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode("PRIVATE KEY", &self.der))
    }

    /// Its kind and size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Its public part as certificates hold it: PKCS #1, or a point of the curve.
    pub fn public(&self) -> &[u8] {
        &self.public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::process::Command;

    fn openssl(arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    #[test]
    fn keys_are_read_as_tools_write_them() {
        for (arguments, algorithm) in [
            (
                &["genrsa", "-traditional", "2048"][..],
                KeyAlgorithm::Rsa2048,
            ),
            (&["genrsa", "3072"], KeyAlgorithm::Rsa3072),
            (
                &["ecparam", "-name", "prime256v1", "-genkey"],
                KeyAlgorithm::P256,
            ),
            (
                &["ecparam", "-name", "secp384r1", "-genkey", "-noout"],
                KeyAlgorithm::P384,
            ),
            (
                &[
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-521",
                ],
                KeyAlgorithm::P521,
            ),
        ] {
            let key = PrivateKey::from_pem(&openssl(arguments)).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            let again = PrivateKey::from_pem(key.reveal_pem().as_bytes()).unwrap();
            assert!(again == key);
            assert_eq!(format!("{key:?}"), "PrivateKey(..)");
        }
    }

    #[test]
    fn other_keys_are_refused() {
        let error = |text: &[u8]| PrivateKey::from_pem(text).unwrap_err();
        assert_eq!(error(b""), KeyError::Malformed);
        assert_eq!(
            error(&openssl(&["genpkey", "-algorithm", "ed25519"])),
            KeyError::Unsupported
        );
        assert_eq!(error(&openssl(&["genrsa", "1024"])), KeyError::Unsupported);
        let old = [
            "genrsa",
            "-traditional",
            "-aes128",
            "-passout",
            "pass:abcd",
            "2048",
        ];
        assert_eq!(error(&openssl(&old)), KeyError::Encrypted);
        let new = ["genrsa", "-aes128", "-passout", "pass:abcd", "2048"];
        assert_eq!(error(&openssl(&new)), KeyError::Encrypted);
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        assert_eq!(
            error(key.reveal_pem().repeat(2).as_bytes()),
            KeyError::Malformed
        );
    }
}
