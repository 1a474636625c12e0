//! Names and algorithms of requests as certificates have them.

use lath_ca::{KeyAlgorithm, SignatureAlgorithm, Subject};
use lath_wire::ApiError;

use super::invalid_args;
use super::shape::{AsnSubject, KeyName, SigningName};

pub(crate) fn key_algorithm(name: KeyName) -> Option<KeyAlgorithm> {
    let mut all = KeyAlgorithm::ALL.into_iter();
    all.find(|it| it.name() == name.as_str())
}

pub(crate) fn signature(name: SigningName) -> Option<SignatureAlgorithm> {
    Some(match name {
        SigningName::Sha256Ecdsa => SignatureAlgorithm::Sha256Ecdsa,
        SigningName::Sha384Ecdsa => SignatureAlgorithm::Sha384Ecdsa,
        SigningName::Sha512Ecdsa => SignatureAlgorithm::Sha512Ecdsa,
        SigningName::Sha256Rsa => SignatureAlgorithm::Sha256Rsa,
        SigningName::Sha384Rsa => SignatureAlgorithm::Sha384Rsa,
        SigningName::Sha512Rsa => SignatureAlgorithm::Sha512Rsa,
        _ => return None,
    })
}

/// The name that certificates have; in the order of X.520's hierarchy, the common name last.
///
/// # Errors
/// It is empty, or a member is too long or malformed.
pub(crate) fn name(given: &AsnSubject) -> Result<Subject, ApiError> {
    let members = [
        ("2.5.4.6", &given.country, 2),
        ("2.5.4.8", &given.state, 128),
        ("2.5.4.7", &given.locality, 128),
        ("2.5.4.10", &given.organization, 64),
        ("2.5.4.11", &given.organizational_unit, 64),
        ("2.5.4.46", &given.distinguished_name_qualifier, 64),
        ("2.5.4.5", &given.serial_number, 64),
        ("2.5.4.12", &given.title, 64),
        ("2.5.4.4", &given.surname, 40),
        ("2.5.4.42", &given.given_name, 16),
        ("2.5.4.43", &given.initials, 5),
        ("2.5.4.65", &given.pseudonym, 128),
        ("2.5.4.44", &given.generation_qualifier, 3),
        ("2.5.4.3", &given.common_name, 64),
    ];
    let mut name = Subject::default();
    for (oid, value, most) in members {
        let Some(value) = value.as_ref().filter(|it| !it.is_empty()) else {
            continue;
        };
        if value.chars().count() > most {
            return Err(invalid_args("A member of the subject is too long."));
        }
        name = name.with(oid, value.clone());
    }
    let custom = given.custom_attributes.as_deref().unwrap_or_default();
    if !custom.is_empty() && !name.0.is_empty() {
        return Err(invalid_args(
            "A subject has either standard attributes or CustomAttributes.",
        ));
    }
    for attribute in custom {
        if attribute.value.is_empty() || attribute.value.chars().count() > 256 {
            return Err(invalid_args("A custom attribute has 1 to 256 characters."));
        }
        name = name.with(&attribute.object_identifier, attribute.value.clone());
    }
    let country = given.country.as_deref().unwrap_or("US");
    let is_country = country.len() == 2 && country.bytes().all(|it| it.is_ascii_alphabetic());
    if name.0.is_empty() || !is_country {
        return Err(invalid_args(
            "The subject of the certificate authority is not valid.",
        ));
    }
    Ok(name)
}
