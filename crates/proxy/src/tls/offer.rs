//! What HTTPS listeners offer to clients.

use std::sync::Arc;

use lath_feed::telemetry::Word;
use lath_feed::{Certificate, MutualTls};
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
    fn every_suite_that_is_offered_has_a_name() {
        for suite in &lath_health::tls::provider().cipher_suites {
            assert_ne!(openssl_name(suite.suite()), "-", "{suite:?}");
        }
    }
}
