//! The listeners of a Gateway as users write them: JSON whose members are named as Kubernetes' Gateway API names them.

use lath_model::traffic::is_hostname;
use serde::Deserialize;

use super::{Gateway, GatewayListener};
use crate::policy_text::{self, Object};

/// Of listeners, as the Gateway API has it.
pub(crate) const MOST_LISTENERS: usize = 64;
/// Of certificates of a listener.
const MOST_CERTIFICATES: usize = 16;
/// Of a name, in characters.
pub(crate) const LONGEST_NAME: usize = 253;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// What is carried, where it is not what Lattice's protocol says: `TCP`.
    protocol: Option<String>,
    listeners: Vec<Object<WrittenListener>>,
    #[serde(rename = "clientCertificateArn")]
    client_certificate: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenListener {
    name: String,
    hostname: Option<String>,
    #[serde(default)]
    certificate_arns: Vec<String>,
}

/// Reads it. The certificates were not looked up.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read(text: &str) -> Result<Gateway, String> {
    let written: Written = policy_text::read(text)?;
    let opaque = match written.protocol.as_deref() {
        None => false,
        Some("TCP") => true,
        Some(_) => return Err("protocol: only TCP can be given".to_owned()),
    };
    let given = written.listeners;
    if given.is_empty() || given.len() > MOST_LISTENERS {
        return Err(format!("listeners: give 1 to {MOST_LISTENERS}"));
    }
    let mut listeners: Vec<GatewayListener> = Vec::new();
    for (index, Object(it)) in given.into_iter().enumerate() {
        let at = format!("listeners.{index}");
        if !is_name(&it.name) {
            return Err(format!(
                "{at}.name: give 1 to {LONGEST_NAME} visible characters of ASCII"
            ));
        }
        let hostname = it.hostname.map(|host| host_of(&host));
        let hostname = hostname
            .transpose()
            .map_err(|error| format!("{at}.hostname: {error}"))?;
        let arns = it.certificate_arns;
        if arns.len() > MOST_CERTIFICATES {
            return Err(format!(
                "{at}.certificateArns: at most {MOST_CERTIFICATES} are allowed"
            ));
        }
        let is_twice = |(index, arn): (usize, &String)| arns[..index].contains(arn);
        if arns.iter().enumerate().any(is_twice) {
            return Err(format!("{at}.certificateArns: an ARN stands there twice"));
        }
        if listeners.iter().any(|known| known.name == it.name) {
            return Err(format!(
                "{at}.name: another listener has the name {:?}",
                it.name
            ));
        }
        if let Some(twin) = listeners.iter().find(|known| known.hostname == hostname) {
            return Err(format!(
                "{at}.hostname: listener {:?} takes the same hosts already",
                twin.name
            ));
        }
        listeners.push(GatewayListener {
            name: it.name,
            hostname,
            certificates: arns,
        });
    }
    // Without a name there is nothing to tell listeners apart by.
    if opaque && (listeners.len() > 1 || listeners.iter().any(|it| it.hostname.is_some())) {
        return Err("listeners: TCP takes one listener, without a hostname".to_owned());
    }
    Ok(Gateway {
        listeners,
        client_certificate: written.client_certificate,
        opaque,
    })
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|it| it.is_ascii_graphic())
}

/// A host, or a wildcard for one or more labels, in small letters.
///
/// # Errors
/// It is neither.
pub(crate) fn host_of(text: &str) -> Result<String, String> {
    let host = text.to_ascii_lowercase();
    match is_hostname(host.strip_prefix("*.").unwrap_or(&host)) {
        true => Ok(host),
        false => Err(format!(
            "{text:?} is no host name; give one without a port or a dot at its end, or *. and one"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_apart() {
        let text = r#"{"listeners":[{"name":"web","hostname":"*.Example.com"},{"name":"any"},
            {"name":"one","hostname":"a.example.com","certificateArns":["a","b"]}]}"#;
        let gateway = read(text).unwrap();
        let host = gateway.listeners[0].hostname.as_deref();
        assert_eq!(host, Some("*.example.com"));
        assert_eq!(gateway.listeners[2].certificates, ["a", "b"]);
        assert_eq!(gateway.client_certificate, None);
        let text = r#"{"listeners":[{"name":"web"}],"clientCertificateArn":"c"}"#;
        assert_eq!(read(text).unwrap().client_certificate.as_deref(), Some("c"));
        assert!(!gateway.opaque);
        let text = r#"{"protocol":"TCP","listeners":[{"name":"raw"}]}"#;
        assert!(read(text).unwrap().opaque);
        for (text, want) in [
            ("", "EOF"),
            ("[]", "expected an object"),
            ("{}", "missing field `listeners`"),
            (r#"{"listeners":[]}"#, "listeners: give 1 to 64"),
            (r#"{"listeners":[{"name":""}]}"#, "listeners.0.name"),
            (
                r#"{"listeners":[{"name":"a","port":1}]}"#,
                "unknown field `port`",
            ),
            (
                r#"{"listeners":[{"name":"a"},{"name":"a","hostname":"b"}]}"#,
                "listeners.1.name",
            ),
            (
                r#"{"listeners":[{"name":"a"},{"name":"b"}]}"#,
                "listeners.1.hostname: listener \"a\" takes",
            ),
            (
                r#"{"listeners":[{"name":"a","hostname":"*"}]}"#,
                "listeners.0.hostname",
            ),
            (
                r#"{"listeners":[{"name":"a","hostname":"a.*.b"}]}"#,
                "listeners.0.hostname",
            ),
            (
                r#"{"listeners":[{"name":"a","hostname":"a:80"}]}"#,
                "listeners.0.hostname",
            ),
            (
                r#"{"listeners":[{"name":"a","certificateArns":["b","b"]}]}"#,
                "twice",
            ),
            (
                r#"{"protocol":"UDP","listeners":[{"name":"a"}]}"#,
                "protocol: only TCP",
            ),
            (
                r#"{"protocol":"TCP","listeners":[{"name":"a","hostname":"a.b"}]}"#,
                "listeners: TCP takes one",
            ),
            (
                r#"{"protocol":"TCP","listeners":[{"name":"a"},{"name":"b","hostname":"b.c"}]}"#,
                "listeners: TCP takes one",
            ),
        ] {
            let got = read(text).expect_err(text);
            assert!(got.contains(want), "{text}: {got}");
        }
    }
}
