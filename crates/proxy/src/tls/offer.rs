//! What HTTPS listeners offer to clients.

use std::sync::Arc;

use lath_feed::telemetry::Word;
use lath_feed::{Certificate, Gateway, GatewayCertificate, MutualTls};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ProtocolVersion, ServerConfig};

use super::trust::Trust;

/// HTTP/2 as ALPN names it.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// A certificate and what is made of it. It outlives changes of everything else, so that clients resume their sessions.
#[derive(Debug)]
pub(crate) struct Offer {
    certificate: Certificate,
    pub(crate) config: Arc<ServerConfig>,
}

/// What a listener offers with this certificate; `before` stays where it is the same. `None`: it is of no use.
pub(crate) fn make(
    certificate: Option<&Certificate>,
    before: Option<&Arc<Offer>>,
) -> Option<Arc<Offer>> {
    let certificate = certificate?;
    if let Some(before) = before.filter(|before| before.certificate == *certificate) {
        return Some(Arc::clone(before));
    }
    match config(certificate, None) {
        Ok(config) => Some(Arc::new(Offer {
            certificate: certificate.clone(),
            config: Arc::new(config),
        })),
        Err(reason) => {
            tracing::error!(%reason, "a certificate cannot be presented");
            None
        }
    }
}

/// What a listener offers that asks clients for certificates. It outlives other changes, as an [`Offer`] does.
#[derive(Debug)]
pub(crate) struct Mutual {
    pub(crate) trust: Arc<Trust>,
    /// By the user's own name, and by the generated one.
    custom: Side,
    generated: Side,
}

/// The offer that it was made of, and what is offered instead.
type Side = Option<(Arc<Offer>, Arc<ServerConfig>)>;

impl Mutual {
    /// Of what a listener trusts, and what it would offer otherwise; `before` stays where all of it is the same.
    pub(crate) fn make(
        source: &MutualTls,
        custom: Option<&Arc<Offer>>,
        generated: Option<&Arc<Offer>>,
        before: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let same = before.filter(|it| it.trust.is_of(source));
        let is_of = |side: &Side, offer: Option<&Arc<Offer>>| match (side, offer) {
            (Some((known, _)), Some(offer)) => Arc::ptr_eq(known, offer),
            (None, None) => true,
            _ => false,
        };
        if let Some(before) = same
            && is_of(&before.custom, custom)
            && is_of(&before.generated, generated)
        {
            return Arc::clone(before);
        }
        let trust = same.map(|it| Arc::clone(&it.trust));
        let trust = trust.unwrap_or_else(|| Arc::new(Trust::of(source)));
        let side = |offer: Option<&Arc<Offer>>, known: Option<&Side>| -> Side {
            if let Some(known) = known.filter(|known| is_of(known, offer)) {
                return known.clone();
            }
            let offer = offer?;
            let config = config(&offer.certificate, Some(&trust));
            let config = config.inspect_err(|reason| {
                tracing::error!(%reason, "a certificate cannot be presented");
            });
            Some((Arc::clone(offer), Arc::new(config.ok()?)))
        };
        Arc::new(Self {
            custom: side(custom, same.map(|it| &it.custom)),
            generated: side(generated, same.map(|it| &it.generated)),
            trust,
        })
    }

    /// What is offered by the user's own name, or by the generated one.
    pub(crate) fn config(&self, own: bool) -> Option<&Arc<ServerConfig>> {
        let side = if own { &self.custom } else { &self.generated };
        side.as_ref().map(|(_, config)| config)
    }
}

/// What a gateway's listener offers: certificates for each of the Gateway's listeners, which are chosen by the name that a client
/// asks for. It outlives other changes, as an [`Offer`] does.
#[derive(Debug)]
pub(crate) struct Offered {
    parts: Vec<Vec<Named>>,
    trust: Option<Arc<Trust>>,
}

/// A certificate, its names, and what is offered with it, where clients are asked for certificates.
#[derive(Debug, Clone)]
struct Named {
    names: Vec<String>,
    offer: Arc<Offer>,
    asking: Option<Arc<ServerConfig>>,
}

