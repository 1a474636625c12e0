//! How targets prove who they are, as users write it: JSON whose members are named as those of the tag `lath:mutual-tls` and of the Gateway
//! API's BackendTLSPolicy (<https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/>).

use lath_feed::TargetName;
use lath_model::traffic::is_hostname;
use serde::Deserialize;

use crate::mutual_tls::authorities;
use crate::policy_text::{self, Object};

/// Of authorities that a group trusts.
const MOST_ANCHORS: usize = 16;
/// Of alternative names, as the Gateway API has it.
const MOST_NAMES: usize = 5;
/// Of a URI, in bytes, as the Gateway API has it.
const LONGEST_URI: usize = 253;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    hostname: String,
    #[serde(default)]
    subject_alt_names: Vec<Object<WrittenName>>,
    #[serde(default)]
    trust_anchors: Vec<String>,
    #[serde(default)]
    trust_anchor_certificates: Vec<String>,
    #[serde(rename = "wellKnownCACertificates")]
    well_known: Option<WellKnown>,
    health_check_certificate_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenName {
    r#type: Type,
    hostname: Option<String>,
    uri: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Type {
    Hostname,
    #[serde(rename = "URI")]
    Uri,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum WellKnown {
    System,
}

/// What a text asks for. The ARNs were not looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) hostname: String,
    pub(crate) names: Vec<TargetName>,
    /// ARNs.
    pub(crate) trust_anchors: Vec<String>,
    /// Authorities, PEM.
    pub(crate) certificates: Vec<String>,
    pub(crate) system: bool,
    /// An ARN.
    pub(crate) check_certificate: Option<String>,
}

/// A URI with a scheme and something behind it (RFC 3986 section 3), of visible characters.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let is_of_scheme = |it: u8| it.is_ascii_alphanumeric() || b"+-.".contains(&it);
    text.len() <= LONGEST_URI
        && scheme.starts_with(|it: char| it.is_ascii_alphabetic())
        && scheme.bytes().all(is_of_scheme)
        && !rest.is_empty()
        && rest.bytes().all(|it| it.is_ascii_graphic())
}

fn name(written: WrittenName) -> Result<TargetName, &'static str> {
    match (written.r#type, written.hostname, written.uri) {
        (Type::Hostname, Some(host), None) => {
            let host = host.to_ascii_lowercase();
            match is_hostname(host.strip_prefix("*.").unwrap_or(&host)) {
                true => Ok(TargetName::Dns(host)),
                false => Err("give a host name, or *. and one"),
            }
        }
        (Type::Uri, None, Some(uri)) if is_uri(&uri) => Ok(TargetName::Uri(uri)),
        (Type::Uri, None, Some(_)) => {
            Err("give a URI with a scheme, of 253 visible characters at most")
        }
        (Type::Hostname, ..) => Err("one of the type Hostname has a hostname, and no uri"),
        (Type::Uri, ..) => Err("one of the type URI has a uri, and no hostname"),
    }
}

/// Reads it.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read(text: &str) -> Result<Asked, String> {
    let written: Written = policy_text::read(text)?;
    let hostname = written.hostname.to_ascii_lowercase();
    let is_address = hostname.parse::<std::net::IpAddr>().is_ok();
    if !is_hostname(&hostname) || is_address {
        return Err("hostname: give a host name without a port, no address".to_owned());
    }
    if written.subject_alt_names.len() > MOST_NAMES {
        return Err(format!("subjectAltNames: at most {MOST_NAMES} are allowed"));
    }
    let mut names = Vec::new();
    for (index, Object(it)) in written.subject_alt_names.into_iter().enumerate() {
        names.push(name(it).map_err(|error| format!("subjectAltNames.{index}: {error}"))?);
    }
    let certificates = authorities(&written.trust_anchor_certificates)?;
    let anchors = written.trust_anchors;
    let is_twice = |(at, arn): (usize, &String)| anchors[..at].contains(arn);
    if anchors.iter().enumerate().any(is_twice) {
        return Err("trustAnchors: an ARN stands there twice".to_owned());
    }
    let system = written.well_known.is_some();
    match anchors.len() + certificates.len() {
        0 if !system => Err(
            "give at least one authority that is trusted: trustAnchors, trustAnchorCertificates, or wellKnownCACertificates"
                .to_owned(),
        ),
        count if count > MOST_ANCHORS => {
            Err(format!("trustAnchors: at most {MOST_ANCHORS} are allowed"))
        }
        _ => Ok(Asked {
            hostname,
            names,
            trust_anchors: anchors,
            certificates,
            system,
            check_certificate: written.health_check_certificate_arn,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_members_are_read() {
        let text = r#"{"hostname":"A.example.com","trustAnchors":["a"],"wellKnownCACertificates":"System","healthCheckCertificateArn":"b",
            "subjectAltNames":[{"type":"Hostname","hostname":"*.Example.com"},{"type":"URI","uri":"spiffe://a/B"}]}"#;
        let asked = read(text).unwrap();
        assert_eq!(asked.hostname, "a.example.com");
        assert_eq!(
            asked.names,
            [
                TargetName::Dns("*.example.com".to_owned()),
                TargetName::Uri("spiffe://a/B".to_owned())
            ]
        );
        assert_eq!(
            (asked.system, asked.trust_anchors),
            (true, vec!["a".to_owned()])
        );
        assert_eq!(asked.check_certificate.as_deref(), Some("b"));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        let with = |names: &str| {
            format!(r#"{{"hostname":"a","trustAnchors":["a"],"subjectAltNames":[{names}]}}"#)
        };
        let host = r#"{"type":"Hostname","hostname":"a"}"#;
        for (text, want) in [
            ("[]".to_owned(), "expected an object"),
            (r#"{"hostname":"a"}"#.to_owned(), "at least one authority"),
            (
                r#"{"trustAnchors":["a"]}"#.to_owned(),
                "missing field `hostname`",
            ),
            (
                r#"{"hostname":"a:1","trustAnchors":["a"]}"#.to_owned(),
                "hostname: give",
            ),
            (
                r#"{"hostname":"10.0.0.1","trustAnchors":["a"]}"#.to_owned(),
                "hostname: give",
            ),
            (
                r#"{"hostname":"*.a","trustAnchors":["a"]}"#.to_owned(),
                "hostname: give",
            ),
            (
                r#"{"hostname":"a","trustAnchors":["a","a"]}"#.to_owned(),
                "twice",
            ),
            (
                r#"{"hostname":"a","trustAnchorCertificates":["AAAA"]}"#.to_owned(),
                "trustAnchorCertificates.0: give the DER",
            ),
            (
                r#"{"hostname":"a","wellKnownCACertificates":"Mozilla"}"#.to_owned(),
                "unknown variant `Mozilla`",
            ),
            (with(&[host; 6].join(",")), "subjectAltNames: at most 5"),
            (
                with(r#"{"type":"IP","hostname":"a"}"#),
                "unknown variant `IP`",
            ),
            (
                with(r#"{"type":"Hostname","uri":"a:b"}"#),
                "subjectAltNames.0: one of the type Hostname",
            ),
            (
                with(r#"{"type":"URI","uri":"a"}"#),
                "subjectAltNames.0: give a URI",
            ),
            (
                with(r#"{"type":"URI","uri":"1:a"}"#),
                "subjectAltNames.0: give a URI",
            ),
            (
                with(r#"{"type":"Hostname","hostname":"a b"}"#),
                "subjectAltNames.0: give a host",
            ),
        ] {
            let got = read(&text).expect_err(&text);
            assert!(got.contains(want), "{text}: {got}");
        }
    }
}
