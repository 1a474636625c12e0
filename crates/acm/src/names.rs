//! Domain names of requests, and the records that prove them.

use lath_control::Cell;
use lath_wire::ApiError;
use sha2::{Digest as _, Sha256};

use crate::fault;
use crate::record::Validation;

/// What the model says of domain names.
const RULE: &str = "Member must satisfy regular expression pattern: (\\*\\.)?(((?!-)[A-Za-z0-9-]{0,62}[A-Za-z0-9])\\.)+((?!-)[A-Za-z0-9-]{1,62}[A-Za-z0-9])";

/// A domain name of a request, in lower case.
///
/// # Errors
/// It is none.
pub(crate) fn checked(member: &str, name: &str) -> Result<String, ApiError> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let label = |it: &str, least: usize| {
        (least..=63).contains(&it.len())
            && it
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || it == b'-')
            && !it.starts_with('-')
            && !it.ends_with('-')
    };
    let fits = bare
        .rsplit_once('.')
        .is_some_and(|(above, last)| label(last, 2) && above.split('.').all(|it| label(it, 1)));
    if fits && name.len() <= 253 {
        return Ok(name.to_ascii_lowercase());
    }
    Err(fault::broken(member, name, RULE))
}

/// A name without its wildcard.
pub(crate) fn bare(name: &str) -> &str {
    name.strip_prefix("*.").unwrap_or(name)
}

/// The record that proves a name. It is the same for every request of an account for the name, with a wildcard or not, so that
/// renewals and further certificates need no new one.
pub(crate) fn validation(cell: &Cell, domain: &str) -> Validation {
    let of_installation = cell.authority.as_ref().map(|it| it.root().der.clone());
    let hash = |what: &str| {
        let mut digest = Sha256::new();
        digest.update(of_installation.as_deref().unwrap_or_default());
        digest.update(format!("\0{what}\0{}\0{}", cell.account, bare(domain)));
        digest.finalize()
    };
    let hexadecimal = |what: &str| hex::encode(&hash(what)[..16]);
    let zone: String = hash("zone")
        .iter()
        .take(10)
        .map(|it| char::from(b'a' + it % 26))
        .collect();
    Validation {
        domain: domain.to_owned(),
        record_name: format!("_{}.{}.", hexadecimal("name"), bare(domain)),
        record_value: format!("_{}.{zone}.acm-validations.aws.", hexadecimal("value")),
        is_found: false,
    }
}

/// The domains of AWS's own endpoints, which Lath answers in AWS's place.
const OF_AWS: [&str; 4] = ["amazonaws.com", "amazonaws.com.cn", "on.aws", "api.aws"];

/// Names that no request gets: those of AWS's own endpoints.
pub(crate) fn is_forbidden(name: &str) -> bool {
    let name = bare(name);
    OF_AWS.iter().any(|domain| {
        name.strip_suffix(domain)
            .is_some_and(|above| above.is_empty() || above.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_model() {
        for good in [
            "a.co",
            "*.example.com",
            "A-b.Example.COM",
            "x.y.z.example.com",
        ] {
            assert_eq!(
                checked("domainName", good).unwrap(),
                good.to_ascii_lowercase()
            );
        }
        let long = format!("{}.com", "a".repeat(64));
        for bad in [
            "", "com", "*", "*.com", "a.c", "-a.com", "a-.com", "a..com", "a.*.com", "**.a.com",
            "a.com.", "ä.com", &long,
        ] {
            let error = checked("domainName", bad).unwrap_err();
            assert_eq!(error.code, "ValidationException", "{bad}");
        }
        // One label is none, with a wildcard neither.
        assert!(checked("domainName", "*.localhost").is_err());
    }

    #[test]
    fn names_of_aws_are_forbidden() {
        for (name, expected) in [
            ("amazonaws.com", true),
            ("sts.us-east-1.amazonaws.com", true),
            ("*.us-east-1.on.aws", true),
            ("eks-auth.us-east-1.api.aws", true),
            ("notamazonaws.com", false),
            ("amazonaws.com.example", false),
            ("spoon.aws", false),
        ] {
            assert_eq!(is_forbidden(name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_has_one_record() {
        let cell = Cell::for_test().0;
        let one = validation(&cell, "example.com");
        let wild = validation(&cell, "*.example.com");
        assert_eq!(one.record_name, wild.record_name);
        assert_eq!(one.record_value, wild.record_value);
        assert_ne!(
            one.record_name,
            validation(&cell, "www.example.com").record_name
        );
        assert!(one.record_name.starts_with('_') && one.record_name.ends_with(".example.com."));
        assert!(one.record_value.ends_with(".acm-validations.aws."));
    }
}
