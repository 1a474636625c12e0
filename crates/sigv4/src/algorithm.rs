/// A signing algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SigV4: an HMAC with a key derived from the secret for one day, region and service.
    HmacSha256,
    /// SigV4A: an ECDSA signature with a key pair derived from the secret, for a set of regions.
    EcdsaP256Sha256,
}

impl Algorithm {
    /// The name in headers, queries and strings to sign.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "AWS4-HMAC-SHA256",
            Self::EcdsaP256Sha256 => "AWS4-ECDSA-P256-SHA256",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::HmacSha256, Self::EcdsaP256Sha256]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}
