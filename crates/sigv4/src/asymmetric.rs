//! The key pair and signatures of SigV4A: ECDSA over P-256.

use hmac::{Hmac, Mac};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::PrimeField as _;
use p256::{FieldBytes, NonZeroScalar, Scalar};
use sha2::Sha256;

use crate::{Algorithm, Secret};

/// The longest signature in hexadecimal digits: DER of two 32-byte numbers takes at most 72 bytes.
const MAX_SIGNATURE: usize = 144;

/// Derives the private key of an access key by NIST SP 800-108 in counter mode with HMAC-SHA256, repeated with
/// the next counter until the result is a scalar of the curve. `None` needs 254 misses, each with probability
/// 2^-32.
///
/// Arithmetic on the secret runs in constant time (RustCrypto's scalars).
pub(crate) fn signing_key(secret: &Secret, access_key_id: &str) -> Option<SigningKey> {
    let input = format!("AWS4A{}", secret.reveal());
    (1..=254).find_map(|counter| {
        let candidate = derived(input.as_bytes(), access_key_id, counter);
        let scalar = Option::<Scalar>::from(Scalar::from_repr(candidate))? + Scalar::ONE;
        let scalar = Option::<NonZeroScalar>::from(NonZeroScalar::new(scalar))?;
        Some(SigningKey::from(scalar))
    })
}

fn derived(key: &[u8], access_key_id: &str, counter: u8) -> FieldBytes {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    // i, label, separator, context, length in bits.
    mac.update(&1_u32.to_be_bytes());
    mac.update(Algorithm::EcdsaP256Sha256.name().as_bytes());
    mac.update(&[0]);
    mac.update(access_key_id.as_bytes());
    mac.update(&[counter]);
    mac.update(&256_u32.to_be_bytes());
    mac.finalize().into_bytes()
}

/// Signs a string. Returns the signature as hexadecimal DER.
pub(crate) fn signature(key: &SigningKey, string_to_sign: &str) -> String {
    let signature: Signature = key.sign(string_to_sign.as_bytes());
    hex::encode(signature.to_der())
}

/// Verifies a signature of a string by the key pair of an access key.
pub(crate) fn verifies(
    secret: &Secret,
    access_key_id: &str,
    string_to_sign: &str,
    signature: &str,
) -> bool {
    let der = Some(signature).filter(|it| it.len() <= MAX_SIGNATURE);
    let der = der.and_then(|it| hex::decode(it).ok());
    let signature = der.and_then(|it| Signature::from_der(&it).ok());
    match (signature, signing_key(secret, access_key_id)) {
        (Some(signature), Some(key)) => VerifyingKey::from(&key)
            .verify(string_to_sign.as_bytes(), &signature)
            .is_ok(),
        _ => false,
    }
}
