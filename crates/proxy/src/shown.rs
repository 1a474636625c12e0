//! What targets under TLS are shown that ask who calls.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock};

use lath_feed::Certificate;
use lath_health::Verified;
use lath_health::tls::towards_targets_as;
use lath_model::lattice::ProtocolVersion;
use lath_svid::Svid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, Error};

/// Set in the keys of gateways' certificates: serial numbers of workloads' certificates do not reach it.
const GATEWAYS: u64 = 1 << 63;

/// Who calls, as targets see it. Connections that show one carry no requests of another.
#[derive(Debug, Clone)]
pub(crate) enum ShownIdentity {
    /// The workload that sent the request.
    Workload(Arc<Svid>),
    /// The gateway that the request came in by.
    Gateway(Arc<GatewayCertificate>),
}

/// What a gateway shows targets.
pub(crate) struct GatewayCertificate {
    /// Follows from the content.
    key: u64,
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
}

impl GatewayCertificate {
    /// `None`: it cannot be read, and targets are shown nothing.
    pub(crate) fn of(source: &Certificate) -> Option<Self> {
        static HASHER: OnceLock<RandomState> = OnceLock::new();
        let read = lath_health::chain_and_key(source);
        let (chain, private) = read
            .inspect_err(|error| {
                tracing::error!(%error, "what a gateway is to show targets is of no use");
            })
            .ok()?;
        let hasher = HASHER.get_or_init(RandomState::new);
        let key = hasher.hash_one((&source.chain, &source.key.0));
        Some(Self {
            key: key | GATEWAYS,
            chain,
            private,
        })
    }
}

impl fmt::Debug for GatewayCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayCertificate").finish_non_exhaustive()
    }
}

impl ShownIdentity {
    /// What connections are found by that show it. Never 0.
    pub(crate) fn key(&self) -> u64 {
        match self {
            Self::Workload(svid) => svid.serial,
            Self::Gateway(certificate) => certificate.key,
        }
    }

    /// How targets are spoken to that are to see it.
    ///
    /// # Errors
    /// The key does not fit the certificate.
    pub(crate) fn towards(
        &self,
        version: ProtocolVersion,
        verified: Option<&Verified>,
    ) -> Result<Arc<ClientConfig>, Error> {
        let (chain, key) = match self {
            Self::Workload(svid) => {
                let chain = svid.chain.iter().cloned().map(CertificateDer::from);
                let key = PrivatePkcs8KeyDer::from(svid.key.reveal().to_vec());
                (chain.collect(), key.into())
            }
            Self::Gateway(it) => (it.chain.clone(), it.private.clone_key()),
        };
        towards_targets_as(version, verified, chain, key)
    }
}
