/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SigV4: an HMAC by a key that is derived from the secret for one day, region and service.
    HmacSha256,
    /// SigV4A: an ECDSA signature by a key pair that is derived from the secret, for a set of regions.
    EcdsaP256Sha256,
}

impl Algorithm {
    /// Its name in headers, queries and strings to sign.
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
