//! How a listener asks clients for certificates, as users write it: JSON whose members are named as those of Application Load
//! Balancers
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_MutualAuthenticationAttributes.html>).

use lath_ca::Certificate;
use lath_feed::MutualTlsMode;
use serde::Deserialize;

/// The most authorities that a listener trusts.
const MOST_ANCHORS: usize = 16;

/// The whole of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    mode: Mode,
    #[serde(default)]
    trust_anchors: Vec<String>,
    #[serde(default)]
    trust_anchor_certificates: Vec<String>,
    #[serde(default)]
    ignore_client_certificate_expiry: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Passthrough,
    Verify,
}

/// What a text asks for. The ARNs were not looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whether certificates are verified.
    pub(crate) mode: MutualTlsMode,
    /// ARNs.
    pub(crate) trust_anchors: Vec<String>,
    /// Authorities, PEM.
    pub(crate) certificates: Vec<String>,
    /// Whether certificates that have ended will do.
    pub(crate) ignore_expiry: bool,
}

/// An authority's certificate: DER in base64, as PEM has it between its lines.
///
/// # Errors
/// It is none.
fn authority(text: &str) -> Result<String, &'static str> {
    if !text
        .bytes()
        .all(|it| it.is_ascii_alphanumeric() || b"+/=".contains(&it))
    {
        return Err("give the DER of a certificate in base64, without lines");
    }
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let read = Certificate::all_from_pem(pem.as_bytes());
    match read.as_deref() {
        Ok([only]) if only.is_authority => Ok(only.pem()),
        Ok(_) => Err("the certificate is no authority's"),
        Err(_) => Err("give the DER of a certificate in base64, without lines"),
    }
}

/// Certificates of authorities as PEM, each once.
///
/// # Errors
/// What is wrong with one, and with which.
pub(crate) fn authorities(written: &[String]) -> Result<Vec<String>, String> {
    let mut certificates = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let at = format!("trustAnchorCertificates.{index}");
        let pem = authority(text).map_err(|error| format!("{at}: {error}"))?;
        if certificates.contains(&pem) {
            return Err(format!("{at}: the certificate stands there twice"));
        }
        certificates.push(pem);
    }
    Ok(certificates)
}

/// Reads it.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read(text: &str) -> Result<Asked, String> {
    // Serde reads a list of a struct's members in their order, too.
    if !text.trim_start().starts_with('{') {
        return Err("the text is no JSON object".to_owned());
    }
    let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let anchors = &written.trust_anchors;
    let certificates = authorities(&written.trust_anchor_certificates)?;
    let is_twice = |(at, arn): (usize, &String)| anchors[..at].contains(arn);
    match written.mode {
        Mode::Verify if anchors.is_empty() && certificates.is_empty() => Err(
            "trustAnchors: verify needs the ARN of at least one authority that is trusted"
                .to_owned(),
        ),
        Mode::Verify if anchors.len() + certificates.len() > MOST_ANCHORS => {
            Err(format!("trustAnchors: at most {MOST_ANCHORS} are allowed"))
        }
        Mode::Verify if anchors.iter().enumerate().any(is_twice) => {
            Err("trustAnchors: an ARN stands there twice".to_owned())
        }
        Mode::Passthrough if !anchors.is_empty() || !certificates.is_empty() => {
            Err("trustAnchors: passthrough verifies no certificate".to_owned())
        }
        Mode::Passthrough if written.ignore_client_certificate_expiry => {
            Err("ignoreClientCertificateExpiry: passthrough verifies no certificate".to_owned())
        }
        mode => Ok(Asked {
            mode: match mode {
                Mode::Passthrough => MutualTlsMode::Passthrough,
                Mode::Verify => MutualTlsMode::Verify,
            },
            trust_anchors: written.trust_anchors,
            certificates,
            ignore_expiry: written.ignore_client_certificate_expiry,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_have_no_effect_is_refused() {
        for (text, wrong) in [
            (r#"{"mode":"passthrough"}"#, None),
            (r#"{"mode":"verify","trustAnchors":["a","b"]}"#, None),
            (
                r#"{"mode":"verify","trustAnchors":["a"],"ignoreClientCertificateExpiry":true}"#,
                None,
            ),
            (r#"{"mode":"verify"}"#, Some("trustAnchors")),
            (
                r#"{"mode":"verify","trustAnchors":["a","b","a"]}"#,
                Some("twice"),
            ),
            (
                r#"{"mode":"passthrough","trustAnchors":["a"]}"#,
                Some("trustAnchors"),
            ),
            (
                r#"{"mode":"passthrough","ignoreClientCertificateExpiry":true}"#,
                Some("ignoreClientCertificateExpiry"),
            ),
            (r#"{"mode":"off"}"#, Some("off")),
            (r#"{"trustAnchors":["a"]}"#, Some("mode")),
            (
                r#"{"mode":"verify","trustStoreArn":"a"}"#,
                Some("trustStoreArn"),
            ),
            (r#"["verify",["a"],true]"#, Some("object")),
            ("", Some("object")),
            ("{", Some("EOF")),
        ] {
            match (read(text), wrong) {
                (Ok(_), None) => {}
                (Err(error), Some(wrong)) => assert!(error.contains(wrong), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let made = lath_ca::Authority::random(lath_model::Timestamp::default()).unwrap();
        let base64 = |pem: &str| -> String {
            let lines = pem.lines().filter(|it| !it.starts_with("-----"));
            lines.collect()
        };
        let root = made.root_pem();
        let text = format!(
            r#"{{"mode":"verify","trustAnchorCertificates":["{}"]}}"#,
            base64(&root)
        );
        let pem = Certificate::all_from_pem(root.as_bytes()).unwrap()[0].pem();
        assert_eq!(read(&text).unwrap().certificates, [pem]);
        for (wrong, want) in [
            (
                text.replace("verify", "passthrough"),
                "passthrough verifies",
            ),
            (
                text.replace("[\"", "[\"AAAA"),
                "trustAnchorCertificates.0: give the DER",
            ),
            (
                text.replace("\"]", "\\n-\"]"),
                "trustAnchorCertificates.0: give the DER",
            ),
        ] {
            let error = read(&wrong).unwrap_err();
            assert!(error.contains(want), "{wrong}: {error}");
        }
        let many: Vec<String> = (0..17).map(|it| format!("\"{it}\"")).collect();
        let text = format!(r#"{{"mode":"verify","trustAnchors":[{}]}}"#, many.join(","));
        assert!(read(&text).unwrap_err().contains("at most 16"));
    }
}
