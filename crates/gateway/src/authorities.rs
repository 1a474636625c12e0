//! Authorities that Gateways and BackendTLSPolicies trust: ConfigMaps with certificates, and what a listener learns of them.

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use crate::condition::ConditionState;
use crate::kinds::{ClientValidation, Gateway};
use crate::long_tags;
use crate::secrets::{ObjectRef, blocks};
use crate::world::{Name, World};

/// As many authorities may a listener trust.
const MOST: usize = 16;

/// The certificates in a ConfigMap's `ca.crt`: DER in base64, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorities(Result<Vec<String>, &'static str>);

impl Authorities {
    /// `None` for a ConfigMap that has nothing of the kind.
    pub(crate) fn of(map: core::ConfigMap) -> Option<Self> {
        let text = map.data?.remove("ca.crt")?;
        Some(Self::of_text(&text))
    }

    /// Those of a `ca.crt`.
    pub(crate) fn of_text(text: &str) -> Self {
        let certificates: Vec<_> = blocks(text, |it| it == "CERTIFICATE")
            .iter()
            .map(|it| authority(it))
            .collect();
        if certificates.is_empty() {
            return Self(Err("ca.crt has no certificate in PEM"));
        }
        let read: Option<Vec<_>> = certificates.into_iter().collect();
        Self(read.ok_or("a certificate in ca.crt is malformed, or no authority's"))
    }

    /// The certificates.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn certificates(&self) -> Result<&[String], &'static str> {
        self.0.as_deref().map_err(|why| *why)
    }
}

/// The base64 of an authority's certificate.
fn authority(pem: &str) -> Option<String> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let (rest, certificate) = x509_parser::parse_x509_certificate(&block.contents).ok()?;
    let whole = rest.is_empty() && certificate.is_ca();
    let lines = pem.lines().filter(|it| !it.starts_with("-----"));
    whole.then(|| lines.collect())
}

/// What a Gateway asks clients for at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    /// The text of the listener's tag, and what is wrong with some of the references.
    Certificates(String, Option<ConditionState>),
    /// Nothing can be trusted: why.
    Unknown(ConditionState),
}

/// What a Gateway says of clients' certificates at a port.
pub(crate) fn validation(gateway: &Gateway, port: i32) -> Option<&ClientValidation> {
    let frontend = gateway.spec.tls.as_ref()?.frontend.as_ref()?;
    let mut ports = frontend.per_port.iter();
    let own = ports.find(|it| it.port == port);
    let config = own.map_or(&frontend.default, |it| &it.tls);
    config.validation.as_ref()
}

/// Whether a Gateway lets clients in somewhere whose certificates are not verified, although they are asked for.
pub(crate) fn is_insecure(gateway: &Gateway) -> bool {
    let mut ports = gateway
        .spec
        .listeners
        .iter()
        .filter(|it| it.protocol == "HTTPS");
    ports.any(|it| validation(gateway, it.port).is_some_and(ClientValidation::is_insecure))
}

/// The certificates that a reference leads to.
fn certificates<'a>(
    world: &'a World,
    (name, reference): (&Name, &ObjectRef),
) -> Result<&'a [String], ConditionState> {
    let words = format!("caCertificateRef {}", reference.name);
    if !reference.is_to("", "ConfigMap") {
        let message = format!("{words} is not to a ConfigMap");
        return Err(ConditionState::bad("InvalidCACertificateKind", message));
    }
    let at = reference.at(&name.namespace);
    if !world.is_granted(("Gateway", &name.namespace), ("", "ConfigMap"), &at) {
        let message = format!("no ReferenceGrant lets this Gateway refer to ConfigMap {at}");
        return Err(ConditionState::bad("RefNotPermitted", message));
    }
    let invalid = |why: &str| {
        ConditionState::bad("InvalidCACertificateRef", format!("ConfigMap {at}: {why}"))
    };
    let found = world.authorities.get(&at);
    let found = found.ok_or_else(|| invalid("it is not there, or has no ca.crt"))?;
    found.certificates().map_err(invalid)
}

/// What a Gateway asks clients for at a port.
pub(crate) fn asked(world: &World, (name, gateway): (&Name, &Gateway), port: i32) -> Asked {
    let Some(validation) = validation(gateway, port) else {
        return Asked::Nothing;
    };
    let (mut all, mut wrong) = (Vec::<String>::new(), None);
    for reference in &validation.ca_certificate_refs {
        match certificates(world, (name, &ObjectRef::of(reference))) {
            Ok(found) => {
                for it in found {
                    if !all.contains(it) {
                        all.push(it.clone());
                    }
                }
            }
            Err(verdict) => wrong = wrong.or(Some(verdict)),
        }
    }
    if all.is_empty() {
        let none = || ConditionState::bad("InvalidCACertificateRef", "no caCertificateRefs");
        return Asked::Unknown(wrong.unwrap_or_else(none));
    }
    if validation.is_insecure() {
        return Asked::Certificates(json!({"mode": "passthrough"}).to_string(), wrong);
    }
    let count = all.len();
    let text = json!({"mode": "verify", "trustAnchorCertificates": Value::from(all)}).to_string();
    if count > MOST || !long_tags::fits(&text, long_tags::FEW_PARTS) {
        // What is left out would shut clients out without a word.
        let message = format!(
            "the certificates are too many: a listener trusts {MOST} of them at most, in {} characters of base64",
            long_tags::FEW_PARTS * long_tags::PART
        );
        return Asked::Unknown(ConditionState::bad("InvalidCACertificateRef", message));
    }
    Asked::Certificates(text, wrong)
}
