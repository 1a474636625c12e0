//! Chains: whether each certificate was issued by the next.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};

use crate::certificate::Certificate;
use crate::key::KeyAlgorithm;

/// The most certificates of a chain: each costs the check of a signature.
pub const MOST_CERTIFICATES: usize = 10;
/// The bit of `KeyUsage` for signing certificates.
const SIGNS_CERTIFICATES: u16 = 5;

/// Whether `issuer` issued `certificate`: its name, its right to, and its signature. SHA-1 signs nothing here.
pub fn issued(issuer: &Certificate, certificate: &Certificate) -> bool {
    let may = issuer.is_authority
        && (issuer.usages.key.is_none() || issuer.usages.has(SIGNS_CERTIFICATES));
    may && issuer.subject_der == certificate.issuer_der && signed(issuer, certificate)
}

/// Whether the key of `signer` signed it.
pub(crate) fn signed(signer: &Certificate, certificate: &Certificate) -> bool {
    let Some(algorithm) = signer.key_algorithm else {
        return false;
    };
    verified(
        algorithm,
        &signer.public,
        &certificate.signature_oid,
        &certificate.signed,
        &certificate.signature,
    )
}

pub(crate) fn verified(
    key: KeyAlgorithm,
    public: &[u8],
    signature_oid: &str,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Some(algorithm) = verification(signature_oid, key) else {
        return false;
    };
    let public = UnparsedPublicKey::new(algorithm, public);
    public.verify(message, signature).is_ok()
}

/// Whether the chain certifies the leaf: each certificate issued the one before, the first the leaf, within their path lengths.
/// Without a chain the leaf must have signed itself.
pub fn verify(leaf: &Certificate, chain: &[Certificate]) -> bool {
    if chain.is_empty() {
        return leaf.names_itself() && signed(leaf, leaf);
    }
    if chain.len() > MOST_CERTIFICATES {
        return false;
    }
    let mut below = leaf;
    for (at, issuer) in chain.iter().enumerate() {
        let within = issuer.path_length.is_none_or(|most| at <= most as usize);
        if !within || !issued(issuer, below) {
            return false;
        }
        below = issuer;
    }
    true
}

fn verification(oid: &str, key: KeyAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
    use KeyAlgorithm::{P256, P384, P521};
    Some(match (oid, key) {
        ("1.2.840.113549.1.1.11", it) if it.is_rsa() => &RSA_PKCS1_2048_8192_SHA256,
        ("1.2.840.113549.1.1.12", it) if it.is_rsa() => &RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", it) if it.is_rsa() => &RSA_PKCS1_2048_8192_SHA512,
        ("1.2.840.10045.4.3.2", P256) => &ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", P256) => &ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", P256) => &ECDSA_P256_SHA512_ASN1,
        ("1.2.840.10045.4.3.2", P384) => &ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", P384) => &ECDSA_P384_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", P384) => &ECDSA_P384_SHA512_ASN1,
        ("1.2.840.10045.4.3.2", P521) => &ECDSA_P521_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", P521) => &ECDSA_P521_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", P521) => &ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}