impl Offered {
    /// Of a gateway's listener that asks clients for certificates as `mutual` does.
    pub(crate) fn make(
        gateway: &Gateway,
        mutual: Option<&Arc<Mutual>>,
        before: Option<&Arc<Self>>,
    ) -> Self {
        let trust = mutual.map(|it| Arc::clone(&it.trust));
        let is_same_trust = |before: &&Arc<Self>| match (&before.trust, &trust) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        let named = |it: &GatewayCertificate| {
            let mut known = before.iter().flat_map(|it| it.parts.iter().flatten());
            let known = known.find(|known| known.offer.certificate == it.certificate);
            let offer = make(Some(&it.certificate), known.map(|it| &it.offer))?;
            let same = known.filter(|_| before.as_ref().is_some_and(is_same_trust));
            let asking = match (&trust, same) {
                (None, _) => None,
                (Some(_), Some(known)) => known.asking.clone(),
                (Some(trust), None) => {
                    let config = config(&it.certificate, Some(trust)).inspect_err(|reason| {
                        tracing::error!(%reason, "a certificate cannot be presented");
                    });
                    Some(Arc::new(config.ok()?))
                }
            };
            Some(Named {
                names: it.names.clone(),
                offer,
                asking,
            })
        };
        let parts = gateway.listeners.iter();
        let parts = parts.map(|it| it.certificates.iter().filter_map(named).collect());
        let parts = parts.collect();
        Self { parts, trust }
    }

    /// What one of the Gateway's listeners offers to a client that asks for this name: the first certificate that is for it,
    /// else the first one.
    pub(crate) fn config(&self, part: usize, name: Option<&[u8]>) -> Option<&Arc<ServerConfig>> {
        let named = self.parts.get(part)?;
        let is_for = |it: &&Named| {
            let name = name.unwrap_or_default();
            it.names.iter().any(|own| covers(own.as_bytes(), name))
        };
        let found = named.iter().find(is_for).or_else(|| named.first())?;
        match &self.trust {
            Some(_) => found.asking.as_ref(),
            None => Some(&found.offer.config),
        }
    }
}

/// Whether a certificate's name is for a server's: a wildcard stands for one label (RFC 9525 section 6.3).
fn covers(own: &[u8], name: &[u8]) -> bool {
    match own.strip_prefix(b"*") {
        None => own == name,
        Some(parent) => {
            let dot = memchr::memchr(b'.', name).filter(|at| *at > 0);
            dot.is_some_and(|at| &name[at..] == parent)
        }
    }
}

fn config(certificate: &Certificate, trust: Option<&Arc<Trust>>) -> Result<ServerConfig, String> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("its chain: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.0.as_bytes())
        .map_err(|error| format!("its key: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(lath_health::tls::provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .and_then(|builder| {
            let builder = match trust {
                None => builder.with_no_client_auth(),
                Some(trust) => builder.with_client_cert_verifier(Arc::clone(trust) as Arc<_>),
            };
            builder.with_single_cert(chain, key)
        })
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    config.ignore_client_order = true;
    // Its keys are changed every six hours, and are this certificate's own: with it go the sessions that it began.
    config.ticketer = Ticketer::new().map_err(|error| error.to_string())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// A version of TLS as access logs have it.
pub(super) fn version_name(version: ProtocolVersion) -> Word {
    match version {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "-",
    }
}

/// A suite as OpenSSL names it.
pub(super) fn openssl_name(suite: CipherSuite) -> Word {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        _ => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_for_one_label() {
        for (own, name, want) in [
            ("a.example", "a.example", true),
            ("*.example", "a.example", true),
            ("*.example", "b.a.example", false),
            ("*.example", ".example", false),
            ("*.example", "example", false),
            ("a.example", "", false),
        ] {
            assert_eq!(
                covers(own.as_bytes(), name.as_bytes()),
                want,
                "{own} {name}"
            );
        }
    }

    #[test]
    fn every_suite_that_is_offered_has_a_name() {
        for suite in &lath_health::tls::provider().cipher_suites {
            assert_ne!(openssl_name(suite.suite()), "-", "{suite:?}");
        }
    }
}
