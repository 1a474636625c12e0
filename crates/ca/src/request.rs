//! Signing requests (PKCS #10), which callers bring.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::certificate::{Malformed, dns_names, key_algorithm, uris};
use crate::chain;
use crate::key::KeyAlgorithm;
use crate::names::Subject;
use crate::pem;

/// The longest request that is read, in bytes.
const LONGEST: usize = 32 << 10;

/// What somebody asks an authority to certify. Its signature is verified: it was made with the key that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    /// Who asks.
    pub subject: Subject,
    /// The public key as [`crate::PrivateKey::public`] shows it.
    pub public: Vec<u8>,
    /// The kind of the key.
    pub key_algorithm: KeyAlgorithm,
    /// The DNS names that are asked for.
    pub dns_names: Vec<String>,
    /// The URIs that are asked for.
    pub uris: Vec<String>,
}

impl SigningRequest {
    /// Reads the only request in a PEM text.
    ///
    /// # Errors
    /// There is none, its key is of another kind than those of [`KeyAlgorithm`], or its signature is wrong.
    pub fn from_pem(text: &[u8]) -> Result<Self, Malformed> {
        let blocks = pem::blocks(text).ok_or(Malformed)?;
        match blocks.as_slice() {
            [only]
                if ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].contains(&&*only.label) =>
            {
                Self::parse(&only.bytes)
            }
            _ => Err(Malformed),
        }
    }

    /// Reads a request, DER.
    ///
    /// # Errors
    /// As [`SigningRequest::from_pem`].
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > LONGEST {
            return Err(Malformed);
        }
        let (rest, read) = X509CertificationRequest::from_der(der).map_err(|_| Malformed)?;
        let info = &read.certification_request_info;
        let algorithm = key_algorithm(&info.subject_pki).ok_or(Malformed)?;
        let public = info.subject_pki.subject_public_key.data.to_vec();
        let is_signed = chain::verified(
            algorithm,
            &public,
            &read.signature_algorithm.algorithm.to_id_string(),
            info.raw,
            &read.signature_value.data,
        );
        if !rest.is_empty() || !is_signed {
            return Err(Malformed);
        }
        let names = read.requested_extensions().into_iter().flatten();
        let names = names.filter_map(|it| match it {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        let each = |of: fn(&[GeneralName<'_>]) -> Vec<String>| -> Vec<String> {
            names.iter().flat_map(|names| of(names)).collect()
        };
        Ok(Self {
            subject: Subject::of(&info.subject),
            public,
            key_algorithm: algorithm,
            dns_names: each(dns_names),
            uris: each(uris),
        })
    }
}
