//! Private keys as they leave: encrypted with a passphrase.

use pkcs8::PrivateKeyInfo;
use pkcs8::pkcs5::pbes2;
use zeroize::Zeroizing;

use crate::key::{KeyError, PrivateKey};
use crate::pem;

/// As OpenSSL 3 derives keys, and five times its rounds.
const ROUNDS: u32 = 10_000;

impl PrivateKey {
    /// Encrypted PKCS #8 in PEM: PBES2 with PBKDF2 (HMAC-SHA256) and AES-256-CBC.
    ///
    /// # Errors
    /// The host gives no random numbers.
    pub fn encrypted(&self, passphrase: &[u8]) -> Result<Zeroizing<String>, KeyError> {
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        for bytes in [&mut salt, &mut iv] {
            aws_lc_rs::rand::fill(bytes).map_err(|_| KeyError::Random)?;
        }
        let parameters = pbes2::Parameters::pbkdf2_sha256_aes256cbc(ROUNDS, &salt, &iv);
        let parameters = parameters.map_err(|_| KeyError::Random)?;
        let key = PrivateKeyInfo::try_from(self.reveal()).map_err(|_| KeyError::Malformed)?;
        let encrypted = key.encrypt_with_params(parameters, passphrase);
        let encrypted = encrypted.map_err(|_| KeyError::Malformed)?;
        Ok(Zeroizing::new(pem::encode(
            "ENCRYPTED PRIVATE KEY",
            encrypted.as_bytes(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyAlgorithm;

    use std::process::Command;

    #[test]
    fn openssl_opens_an_exported_key_with_its_passphrase_only() {
        for algorithm in [
            KeyAlgorithm::P256,
            KeyAlgorithm::P521,
            KeyAlgorithm::Rsa2048,
        ] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("key.pem");
            std::fs::write(&path, key.encrypted(b"let me in").unwrap().as_bytes()).unwrap();
            let open = |passphrase: &str| {
                Command::new("openssl")
                    .args(["pkey", "-passin", passphrase, "-in"])
                    .arg(&path)
                    .output()
                    .unwrap()
            };
            let opened = open("pass:let me in");
            assert!(opened.status.success(), "{opened:?}");
            assert!(PrivateKey::from_pem(&opened.stdout).unwrap() == key);
            assert!(!open("pass:other").status.success());
        }
    }
}
